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
    answer_cycles : clock cycles at least between ``leave`` and the boot; the next power of two is taken
    guard_cycles : clock cycles after which an image that was not confirmed is left, rounded up to a multiple of that power of two;
        None if it may stay

    Members
    -------
    leave : In(1), strobe: boot after ``answer_cycles``
    confirm : In(1), strobe: this image may stay; it does not call a ``leave`` back
    warmboot : Out(1), from a register; stays high
    """

    def __init__(self, answer_cycles: int, guard_cycles: int | None) -> None:
        self._bits = max(1, (answer_cycles - 1).bit_length())
        self._beats = None if guard_cycles is None else max(1, -(-guard_cycles // (1 << self._bits)))
        super().__init__({"leave": In(1), "confirm": In(1), "warmboot": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Two counters, each cleared as a whole: one that is loaded with a constant has bits that are set and bits that are cleared,
        # which iCE40 must place in different tiles, and its carry chain then takes longer than a clock cycle.
        tick, beat = Signal(self._bits), Signal()
        leaving = Signal()
        m.d.sync += [tick.eq(tick + 1), beat.eq(tick.all())]
        with m.If(beat & leaving):
            m.d.sync += self.warmboot.eq(1)
        if self._beats is not None:
            # a flip-flop of iCE40 starts at 0, so what starts the other way round is stored the other way round
            safe, beats, last = Signal(), Signal(range(self._beats + 1)), self._beats - 1
            # all bits of `last` are set for the first time when the counter has come to it
            reached = Cat(beats[bit] for bit in range(last.bit_length()) if last >> bit & 1).all()
            with m.If(beat & ~safe):
                m.d.sync += beats.eq(beats + 1)
                with m.If(reached):
                    m.d.sync += self.warmboot.eq(1)
            with m.If(self.confirm):
                m.d.sync += safe.eq(1)
        with m.If(self.leave & ~leaving):
            m.d.sync += [leaving.eq(1), tick.eq(0), beat.eq(0)]
        return m
