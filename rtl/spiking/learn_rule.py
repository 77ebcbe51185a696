"""The learning rule on the fields of one row word: rings of registers that pass under the lanes.

The equations are those of "Learning" in docs/spiking-core.md.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import RULE_BEATS_LEAST, CoreConfig
from neuroloom.compiler.spiking.learner import TARGET_STEP

from .random import scramble, source_part

DRAIN = 5
"""Cycles from the address of the last field's trace to its result: memory, trace, product, sum, change."""

PASSED = 3
"""Beats that the row word has turned too far when its last field is written."""

TRACE_BITS = 16
ELIGIBILITY_BITS = 8


def saturate(value: Value, bits: int) -> Value:
    """``value`` as the nearest signed number of ``bits`` bits."""
    if len(value) <= bits:
        return value.as_signed()
    top = value[bits - 1 :]
    sign = value[-1]
    return Mux(top.all() | ~top.any(), value[:bits], Cat((~sign).replicate(bits - 1), sign)).as_signed()


def check_learning(config: CoreConfig) -> None:
    """Raise InputError when the configuration has no learning, or too few weights in a pool word for it."""
    if config.fields % RULE_BEATS_LEAST or config.learning == "none":
        raise InputError(
            f"a core that learns must have at least {RULE_BEATS_LEAST} weights in a pool word, not {config.fields}; "
            "give it more lanes"
        )


class Rule:
    """Registers and data path of the rule; a part of :class:`Learn`'s module, not a module of its own.

    To use it: load ``word`` (and ``eligibility``), ``fired`` and ``enabled``, hold ``x``, and write the phases
    that are due to ``todo``, all at one clock edge or before. While ``asking``, put the address of the targets' traces on
    the pool, the next one after a cycle with ``asked_group``. The lanes are busy for ``beats`` cycles per phase and
    ``DRAIN`` more (and three on large cores, where the traces come later), ``last`` marks the final one; then
    :meth:`result` and :meth:`result_eligibility` are the new fields, while ``fired`` and ``enabled`` are as they were.

    Attributes
    ----------
    todo : Signal(4)
        Phases, in their order: decay, depression, potentiation, reward.
    word, eligibility : Signal(W)
        Rings of F fields.
    load, load_eligibility : Signal(1)
        Strobes: take the pool word that has come.
    fired, enabled : Signal(F), Signal(F)
        Spikes and enable bits of the targets.
    alone, alone_lane : Signal(1), Signal
        Only field 0 is of interest, and its target is this lane of the pool word.
    x, traced : Signal(16), Signal(1)
        Trace of the source, and whether it is not 0.
    source_product, target_product : Signal(16)
        40503·j and 27469·i modulo 2^16, i the target of field 0.
    """

    def __init__(self, config: CoreConfig) -> None:
        check_learning(config)
        self.config = config
        self.rewarded = config.learning == "reward"
        self.width = config.weight_bits
        self.beats, self.record_beats = config.rule_beats, config.record_beats
        self.lanes = config.fields // self.beats
        self.parts = config.lanes // self.lanes  # of a pool word of traces, each for the lanes of one beat
        self.todo = Signal(4)
        self.clipped: list[Value] = []  # strobes of the lanes: an eligibility saturates
        self.asking, self.asked_group = Signal(), Signal()
        self.last = Signal()
        self.word = Signal(config.word_bits, reset_less=True)
        self.eligibility = Signal(config.word_bits if self.rewarded else 0, reset_less=True)
        self.load, self.load_eligibility = Signal(), Signal()
        self.fired = Signal(config.fields, reset_less=True)
        self.enabled = Signal(config.fields, reset_less=True)
        self.alone, self.alone_lane = Signal(), Signal((config.lanes - 1).bit_length())
        self.x, self.traced = Signal(TRACE_BITS), Signal()
        self.source_product = Signal(16, reset_less=True)
        self.target_product = Signal(16, reset_less=True)

    def result(self) -> Value:
        """The new row word."""
        return self.word.rotate_left(PASSED * self.lanes * self.width)

    def result_eligibility(self) -> Value:
        """The new eligibilities, laid out like the row word."""
        return self.eligibility.rotate_left(PASSED * self.lanes * self.width)

    def record(self, ring: Signal) -> Value:
        """The new field of a record, in :attr:`word` or :attr:`eligibility`."""
        start = (self.record_beats - PASSED) * self.lanes * self.width
        return ring[start : start + self.width]

    def _turned(self, ring: Signal, width: int) -> Value:
        """The ring of fields of ``width`` bits, turned by a beat. Where a record takes fewer beats, its field, the only one of
        interest, comes round sooner.
        """
        if not len(ring):
            return Const(0, 0)
        turned = ring.rotate_right(self.lanes * width)
        if self.record_beats == self.beats:
            return turned
        place = (self.record_beats - 1) * self.lanes * width
        sooner = Mux(self.alone, ring[:width], turned[place : place + width])
        return Cat(turned[:place], sooner, turned[place + width :])

    def build(self, m: Module, unit: Any) -> None:
        """Add the rings and lanes to ``m``; ``unit`` has the members of a learning command.

        Loads of the registers come later in the module, so that they win over the turning of the rings.
        """
        beats = Signal(range(self.beats)), Signal(range(self.beats)), Signal(range(self.beats))
        asked, come, now, phase_s, phase_a, phase_c = (
            Signal(4, name=f"phase_{n}") for n in range(6)
        )  # one-hot or none
        before = Signal(4)  # the traces come in the next cycle
        beat, late, phase = beats[0], Const(0), asked
        for number in range(1, self.config.walk_cycles):  # the traces are on their way
            sooner, beat_before = phase, beat
            phase, beat = Signal(4, name=f"phase_late{number}"), Signal(range(self.beats), name=f"beat_late{number}")
            m.d.sync += [phase.eq(sooner), beat.eq(beat_before)]
            late = late | phase
        m.d.comb += [
            asked.eq(self.todo & -self.todo),
            before.eq(phase),
            self.asking.eq(asked[1]),
            self.asked_group.eq(asked[1] & (beats[0] % self.parts == self.parts - 1)),
            self.last.eq(~(self.todo | late | come | now | phase_s | phase_a).any()),
        ]
        m.d.sync += [come.eq(before), now.eq(come), phase_s.eq(now), phase_a.eq(phase_s), phase_c.eq(phase_a)]
        m.d.sync += [beats[1].eq(beat), beats[2].eq(beats[1])]
        with m.If(self.todo.any()):
            m.d.sync += beats[0].eq(beats[0] + 1)
            with m.If(beats[0] == self._last_beat()):
                if self.record_beats != self.beats:
                    m.d.sync += beats[0].eq(0)
                m.d.sync += self.todo.eq(self.todo & ~asked)
        self._traces(m, unit, beats[1])
        self._shared(m, unit, come, now, beats[2])
        with m.If(now.any()):
            m.d.sync += [ring.eq(self._turned(ring, 1)) for ring in (self.fired, self.enabled)]
        news = [self._lane(m, unit, lane, now, phase_s, phase_a, phase_c) for lane in range(self.lanes)]
        self._turn_words(m, news, (now | phase_s | phase_a | phase_c).any(), unit.pool.data_r)

    def _last_beat(self) -> Value:
        """Number of a phase's last beat."""
        most = self.beats - 1
        return Const(most) if self.record_beats == self.beats else Mux(self.alone, self.record_beats - 1, most)

    def _traces(self, m: Module, unit: Any, beat: Signal) -> None:
        """Take the traces of the beat from the pool word that has come; on large cores, what depression makes of them."""
        part = beat[: (self.parts - 1).bit_length()]
        self._y = [Signal(TRACE_BITS, name=f"y{lane}", reset_less=True) for lane in range(self.lanes)]
        for lane, y in enumerate(self._y):
            place = Cat(Const(lane, (self.lanes - 1).bit_length()), part)
            if lane == 0:
                place = Mux(self.alone, self.alone_lane, place)
            came: Value = unit.pool.data_r.word_select(place, 32)[:TRACE_BITS]
            if self.config.large:  # a register holds what the multiplier takes
                came = self._depression(unit, came)
            m.d.sync += y.eq(came)

    @staticmethod
    def _depression(unit: Any, y: Value) -> Value:
        """What a target's trace stands for: itself, or with a window the window's amount."""
        return Mux(unit.window, Mux(y.any(), unit.dep, 0), y)

    def _shared(self, m: Module, unit: Any, come: Signal, now: Signal, beat: Signal) -> None:
        """What all lanes have in common: the amount of the shift, the rounding, the random number's first half."""
        _decay, dep, _pot, reward = now
        most = TRACE_BITS + self.width + 1  # a longer shift gives what this one gives
        self._amount = amount = Signal(range(most + 1))
        wanted = Signal(5)
        m.d.comb += [
            wanted.eq(Mux(reward, unit.g, unit.f) if self.rewarded else unit.f),
            amount.eq(Mux(wanted > most, most, wanted)),
        ]
        if self.rewarded:
            with m.If(now[0]):
                m.d.comb += amount.eq(8)
        # What a phase rounds by is said one cycle earlier; the decay of the eligibility rounds by itself.
        self._half = half = Signal(TRACE_BITS + self.width, reset_less=True)
        self._mask = mask = Signal(16, reset_less=True)
        coming = Mux(come[3], unit.g, unit.f) if self.rewarded else unit.f
        plain = come[0] if self.rewarded else Const(0)
        below = Signal(TRACE_BITS + self.width)  # the bits that the shift drops
        m.d.comb += below.eq(Cat(coming > bit for bit in range(len(below))))
        m.d.sync += [
            half.eq(Mux((unit.rounding == 1) & ~plain, below & ~Cat(below[1:], Const(0, 1)), 0)),
            mask.eq(Mux((unit.rounding == 2) & ~plain, below, 0)),
        ]
        self._source = Signal(16)
        m.d.comb += self._source.eq(source_part(Mux(dep, unit.lfsr[:16], unit.lfsr[16:]), self.source_product))
        self._target = Signal(16, reset_less=True)
        m.d.sync += self._target.eq(self.target_product)
        with m.If(now.any() & (beat != self._last_beat())):
            m.d.sync += self._target.eq(self._target + (TARGET_STEP * self.lanes & 0xFFFF))
        amount_s, self._amount_a = Signal.like(amount), Signal.like(amount)
        m.d.sync += [amount_s.eq(amount), self._amount_a.eq(amount_s)]
        # which bits of the sum must equal its sign, so that what is left of it by the shift fits a change
        self._above = Signal(TRACE_BITS + self.width + 2, reset_less=True)
        m.d.sync += self._above.eq(Cat(amount_s + (self.width + 1) <= bit for bit in range(len(self._above))))
        self._potentiation = Signal(TRACE_BITS)
        m.d.comb += self._potentiation.eq(Mux(unit.window, Mux(self.traced, unit.pot, 0), self.x))

    def _turn_words(self, m: Module, news: list[tuple[Value, Value, Value]], turns: Value, data: Value) -> None:
        """Turn the row word, with the new fields of the last stage put in their places."""
        span = self.lanes * self.width
        place, alone_place = ((beats - PASSED - 1) * span for beats in (self.beats, self.record_beats))
        for ring, load, to_word in ((self.word, self.load, True), (self.eligibility, self.load_eligibility, False)):
            turned = Signal.like(ring, name=f"turned_{ring.name}")
            m.d.comb += turned.eq(self._turned(ring, self.width))
            for lane, (new, write_word, write_eligibility) in enumerate(news):
                at = slice(place + lane * self.width, place + (lane + 1) * self.width)
                if to_word or self.rewarded:
                    with m.If(write_word if to_word else write_eligibility):
                        m.d.comb += turned[at].eq(new)
                        if lane == 0 and alone_place != place:
                            with m.If(self.alone):
                                m.d.comb += turned[alone_place : alone_place + self.width].eq(new)
            with m.If(load | turns):
                m.d.sync += ring.eq(Mux(load, data, turned))

    def _late_field(
        self,
        m: Module,
        lane: int,
        field: Any,
        limits: tuple[Value, Value],
        change: Signal,
        unit: Any,
        phase_a: Signal,
        phase_c: Signal,
        flags: tuple[Signal, Signal],
    ) -> tuple[Value, Value, Value]:
        """Stage 4 on large cores: the field and its distances to both limits are in registers, so that one addition each tells the
        new field and whether it is beyond a limit.
        """
        width = self.width
        allowed, negative_a = flags
        shift = 1 - PASSED  # the field is one beat earlier
        base, (low, high) = field(self.word, self.beats + shift), limits
        if alone := lane == 0 and self.record_beats != self.beats:
            base = Mux(self.alone, field(self.word, self.record_beats + shift), base)
        takes, into_e = phase_a[1], Const(0)
        if self.rewarded:
            into_e = unit.eligible & ~phase_a[3]
            eligibility = field(self.eligibility, self.beats + shift)
            if alone:
                eligibility = Mux(self.alone, field(self.eligibility, self.record_beats + shift), eligibility)
            base = Mux(phase_a[0], 0, Mux(into_e, eligibility, base))
            edge = 1 << ELIGIBILITY_BITS - 1
            low = Mux(into_e, Const(-edge, signed(width)), low)
            high = Mux(into_e, Const(edge - 1, signed(width)), high)
            takes = takes | (phase_a[0] & negative_a)
        kept, bottom, top = (
            Signal(signed(width), name=f"{name}{lane}", reset_less=True) for name in ("base", "bottom", "top")
        )
        above, below = (Signal(signed(width + 1), name=f"{name}{lane}", reset_less=True) for name in ("above", "below"))
        taken, late_e = Signal(name=f"takes{lane}"), Signal(name=f"into_e{lane}")
        m.d.sync += [kept.eq(base), bottom.eq(low), top.eq(high), above.eq(base - low), below.eq(base - high - 1)]
        m.d.sync += [taken.eq(takes), late_e.eq(into_e)]
        signed_change = Signal(signed(width + 2), name=f"signed_change{lane}")
        m.d.comb += signed_change.eq(change ^ taken.replicate(width + 2))
        carry = Cat(taken, Const(0, 1)).as_signed()
        value, over_bottom, over_top = (
            Signal(signed(width + 3), name=f"{name}{lane}") for name in ("value", "over_bottom", "over_top")
        )
        for total, start in ((value, kept), (over_bottom, above), (over_top, below)):
            m.d.comb += total.eq(start + signed_change + carry)
        too_low, too_high = over_bottom < 0, over_top >= 0
        new = Mux(too_low, bottom, Mux(too_high, top, value))[:width]
        write = allowed & phase_c.any()
        if self.rewarded:
            self.clipped.append(write & late_e & (too_low | too_high))
        return new, write & ~late_e, write & late_e

    def _lane(
        self, m: Module, unit: Any, lane: int, now: Signal, phase_s: Signal, phase_a: Signal, phase_c: Signal
    ) -> tuple[Value, Value, Value]:
        """One lane: multiply, round and shift, add and clamp. Returns the new field and where it goes."""
        width = self.width
        decay, dep, pot, reward = now

        def field(ring: Signal, beat: int) -> Value:
            start = beat * self.lanes * width + lane * width
            return ring[start : start + width].as_signed()

        # Stage 1: product of the amount and the distance, and the rounding.
        weight = field(self.word, 0)
        y: Value = self._y[lane]
        if not self.config.large:
            y = self._depression(unit, y)
        factor = Signal(TRACE_BITS, name=f"factor{lane}")
        times = Signal(width, name=f"times{lane}")
        negative = Signal(name=f"negative{lane}")
        low, high = unit.w_min[:width].as_signed(), unit.w_max[:width].as_signed()
        distance = Mux(dep, weight, high) - Mux(dep, low, weight)
        m.d.comb += [
            factor.eq(Mux(dep, y, self._potentiation)),
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
        allowed_s, allowed_a, allowed_c = (Signal(name=f"allowed_{stage}{lane}") for stage in "sac")
        negative_s, negative_a, negative_c = (Signal(name=f"negative_{stage}{lane}") for stage in "sac")
        m.d.sync += [
            product.eq(factor * times),
            rounding.eq((number & self._mask) | self._half),
            allowed_s.eq(self.enabled[lane] & (self.fired[lane] | ~pot)),
            negative_s.eq(negative),
        ]

        # Stages 2 and 3: the sum; the change, as far as it can matter.
        change = Signal(signed(width + 2), name=f"change{lane}", reset_less=True)
        if self.rewarded:
            minus = negative_s & phase_s[3]
            total = Cat(minus, product ^ minus.replicate(len(product)), minus).as_signed() + Cat(minus, rounding)
            total = total[1 : len(product) + 3].as_signed()
        else:
            total = (product + rounding).as_unsigned()
        sum_ = Signal(total.shape(), name=f"sum{lane}", reset_less=True)
        m.d.sync += [sum_.eq(total), allowed_a.eq(allowed_s), negative_a.eq(negative_s)]
        shifted = sum_ >> self._amount_a
        if not self.rewarded:
            shifted = Cat(shifted, Const(0, 1))
        cut = saturate(shifted, width + 2)
        if self.config.large:  # looked at beside the shift, not behind it
            sign = sum_[-1] if self.rewarded else Const(0, 1)
            far = ((sum_ ^ sign.replicate(len(sum_))) & self._above[: len(sum_)]).any()
            cut = Mux(far, Cat((~sign).replicate(width + 1), sign), shifted[: width + 2])
        m.d.sync += [change.eq(cut), allowed_c.eq(allowed_a), negative_c.eq(negative_a)]

        # Stage 4: to the field, which has turned on by three beats.
        if self.config.large:
            return self._late_field(
                m, lane, field, (low, high), change, unit, phase_a, phase_c, (allowed_c, negative_a)
            )
        base, bottom, top = field(self.word, self.beats - PASSED), low, high
        into_e = Const(0)
        takes = phase_c[1]
        if self.rewarded:
            into_e = unit.eligible & ~phase_c[3]
            base = Mux(phase_c[0], 0, Mux(into_e, field(self.eligibility, self.beats - PASSED), base))
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
        if self.rewarded:
            self.clipped.append(write & into_e & ((value < bottom) | (value > top)))
        return new, write & ~into_e, write & into_e
