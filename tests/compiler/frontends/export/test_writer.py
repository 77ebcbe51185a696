"""The writer: shapes, names, bytes on disk, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.export import LogicModelWriter, evaluate


def _digits(seed: int = 0) -> LogicModelWriter:
    """A small network of every kind of layer."""
    rng = np.random.default_rng(seed)
    w = LogicModelWriter("digits")
    x = w.input("image", (8, 8, 1), "uint8")
    h = w.thermometer(x, [4, 8.5], name="encoder")
    h = w.lookup_table_conv(
        h,
        rng.integers(0, 18, (6, 2, 2)),
        rng.integers(0, 2, (6, 3, 4)),
        tree_depth=2,
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        channel_group_size=2,
        name="conv",
    )
    h = w.or_pool(h, [2, 2], name="pool")
    h = w.concat([w.flatten(h, name="flat"), w.reshape(h, (-1,), name="same")], name="twice")
    h = w.lookup_table(
        h, rng.integers(0, 192, (40, 4)), rng.integers(0, 2, (40, 16)).astype(bool), name="dense", out_bits=1
    )
    s = w.group_sum(h, groups=10, tau=2.0, beta=0.5, name="sum")
    w.output(s, "scores")
    w.output(w.argmax(s, name="class"), "label")
    return w


def test_a_whole_network_runs_in_stock_onnxruntime(run_ort):
    model = _digits().model()
    image = np.random.default_rng(1).integers(0, 17, (20, 8, 8, 1)).astype(np.uint8)
    got = run_ort(model, {"image": image})
    want = evaluate(model, {"image": image})
    assert got["scores"].dtype == np.float32 and got["label"].dtype == np.int64
    for name in ("scores", "label"):
        np.testing.assert_array_equal(got[name], want[name])
    np.testing.assert_array_equal(got["label"], got["scores"].argmax(-1))


def test_same_calls_give_same_bytes(tmp_path):
    first, second = _digits().save(tmp_path / "a.onnx"), _digits().save(tmp_path / "b.onnx")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]


def test_files_are_small():
    """A gate costs its two int32 indices and four table bytes, and the functions cost little."""
    gates, rng = 10_000, np.random.default_rng(0)
    w = LogicModelWriter("size")
    x = w.input("x", (gates,))
    w.output(w.lookup_table(x, rng.integers(0, gates, (gates, 2)), rng.integers(0, 2, (gates, 4))), "y")
    assert gates * 12 < len(w.model().SerializeToString()) < gates * 12 + 4000


def test_nodes_inputs_and_outputs_carry_the_given_names():
    graph = _digits().model().graph
    assert [n.name for n in graph.node] == ["encoder", "conv", "pool", "flat", "same", "twice", "dense", "sum", "class"]
    assert [i.name for i in graph.input] == ["image"]
    assert [o.name for o in graph.output] == ["scores", "label"]
    batch, *dims = graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "N" and [d.dim_value for d in dims] == [8, 8, 1]


def test_only_the_functions_in_use_are_carried():
    w = LogicModelWriter("one")
    w.output(w.lookup_table(w.input("x", (2,)), [[0, 1]], [[0, 0, 0, 1]]), "y")
    model = w.model()
    assert [f.name for f in model.functions] == ["LookupTable"]
    assert {o.domain: o.version for o in model.opset_import} == {"": 18, "qonnx.custom_op.lnn": 3}


def test_an_input_and_a_value_may_be_outputs_several_times(run_ort):
    w = LogicModelWriter("again")
    x = w.input("x", (2,))
    y = w.lookup_table(x, [[0, 1]], [[0, 1, 1, 0]], name="xor")
    for value, name in ((y, "a"), (y, "b"), (x, "c")):
        w.output(value, name)
    every = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=bool)
    got = run_ort(w.model(), {"x": every})
    np.testing.assert_array_equal(got["a"][:, 0], [0, 1, 1, 0])
    np.testing.assert_array_equal(got["b"], got["a"])
    np.testing.assert_array_equal(got["c"], every)


def test_boolean_and_shape_operations(run_ort):
    w = LogicModelWriter("logic")
    a, b = w.input("a", (2, 3)), w.input("b", (2, 3))
    w.output(w.logical_or(a, b), "or_")
    w.output(w.logical_and(a, w.logical_not(b)), "and_not")
    w.output(w.logical_xor(a, b), "xor_")
    w.output(w.transpose(a, [1, 0]), "turned")
    w.output(w.cast(a, "int32"), "numbers")
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 2, (5, 2, 3)).astype(bool) for _ in range(2))
    got = run_ort(w.model(), {"a": x, "b": y})
    want = {
        "or_": x | y,
        "and_not": x & ~y,
        "xor_": x ^ y,
        "turned": x.transpose(0, 2, 1),
        "numbers": x.astype(np.int32),
    }
    for name, array in want.items():
        np.testing.assert_array_equal(got[name], array)
        np.testing.assert_array_equal(evaluate(w.model(), {"a": x, "b": y})[name], array)


def _writer(shape=(4,), dtype="bool"):
    w = LogicModelWriter("refusals")
    return w, w.input("x", shape, dtype)


REFUSALS = {
    "index out of range": (
        lambda: _lut(indices=[[0, 4]]),
        "layer 'l': indices must be in [0, 4), not 4",
    ),
    "negative index": (lambda: _lut(indices=[[0, -1]]), "layer 'l': indices must be in [0, 4), not -1"),
    "float indices": (lambda: _lut(indices=[[0.0, 1.0]]), "layer 'l': indices must be integers, not float64"),
    "table of the wrong length": (
        lambda: _lut(tables=[[0, 1, 1]]),
        "layer 'l': tables must have shape (1, 4), not (1, 3)",
    ),
    "float table": (
        lambda: _lut(tables=[[0.0, 1, 1, 0]]),
        "layer 'l': tables must be one of bool, uint8, uint16, uint32, int8, int16, int32, not float64",
    ),
    "wide bool input": (
        lambda: _lut(tables=np.zeros((1, 16), np.uint8), input_bits=2),
        "layer 'l': a bool input must have input_bits 1, not 2",
    ),
    "table beyond out_bits": (
        lambda: _lut(tables=np.array([[0, 1, 2, 4]], np.uint8), out_bits=2),
        "layer 'l': tables must hold values in [0, 4) for out_bits 2, not 0..4",
    ),
    "float input": (
        lambda: _lut(dtype="float32"),
        "layer 'l': the input must be one of bool, uint8, uint16, uint32, not float32",
    ),
    "address too wide": (
        lambda: _lut(indices=[[0] * 25], tables=[[0]]),
        "layer 'l': a table's address must be at most 24 bits wide, not 25",
    ),
    "leaves do not match the tree": (
        lambda: _conv(indices=np.zeros((1, 3, 2), int)),
        "layer 'c': indices must have 2 leaves per kernel (its second axis), not 3",
    ),
    "tree entries beyond bits": (
        lambda: _conv(tables=np.full((1, 3, 4), 2, np.uint8)),
        "layer 'c': tables must hold 0 and 1 only, not 2",
    ),
    "tables with passthrough": (
        lambda: _conv(indices=np.zeros((1, 1, 2), int), tree_depth=0),
        "layer 'c': tables must be omitted when tree_depth is 0",
    ),
    "window too large": (
        lambda: _conv(kernel_shape=[5, 2]),
        "layer 'c': kernel_shape must fit the padded input, not exceed it by 1 on spatial axis 0",
    ),
    "window of the wrong rank": (
        lambda: _conv(kernel_shape=[2]),
        "layer 'c': a window must have 2 or 3 axes, one fewer than the channels-last input [4, 4, 1], not 1",
    ),
    "zero stride": (
        lambda: _conv(strides=[0, 1]),
        "layer 'c': kernel_shape and strides must be at least 1 and pads at least 0",
    ),
    "groups that do not divide": (
        lambda: _writer_call("group_sum", groups=3),
        "layer 'l': groups must divide the 4 inputs, not 3",
    ),
    "zero tau": (lambda: _writer_call("group_sum", groups=2, tau=0.0), "layer 'l': tau must not be 0"),
    "infinite beta": (
        lambda: _writer_call("group_sum", groups=2, beta=float("inf")),
        "layer 'l': beta must be a finite float32, not inf",
    ),
    "NaN threshold": (
        lambda: _writer_call("thermometer", [1.0, float("nan")]),
        "layer 'l': thresholds must not be NaN",
    ),
    "thresholds of the wrong shape": (
        lambda: _writer_call("thermometer", np.zeros((3, 2))),
        "layer 'l': thresholds must have shape (4, T) or (T,), not (3, 2)",
    ),
    "unknown relation": (
        lambda: _writer_call("thermometer", [1], relation="<"),
        "layer 'l': relation must be '>=' or '>', not '<'",
    ),
    "reshape that loses elements": (
        lambda: _writer_call("reshape", (3,)),
        "layer 'l': shape must hold 4 elements like [4], not [3]",
    ),
    "input without elements": (
        lambda: LogicModelWriter("m").input("x", (0,)),
        "input 'x': every dimension must be at least 1, not [0]",
    ),
    "unknown element type": (
        lambda: LogicModelWriter("m").input("x", (1,), "float11"),
        "input 'x': the element type must be a numpy type that ONNX has, not 'float11'",
    ),
    "model without output": (
        lambda: _writer()[0].model(),
        "model 'refusals' must have an input and an output; call input() and output()",
    ),
}


def _lut(indices=((0, 1),), tables=((0, 1, 1, 0),), dtype="bool", **options):
    w, x = _writer(dtype=dtype)
    return w.lookup_table(x, indices, tables, name="l", **options)


def _conv(indices=None, tables=None, **options):
    w, x = _writer((4, 4, 1))
    indices = np.zeros((1, 2, 2), int) if indices is None else indices
    tables = np.zeros((1, 3, 4), bool) if tables is None else tables
    return w.lookup_table_conv(x, indices, tables, name="c", **{"tree_depth": 2, "kernel_shape": [2, 2], **options})


def _writer_call(method, *args, **options):
    w, x = _writer()
    return getattr(w, method)(x, *args, name="l", **options)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.replace(" ", "-"))
def test_refusals_say_where_and_what(case):
    call, text = REFUSALS[case]
    with pytest.raises(InputError, match=re.escape(text)):
        call()


def test_every_name_is_used_once():
    w, x = _writer()
    w.group_sum(x, 2, name="sum")
    with pytest.raises(InputError, match="layer 'sum': every name in a model must be used once"):
        w.group_sum(x, 2, name="sum")


def test_an_unwritable_path_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="cannot write '.*no/such/dir/m.onnx': .*; choose another path"):
        _digits().save(tmp_path / "no/such/dir/m.onnx")
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        _digits().save(tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_saved_file_loads_back_equal(tmp_path):
    writer = _digits()
    path = writer.save(tmp_path / "m.onnx")
    assert onnx.load(path) == writer.model()
