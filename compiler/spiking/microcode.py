"""Microcode of neuron models and traces: what one SCAN of a population computes, instruction for instruction.

The equations are those of the graph's operations (``lif`` in ``compiler/ir/ops/spiking.py``, ``izhikevich``,
``alpha_neuron`` and ``bernoulli`` in ``neurons.py``, ``trace`` in ``plasticity.py``); their line numbers stand beside the code.
Instructions per group decide the speed of the core, so the usual cases are kept short: a LIF neuron with multiplicative
leak and reset to zero takes 12 instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir.ops.neurons import CARRY_BITS, CARRY_FACTOR, CARRY_SCALE

from .emitter import ROUNDINGS, Code, Emitter
from .isa import RND_SHIFT8, Op
from .lifcode import emit_lif

SQUARE_BOUND = 46080


@dataclass(frozen=True)
class TraceSpec:
    """One trace of a population: the state word that holds it and the attributes of its ``trace`` node."""

    word: str
    kind: str
    step: int
    decay: int


@dataclass
class NeuronSpec:
    """What the microcode of a population is made from.

    ``op``: lif, izhikevich, alpha_neuron or bernoulli, with its ``attrs``. ``states``: state words in the order of the block.
    ``bits``: S. ``shift``: the summed synapses count 2**shift each. ``drives``: words that the host writes before a
    step (analog inputs). ``current``: proven range of the summed current. ``count``: largest value of the spike counter
    of an early decision, None without one. ``recorded``: whether the tested membrane must be kept.
    """

    where: str
    op: str
    attrs: Mapping[str, Any]
    size: int
    bits: int
    states: Sequence[str]
    current: tuple[int, int]
    shift: int = 0
    drives: Sequence[str] = ()
    traces: Sequence[TraceSpec] = ()
    count: int | None = None
    recorded: bool = False
    keep_words: bool = False


def population_code(spec: NeuronSpec) -> Code:
    """The microcode of a population: a list of instructions per SCAN. Raises UnsupportedError on what the core
    cannot compute.
    """
    e = Emitter(spec.where, spec.states, spec.size, keep_words=spec.keep_words)
    for item in spec.traces:
        emit_trace(e, item)
    NEURONS[spec.op](e, spec)
    if spec.count is not None:
        _emit_count(e, spec)
    return e.code


def input_code(where: str, size: int, traces: Sequence[TraceSpec]) -> Code:
    """Microcode of a group of inputs that have traces: decay them, and leave the spikes of this step as they are."""
    e = Emitter(where, [t.word for t in traces], size)
    for item in traces:
        emit_trace(e, item)
    e.many(Op.INJ, Op.KF)
    return e.code


def emit_trace(e: Emitter, item: TraceSpec) -> None:
    """Decay a trace, the spike of the step before included: the value that learning uses in this step."""
    e.lda(item.word)
    if item.kind == "window":
        e(Op.IMM, 1)
        e(Op.SUB)
        e(Op.IMM, 0)
        e(Op.MAX)
        e(Op.IMM, item.step)
        e.many(Op.FSP, Op.SEL)
    elif item.kind == "nearest":
        e(Op.IMM, item.step)
        e.many(Op.FSP, Op.SEL)
        e.scale(item.decay, "floor")
    elif item.kind == "exponential":
        e(Op.IMM, item.step)
        e.many(Op.ADD, Op.MOV)
        e.lda(item.word)
        e.many(Op.FSP, Op.SEL)
        e(Op.IMM, 65535)
        e(Op.MIN)
        e.scale(item.decay, "floor")
    else:
        raise UnsupportedError(
            f"kind of the trace of {e.where} must be exponential, nearest or window, not {item.kind!r}"
        )
    e.sta(item.word)


def emit_current(e: Emitter, spec: NeuronSpec) -> None:
    """A ← the current with its drives and bias; ACC is cleared."""
    e(Op.ACC)
    shift = spec.shift
    while shift:
        e(Op.MUL, 1 << 8 + min(shift, 8))
        e(Op.RND, RND_SHIFT8)
        shift -= min(shift, 8)
    for word in spec.drives:
        e.ldb(word)
        e(Op.ADD)
    if "bias" in spec.attrs:
        e.parameter("bias", spec.attrs["bias"])
        e(Op.ADD)


def _emit_lif(e: Emitter, spec: NeuronSpec) -> None:
    emit_lif(e, spec, emit_current)


def _emit_izhikevich(e: Emitter, spec: NeuronSpec) -> None:
    a = spec.attrs
    rounding, substeps = a.get("rounding", "half_up"), a.get("substeps", 1)
    plain = substeps == 1 and not spec.drives and "bias" not in a and not spec.shift
    if not plain:
        emit_current(e, spec)
        e.sta("c")
    for number in range(substeps):
        if number == 0:
            e.lda("v")
        e(Op.IMM, -SQUARE_BOUND)
        e(Op.MAX)
        e(Op.IMM, SQUARE_BOUND)
        e(Op.MIN)
        e.sta("w")
        e.many(Op.MOV, Op.SQR)
        e(Op.RND, _rnd(rounding, by8=True))
        e.scale(2621, rounding)
        e(Op.MOV)
        e.lda("w")
        e.scale(1280, rounding, by8=True)
        e(Op.ADD)
        e(Op.IMM, 35840)
        e(Op.ADD)
        e.ldb("u")
        e(Op.SUB)
        if plain:
            e.many(Op.MOV, Op.ACC)
        else:
            e.ldb("c")
        e(Op.ADD)
        if substeps == 2:
            e.scale(32768, rounding)
        e.ldb("w")
        e(Op.ADD)
    e.sta("v")
    e.scale(a["b"], rounding)
    e.ldb("u")
    e(Op.SUB)
    e.scale(a["a"], rounding)
    e.ldb("u")
    e(Op.ADD)
    e.sta("u")
    e.imm(a.get("peak", 7680), "peak")
    e.lda("v")
    e.many(Op.CGE, Op.KF)
    e.imm(a["c"], "c")
    e(Op.SEL)
    e.sta("v")
    e.imm(a["d"], "d")
    e.lda("u")
    e.many(Op.ADD, Op.MOV)
    e.lda("u")
    e(Op.SEL)
    e.sta("u")


def _emit_alpha(e: Emitter, spec: NeuronSpec) -> None:
    a = spec.attrs
    rounding, reset = a.get("rounding", "floor"), a["reset"]
    emit_current(e, spec)
    e(Op.MOV)
    e.lda("e")
    e.scale(a["alpha"], rounding)
    e(Op.ADD)
    e.sta("e")
    e.lda("h")
    e.scale(a["beta"], rounding)
    e(Op.SUB)
    e.sta("g")
    e.ldb("e")
    e(Op.ADD)
    e(Op.MUL, a["gain"])
    e(Op.RND, _rnd(rounding, by8=a["gain_bits"] == 8))
    theta = lambda: e.parameter("threshold", a["threshold"])  # noqa: E731
    if reset == "none":
        e.sta("v")
        e.lda("g")
        e.sta("h")
        e.lda("v")
    else:
        e.sta("n")
        theta()
        e.lda("v")
        e(Op.CGT)  # F = R, kept until h' is stored
        e.lda("n")
        if reset == "zero":
            e(Op.IMM, 0)
            e(Op.SEL)
            e.sta("v")
            e.lda("e")
            e(Op.SEL)
            e.sta("e")
        else:
            e.ldb("h")
            e.many(Op.ADD, Op.MOV)
            e.lda("n")
            e(Op.SEL)
            e.sta("v")
            theta()
            e.lda("e")
            e.many(Op.SUB, Op.MOV)
            e.lda("e")
            e(Op.SEL)
            e.sta("e")
            e(Op.IMM, 0)
        e.lda("g")
        e(Op.SEL)
        e.sta("h")
        e.lda("v")
    theta()
    e(Op.CGT)
    if a.get("wta"):
        e.many(Op.SUB, Op.BST)
        e.next_pass()
        e(Op.WIN)
    e(Op.KF)


def _emit_bernoulli(e: Emitter, spec: NeuronSpec) -> None:
    emit_current(e, spec)
    e.sta("c")
    e.lda("v")
    e.scale(1 << 16 - CARRY_BITS, "floor")  # the carry
    e.sta("t")
    e.scale(1 << 16, "floor", by8=True)
    e.scale(1 << CARRY_BITS, "floor", by8=True)
    e(Op.MOV)
    e.lda("v")
    e(Op.SUB)  # the digit
    e.scale(1 << 16, "floor", by8=True)
    e.scale(CARRY_FACTOR, "floor", by8=True)
    e.ldb("t")
    e(Op.ADD)
    e.sta("v")
    e.scale(CARRY_SCALE, "floor")
    e.scale(1 << 9, "floor")
    e(Op.MOV)
    e.lda("c")
    e.many(Op.CGT, Op.KF)


def _rnd(rounding: str, *, by8: bool) -> int:
    return ROUNDINGS[rounding] | (RND_SHIFT8 if by8 else 0)


def _emit_count(e: Emitter, spec: NeuronSpec) -> None:
    """Count the spikes of this step (K) for the early decision."""
    core_most = (1 << spec.bits - 1) - 1
    e(Op.IMM, 1)
    e.lda("count")
    e.many(Op.ADD, Op.MOV)
    if spec.count is not None and spec.count < core_most:
        e.imm(spec.count, "largest count")
        e.many(Op.MIN, Op.MOV)
    e.lda("count")
    e.many(Op.FK, Op.SEL)
    e.sta("count")


NEURONS: dict[str, Callable[[Emitter, NeuronSpec], None]] = {
    "lif": _emit_lif,
    "izhikevich": _emit_izhikevich,
    "alpha_neuron": _emit_alpha,
    "bernoulli": _emit_bernoulli,
}
"""Generators by graph operation."""
