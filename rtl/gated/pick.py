"""The best of many elements and its place: what arg-max and top-k are made of."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op

from .fields import Fields


class Pick(wiring.Component):
    """Reads ``n`` elements, each of ``parts`` words (topmost digit first), and keeps the best and its number.

    The largest or the smallest; of equals the one that comes first. With ``again`` only what stands behind the pick before in
    this order counts. ``start`` with the instruction and its address; from the next cycle on an address per cycle (``valid``,
    ``x``); two cycles after an address its word is taken from ``element``. The pick can be used five cycles after the last
    address. ``value`` and ``index`` are undefined when nothing counts.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "word": In(WORD_BITS),
                "x_addr": In(16),
                "valid": Out(1),
                "x": Out(16),
                "element": In(signed(config.word)),
                "value": Out(signed(config.wide)),
                "index": Out(12),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digit = self._config.digit
        f = Fields(self.word, Op.PICK)
        left, part, parts = Signal(12, reset_less=True), Signal(3, reset_less=True), Signal(3, reset_less=True)
        base, stride = Signal(16, reset_less=True), Signal(signed(12), reset_less=True)
        part_stride = Signal(signed(16), reset_less=True)
        largest, again = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(self.valid):
            m.d.sync += [part.eq(part - 1), self.x.eq(self.x - part_stride)]
            with m.If(part == 0):
                m.d.sync += [part.eq(parts), base.eq(base + stride), self.x.eq(base + stride), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += self.valid.eq(0)
        top, whole = Signal(2), Signal(2)
        valid = Signal(2)
        m.d.sync += [
            valid.eq(valid << 1 | self.valid),
            top.eq(top << 1 | (part == parts)),
            whole.eq(whole << 1 | (part == 0)),
        ]

        key = Signal.like(self.value, reset_less=True)
        compares = Signal()
        m.d.sync += compares.eq(valid[1] & whole[1])
        with m.If(valid[1]):
            word = Mux(largest, self.element, ~self.element)
            m.d.sync += key.eq(Mux(top[1], word.as_signed(), Cat(word[:digit], key)[: len(key)].as_signed()))

        place, known = Signal(12, reset_less=True), Signal()
        value, index = Signal.like(self.value, reset_less=True), Signal(12, reset_less=True)
        before, before_index = Signal.like(value, reset_less=True), Signal(12, reset_less=True)
        better, behind = Signal(), Signal()
        # the smallest is the largest of the complements
        m.d.comb += [
            better.eq(~known | (key > value)),
            behind.eq(Cat(~place, key).as_signed() < Cat(~before_index, before).as_signed()),
            self.value.eq(Mux(largest, value, ~value)),
            self.index.eq(index),
        ]
        with m.If(compares):
            m.d.sync += place.eq(place + 1)
            with m.If(better & (~again | behind)):
                m.d.sync += [value.eq(key), index.eq(place), known.eq(1)]
        with m.If(self.start):
            m.d.sync += [
                self.valid.eq(1),
                self.x.eq(self.x_addr),
                base.eq(self.x_addr),
                left.eq(f.n - 1),
                part.eq(f.parts - 1),
                parts.eq(f.parts - 1),
                stride.eq(f.stride),
                part_stride.eq(f.part_stride),
                largest.eq(f.largest),
                again.eq(f.again),
                place.eq(0),
                known.eq(0),
                before.eq(value),
                before_index.eq(index),
            ]
        return m
