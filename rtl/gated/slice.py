"""A register between two sides of a stream."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Slice(wiring.Component):
    """Passes bytes on, one per cycle at most, one cycle later; nothing combinational goes from one side to the other."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spare, held = Signal(), Signal(8, reset_less=True)  # the byte taken while the one before was not
        m.d.comb += self.i.ready.eq(~spare)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(spare | self.i.valid), spare.eq(0)]
            with m.If(spare):
                m.d.sync += self.o.payload.eq(held)
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid & ~spare):
            m.d.sync += [spare.eq(1), held.eq(self.i.payload)]
        return m
