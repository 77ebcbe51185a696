"""Masks of minus infinity: what onnxruntime gives, in real numbers and in fixed point, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.sim import reference
from onnx import helper

from .conftest import make_model, read_program, reference_outputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5, 5)).astype(np.float32)
X[:3] = np.round(X[:3])  # some ties
CAUSAL = np.triu(np.ones((5, 5), bool), 1)
COLUMNS = np.array([1, 0, 0, 1, 0], bool)
LOW = np.float32(-np.inf)


def node(op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs or ["y"], name=f"the_{op}", **attributes)


def added(mask: np.ndarray, low: np.float32 = LOW) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """masked = x + mask, 0.5 where it lets through."""
    return [node("Add", ["x", "mask"], ["masked"])], {"mask": np.where(mask, low, np.float32(0.5))}


def chosen(mask: np.ndarray) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    return [node("Where", ["mask", "low", "x"], ["masked"])], {"mask": mask, "low": LOW}


def computed(limit: float) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """masked = x where it is above the limit."""
    nodes = [node("Greater", ["x", "limit"], ["open"]), node("Where", ["open", "x", "low"], ["masked"])]
    return nodes, {"limit": np.float32(limit), "low": np.float32(-3.4028235e38)}


MASKS = {
    "causal, added": added(CAUSAL),
    "causal, the least float32": added(CAUSAL, np.float32(-3.4028235e38)),
    "columns, chosen": chosen(COLUMNS),
    "causal, chosen": chosen(CAUSAL),
    "computed": computed(-1.0),
}
READERS: dict[str, list[onnx.NodeProto]] = {
    "softmax": [node("Softmax", ["masked"], axis=-1)],
    "arg-max": [node("ArgMax", ["masked"], axis=2, keepdims=0)],
    "last arg-max": [node("ArgMax", ["masked"], axis=2, select_last_index=1)],
    "maximum": [node("ReduceMax", ["masked", "two"], keepdims=0)],
    "top-k": [node("TopK", ["masked", "k"], ["y", "where"], axis=2)],
}
REFUSED = {
    ("maximum", "computed"): "minus infinity where all is masked; mask with a finite number",
    ("top-k", "computed"): "where fewer than k are left",
    **{("top-k", mask): "the same in every line" for mask in MASKS if mask.startswith("causal")},
}


def model(reader: str, mask: str) -> onnx.ModelProto:
    nodes, constants = MASKS[mask]
    last = READERS[reader]
    given = {"softmax": {}, "maximum": {"two": np.array([2])}, "top-k": {"k": np.array([2])}}.get(reader, {})
    kinds = {"arg-max": {"y": "l"}, "last arg-max": {"y": "l"}, "top-k": {"where": "l"}}.get(reader, {})
    outputs = list(last[-1].output)
    return make_model([*nodes, *last], {"x": ["N", 5, 5]}, outputs, {**constants, **given}, kinds=kinds)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_masked_is_left_out(reader: str, mask: str, same_as_onnxruntime: Callable[..., Any]) -> None:
    net = model(reader, mask)
    if (reader, mask) in REFUSED:
        with pytest.raises(UnsupportedError, match=REFUSED[reader, mask]) as caught:
            read_program(net)
        assert f"node 'the_{READERS[reader][0].op_type}'" in str(caught.value)
        return
    x = X[(X.max(axis=2) > -1).all(axis=1)]  # of a line without anything left a softmax is no number
    same_as_onnxruntime(net, {"x": x})
    graph = load_onnx(net, calibrate=x, quantise=True)
    item = graph.inputs[0]
    integers = np.rint(x.astype(np.float64) / float(item.affine.scale[0])).astype(np.int64)
    integers = np.clip(integers, *item.range)
    got = reference.run(graph, {"x": integers})
    exact = (integers * float(item.affine.scale[0])).astype(
        np.float32
    )  # what the integers say, of which indices are exact
    for output, want in zip(graph.outputs, reference_outputs(net, {"x": exact}), strict=True):
        if want.dtype.kind == "f":
            assert np.abs(output.affine.dequantize(got[output.name]) - want).max() < 0.01
        else:
            assert (got[output.name] == want).all()


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (
            node("Mul", ["masked", "masked"]),
            "node 'the_Mul' (Mul): node 'the_Add' (Add): its result is minus infinity where",
        ),
        (
            node("LogSoftmax", ["masked"]),
            "(LogSoftmax): LogSoftmax of a masked tensor has minus infinities; take the Softmax",
        ),
        (node("Softmax", ["masked"], axis=1), "(Softmax): everything is masked in line [0]; leave one place unmasked"),
        (node("TopK", ["masked", "k"], ["y", "i"]), "k must be at most the 3 places that are not masked, not 4"),
        (node("TopK", ["masked", "k"], ["y", "i"], largest=0), "the smallest of a masked tensor are minus infinities"),
    ],
)
def test_refusals(last: onnx.NodeProto, message: str) -> None:
    nodes, constants = added(COLUMNS)
    kinds = {"i": "l"} if last.op_type == "TopK" else {}
    net = make_model(
        [*nodes, last], {"x": ["N", 5, 5]}, list(last.output), {**constants, "k": np.array([4])}, kinds=kinds
    )
    with pytest.raises(UnsupportedError) as caught:
        read_program(net)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_number_chosen_from_sums_is_not_more_than_itself() -> None:
    """The sums that are at least the second best of themselves are two, though what was chosen is rounded."""
    nodes = [
        node("MatMul", ["x", "w"], ["sums"]),
        node("TopK", ["sums", "k"], ["best", "where"]),
        node("ReduceMin", ["best", "one"], ["second"]),
        node("GreaterOrEqual", ["sums", "second"], ["open"]),
        node("Where", ["open", "sums", "low"], ["masked"]),
        node("Softmax", ["masked"]),
    ]
    weights = RNG.normal(size=(5, 6)).astype(np.float32)
    constants = {"w": weights, "k": np.array([2]), "one": np.array([1]), "low": LOW}
    net = make_model(nodes, {"x": ["N", 5]}, ["y"], constants)
    x = X[:, 0]
    graph = load_onnx(net, calibrate=x, quantise=True)
    item = graph.inputs[0]
    integers = np.clip(np.rint(x.astype(np.float64) / float(item.affine.scale[0])).astype(np.int64), *item.range)
    got = reference.run(graph, {"x": integers})["y"]
    assert ((got > 0).sum(axis=1) >= 2).all()
    assert np.abs(graph.outputs[0].affine.dequantize(got) - reference_outputs(net, {"x": x})[0]).mean() < 0.01
