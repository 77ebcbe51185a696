"""Float inputs that are given in integers: nothing of them is lost, and the same array serves calibration and simulation."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.frontends.onnx.inputs import InputRule
from neuroloom.compiler.real import evaluate
from neuroloom.sim import reference
from onnx import helper

from .conftest import make_model, read_program

RNG = np.random.default_rng(3)
WEIGHTS, BIAS = RNG.normal(size=(5, 4)).astype(np.float32), RNG.normal(size=4).astype(np.float32)
IMAGES = RNG.integers(0, 17, (60, 5)).astype(np.uint8)
MODEL = make_model(
    [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="dense")], {"x": ["N", 5]}, ["y"], {"w": WEIGHTS, "b": BIAS}
)
CASES = {
    "integers": ({"calibrate": IMAGES}, Fraction(1), Fraction(0)),
    "a grid": ({"calibrate": IMAGES.astype(np.float32) / np.float32(255)}, Fraction(1, 255), Fraction(0)),
    "a rule": (
        {"calibrate": IMAGES / 8 - 1, "input_rules": {"x": InputRule("u8", "1/8", -1, (0, 16))}},
        Fraction(1, 8),
        Fraction(-1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_integers_stay_what_they_are(name):
    options, scale, offset = CASES[name]
    graph = load_onnx(MODEL, **options, quantise=True, config={"bits": 24, "weight_bits": 20})
    (item,) = graph.inputs
    assert not item.value.type.frac and not item.value.type.signed
    assert (item.affine.scale, item.affine.offset) == ((scale,), (offset,))
    (output,) = graph.outputs
    found = output.affine.dequantize(reference.run(graph, IMAGES)["y"])
    np.testing.assert_allclose(found, (float(scale) * IMAGES + float(offset)) @ WEIGHTS + BIAS, atol=3e-4)
    real = float(scale) * IMAGES.astype(np.float64) + float(offset)
    assert (
        reference.run(graph, item.affine.quantize(real, item.range, "x"))["y"] == reference.run(graph, IMAGES)["y"]
    ).all()


def test_an_offset_between_two_integers_is_refused():
    rule = {"x": InputRule("u8", "1/8", "1/16", (0, 16))}
    with pytest.raises(
        UnsupportedError, match="input 'x' must have an offset that is a multiple of its scale, not 1/16 with 1/8"
    ):
        load_onnx(MODEL, calibrate=IMAGES / 8, input_rules=rule, quantise=True)


@pytest.mark.parametrize("index", [0, -1])
def test_the_only_sample_may_be_taken_out_of_its_axis(index):
    """As torch writes ``x[0]`` of a batch of one, for the condition of a ``torch.cond``."""
    nodes = [helper.make_node("Gather", ["x", "i"], ["a"]), helper.make_node("Neg", ["a"], ["y"])]
    program = read_program(make_model(nodes, {"x": [1, 3]}, ["y"], {"i": np.array(index)}), 0)
    assert not any(n.op == "gather" for n in program.nodes)
    values = RNG.normal(size=(4, 3))
    assert (evaluate(program, {"x": values})["y"] == -values).all()
    with pytest.raises(UnsupportedError, match="gathering along axis 0 would mix samples"):
        read_program(make_model(nodes, {"x": ["N", 3]}, ["y"], {"i": np.array(index)}), 0)


def test_class_numbers_beside_the_samples_are_no_input():
    labels = np.arange(len(IMAGES))
    graph = load_onnx(MODEL, calibrate={"x": IMAGES, "y": labels}, quantise=True)
    assert graph.equals(load_onnx(MODEL, calibrate=IMAGES, quantise=True))
    with pytest.raises(InputError, match="calibration data must name one of the inputs x, not 'z'"):
        load_onnx(MODEL, calibrate={"x": IMAGES, "z": labels}, quantise=True)
