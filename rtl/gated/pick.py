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
    this order counts (an engine without ``ranks`` has no ``again``). ``start`` with the instruction and its address; from the next
    cycle on an address per cycle (``valid``, ``x``); one cycle after an address (in a deep engine four) its word is taken from
    ``element``. The pick can be used ``timing.sum`` cycles after its last address is at the memory. ``value`` and ``index`` are
    undefined when nothing counts.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "word": In(WORD_BITS),
                "x_addr": In(config.vector_bits),
                "valid": Out(1),
                "x": Out(config.vector_bits),
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
        bits = self._config.vector_bits
        base, stride = Signal(bits, reset_less=True), Signal(signed(min(12, bits)), reset_less=True)
        part_stride = Signal(bits, reset_less=True)
        largest, again = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(self.valid):
            m.d.sync += [part.eq(part - 1), self.x.eq(self.x - part_stride)]
            with m.If(part == 0):
                m.d.sync += [part.eq(parts), base.eq(base + stride), self.x.eq(base + stride), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += self.valid.eq(0)
        valid, top, whole = self.valid, part == parts, part == 0
        for stage in range(4 if self._config.deep else 1):
            later = [Signal(name=f"{name}{stage}", reset_less=name != "valid") for name in ("valid", "top", "whole")]
            m.d.sync += [signal.eq(value) for signal, value in zip(later, (valid, top, whole), strict=True)]
            valid, top, whole = later

        key = Signal.like(self.value, reset_less=True)
        compares = Signal()
        m.d.sync += compares.eq(valid & whole)
        with m.If(valid):
            word = Mux(largest, self.element, ~self.element)
            m.d.sync += key.eq(Mux(top, word.as_signed(), Cat(word[:digit], key)[: len(key)].as_signed()))

        place, known = Signal(12, reset_less=True), Signal()
        value, index = Signal.like(self.value, reset_less=True), Signal(12, reset_less=True)
        before, before_index = Signal.like(value, reset_less=True), Signal(12, reset_less=True)
        better, behind = Signal(), Signal(init=1)
        # the smallest is the largest of the complements
        m.d.comb += [
            better.eq(~known | (key > value)),
            self.value.eq(Mux(largest, value, ~value)),
            self.index.eq(index),
        ]
        if self._config.ranks:
            order, bound = Cat(~place, key).as_signed(), Cat(~before_index, before).as_signed()
            m.d.comb += behind.eq(~again | (order < bound))
        with m.If(compares):
            m.d.sync += place.eq(place + 1)
            with m.If(better & behind):
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
