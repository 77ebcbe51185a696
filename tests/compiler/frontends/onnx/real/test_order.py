"""What keeps the order of its elements is left out before an arg-max, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from .conftest import make_model, read_program

RNG = np.random.default_rng(8)


@pytest.mark.parametrize(
    ("kind", "axis", "functions"), [("Softmax", -1, 0), ("LogSoftmax", 1, 0), ("Softmax", 2, 0), ("Softmax", 1, 2)]
)
def test_argmax_of_a_softmax(kind, axis, functions, same_as_onnxruntime):
    """Along the same axis, however it is counted, and from the end too; along another one the softmax decides."""
    rank = 2 if kind == "LogSoftmax" else 3
    shape, along = ["N", 4, 5][:rank], 1 if rank == 2 else 2
    nodes = [
        helper.make_node(kind, ["x"], ["p"], name="soft", axis=axis),
        helper.make_node("ArgMax", ["p"], ["best"], name="best", axis=along, keepdims=0, select_last_index=1),
    ]
    model = make_model(nodes, {"x": shape}, ["best"], kinds={"best": "l"})
    program = same_as_onnxruntime(model, {"x": RNG.normal(size=(6, 4, 5)[:rank]).astype(np.float32)}, 0)
    assert sum(node.op == "function" for node in program.walk()) == functions


def test_a_softmax_that_is_read_stays():
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], name="soft", axis=1),
        helper.make_node("ArgMax", ["p"], ["best"], name="best", axis=1),
    ]
    program = read_program(make_model(nodes, {"x": ["N", 5]}, ["best", "p"], kinds={"best": "l"}), 0)
    (index,) = [node for node in program.walk() if node.op == "argmax"]
    assert index.inputs == ("x",) and sum(node.op == "function" for node in program.walk()) == 2
