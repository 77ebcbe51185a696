"""What a float network may not have: one sentence each, naming the node, the reason and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from onnx import TensorProto, helper

from .conftest import make_model

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def node(op: str, inputs: list[str], outputs: list[str] | None = None, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs or ["y"], name=f"the_{op}", **attributes)


def branch(name: str, *nodes: onnx.NodeProto, out: str) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])


def loop_body(cond: onnx.NodeProto, *extra: str) -> onnx.GraphProto:
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N", 4]),
    ]
    outs = [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])]
    outs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("t", *extra)]
    half = helper.make_node("Mul", ["s", "half"], ["t"])
    copies = [helper.make_node("Identity", ["t"], [n]) for n in extra]
    return helper.make_graph([cond, half, *copies], "body", inputs, outs)


GO = helper.make_node("Identity", ["go"], ["go_on"])
SMALL = [
    helper.make_node("ReduceMax", ["s", "one_axis"], ["top"], keepdims=0),
    helper.make_node("Greater", ["top", "limit"], ["go_on"]),
]

CASES: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "data-dependent shape": (
        [node("NonZero", ["x"])],
        {},
        "node 'the_NonZero' (NonZero): the shape of its result depends on the data; hardware",
    ),
    "scatter": (
        [node("ScatterND", ["x", "i", "u"])],
        {"i": np.zeros((1, 1), np.int64), "u": np.zeros((1, 4), np.float32)},
        "(ScatterND): the shape of its result depends",
    ),
    "unknown operator": (
        [node("InstanceNormalization", ["x", "s", "s"])],
        {"s": np.ones(4, np.float32)},
        "operator InstanceNormalization is not supported in float networks",
    ),
    "division by zero": ([node("Div", ["x", "z"])], {"z": np.zeros(4, np.float32)}, "(Div): the divisor must not be 0"),
    "infinite weight": (
        [node("Mul", ["x", "w"])],
        {"w": np.array([1, 2, np.inf, 0], np.float32)},
        "a constant must be finite, not inf at [2]",
    ),
    "sum over the batch": (
        [node("MatMul", ["w", "x"])],
        {"w": np.ones((2, 3), np.float32)},
        "(MatMul): the product would sum over the batch axis",
    ),
    "reduce over the batch": (
        [node("ReduceMean", ["x", "a"])],
        {"a": np.array([0])},
        "(ReduceMean): reducing along axis 0 would mix samples",
    ),
    "power": (
        [node("Pow", ["x", "e"])],
        {"e": np.float32(0.3)},
        "(Pow): this power is not supported; use the constant exponents",
    ),
    "shapes that do not fit": (
        [node("Gemm", ["x", "w"])],
        {"w": np.ones((3, 2), np.float32)},
        "must be 3, as its weights are, not 4",
    ),
    "three operands": (
        [node("Einsum", ["x", "x", "x"], equation="ni,ni,ni->n")],
        {},
        "an Einsum of more than two inputs is not supported",
    ),
    "computed trips": (
        [node("Loop", ["m", "", "x"], body=loop_body(GO))],
        {"half": np.float32(0.5)},
        "(Loop): the number of steps must be constant; give M as a constant",
    ),
    "outputs of a conditional loop": (
        [
            node(
                "Loop",
                ["three", "", "x"],
                ["y", "all"],
                body=helper.make_graph(
                    [*SMALL, *loop_body(GO, "z").node[1:]], "body", loop_body(GO).input, loop_body(GO, "z").output
                ),
            )
        ],
        {"half": np.float32(0.5), "three": np.array(3), "one_axis": np.array([1]), "limit": np.float32(0.1)},
        "scanned outputs of a length that depends on the data; drop them",
    ),
    "branches of different shapes": (
        [
            node("ReduceMax", ["x", "a"], ["m"]),
            node("Greater", ["m", "l"], ["c"]),
            node(
                "If",
                ["c"],
                then_branch=branch("t", helper.make_node("Identity", ["x"], ["p"]), out="p"),
                else_branch=branch("e", helper.make_node("Concat", ["x", "x"], ["q"], axis=1), out="q"),
            ),
        ],
        {"a": np.array([1]), "l": np.float32(0)},
        "(If): result 0 must have one shape in both branches, not [4] and [8]; pad the smaller one",
    ),
    "a condition for each element": (
        [
            node("Greater", ["x", "l"], ["c"]),
            node(
                "If",
                ["c"],
                then_branch=branch("t", helper.make_node("Identity", ["x"], ["p"]), out="p"),
                else_branch=branch("e", helper.make_node("Neg", ["x"], ["q"]), out="q"),
            ),
        ],
        {"l": np.float32(0)},
        "(If): the condition must be one truth value per sample, not [4]",
    ),
    "more of the best than there are": (
        [node("TopK", ["x", "k"], outputs=["y", "where"])],
        {"k": np.array([9])},
        "(TopK): k must be one integer in 1..4, not [9]",
    ),
    "an unknown padding": (
        [node("Pad", ["x", "pads"], mode="turned")],
        {"pads": np.array([0, 1, 0, 0])},
        "(Pad): mode must be constant, edge, reflect or wrap, not 'turned'",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_sentence(name: str) -> None:
    nodes, constants, message = CASES[name]
    inputs: dict[str, Any] = {"x": ["N", 4]}
    outputs = [o for n in nodes[-1:] for o in n.output]
    data: Any = X
    rules, kinds = None, None
    if name == "computed trips":
        from neuroloom.compiler.frontends.onnx import InputRule

        inputs["m"], kinds, data, rules = (
            ["N"],
            {"m": "l"},
            {"x": X, "m": np.ones(20, np.int64)},
            {"m": InputRule(bounds=(1, 3))},
        )
    model = make_model(nodes, inputs, outputs, constants, kinds=kinds)
    with pytest.raises((InputError, UnsupportedError)) as caught:
        load_onnx(model, calibrate=data, quantise=True, input_rules=rules)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 4)), "must hold at least one sample"),
        (np.zeros((5, 3)), "must have the shape (samples, 4), not (5, 3)"),
        (np.full((5, 4), np.nan), "must be finite, not NaN or infinite"),
        ({"z": X}, "calibration data must name one of the inputs x, not 'z'"),
    ],
)
def test_samples(data: Any, message: str) -> None:
    model = make_model([node("Tanh", ["x"])], {"x": ["N", 4]}, ["y"])
    with pytest.raises(InputError) as caught:
        load_onnx(model, calibrate=data, quantise=True)
    assert message in str(caught.value)


def test_a_float_network_says_how_to_carry_it() -> None:
    from neuroloom.compiler.frontends.onnx import InputRule

    model = make_model([node("Tanh", ["x"])], {"x": ["N", 4]}, ["y"])
    with pytest.raises(UnsupportedError, match="or carry it in fixed point, calibrated on samples: --calibrate"):
        load_onnx(model, input_rules={"x": InputRule("s8", "1/16")})


def test_a_loop_with_a_computed_condition_keeps_its_values() -> None:
    """At most five halvings while the largest element is above 1."""
    from neuroloom.compiler.real import evaluate

    from .conftest import read_program

    body = helper.make_graph([*SMALL, *loop_body(GO).node[1:]], "body", loop_body(GO).input, loop_body(GO).output)
    constants = {"half": np.float32(0.5), "five": np.array(5), "one_axis": np.array([1]), "limit": np.float32(1)}
    model = make_model([node("Loop", ["five", "", "x"], body=body)], {"x": ["N", 4]}, ["y"], constants)
    x = np.array([[8.0, 1, 1, 1], [0.5, 0.5, 0, 0], [100.0, 0, 0, 0]])
    # the condition looks at the value before the step: one more halving than is needed, as ONNX' do-while says
    want = np.array([x[0] / 16, x[1] / 2, x[2] / 32])
    np.testing.assert_allclose(evaluate(read_program(model), {"x": x})["y"], want)
