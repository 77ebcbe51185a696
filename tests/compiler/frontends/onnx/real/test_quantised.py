"""Models that are quantised already: exact against their definition in rationals, and against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.sim.dense import Engine
from neuroloom.sim.reference import run
from onnx import helper

from .conftest import make_model, reference_outputs

RNG = np.random.default_rng(0)


def round_half_even(value: Fraction) -> int:
    return round(value)


def quantised_mlp(
    scales: list[float], zeros: tuple[int, ...] = (3, 0, 7, 0, 128)
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """x -> Q -> DQ -> Gemm(DQ weights, DQ bias) -> Relu -> Q -> DQ -> Sigmoid -> Q."""
    sx, sw, sh, ss = (np.float32(s) for s in scales)
    rng = np.random.default_rng(1)
    w = rng.integers(-127, 128, (4, 6)).astype(np.int8)
    b = rng.integers(-500, 500, 4).astype(np.int32)
    constants = {
        "sx": sx, "zx": np.uint8(zeros[0]), "w": w, "sw": sw, "zw": np.int8(0), "b": b, "sb": np.float32(sx * sw),
        "zb": np.int32(0), "sh": sh, "zh": np.uint8(zeros[2]), "ss": ss, "zs": np.uint8(zeros[4]),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["qx"], name="q_x"),
        helper.make_node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["db"]),
        helper.make_node("Gemm", ["dx", "dw", "db"], ["pre"], name="gemm", transB=1),
        helper.make_node("Relu", ["pre"], ["relu"]),
        helper.make_node("QuantizeLinear", ["relu", "sh", "zh"], ["qh"], name="q_h"),
        helper.make_node("DequantizeLinear", ["qh", "sh", "zh"], ["dh"]),
        helper.make_node("Sigmoid", ["dh"], ["gate"], name="sigmoid"),
        helper.make_node("QuantizeLinear", ["gate", "ss", "zs"], ["y"], name="q_y"),
    ]
    model = make_model(nodes, {"x": ["N", 6]}, ["y", "qh"], constants)
    for output in model.graph.output:
        output.type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return model, constants


def test_qdq_is_exact_arithmetic_of_rationals() -> None:
    model, c = quantised_mlp([0.013, 0.0021, 0.017, 1 / 255])
    graph = load_onnx(model)
    x = RNG.uniform(-1, 2.5, (40, 6)).astype(np.float32)
    y = run(graph, x)
    sx, sw, sh = (Fraction(float(c[k])) for k in ("sx", "sw", "sh"))
    for sample in range(40):
        q = [min(max(round_half_even(Fraction(float(v)) / sx) + 3, 0), 255) for v in x[sample]]
        for row in range(4):
            total = (
                sum((a - 3) * int(w) for a, w in zip(q, c["w"][row], strict=True)) * sx * sw
                + int(c["b"][row]) * sx * sw
            )
            want = min(max(round_half_even(max(total, Fraction(0)) / sh) + 7, 0), 255)
            assert y["qh"][sample, row] == want
    gate = 1 / (1 + np.exp(-(y["qh"] - 7) * float(c["sh"])))
    assert np.abs(y["y"] - 128 - gate / float(c["ss"])).max() <= 0.5 + 1e-6 or y["y"].max() == 255
    np.testing.assert_array_equal(Engine(graph).run(x)["y"], y["y"])
    assert not any(n.op == "matvec" and n.attrs["weights"].dtype != np.int8 for n in graph.nodes)


def test_powers_of_two_equal_onnxruntime(require_tool: Callable[[str], None]) -> None:
    require_tool("onnxruntime")
    model, _ = quantised_mlp([1 / 64, 1 / 256, 1 / 32, 1 / 256])
    graph = load_onnx(model)
    x = RNG.uniform(-1, 4, (200, 6)).astype(np.float32)
    y = Engine(graph).run(x)
    for name, want in zip(("y", "qh"), reference_outputs(model, {"x": x}), strict=True):
        np.testing.assert_array_equal(y[name], want)


def test_other_scales_differ_from_onnxruntime_at_ties_alone(require_tool: Callable[[str], None]) -> None:
    require_tool("onnxruntime")
    model, c = quantised_mlp([0.013, 0.0021, 0.017, 1 / 255])
    graph = load_onnx(model)
    x = RNG.uniform(-1, 4, (500, 6)).astype(np.float32)
    mine, theirs = Engine(graph).run(x)["qh"], reference_outputs(model, {"x": x})[1].astype(np.int64)
    assert np.abs(mine - theirs).max() <= 1
    assert (mine != theirs).mean() < 0.02  # each a number that float32 rounds over the half


def test_convolution_with_scales_by_channel_and_pooling() -> None:
    rng = np.random.default_rng(2)
    w = rng.integers(-127, 128, (3, 2, 3, 3)).astype(np.int8)
    scales = np.array([0.01, 0.0037, 0.02], np.float32)
    constants = {
        "s": np.float32(0.05), "z": np.int8(-4), "w": w, "sw": scales, "zw": np.zeros(3, np.int8), "so": np.float32(0.03),
        "b": np.array([300, -200, 55], np.int32), "sb": (np.float32(0.05) * scales).astype(np.float32), "zb": np.zeros(3, np.int32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["bias"], axis=0),
        helper.make_node("Conv", ["d", "dw", "bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "so", "z"], ["y"]),
    ]
    model = make_model(nodes, {"x": ["N", 2, 4, 4]}, ["y"], constants)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    graph = load_onnx(model)
    x = rng.uniform(-6, 6, (10, 2, 4, 4)).astype(np.float32)
    y = run(graph, x)["y"]
    s, so = Fraction(float(constants["s"])), Fraction(float(constants["so"]))
    q = np.clip(
        np.array([[round_half_even(Fraction(float(v)) / s) for v in row.ravel()] for row in x]).reshape(x.shape),
        -124,
        131,
    )
    wide = np.pad(q, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for sample in range(3):
        for channel in range(3):
            step = s * Fraction(float(scales[channel]))
            image = [
                [
                    step
                    * int(
                        (wide[sample, :, i : i + 3, j : j + 3] * w[channel].astype(int)).sum()
                        + int(constants["b"][channel])
                    )
                    for j in range(4)
                ]
                for i in range(4)
            ]
            pooled = [max(image[i + a][j + b] for a in (0, 1) for b in (0, 1)) for i in (0, 2) for j in (0, 2)]
            assert y[sample, channel, 0, 0] == min(max(round_half_even(sum(pooled) / 4 / so) - 4, -128), 127)


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR"])
def test_qonnx_quant_and_bipolar(mode: str) -> None:
    rng = np.random.default_rng(3)
    w = rng.normal(size=(4, 3)).astype(np.float32)
    constants = {
        "s": np.float32(0.25), "z": np.float32(0), "b4": np.float32(4), "sw": np.float32(0.125), "b3": np.float32(3), "w": w,
        "sp": np.float32(0.5),
    }  # fmt: skip
    q = {"domain": "qonnx.custom_op.general", "signed": 1, "narrow": 0, "rounding_mode": mode}
    nodes = [
        helper.make_node("Quant", ["x", "s", "z", "b4"], ["xq"], name="qx", **{**q, "rounding_mode": "ROUND"}),
        helper.make_node("Quant", ["w", "sw", "z", "b3"], ["wq"], name="qw", **{**q, "narrow": 1}),
        helper.make_node("MatMul", ["xq", "wq"], ["p"], name="matmul"),
        helper.make_node("BipolarQuant", ["p", "sp"], ["y"], name="sign", domain="qonnx.custom_op.general"),
    ]
    model = make_model(nodes, {"x": ["N", 4]}, ["p", "y"], constants)
    model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
    graph = load_onnx(model)
    x = rng.normal(size=(30, 4)) * 2
    y = run(graph, x)
    rounded = np.rint if mode == "ROUND" else np.floor
    xq = np.clip(np.rint(x / 0.25), -8, 7) * 0.25
    wq = rounded(np.clip(w.astype(np.float64) / 0.125, -3, 3)) * 0.125
    outputs = {o.name: o.affine.dequantize(y[o.name]) for o in graph.outputs}
    np.testing.assert_array_equal(outputs["p"], xq @ wq)
    np.testing.assert_array_equal(outputs["y"], np.where(xq @ wq >= 0, 0.5, -0.5))


def test_a_real_number_left_between_needs_samples() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["g"], name="gate"),
        helper.make_node("QuantizeLinear", ["g", "s"], ["y"]),
    ]
    model = make_model(nodes, {"x": ["N", 2]}, ["y"], {"s": np.float32(1 / 255)})
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    with pytest.raises(
        UnsupportedError, match="value 'x' is a real number that the model does not quantise; give samples"
    ):
        load_onnx(model)
    graph = load_onnx(model, calibrate=RNG.normal(size=(50, 2)).astype(np.float32))
    assert graph.values()[graph.outputs[0].value].type.width == 8


def test_trunc_and_multi_threshold() -> None:
    """Trunc by shifting integers, MultiThreshold by counting, per channel, on images."""
    rng = np.random.default_rng(4)
    limits = np.sort(rng.integers(-30, 30, (3, 4)), axis=1).astype(np.float32) * 0.5
    constants = {
        "s": np.float32(0.5), "z": np.float32(0), "b8": np.float32(8), "b5": np.float32(5), "limits": limits,
    }  # fmt: skip
    domain = "qonnx.custom_op.general"
    nodes = [
        helper.make_node(
            "Quant", ["x", "s", "z", "b8"], ["q"], domain=domain, signed=1, narrow=0, rounding_mode="ROUND"
        ),
        helper.make_node("Trunc", ["q", "s", "z", "b8", "b5"], ["t"], domain=domain, rounding_mode="FLOOR"),
        helper.make_node("MultiThreshold", ["q", "limits"], ["y"], domain=domain, out_scale=2.0, out_bias=-1.0),
    ]
    model = make_model(nodes, {"x": ["N", 3, 2, 2]}, ["t", "y"], constants)
    model.opset_import.append(helper.make_opsetid(domain, 1))
    graph = load_onnx(model)
    x = rng.normal(size=(20, 3, 2, 2)) * 10
    y = run(graph, x)
    q = np.clip(np.rint(x / 0.5), -128, 127).astype(int)
    outputs = {o.name: o.affine.dequantize(y[o.name]) for o in graph.outputs}
    np.testing.assert_array_equal(outputs["t"], (q >> 3) * 0.5)
    counts = (q[..., None] * 0.5 >= limits[:, None, None, :]).sum(axis=-1)
    np.testing.assert_array_equal(outputs["y"], counts * 2.0 - 1.0)


def test_a_real_bias_is_carried_where_it_decides_nothing_between() -> None:
    """Scales of 24 bits by channel beside float biases need 69 bits; the quantisation behind sees the same without."""
    rng = np.random.default_rng(6)
    w = rng.integers(-127, 128, (3, 2, 3)).astype(np.int8)
    scales = np.array([0.01, 0.0037, 0.02], np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    constants = {
        "s": np.float32(0.05), "z": np.int8(0), "w": w, "sw": scales, "zw": np.zeros(3, np.int8), "bias": bias,
        "so": np.float32(0.03), "zo": np.int8(-5),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], axis=0),
        helper.make_node("Conv", ["d", "dw", "bias"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "so", "zo"], ["y"]),
    ]
    model = make_model(nodes, {"x": ["N", 2, 6]}, ["y"], constants)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT8
    graph = load_onnx(model)
    assert any(n.op == "shift" for n in graph.nodes)
    x = rng.uniform(-3, 3, (40, 2, 6)).astype(np.float32)
    y = run(graph, x)["y"]
    s, so = Fraction(float(constants["s"])), Fraction(float(constants["so"]))
    for sample in range(40):
        q = [[min(max(round_half_even(Fraction(float(v)) / s), -128), 127) for v in row] for row in x[sample]]
        for channel in range(3):
            for at in range(4):
                total = sum(int(w[channel, i, k]) * q[i][at + k] for i in range(2) for k in range(3))
                real = total * s * Fraction(float(scales[channel])) + Fraction(float(bias[channel]))
                want = min(max(round_half_even(max(real, Fraction(0)) / so) - 5, -128), 127)
                assert y[sample, channel, at] == want
    model.graph.node[-1].input[0] = "c2"  # behind a product it would be no longer sure
    model.graph.node.insert(5, helper.make_node("Mul", ["c", "c"], ["c2"]))
    with pytest.raises(UnsupportedError, match="63 bits"):
        load_onnx(model)


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_weights_and_values_of_four_bits(kind):
    """Narrower than a byte: weights as constants, and activations that saturate to the narrow type's ends."""
    lo, hi = {"INT4": (-8, 7), "UINT4": (0, 15)}[kind]
    element, zero = getattr(onnx.TensorProto, kind), (lo + hi + 1) // 2
    weights = RNG.integers(lo, hi + 1, 15)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "xs", "zero"], ["xd"], name="dq"),
        helper.make_node("DequantizeLinear", ["w", "ws", "zero"], ["wd"], name="dw"),
        helper.make_node("MatMul", ["xd", "wd"], ["y"], name="product"),
    ]
    model = make_model(nodes, {"x": ["N", 5]}, ["y"], {"xs": np.float32(0.25), "ws": np.float32(0.125)}, opset=21)
    model.graph.initializer.append(helper.make_tensor("w", element, (5, 3), weights.tolist()))
    model.graph.initializer.append(helper.make_tensor("zero", element, (), [zero]))
    x = RNG.normal(size=(40, 5)).astype(np.float32) * 2
    graph = load_onnx(model, batch_axis=0)
    found = graph.outputs[0].affine.dequantize(run(graph, x)["y"])
    rounded = np.clip(np.rint(x * 4) + zero, lo, hi) - zero
    assert rounded.min() == lo - zero and rounded.max() == hi - zero
    np.testing.assert_array_equal(found, rounded / 4 @ (weights.reshape(5, 3) - zero) / 8)
    np.testing.assert_array_equal(found, reference_outputs(model, {"x": x})[0])
