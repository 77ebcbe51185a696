"""LookupTable, LookupTableConv and the operators of neuroloom's domain, against onnxruntime running the written functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.export.writer import LogicModelWriter
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.ir import BIT, Graph
from neuroloom.sim.reference import run

Agree = Callable[..., Graph]
CAMPAIGN = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
TABLE_TYPES = ("bool", "uint8", "uint16", "uint32", "int8", "int16", "int32")


def _table(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=np.int64, endpoint=True).astype(dtype)


@CAMPAIGN
@given(
    seed=st.integers(0, 1 << 32),
    k=st.integers(1, 6),
    bits=st.integers(1, 3),
    dtype=st.sampled_from(TABLE_TYPES),
    source=st.sampled_from(("bool", "uint8", "uint16", "uint32")),
    leading=st.lists(st.integers(1, 3), max_size=2),
)
def test_lookup_table_of_any_width_and_type(
    agree: Agree, seed: int, k: int, bits: int, dtype: str, source: str, leading: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    bits = 1 if source == "bool" else min(bits, 12 // k)
    channels, count = int(rng.integers(1, 9)), int(rng.integers(1, 7))
    writer = LogicModelWriter("m")
    x = writer.input("x", (*leading, channels), source)
    indices = rng.integers(0, channels, (count, k))
    y = writer.lookup_table(x, indices, _table(rng, dtype, (count, 1 << (k * bits))), input_bits=bits)
    writer.output(y, "y")
    data = rng.integers(0, 1 << bits, (7, *leading, channels)).astype(source)
    graph = agree(writer.model(), {"x": data})
    assert graph.nodes[-1].op in ("lut", "lookup")


def test_bits_become_one_lut_node_per_layer(agree: Agree) -> None:
    rng = np.random.default_rng(0)
    writer = LogicModelWriter("m")
    x = writer.input("x", (9,), "uint8")
    for layer in range(3):
        x = writer.lookup_table(
            x, rng.integers(0, x.shape[0], (20, 6)), rng.integers(0, 2, (20, 64)), name=f"layer{layer}"
        )
    writer.output(x, "y")
    graph = agree(writer.model(), {"x": rng.integers(0, 2, (50, 9)).astype(np.uint8)})
    assert [(n.op, n.name, n.source) for n in graph.nodes] == [("lut", f"layer{i}", f"layer{i}") for i in range(3)]
    # the operator is only defined on 0 and 1, so the uint8 input is one bit, and other data are refused when run
    assert graph.inputs[0].value.type == BIT
    assert "bounded" in graph.records["notes"][0]
    with pytest.raises(InputError, match="must be in 0..1, not 7"):
        run(graph, np.full((1, 9), 7))


def test_wider_values_in_the_middle_are_refused() -> None:
    writer = LogicModelWriter("m")
    x = writer.input("x", (2,), "bool")
    wide = writer.lookup_table(x, [[0, 1]], np.array([[0, 1, 2, 3]], np.uint8), name="wide")
    writer.output(writer.lookup_table(wide, [[0]], [[0, 1]], name="narrow"), "y")
    with pytest.raises(UnsupportedError, match=r"node 'narrow' .*input must be in 0\.\.1, but only 0\.\.3 is proven"):
        load_onnx(writer.model())


def test_declared_output_width_is_checked() -> None:
    writer = LogicModelWriter("m")
    x = writer.input("x", (2,), "bool")
    writer.output(writer.lookup_table(x, [[0, 1]], np.array([[0, 1, 2, 3]], np.uint8), out_bits=2), "y")
    model = writer.model()
    assert str(load_onnx(model).values()["lookup_table_1"].type) == "u2"
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "out_bits":
            attribute.i = 1
    with pytest.raises(InputError, match=r"table entries must be in 0\.\.1 for out_bits 1, not 0\.\.3"):
        load_onnx(model)


@CAMPAIGN
@given(
    seed=st.integers(0, 1 << 32),
    axes=st.sampled_from((2, 2, 3)),
    depth=st.integers(0, 3),
    rank=st.integers(1, 4),
    source=st.sampled_from(("bool", "uint8", "uint16", "uint32")),
    table=st.sampled_from(("bool", "uint8")),
)
def test_lookup_table_conv(agree: Agree, seed: int, axes: int, depth: int, rank: int, source: str, table: str) -> None:
    rng = np.random.default_rng(seed)
    rank = min(rank, 2) if depth == 3 else rank
    spatial = tuple(int(d) for d in rng.integers(2, 5, axes))
    channels, kernels = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    kernel = tuple(int(rng.integers(1, d + 1)) for d in spatial)
    strides = tuple(int(s) for s in rng.integers(1, 3, axes))
    pads = tuple(int(p) for p in rng.integers(0, 2, 2 * axes))
    leaves = rank ** (depth - 1) if depth else 1
    writer = LogicModelWriter("m")
    x = writer.input("x", (*spatial, channels), source)
    indices = rng.integers(0, int(np.prod(kernel)) * channels, (kernels, leaves, rank))
    nodes = sum(rank**level for level in range(depth))
    tables = rng.integers(0, 2, (kernels, nodes, 1 << rank)).astype(table) if depth else None
    y = writer.lookup_table_conv(
        x, indices, tables, tree_depth=depth, kernel_shape=kernel, strides=strides, pads=pads, channel_group_size=1
    )
    writer.output(y, "y")
    top = 2 if depth or source == "bool" else min(np.iinfo(source).max, 1 << 31)
    data = rng.integers(0, top, (4, *spatial, channels)).astype(source)
    agree(writer.model(), {"x": data})


def _classifier(rng: np.random.Generator, source: str = "uint8") -> onnx.ModelProto:
    """Thermometer, convolution, OR pooling, dense layer, group sum, arg-max."""
    writer = LogicModelWriter("m")
    x = writer.input("image", (6, 6, 1), source)
    t = writer.thermometer(x, np.sort(rng.integers(0, 256, 3)).astype(np.float32), relation=">")
    c = writer.lookup_table_conv(
        t,
        rng.integers(0, 27, (5, 2, 2)),
        rng.integers(0, 2, (5, 3, 4)),
        tree_depth=2,
        kernel_shape=(3, 3),
        pads=(1, 1, 1, 1),
    )
    p = writer.or_pool(c, (2, 2), pads=(0, 0, 1, 1))
    f = writer.flatten(p)
    d = writer.lookup_table(f, rng.integers(0, f.shape[0], (40, 4)), rng.integers(0, 2, (40, 16)))
    g = writer.group_sum(d, 10, tau=3.7, beta=-0.3, offset=2.0)
    writer.output(g, "scores")
    writer.output(writer.argmax(g), "label")
    return writer.model()


@pytest.mark.parametrize("seed", range(4))
def test_recognised_and_expanded_functions_are_equal(agree: Agree, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = _classifier(rng)
    data = rng.integers(0, 256, (60, 6, 6, 1)).astype(np.uint8)
    feeds = {"image": data}
    known = agree(model, feeds)
    names = [("neuroloom", n) for n in ("Thermometer", "GroupSum", "OrPool")] + [("qonnx.custom_op.lnn", "LookupTable")]
    expanded = agree(model, feeds, expand=names)
    assert len(expanded.nodes) > len(known.nodes)
    first, second = run(known, data), run(expanded, data)
    assert (first["label"] == second["label"]).all()
    assert known.outputs[0].affine == expanded.outputs[0].affine
    assert (first["scores"] == second["scores"]).all()


def test_native_nodes_without_a_function_body(agree: Agree) -> None:
    rng = np.random.default_rng(1)
    model = _classifier(rng)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.functions[:]
    assert load_onnx(bare).equals(load_onnx(model))


def test_thousands_of_classes(agree: Agree) -> None:
    rng = np.random.default_rng(6)
    writer = LogicModelWriter("m")
    x = writer.input("x", (64,), "bool")
    y = writer.lookup_table(x, rng.integers(0, 64, (12_500, 2)), rng.integers(0, 2, (12_500, 4)).astype(bool))
    g = writer.group_sum(y, 2500, tau=0.7, beta=0.1)
    writer.output(g, "scores")
    writer.output(writer.argmax(g), "label")
    agree(writer.model(), {"x": rng.integers(0, 2, (20, 64)).astype(bool)})


def test_float_images_by_rule(agree: Agree) -> None:
    from neuroloom.compiler.frontends.onnx import InputRule

    rng = np.random.default_rng(2)
    writer = LogicModelWriter("m")
    x = writer.input("x", (8,), "float32")
    levels = np.sort(np.float32(rng.integers(0, 256, (8, 3)) / np.float32(255)), axis=1)
    for relation in (">", ">="):
        writer.output(writer.thermometer(x, levels, relation=relation), f"y{relation}")
    data = np.float32(rng.integers(0, 256, (300, 8))) / np.float32(255)
    graph = agree(writer.model(), {"x": data}, input_rules={"x": InputRule("u8", "1/255")})
    assert [n.op for n in graph.nodes] == ["compare", "compare"]
    assert load_onnx(writer.model(), calibrate=data).inputs == graph.inputs


def test_a_million_gates_take_seconds() -> None:
    import time

    rng = np.random.default_rng(0)
    seconds = {}
    for layers in (1, 10, 100):
        writer = LogicModelWriter("m")
        x = writer.input("x", (784,), "bool")
        for _ in range(layers):
            x = writer.lookup_table(
                x, rng.integers(0, x.shape[0], (10_000, 2)), rng.integers(0, 2, (10_000, 4)).astype(bool)
            )
        writer.output(writer.group_sum(x, 10), "y")
        data = writer.model().SerializeToString()
        start = time.perf_counter()
        load_onnx(data)
        seconds[layers] = time.perf_counter() - start
    assert seconds[100] < 6, seconds  # about 0.5 s on one free core
    assert seconds[100] < 30 * max(seconds[10], 0.05), seconds
