"""ScatterElements as torch writes routing with it: weights of the chosen experts put back into a dense vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.sim import reference
from onnx import helper

from .conftest import make_model, read_program, reference_outputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, name=f"the_{op}", **attributes)


def routed(**attributes: Any) -> onnx.ModelProto:
    """The two largest of five inputs where they stood, others what they were of 0.25."""
    nodes = [
        node("TopK", ["x", "k"], ["best", "where"]),
        node("Mul", ["x", "zero"], ["nothing"]),
        node("Add", ["nothing", "quarter"], ["dense"]),
        node("ScatterElements", ["dense", "where", "best"], ["y"], **{"axis": 1, **attributes}),
    ]
    constants = {"k": np.array([2]), "zero": np.zeros(5, np.float32), "quarter": np.full(5, 0.25, np.float32)}
    return make_model(nodes, {"x": ["N", 5]}, ["y"], constants)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_chosen_weights_go_back_to_their_places(reduction: str, same_as_onnxruntime: Callable[..., Any]) -> None:
    net = routed(reduction=reduction)
    same_as_onnxruntime(net, {"x": X})
    graph = load_onnx(net, calibrate=X, quantise=True)
    item = graph.inputs[0]
    integers = np.clip(np.rint(X.astype(np.float64) / float(item.affine.scale[0])).astype(np.int64), *item.range)
    exact = (integers * float(item.affine.scale[0])).astype(np.float32)
    (output,), (want,) = graph.outputs, reference_outputs(net, {"x": exact})
    got = output.affine.dequantize(reference.run(graph, {"x": integers})[output.name])
    assert np.abs(got - want).max() < 0.01
    assert np.count_nonzero(np.abs(got - 0.25) > 0.02, axis=1).max() == 2


def test_constant_places(same_as_onnxruntime: Callable[..., Any]) -> None:
    nodes = [node("ScatterElements", ["x", "where", "new"], ["y"], axis=1)]
    constants = {"where": np.array([[3, -5]]), "new": np.array([[7.0, 8.0]], np.float32)}
    same_as_onnxruntime(make_model(nodes, {"x": [1, 5]}, ["y"], constants), {"x": X[:1]})


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"where": np.array([[5]]), "new": np.zeros((1, 1), np.float32)}, "indices must lie in -5..4, not 5..5"),
        ({"where": np.array([[1]]), "new": np.zeros((1, 2), np.float32)}, "updates must be as large as the indices"),
    ],
)
def test_refusals(constants: dict[str, np.ndarray], message: str) -> None:
    nodes = [node("ScatterElements", ["x", "where", "new"], ["y"], axis=1)]
    with pytest.raises((InputError, UnsupportedError)) as caught:
        read_program(make_model(nodes, {"x": [1, 5]}, ["y"], constants), "none")
    assert message in str(caught.value) and "the_ScatterElements" in str(caught.value)
