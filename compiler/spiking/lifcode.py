"""Microcode of the graph's ``lif`` operation; line numbers in comments are those of its definition.

Flags: K carries R (the delayed reset) until the comparison, then the spike. P is a spare register (``save``,
``restore``) wherever no product is under way. State words beyond the graph's: ``t`` (scratch), ``o`` (candidate of an
undelayed reset), ``m`` (tested membrane, when it is recorded).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .emitter import ONE, Emitter
from .isa import Op

if TYPE_CHECKING:
    from .microcode import NeuronSpec


class _Lif:
    """Options of one population, normalised, and the pieces of its code."""

    def __init__(self, e: Emitter, spec: NeuronSpec, current: Callable[[Emitter, NeuronSpec], None]) -> None:
        a = spec.attrs
        self.e, self.spec, self.emit_current, self.a = e, spec, current, a
        self.rounding = a.get("rounding", "floor")
        self.refractory = a.get("refractory", 0)
        self.adaptive = "adapt_decay" in a
        self.alpha = "alpha" in a
        self.old_current = bool(a.get("old_current"))
        self.wta = bool(a.get("wta"))
        self.leak = a["leak"]
        if self.leak == "multiplicative" and a["beta"] == ONE or self.leak == "subtractive" and a["decay"] == 0:
            self.leak = "none"
        top = (1 << spec.bits - 1) - 1
        self.never = bool(a["strict"] and (np.asarray(a["threshold"]) == top).all() and not self.adaptive)
        self.value = a.get("v_reset", 0)
        self.reset = {"zero": "value"}.get(a["reset"], a["reset"])
        self.mode = a["reset_mode"]
        if self.never or self.reset == "none":
            self.mode = "immediate"  # R and s change nothing
        if self.never:
            self.reset = "none"
        self.delayed = self.mode != "immediate"
        self.undelayed = self.mode.startswith("undelayed")
        self.clears_new = self.mode.endswith("_new")
        self.integrates = bool(a.get("integrates"))
        if self.integrates and self.undelayed and not self.wta:
            raise UnsupportedError(
                f"{spec.where} must have a delayed or immediate reset when it integrates while refractory, not "
                f"{self.mode}"
            )
        self.compare = Op.CGT if a["strict"] else Op.CGE

    @property
    def simple(self) -> bool:
        """Whether the leak needs no register besides A and P, so that c may wait in B."""
        return not self.delayed and self.leak != "subtractive"

    # pieces

    def theta(self, *, keep: bool = True) -> None:
        """B ← θ (line 1). A is kept in P and brought back when ``keep``."""
        e = self.e
        if not self.adaptive:
            e.parameter("threshold", self.a["threshold"])
            return
        if keep:
            e.save()
        e.lda("a")
        e.parameter("threshold", self.a["threshold"])
        e.many(Op.ADD, Op.MOV)
        if keep:
            e.restore()

    def pick(self) -> None:
        """A ← F ? A : the A saved in P."""
        self.e(Op.MOV)
        self.e.restore()
        self.e(Op.SEL)

    def update_current(self) -> None:
        """Line 3, with c in A: A ← i', stored."""
        e = self.e
        e(Op.MOV)
        e.lda("i")
        e.scale(self.a["alpha"], self.rounding)
        e(Op.ADD)
        e.sta("i")

    def integrate(self) -> None:
        """Lines 2 to 8: A ← x. F is R in the delayed modes, K too in the undelayed ones."""
        e = self.e
        source = self.current_source()
        if self.delayed:
            self.theta()
            e.lda("v")
            e(self.compare)  # F stays R until the next comparison
            if self.undelayed and not self.wta:
                e(Op.KF)
            if self.reset == "value" and not self.clears_new:
                e.imm(self.value, "v_reset")
                e(Op.SEL)
            self.leak_of_a()
            self.add_current(source)
        elif self.leak == "subtractive" and self.fits(source):
            decay = self.a["decay"]
            e.lda("v")
            self.clamp(decay)
            e(Op.MOV)
            self.take(source)
            e(Op.SUB)
            e.ldb("v")
            e(Op.ADD)
        elif self.leak == "none" and source in ("acc", "i", "a"):
            self.take(source)
            e.ldb("v")
            e(Op.ADD)
        elif source == "a":
            e(Op.MOV)
            e.lda("v")
            e.scale(self.a["beta"], self.rounding)
            e(Op.ADD)
        else:
            e.lda("v")
            self.leak_of_a()
            self.add_current(source)
        if "drive" in self.a:
            e.parameter("drive", self.a["drive"])
            e(Op.ADD)
        if self.delayed and self.reset == "subtract":
            e.save()
            self.theta()
            e(Op.SUB)
            self.pick()
        elif self.delayed and self.clears_new:
            e.imm(self.value, "v_reset")
            e(Op.SEL)

    def current_source(self) -> str:
        """Where c is to be had: ``acc``, word ``i``, register A, or word ``t``."""
        e, spec = self.e, self.spec
        if self.alpha and self.old_current:
            return "i"
        if self.alpha:
            self.emit_current(e, spec)
            self.update_current()
            return "a" if self.simple else "i"
        if not spec.drives and "bias" not in self.a and not spec.shift:
            return "acc"
        self.emit_current(e, spec)
        if self.simple:
            return "a"
        e.sta("t")
        return "t"

    def take(self, source: str) -> None:
        """A ← c."""
        if source == "acc":
            self.e(Op.ACC)
        elif source in ("i", "t"):
            self.e.lda(source)

    def add_current(self, source: str) -> None:
        """A ← sat(A + c)."""
        if source == "acc":
            self.e.many(Op.MOV, Op.ACC)
        else:
            self.e.ldb(source)
        self.e(Op.ADD)

    def fits(self, source: str) -> bool:
        """Whether c − (a decay toward zero) cannot saturate, so that one saturation does for both sums."""
        decay, (low, high) = self.a["decay"], self.spec.current
        top = (1 << self.spec.bits - 1) - 1
        return source == "acc" and low - decay >= -top - 1 and high + decay <= top

    def clamp(self, decay: int) -> None:
        """A ← min(max(A, −decay), decay)."""
        e = self.e
        e.imm(decay, "decay")
        e(Op.MIN)
        e.imm(-decay, "decay")
        e(Op.MAX)

    def leak_of_a(self) -> None:
        """Line 6 on A."""
        e = self.e
        if self.leak == "multiplicative":
            e.scale(self.a["beta"], self.rounding)
        elif self.leak == "subtractive":
            e.save()
            self.clamp(self.a["decay"])
            e(Op.MOV)
            e.restore()
            e(Op.SUB)

    def spiking(self) -> None:
        """F ← s, A stays. Of a neuron whose refractory time holds its membrane too, s is put right by :meth:`hold`."""
        if self.wta:
            self.e(Op.WIN)
        else:
            self.theta()
            self.e(self.compare)
            if self.integrates:
                self.e(Op.KF)
                self.ready()

    def ready(self) -> None:
        """F, K ← K and r = 0; A stays (in P meanwhile), B ← 0."""
        e = self.e
        e.save()
        e.lda("r")
        e(Op.IMM, 0)
        e.many(Op.CEQ, Op.KAF, Op.FK)
        e.restore()

    # reset and spike

    def fire(self) -> None:
        """Lines 9 and 10 with x in A: A ← v' as if no counter ran; K ← s without regard to it."""
        e = self.e
        if self.never:
            return
        if self.undelayed:
            self.fire_undelayed()
            return
        self.spiking()
        e(Op.KF)
        if self.delayed or self.reset == "none":
            return
        if self.reset == "value":
            e.imm(self.value, "v_reset")
            e(Op.SEL)
            return
        if self.wta or self.integrates:
            self.theta()
        e.save()
        e(Op.SUB)
        self.pick()

    def fire_undelayed(self) -> None:
        """Line 10 in the undelayed modes: K is R at first, x in A; word ``o`` has v' in between."""
        e = self.e
        e.save()
        e.many(Op.FK, Op.NOT, Op.KF)  # K ← not R
        self.spiking()
        e(Op.FAK)  # s and not R
        if self.reset == "value":
            e.imm(self.value, "v_reset")
            e(Op.SEL)
        else:
            self.theta()
            e(Op.SUB)
            self.pick()
        e.sta("o")
        e.restore()
        self.spiking()
        e(Op.FOK)  # s or not R: keep what stands in o
        if self.reset == "value":
            e.many(Op.MOV, Op.ADD)
            e.imm(self.value, "v_reset")
            e(Op.SUB)
        else:
            self.theta()
            e(Op.ADD)
        e.ldb("o")
        e(Op.SEL)
        e.sta("o")
        e.restore()
        self.spiking()
        e(Op.KF)
        e.lda("o")

    def finish(self) -> None:
        """Line 10 while counting, and lines 11 to 13, with v' in A and K = s as if no counter ran."""
        e = self.e
        if self.refractory and not self.integrates:
            self.hold()
        else:
            e.sta("v")
        if self.refractory:
            self.count_down()
        if self.adaptive:
            self.adapt()
        if self.alpha and self.old_current:
            self.emit_current(e, self.spec)
            self.update_current()

    def hold(self) -> None:
        """v' of a neuron that counts; K ← K and r = 0; the tested membrane becomes v' where it counts."""
        e = self.e
        resets = self.mode in ("delayed", "delayed_new") and "refractory_v" not in self.a
        if resets:
            e.sta("o")
            self.theta()
            e.lda("v")
            e(self.compare)
            if self.reset == "value":
                e.imm(self.value, "v_reset")
                e(Op.SEL)
            else:
                e.save()
                e(Op.SUB)
                self.pick()
        e.save()
        e.lda("r")
        e(Op.IMM, 0)
        e.many(Op.CEQ, Op.KAF)
        if resets:
            e.restore()
            e.ldb("o")
        else:
            e(Op.NOT)
            e.restore()
            if "refractory_v" in self.a:
                e.imm(self.a["refractory_v"], "refractory_v")
            else:
                e.ldb("v")
        e(Op.SEL)
        e.sta("v")
        if self.spec.recorded:
            if not resets:
                e(Op.NOT)
            e.ldb("m")
            e(Op.SEL)
            e.sta("m")

    def count_down(self) -> None:
        """Line 11."""
        e = self.e
        e(Op.FK)
        e.lda("r")
        e(Op.IMM, 1)
        e(Op.SUB)
        e(Op.IMM, 0)
        e(Op.MAX)
        e.imm(self.refractory, "refractory")
        e(Op.SEL)
        e.sta("r")

    def adapt(self) -> None:
        """Line 12."""
        e = self.e
        step = self.a.get("adapt_step", 0)
        e.lda("a")
        e.scale(self.a["adapt_decay"], self.rounding)
        if step:
            e.save()
            e.imm(step, "adapt_step")
            e.many(Op.ADD, Op.FK)
            self.pick()
        e.sta("a")


def emit_lif(e: Emitter, spec: NeuronSpec, current: Callable[[Emitter, NeuronSpec], None]) -> None:
    """Append the code of one lif population; a second pass with winner-take-all."""
    lif = _Lif(e, spec, current)
    if lif.wta and not lif.never:
        lif.integrate()
        if lif.undelayed:
            e.sta("q")  # R is wanted again in the second pass, x in both
            _candidates(lif)
            e.next_pass()
            lif.theta()
            e.lda("v")
            e.many(lif.compare, Op.KF)
            e.lda("q")
        else:
            e.sta("q")
            _candidates(lif)
            e.next_pass()
            e.lda("q")
    else:
        lif.integrate()
    if spec.recorded:
        e.sta("m")
    lif.fire()
    lif.finish()


def _candidates(lif: _Lif) -> None:
    """With x in A: the neurons that may spike compete with sat(x − θ)."""
    e = lif.e
    lif.theta()
    e(lif.compare)
    if lif.refractory:
        e(Op.KF)
        lif.ready()
        lif.theta()
    e.many(Op.SUB, Op.BST)
