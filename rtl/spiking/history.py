"""The memory of the spike history."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig

from .memories import Ram
from .ports import HistPort


class History(wiring.Component):
    """Spike words by slot and word: word number ``word * slots + slot``.

    Small boards' block RAM is 2048 deep at most: there a deep history is cut into powers of two, so that each part is as many
    blocks beside each other and only the parts are chosen from.

    Members: ``port``, a :class:`HistPort`'s other side.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.slots = config.slots
        self.depth = config.sources // SPIKE_WORD * config.slots
        self._deepest = self.depth if config.large else 2048
        super().__init__({"port": In(HistPort())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        addr = Cat(self.port.slot[: (self.slots - 1).bit_length()], self.port.word)
        first, parts = 0, []
        while first < self.depth:
            left = self.depth - first
            size = (
                left if left <= 256 or self._deepest == self.depth else min(self._deepest, 1 << left.bit_length() - 1)
            )
            parts.append((first, size))
            first += size
        chosen = Signal(range(len(parts)), reset_less=True)
        for number, (first, size) in enumerate(parts):
            m.submodules[f"part{number}"] = memory = Ram(16, size)
            # sizes fall, so that a part begins at a multiple of its size
            bits = (size - 1).bit_length()
            here = addr >> bits == first >> bits if len(parts) > 1 else Const(1)
            m.d.comb += [
                memory.r_addr.eq(addr),
                memory.w_addr.eq(addr),
                memory.w_en.eq(self.port.write & here),
                memory.w_data.eq(self.port.data_w),
            ]
            with m.If(here):
                m.d.sync += chosen.eq(number)
            with m.If(chosen == number):
                m.d.comb += self.port.data_r.eq(memory.r_data)
        return m
