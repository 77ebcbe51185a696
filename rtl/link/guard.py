"""Leaving an image: back to golden because the host says so, or because nobody said in time that the image is good."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ANSWER_BYTES = 64
"""Byte times between BOOT and the boot: its answer, and one that is still on its way, reach the host first."""


class BootGuard(wiring.Component):
    """Asks for the warm boot of golden.

    Parameters
    ----------
    answer_cycles : clock cycles between ``leave`` and the boot
    guard_cycles : clock cycles after which an image that was not confirmed is left, or None if it may stay

    Members
    -------
    leave : In(1), strobe: boot after ``answer_cycles``
    confirm : In(1), strobe: this image may stay; it does not call a ``leave`` back
    warmboot : Out(1), from a register; stays high
    """

    def __init__(self, answer_cycles: int, guard_cycles: int | None) -> None:
        self._answer_cycles = answer_cycles
        self._guard_cycles = guard_cycles
        super().__init__({"leave": In(1), "confirm": In(1), "warmboot": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        end = max(self._answer_cycles, self._guard_cycles or 0)
        count = Signal(range(end + 1))
        # a flip-flop of iCE40 starts at 0, so what starts the other way round is stored the other way round
        safe, leaving = Signal(), Signal()
        running = leaving if self._guard_cycles is None else leaving | ~safe
        # all bits of `end` are set for the first time when the counter has come to it
        reached = Cat(count[bit] for bit in range(end.bit_length()) if end >> bit & 1).all()
        with m.If(running & ~reached):
            m.d.sync += count.eq(count + 1)
        m.d.sync += self.warmboot.eq(running & reached)
        with m.If(self.confirm):
            m.d.sync += safe.eq(1)
        with m.If(self.leave & ~leaving):
            m.d.sync += [leaving.eq(1), count.eq(end - self._answer_cycles)]
        return m
