"""GRU, LSTM and RNN as real programs: equal to onnxruntime in every option, and in fixed point as near as the formats allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import InputRule, load_onnx
from onnx import helper

from .conftest import make_model, read_program

STEPS, SAMPLES, FEATURES, HIDDEN = 5, 3, 2, 4
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def recurrent(
    op: str,
    seed: int = 0,
    *,
    direction: str = "forward",
    bias: bool = True,
    lengths: bool = False,
    initial: bool = False,
    peepholes: bool = False,
    batch: Any = "N",
    opset: int = 20,
    producer: str = "",
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray], dict[str, int]]:
    """A model of one recurrent node, feeds for it, and the batch axes of its inputs and outputs."""
    rng = np.random.default_rng(seed)
    d, g, h, layout = 2 if direction == "bidirectional" else 1, GATES[op], HIDDEN, attributes.get("layout", 0)

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.7).astype(np.float32)

    constants = {"W": draw(d, g * h, FEATURES), "R": draw(d, g * h, h)}
    names = ["x", "W", "R"]
    feeds = {"x": draw(STEPS, SAMPLES, FEATURES)}
    inputs: dict[str, list[Any]] = {"x": [STEPS, batch, FEATURES]}
    kinds = {}
    names.append("B" if bias else "")
    if bias:
        constants["B"] = draw(d, 2 * g * h)
    names.append("lengths" if lengths else "")
    if lengths:
        inputs["lengths"], kinds["lengths"] = [batch], "i"
        feeds["lengths"] = np.array([STEPS, 1, 3], np.int32)
    states = ["h", "c"] if op == "LSTM" else ["h"]
    for state in states:
        names.append(state if initial else "")
        if initial:
            inputs[state], feeds[state] = [d, batch, h], draw(d, SAMPLES, h)
    if peepholes:
        names.append("P")
        constants["P"] = draw(d, 3 * h)
    if layout:
        for name in feeds:
            if name != "lengths":
                feeds[name] = np.ascontiguousarray(feeds[name].swapaxes(0, 1))
                inputs[name][:2] = inputs[name][1::-1]
    outputs = ["Y", "Yh"] + (["Yc"] if op == "LSTM" else [])
    node = helper.make_node(op, names, outputs, name=f"{op}_0", hidden_size=h, direction=direction, **attributes)
    model = make_model([node], inputs, outputs, constants, opset=opset, kinds=kinds, producer=producer)
    place = 1 - layout
    axes = {"x": place, "h": place, "c": place, "Y": 0 if layout else 2, "Yh": place, "Yc": place}
    return model, feeds, axes


CASES = [
    ("GRU", {}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"direction": "reverse", "initial": True}),
    ("GRU", {"direction": "bidirectional", "linear_before_reset": 1, "lengths": True}),
    ("GRU", {"lengths": True, "direction": "reverse", "initial": True}),
    ("GRU", {"bias": False, "clip": 0.4}),
    ("GRU", {"activations": ["HardSigmoid", "LeakyRelu"], "activation_alpha": [0.3, 0.1], "activation_beta": [0.4]}),
    ("GRU", {"activations": ["Affine", "Softsign"], "activation_alpha": [0.5], "activation_beta": [0.25]}),
    ("LSTM", {}),
    ("LSTM", {"peepholes": True, "initial": True}),
    ("LSTM", {"direction": "bidirectional", "lengths": True, "initial": True}),
    ("LSTM", {"direction": "reverse", "peepholes": True, "clip": 0.5}),
    (
        "LSTM",
        {"activations": ["Sigmoid", "Elu", "ScaledTanh"], "activation_alpha": [0.5, 1.2], "activation_beta": [0.7]},
    ),
    ("RNN", {}),
    ("RNN", {"direction": "bidirectional", "initial": True, "lengths": True}),
    ("RNN", {"activations": ["Relu"], "direction": "reverse"}),
    ("RNN", {"activations": ["Softplus"], "clip": 1.0}),
]


def identity(case: tuple[str, dict[str, Any]]) -> str:
    return case[0] + "".join(f"-{k}" for k in case[1])


@pytest.mark.parametrize("case", CASES, ids=identity)
def test_equals_onnxruntime(case: tuple[str, dict[str, Any]], same_as_onnxruntime: Callable[..., Any]) -> None:
    model, feeds, axes = recurrent(case[0], **case[1])
    rules = {"lengths": InputRule(bounds=(0, STEPS))} if "lengths" in feeds else None
    same_as_onnxruntime(model, feeds, axes, rules=rules)


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_a_model_of_one_sample_keeps_its_batch_as_data(op: str, same_as_onnxruntime: Callable[..., Any]) -> None:
    model, feeds, _ = recurrent(op, batch=SAMPLES, initial=True, direction="bidirectional")
    same_as_onnxruntime(model, feeds, single=True)


@pytest.mark.parametrize(
    ("op", "options"), [("GRU", {}), ("LSTM", {"direction": "bidirectional"}), ("RNN", {"initial": True})]
)
def test_layout_1_is_layout_0_with_the_samples_first(op: str, options: dict[str, Any]) -> None:
    """onnxruntime refuses layout 1, so the same weights in layout 0 are the reference."""
    from neuroloom.compiler.real import evaluate

    first, feeds, axes = recurrent(op, **options)
    second, turned, places = recurrent(op, layout=1, **options)
    a = evaluate(
        read_program(first, axes and {n: axes[n] for n in feeds}),
        {n: np.moveaxis(x, axes[n], 0) for n, x in feeds.items()},
    )
    b = evaluate(
        read_program(second, {n: places[n] for n in turned}),
        {n: np.moveaxis(x, places[n], 0) for n, x in turned.items()},
    )
    assert a["Yh"].shape == b["Yh"].shape and all((a[n] == b[n]).all() for n in a)
    single, rows, _ = recurrent(op, layout=1, batch=SAMPLES, **options)
    c = evaluate(read_program(single, "none"), {n: x[None] for n, x in rows.items()})
    np.testing.assert_allclose(c["Y"][0], b["Y"], rtol=1e-12)
    np.testing.assert_allclose(c["Yh"][0], b["Yh"], rtol=1e-12)


def test_input_forget_couples_the_gates() -> None:
    """f = 1 - i: with a candidate of 1 everywhere and memory 1, the memory stays 1."""
    from neuroloom.compiler.real import evaluate

    h = HIDDEN
    big = np.zeros((1, 8 * h), np.float32)
    big[0, 3 * h : 4 * h] = 40  # candidate tanh(40) = 1
    weights = {"W": np.zeros((1, 4 * h, FEATURES), np.float32), "R": np.zeros((1, 4 * h, h), np.float32), "B": big}
    weights["c"] = np.ones((1, 1, h), np.float32)
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "", "c"], ["Y", "Yh", "Yc"], hidden_size=h, input_forget=1)
    program = read_program(make_model([node], {"x": [STEPS, "N", FEATURES]}, ["Yc"], weights), 1)
    y = evaluate(program, {"x": np.zeros((2, STEPS, FEATURES))})
    np.testing.assert_allclose(y["Yc"], 1.0)


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_more_bits_come_nearer_to_float(op: str) -> None:
    from neuroloom.compiler.real import evaluate
    from neuroloom.sim.reference import run

    model, _, _ = recurrent(op, direction="bidirectional")
    x = np.random.default_rng(7).normal(size=(40, STEPS, FEATURES)) * 0.7
    real = evaluate(read_program(model, 1), {"x": x})
    worst = []
    for weight_bits, table_bits in ((6, 8), (9, 11), (14, 15)):
        config = {"weight_bits": weight_bits, "table_bits": table_bits}
        graph = load_onnx(model, batch_axis=1, calibrate=x, config=config)
        y = run(graph, x)
        worst.append(max(float(np.abs(o.affine.dequantize(y[o.name]) - real[o.name]).max()) for o in graph.outputs))
    assert worst[0] > 3 * worst[1] > 9 * worst[2] and worst[2] < 2e-3


def test_pytorch_with_linear_before_reset_0_is_warned_about() -> None:
    model, _, _ = recurrent("GRU", producer="pytorch")
    assert "linear_before_reset is 0" in read_program(model, 1).records["warnings"][0]
    model, _, _ = recurrent("GRU", producer="pytorch", linear_before_reset=1)
    assert "warnings" not in read_program(model, 1).records


@pytest.mark.parametrize(
    ("options", "axis", "match"),
    [
        ({"activations": ["Sigmoid", "Sine"]}, 1, "activation 'Sine' is unknown; known are affine"),
        ({"activations": ["ScaledTanh", "Tanh"]}, 1, "must be given its activation_alpha"),
        ({"activations": ["Tanh"]}, 1, "activations must be 2 names, not 1"),
        ({"direction": "sideways"}, 1, "direction must be forward, reverse or bidirectional"),
        ({"clip": -1.0}, 1, "clip must be above 0"),
        ({"lengths": True}, 1, "needs bounds|only known to be in"),
        ({"batch": SAMPLES}, 0, "the batch axis of its input is 0, but layout 0 has the samples on axis 1"),
    ],
)
def test_refusals(options: dict[str, Any], axis: int, match: str) -> None:
    model, _, _ = recurrent("GRU", **options)
    places: Any = {"x": axis, "lengths": 0} if options.get("lengths") else axis
    with pytest.raises((InputError, UnsupportedError), match=match):
        read_program(model, places)


def test_weights_that_are_not_numbers_are_refused() -> None:
    model, _, _ = recurrent("GRU")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0, 1, 0] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "W"))
    with pytest.raises(InputError, match=r"node 'GRU_0' \(GRU\): W must be finite, not nan at \[0, 1, 0\]"):
        read_program(model, 1)


def test_states_of_another_size_are_refused() -> None:
    """As torch writes an LSTM with proj_size: its cell state is larger than the hidden one."""
    model, _, _ = recurrent("LSTM", initial=True)
    for item in model.graph.input:
        if item.name == "c":
            item.type.tensor_type.shape.dim[2].dim_value = 8
    with pytest.raises(InputError, match=r"the initial memory must be \[1, samples, 4\]"):
        read_program(model, {"x": 1, "h": 1, "c": 1})
