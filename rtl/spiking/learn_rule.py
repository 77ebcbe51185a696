"""The learning rule on the fields of one row word: rings of registers that pass under the lanes.

The equations are those of "Learning" in docs/spiking-core.md.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CoreConfig

from .random import TARGET_STEP, scramble, source_part

BEATS = 4
"""Cycles in which a row word passes under the lanes once: there are F / 4 lanes. The pipeline behind them has three
stages, so that a field is written before it comes by again."""

DRAIN = 2
"""Cycles from the last field that enters the pipeline to its result."""

TRACE_BITS = 16
ELIGIBILITY_BITS = 8


def saturate(value: Value, bits: int) -> Value:
    """``value`` as the nearest signed number of ``bits`` bits."""
    if len(value) <= bits:
        return value.as_signed()
    top = value[bits - 1 :]
    sign = value[-1]
    return Mux(top.all() | ~top.any(), value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


class Rule:
    """Registers and data path of the rule; a part of :class:`Learn`'s module, not a module of its own.

    To use it: load ``word`` (and ``eligibility``), ``y``, ``fired`` and ``enabled``, hold ``x``, and write the phases
    that are due to ``todo``, all at one clock edge or before. The lanes are busy for 4 cycles per phase and 2 more,
    ``last`` marks the final one; then :meth:`result` and :meth:`result_eligibility` are the new fields, while ``y``,
    ``fired`` and ``enabled`` are as they were.

    Attributes
    ----------
    todo : Signal(4)
        Phases, in their order: decay, depression, potentiation, reward.
    word, eligibility : Signal(W)
        Rings of F fields.
    y, fired, enabled : Signal(16 F), Signal(F), Signal(F)
        Traces, spikes and enable bits of the targets.
    x : Signal(16)
        Trace of the source.
    source_product, target_product : Signal(16)
        40503·j and 27469·i modulo 2^16, i the target of field 0.
    """

    def __init__(self, config: CoreConfig) -> None:
        if config.fields % BEATS or config.learning == "none":
            raise InputError(
                f"a core that learns must have at least {BEATS} weights in a pool word, not {config.fields}; "
                "give it more lanes"
            )
        self.config = config
        self.rewarded = config.learning == "reward"
        self.width = config.weight_bits
        self.lanes = config.fields // BEATS
        self.todo = Signal(4)
        self.running = Signal()
        self.last = Signal()
        self.word = Signal(config.word_bits, reset_less=True)
        self.eligibility = Signal(config.word_bits if self.rewarded else 0, reset_less=True)
        self.y = Signal(TRACE_BITS * config.fields, reset_less=True)
        self.fired = Signal(config.fields, reset_less=True)
        self.enabled = Signal(config.fields, reset_less=True)
        self.x = Signal(TRACE_BITS)
        self.source_product = Signal(16)
        self.target_product = Signal(16)

    def result(self) -> Value:
        """The new row word. Words have turned 2 beats too far when the pipeline is empty."""
        half = len(self.word) // 2
        return Cat(self.word[half:], self.word[:half])

    def result_eligibility(self) -> Value:
        """The new eligibilities, laid out like the row word."""
        half = len(self.eligibility) // 2
        return Cat(self.eligibility[half:], self.eligibility[:half])

    def build(self, m: Module, unit: Any) -> None:
        """Add the rings and lanes to ``m``; ``unit`` has the members of a learning command.

        Loads of the registers come later in the module, so that they win over the turning of the rings.
        """
        beat = Signal(2)
        now = Signal(4)  # the phase that enters, one-hot
        enters = Signal()
        phase_a, phase_c = Signal(4), Signal(4)
        m.d.comb += [
            enters.eq(self.todo.any()),
            now.eq(self.todo & -self.todo),
            self.running.eq(enters | phase_a.any() | phase_c.any()),
            self.last.eq(~enters & ~phase_a.any()),
        ]
        m.d.sync += [phase_a.eq(now), phase_c.eq(phase_a)]
        with m.If(enters):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == BEATS - 1):
                m.d.sync += self.todo.eq(self.todo & ~now)
        self._shared(m, unit, now, beat)
        self._rings(m, enters)
        news = [self._lane(m, unit, lane, now, phase_a, phase_c) for lane in range(self.lanes)]
        self._turn_words(m, news)

    def _shared(self, m: Module, unit: Any, now: Signal, beat: Signal) -> None:
        """What all lanes have in common: the amount of the shift, the rounding, the random number's first half."""
        _decay, dep, _pot, reward = now
        most = TRACE_BITS + self.width + 1  # a longer shift gives what this one gives
        self._amount = amount = Signal(range(most + 1))
        wanted = Signal(5)
        m.d.comb += [
            wanted.eq(Mux(reward, unit.g, unit.f) if self.rewarded else unit.f),
            amount.eq(Mux(wanted > most, most, wanted)),
        ]
        self._half = half = Signal(TRACE_BITS + self.width)
        self._mask = mask = Signal(16)
        plain = Signal()  # the decay of the eligibility rounds by itself
        if self.rewarded:
            m.d.comb += plain.eq(now[0])
            with m.If(now[0]):
                m.d.comb += amount.eq(8)
        with m.If((unit.rounding == 1) & ~plain):
            m.d.comb += half.eq(Cat(wanted == k + 1 for k in range(len(half))))
            with m.If(wanted >= most):
                m.d.comb += half[-1].eq(1)
        with m.If((unit.rounding == 2) & ~plain):
            m.d.comb += mask.eq(Cat(wanted > k for k in range(16)))
        self._source = Signal(16)
        m.d.comb += self._source.eq(source_part(Mux(dep, unit.lfsr[:16], unit.lfsr[16:]), self.source_product))
        gone = Signal(16)
        m.d.sync += gone.eq(Mux(now.any() & (beat != BEATS - 1), gone + (TARGET_STEP * self.lanes & 0xFFFF), 0))
        self._target = Signal(16)
        m.d.comb += self._target.eq(self.target_product + gone)
        self._amount_a = Signal.like(amount)
        m.d.sync += self._amount_a.eq(amount)
        self._potentiation = Signal(TRACE_BITS)
        m.d.comb += self._potentiation.eq(Mux(unit.window, Mux(self.x.any(), unit.pot, 0), self.x))

    def _rings(self, m: Module, enters: Value) -> None:
        lanes = self.lanes
        with m.If(enters):
            for ring, bits in ((self.y, TRACE_BITS), (self.fired, 1), (self.enabled, 1)):
                m.d.sync += ring.eq(ring.rotate_right(lanes * bits))

    def _turn_words(self, m: Module, news: list[tuple[Value, Value, Value]]) -> None:
        """Turn the row word, with the new fields of the last stage at beat 2 put in their places at beat 1."""
        span = self.lanes * self.width
        with m.If(self.running):
            m.d.sync += [
                self.word.eq(self.word.rotate_right(span)),
                self.eligibility.eq(self.eligibility.rotate_right(span)),
            ]
            for lane, (new, write_word, write_eligibility) in enumerate(news):
                at = slice(span + lane * self.width, span + (lane + 1) * self.width)
                with m.If(write_word):
                    m.d.sync += self.word[at].eq(new)
                if self.rewarded:
                    with m.If(write_eligibility):
                        m.d.sync += self.eligibility[at].eq(new)

    def _lane(
        self, m: Module, unit: Any, lane: int, now: Signal, phase_a: Signal, phase_c: Signal
    ) -> tuple[Value, Value, Value]:
        """One lane: multiply, round and shift, add and clamp. Returns the new field and where it goes."""
        width = self.width
        decay, dep, pot, reward = now

        def field(ring: Signal, beat: int) -> Value:
            start = beat * self.lanes * width + lane * width
            return ring[start : start + width].as_signed()

        # Stage 1: product of the amount and the distance, and the rounding.
        weight = field(self.word, 0)
        y = self.y[lane * TRACE_BITS : (lane + 1) * TRACE_BITS]
        factor = Signal(TRACE_BITS, name=f"factor{lane}")
        times = Signal(width, name=f"times{lane}")
        negative = Signal(name=f"negative{lane}")
        low, high = unit.w_min[:width].as_signed(), unit.w_max[:width].as_signed()
        distance = Mux(dep, weight, high) - Mux(dep, low, weight)
        m.d.comb += [
            factor.eq(Mux(dep, Mux(unit.window, Mux(y.any(), unit.dep, 0), y), self._potentiation)),
            times.eq(Mux(unit.soft, distance, 1)),
        ]
        if self.rewarded:
            e = field(self.eligibility, 0)
            with m.If(decay | reward):
                m.d.comb += [
                    factor.eq(Mux(decay, unit.e_decay, abs(unit.reward))),
                    times.eq(Mux(e < 0, -e, e)),
                    negative.eq((e < 0) ^ (reward & (unit.reward < 0))),
                ]
        number = scramble(self._source ^ (self._target + (TARGET_STEP * lane & 0xFFFF))[:16])
        product = Signal(TRACE_BITS + width, name=f"product{lane}", reset_less=True)
        rounding = Signal(TRACE_BITS + width, name=f"rounding{lane}", reset_less=True)
        allowed_a, allowed_c = Signal(name=f"allowed{lane}"), Signal(name=f"allowed_c{lane}")
        negative_a, negative_c = Signal(name=f"negative_a{lane}"), Signal(name=f"negative_c{lane}")
        m.d.sync += [
            product.eq(factor * times),
            rounding.eq((number & self._mask) | self._half),
            allowed_a.eq(self.enabled[lane] & (self.fired[lane] | ~pot)),
            negative_a.eq(negative),
        ]

        # Stage 2: the change, as far as it can matter.
        change = Signal(signed(width + 2), name=f"change{lane}", reset_less=True)
        if self.rewarded:
            minus = negative_a & phase_a[3]
            total = Cat(minus, product ^ minus.replicate(len(product)), minus).as_signed() + Cat(minus, rounding)
            total = total[1 : len(product) + 3].as_signed()
        else:
            total = (product + rounding).as_unsigned()
        shifted = total >> self._amount_a
        if not self.rewarded:
            shifted = Cat(shifted, Const(0, 1))
        m.d.sync += [change.eq(saturate(shifted, width + 2)), allowed_c.eq(allowed_a), negative_c.eq(negative_a)]

        # Stage 3: to the field, which has come to beat 2.
        base, bottom, top = field(self.word, 2), low, high
        into_e = Const(0)
        takes = phase_c[1]
        if self.rewarded:
            into_e = unit.eligible & ~phase_c[3]
            base = Mux(phase_c[0], 0, Mux(into_e, field(self.eligibility, 2), base))
            edge = 1 << ELIGIBILITY_BITS - 1
            bottom, top = (
                Mux(into_e, Const(-edge, signed(width)), low),
                Mux(into_e, Const(edge - 1, signed(width)), high),
            )
            takes = takes | (phase_c[0] & negative_c)
        value = Signal(signed(width + 3), name=f"value{lane}")
        m.d.comb += value.eq(
            base + (change.as_unsigned() ^ takes.replicate(width + 2)).as_signed() + Cat(takes, Const(0, 1))
        )
        new = Mux(value < bottom, bottom, Mux(value > top, top, value))[:width]
        write = allowed_c & phase_c.any()
        return new, write & ~into_e, write & into_e
