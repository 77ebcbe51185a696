"""The functions' bodies, as stock onnxruntime runs them, against the definition written out again here."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroloom.compiler.frontends.export import LogicModelWriter, evaluate
from neuroloom.compiler.frontends.export.functions import FUNCTION_TEXT, function_proto

TABLE_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32")


def _lookup_by_hand(x, indices, table, input_bits):
    """One neuron, one sample at a time, in Python integers."""
    out = np.empty((len(x), len(indices)), dtype=table.dtype)
    for n, sample in enumerate(x):
        for m, slots in enumerate(indices):
            address = sum(int(sample[i]) << (input_bits * k) for k, i in enumerate(slots))
            out[n, m] = table[m, address]
    return out


def _read(x, position):
    """Element of one sample ``[D.., C]``, 0 outside."""
    inside = all(0 <= p < d for p, d in zip(position, x.shape, strict=True))
    return int(x[position]) if inside else 0


def _conv_by_hand(x, indices, table, depth, kernel, strides, pads):
    """Every tree evaluated by recursion from its root, in Python integers."""
    axes = len(kernel)
    out_dims = [(x.shape[1 + d] + pads[d] + pads[d + axes] - kernel[d]) // strides[d] + 1 for d in range(axes)]
    kernels, _, rank = indices.shape
    tail = (rank,) if depth == 0 else ()
    out = np.zeros((len(x), *out_dims, kernels, *tail), dtype=x.dtype if depth == 0 else table.dtype)
    for n, *o, m in product(range(len(x)), *map(range, out_dims), range(kernels)):

        def leaf_input(p, k, n=n, o=o, m=m):
            *offset, channel = np.unravel_index(indices[m, p, k], (*kernel, x.shape[-1]))
            at = tuple(int(o[d] * strides[d] + offset[d] - pads[d]) for d in range(axes))
            return _read(x[n], (*at, int(channel)))

        def node(level, q, m=m, leaf_input=leaf_input):
            below = [leaf_input(q, k) if level == 0 else node(level - 1, q * rank + k) for k in range(rank)]
            row = sum(rank ** (depth - 1 - i) for i in range(level)) + q
            return int(table[m, row, sum(bit << k for k, bit in enumerate(below))])

        at = (n, *o, m)
        if depth == 0:
            out[at] = [leaf_input(0, k) for k in range(rank)]
        else:
            out[at] = node(depth - 1, 0)
    return out


@pytest.mark.parametrize("key", sorted(FUNCTION_TEXT), ids=lambda key: "/".join(filter(None, key)))
def test_every_node_of_every_body_has_a_name_of_its_own(key):
    function = function_proto(*key)
    names = [node.name for node in function.node]
    assert all(names) and len(set(names)) == len(names)


@pytest.mark.parametrize("table_type", TABLE_TYPES)
@pytest.mark.parametrize(
    ("x_type", "input_bits"), [("bool", 1), ("uint8", 1), ("uint8", 3), ("uint16", 2), ("uint32", 1)]
)
def test_lookup_table_in_every_type(run_ort, table_type, x_type, input_bits):
    rng = np.random.default_rng(len(table_type) + input_bits)
    slots = 3
    info = None if table_type == "bool" else np.iinfo(table_type)
    low, high = (0, 1) if info is None else (info.min, info.max)
    table = rng.integers(low, high, (5, 1 << (slots * input_bits)), endpoint=True).astype(table_type)
    indices = rng.integers(0, 7, (5, slots))
    x = rng.integers(0, 1 << input_bits, (9, 7)).astype(x_type)
    writer = LogicModelWriter("types")
    y = writer.lookup_table(writer.input("x", (7,), x_type), indices, table, input_bits=input_bits, name="layer")
    writer.output(y, "y")
    got = run_ort(writer.model(), {"x": x})["y"]
    assert got.dtype == table.dtype
    np.testing.assert_array_equal(got, _lookup_by_hand(x, indices, table, input_bits))
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], got)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(1, 9),
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(0, 2**32),
)
def test_lookup_table_of_any_shape(run_ort, slots, features, neurons, leading, seed):
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, features, (neurons, slots))
    table = rng.integers(0, 2, (neurons, 1 << slots)).astype(np.bool_)
    x = rng.integers(0, 2, (4, *leading, features)).astype(np.bool_)
    writer = LogicModelWriter("shapes")
    writer.output(writer.lookup_table(writer.input("x", (*leading, features)), indices, table), "y")
    got = run_ort(writer.model(), {"x": x})["y"]
    want = _lookup_by_hand(x.reshape(-1, features), indices, table, 1).reshape(4, *leading, neurons)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], want)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_lookup_table_conv_of_any_geometry(run_ort, data):
    axes = data.draw(st.integers(2, 3), label="axes")
    rank, depth = data.draw(
        st.sampled_from([(1, 2), (2, 0), (3, 0), (2, 1), (2, 2), (2, 3), (3, 2), (4, 1)]), label="tree"
    )
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes), label="kernel")
    strides = data.draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes), label="strides")
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes), label="pads")
    dims = [k + data.draw(st.integers(0, 2)) for k in kernel]
    channels, kernels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    x_type = data.draw(st.sampled_from(["bool", "uint8", "uint16", "uint32"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    indices = rng.integers(0, math.prod(kernel) * channels, (kernels, rank ** (depth - 1) if depth else 1, rank))
    nodes = sum(rank**level for level in range(depth))
    table_type = data.draw(st.sampled_from(["bool", "uint8"]))
    table = rng.integers(0, 2, (kernels, nodes, 1 << rank)).astype(table_type) if depth else None
    top = 2 if depth or x_type == "bool" else np.iinfo(x_type).max
    x = rng.integers(0, top, (2, *dims, channels)).astype(x_type)
    writer = LogicModelWriter("conv")
    y = writer.lookup_table_conv(
        writer.input("x", (*dims, channels), x_type),
        indices,
        table,
        tree_depth=depth,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
    )
    writer.output(y, "y")
    got = run_ort(writer.model(), {"x": x})["y"]
    want = _conv_by_hand(x, indices, table, depth, kernel, strides, pads)
    assert got.dtype == want.dtype and got.shape[1:] == y.shape
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], want)


def test_trees_and_passthrough_live_in_one_model(run_ort):
    rng = np.random.default_rng(0)
    writer = LogicModelWriter("both")
    x = writer.input("x", (4, 4, 1), "uint8")
    indices = rng.integers(0, 4, (3, 2, 2))
    table = rng.integers(0, 2, (3, 3, 4)).astype(np.uint8)
    tree = writer.lookup_table_conv(x, indices, table, tree_depth=2, kernel_shape=[2, 2], name="tree")
    raw = writer.lookup_table_conv(x, indices[:, :1], tree_depth=0, kernel_shape=[2, 2], name="raw")
    writer.output(tree, "tree_out")
    writer.output(raw, "raw_out")
    image = rng.integers(0, 2, (3, 4, 4, 1)).astype(np.uint8)
    got = run_ort(writer.model(), {"x": image})
    assert got["tree_out"].shape == (3, 3, 3, 3) and got["raw_out"].shape == (3, 3, 3, 3, 2)
    pads, ones = [0] * 4, [1, 1]
    np.testing.assert_array_equal(got["tree_out"], _conv_by_hand(image, indices, table, 2, [2, 2], ones, pads))
    np.testing.assert_array_equal(got["raw_out"], _conv_by_hand(image, indices[:, :1], None, 0, [2, 2], ones, pads))


def test_example_of_the_public_definition(run_ort):
    """The worked example of the operator's public page: XOR and AND leaves under an OR."""
    writer = LogicModelWriter("example")
    x = writer.input("x", (2, 2, 1), "uint8")
    indices = np.array([[[0, 3], [1, 2]]])
    table = np.array([[[0, 1, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]]], dtype=np.uint8)
    writer.output(writer.lookup_table_conv(x, indices, table, tree_depth=2, kernel_shape=[2, 2], strides=[2, 2]), "y")
    every = np.array(list(product((0, 1), repeat=4)), dtype=np.uint8).reshape(-1, 2, 2, 1)
    a, b, c, d = every.reshape(-1, 4).T
    np.testing.assert_array_equal(run_ort(writer.model(), {"x": every})["y"][:, 0, 0, 0], (a ^ d) | (b & c))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_or_pool_of_any_geometry(run_ort, data):
    axes = data.draw(st.integers(2, 3))
    kernel = data.draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes))
    strides = data.draw(st.lists(st.integers(1, 3), min_size=axes, max_size=axes))
    pads = data.draw(st.lists(st.integers(0, 1), min_size=2 * axes, max_size=2 * axes))
    dims = [k + data.draw(st.integers(0, 3)) for k in kernel]
    dtype = data.draw(st.sampled_from(["bool", "uint8"]))
    x = (np.random.default_rng(data.draw(st.integers(0, 2**32))).random((2, *dims, 2)) < 0.2).astype(dtype)
    writer = LogicModelWriter("pool")
    y = writer.or_pool(writer.input("x", (*dims, 2), dtype), kernel, strides, pads)
    writer.output(y, "y")
    want = np.zeros((2, *y.shape), dtype=dtype)
    for n, *o, c in product(*map(range, want.shape)):
        window = product(
            *(range(o[d] * strides[d] - pads[d], o[d] * strides[d] - pads[d] + kernel[d]) for d in range(axes))
        )
        want[(n, *o, c)] = any(_read(x[n], (*at, c)) for at in window)
    got = run_ort(writer.model(), {"x": x})["y"]
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], want)


@pytest.mark.parametrize("relation", [">=", ">"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64"])
def test_thermometer_in_every_type(run_ort, dtype, relation):
    rng = np.random.default_rng(3)
    if dtype.startswith("float"):
        x = rng.normal(size=(20, 3)).astype(dtype)
        x[0] = np.nan
        thresholds = np.concatenate([x[1:6].T, [[-np.inf, np.inf]] * 3], axis=1)
    else:
        low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        x = rng.integers(low, high, (20, 3), endpoint=True).astype(dtype)
        x[0], x[1] = low, high
        exact = x[:6].T.astype(np.float64)
        thresholds = np.concatenate([exact, exact + 0.5, [[-np.inf, np.inf, low - 7.0, high + 7.0]] * 3], axis=1)
    writer = LogicModelWriter("thermometer")
    writer.output(writer.thermometer(writer.input("x", (3,), dtype), thresholds, relation, name="encoder"), "y")
    wide = x.astype(np.float64)[..., None]
    want = (wide >= thresholds if relation == ">=" else wide > thresholds).reshape(20, -1)
    np.testing.assert_array_equal(run_ort(writer.model(), {"x": x})["y"], want)
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], want)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32"])
def test_group_sum_rounds_after_every_step(run_ort, dtype):
    rng = np.random.default_rng(4)
    x = rng.integers(0, 2, (50, 60)).astype(dtype) * (-1 if dtype.startswith("int") else 1)
    x = x.astype(dtype)
    writer = LogicModelWriter("sums")
    source = writer.input("x", (60,), dtype)
    writer.output(writer.group_sum(source, 6, tau=0.3, beta=0.1, offset=0.7, name="sum"), "y")
    count = x.reshape(50, 6, 10).astype(np.int64).sum(-1)
    want = (count.astype(np.float32) + np.float32(0.7)) / np.float32(0.3) + np.float32(0.1)
    got = run_ort(writer.model(), {"x": x})["y"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(evaluate(writer.model(), {"x": x})["y"], want)


def test_two_thousand_classes_and_the_first_of_equal_scores(run_ort):
    rng = np.random.default_rng(5)
    x = rng.integers(0, 2, (8, 4000)).astype(np.bool_)
    writer = LogicModelWriter("classes")
    writer.output(writer.argmax(writer.group_sum(writer.input("x", (4000,)), 2000), name="class"), "label")
    got = run_ort(writer.model(), {"x": x})["label"]
    np.testing.assert_array_equal(got, x.reshape(8, 2000, 2).sum(-1).argmax(-1))
    assert got.dtype == np.int64


def test_the_whole_family_shares_one_opset(run_ort):
    """A function's body and the graph around it must import the same standard operators."""
    writer = LogicModelWriter("opset")
    writer.output(writer.group_sum(writer.input("x", (4,)), 2), "y")
    model = writer.model()
    versions = {o.domain: o.version for o in model.opset_import}
    assert {o.version for f in model.functions for o in f.opset_import if o.domain == ""} == {versions[""]}
    assert versions[""] >= 18 and model.ir_version <= onnx.IR_VERSION
