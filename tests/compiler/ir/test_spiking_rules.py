"""What the rules of the spiking operations refuse, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import Builder, Type, ranges
from neuroloom.compiler.ir.types import BIT

S24, U16, U32, S8 = Type(24, True), Type(16), Type(32), Type(8, True)
ZERO = np.zeros(1, np.int32)


def attempt(op: str, inputs: list[tuple[Type, tuple[int, ...]]], attrs: dict[str, Any]) -> Builder:
    b = Builder("rule")
    names = [b.input(f"x{k}", type_, shape) for k, (type_, shape) in enumerate(inputs)]
    for k, name in enumerate(b.nodes(op, names, **attrs)):
        b.output(f"y{k}", name)
    b.finish()
    return b


STDP_INPUTS = [(S8, (1,)), (BIT, (2,)), (BIT, (3,)), (U16, (2,)), (U16, (3,))]
STDP = {"pre": ZERO, "post": ZERO, "f": 3, "w_min": -5, "w_max": 5}
EXTRA = [(U32, ()), (S8, (1,)), (S8, ())]


@pytest.mark.parametrize(
    ("change", "extra", "match"),
    [
        ({"f": 32}, [], r"f must be in 0..31, not 32"),
        ({"f": 17, "rounding": "stochastic"}, EXTRA[:1], r"f must be in 0..16, not 17"),
        ({"w_min": 6}, [], "w_min must not be above w_max, not 6 and 5"),
        ({"w_max": 128}, [], r"w_max must be in -128..127, not 128"),
        ({"pre": np.array([2])}, [], r"index 2 at \[0\] must be in 0..1"),
        ({"post": np.array([0, 1])}, [], "post must be one per synapse, 1, not 2"),
        ({"enable": np.array([2])}, [], "enable must hold 0 or 1"),
        ({"pot": 3}, [], "pot must go with window"),
        ({"rounding": "even"}, [], "rounding must be one of floor, half_up, stochastic"),
        ({"rounding": "stochastic"}, [], "stdp with these options must have 6 inputs, not 5"),
        ({"eligibility": True}, EXTRA[1:2], "stdp with these options must have 7 inputs, not 6"),
        ({"eligibility": True, "e_decay": 257}, EXTRA[1:], r"e_decay must be in 0..256, not 257"),
        ({"eligibility": True}, [(U16, (1,)), EXTRA[2]], r"e must be s8\[1\], not u16\[1\]"),
    ],
)
def test_stdp_refuses(change: dict[str, Any], extra: list[Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        attempt("stdp", STDP_INPUTS + extra, STDP | change)


def test_stdp_keeps_the_types_of_its_states() -> None:
    attrs = {"rounding": "stochastic", "eligibility": True, "g": 4}
    b = attempt("stdp", STDP_INPUTS + EXTRA, STDP | attrs)
    assert [(str(b[o.value].type), b[o.value].shape) for o in b.graph.outputs] == [("s8", (1,)), ("s8", (1,))]
    assert ranges(b.graph)[b.graph.outputs[0].value] == (-128, 127)


@pytest.mark.parametrize(
    ("attrs", "match"),
    [
        ({"kind": "linear", "step": 3}, "kind must be one of exponential, nearest, window"),
        ({"kind": "nearest", "step": 3}, r"decay must be given, in 0..65536"),
        ({"kind": "window", "step": 65536}, r"step must be in 0..65535, not 65536"),
    ],
)
def test_trace_refuses(attrs: dict[str, Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        attempt("trace", [(BIT, (2,)), (U16, (2,))], attrs)


IZHIKEVICH = {"a": 1311, "b": 13107, "c": -16640, "d": 2048}


@pytest.mark.parametrize(
    ("state", "change", "match"),
    [
        (Type(16, True), {}, "v and u must be of one type, s24 to s32"),
        (S24, {"a": 65537}, r"a must be in 0..65536, not 65537"),
        (S24, {"b": 131072}, r"b must be in 0..131071, not 131072"),
        (S24, {"substeps": 3}, "substeps must be 1 or 2, not 3"),
        (S24, {"c": 1 << 23}, "c must be in"),
    ],
)
def test_izhikevich_refuses(state: Type, change: dict[str, int], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        attempt("izhikevich", [(S8, (2,)), (state, (2,)), (state, (2,))], IZHIKEVICH | change)


ALPHA = {"threshold": np.array(5), "alpha": 3, "beta": 2, "gain": 512, "gain_bits": 8, "reset": "zero"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"gain_bits": 12}, "gain_bits must be 8 or 16, not 12"),
        ({"reset": "value"}, "reset must be one of zero, subtract, none"),
        ({"gain": 131072}, r"gain must be in 0..131071, not 131072"),
    ],
)
def test_alpha_neuron_refuses(change: dict[str, Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        attempt("alpha_neuron", [(S8, (2,)), *[(S24, (2,))] * 3], ALPHA | change)


def test_bernoulli_needs_room_for_its_generator() -> None:
    with pytest.raises(GraphError, match="x must be of a type s24 to s32, not s16"):
        attempt("bernoulli", [(S8, (2,)), (Type(16, True), (2,))], {})


DECIDE_INPUTS = [(BIT, (3,)), (U32, (3,)), (BIT, ()), (Type(2), ()), (U32, ()), (U32, ())]


@pytest.mark.parametrize(
    ("inputs", "attrs", "match"),
    [
        (DECIDE_INPUTS, {"mode": "luck"}, "mode must be one of margin, confidence"),
        (DECIDE_INPUTS, {"mode": "margin", "margin": 0}, "margin must be in 1..4294967295, not 0"),
        (DECIDE_INPUTS, {"mode": "confidence", "limit": 3}, "must have a table and a limit"),
        (
            DECIDE_INPUTS,
            {"mode": "confidence", "limit": 3, "table": np.array([1, 2])},
            "entries in 0..65535 that never rise",
        ),
        (
            [*DECIDE_INPUTS[:3], (BIT, ()), *DECIDE_INPUTS[4:]],
            {"mode": "margin", "margin": 1},
            "unsigned integer that holds 2",
        ),
    ],
)
def test_decide_refuses(inputs: list[Any], attrs: dict[str, Any], match: str) -> None:
    with pytest.raises(GraphError, match=match):
        attempt("decide", inputs, attrs)


def test_the_range_of_plastic_synapses_counts_the_largest_fan_in() -> None:
    net = {"pre": np.array([0, 1, 1]), "post": np.array([0, 0, 1]), "delay": np.zeros(3, int), "n_post": 3}
    b = attempt("synapses", [(BIT, (1, 2)), (Type(4, True), (3,))], net)
    assert ranges(b.graph)[b.graph.outputs[0].value] == (-16, 14)
    assert str(b[b.graph.outputs[0].value].type) == "s5"
