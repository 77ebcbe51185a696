"""Bytes of samples into elements and back, one bit per cycle: a third of the logic of :mod:`.streams`."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op

from .fields import Fields


class SerialStreamUnit(wiring.Component):
    """Does what :class:`~neuroloom.rtl.gated.streams.StreamUnit` does, with the same members.

    A cycle takes one byte, moves one bit, or stores one field; or it gives one byte, moves one bit, or one field is read, which
    takes ``timing.field`` cycles.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start_in": In(1),
                "start_out": In(1),
                "word": In(WORD_BITS),
                "addr": In(config.vector_bits),
                "busy": Out(1),
                "waits": Out(1),
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "read": Out(config.vector_bits),
                "element": In(signed(config.word)),
                "write": Out(1),
                "w_addr": Out(config.vector_bits),
                "w_data": Out(config.word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        c = self._config
        f = Fields(self.word, Op.IN)
        byte, held = Signal(8, reset_less=True), Signal(4)  # of a byte's bits
        field, above = Signal(c.word, reset_less=True), Signal(c.word, reset_less=True)  # above: not filled yet
        base, address = Signal(c.vector_bits, reset_less=True), Signal(c.vector_bits, reset_less=True)
        left, part = Signal(12, reset_less=True), Signal(3, reset_less=True)
        moved, waited = Signal(5, reset_less=True), Signal(range(c.timing.field + 1), reset_less=True)
        last, bits, full = Signal(), Signal(5), Signal()
        m.d.comb += [
            last.eq(part == f.parts - 1),
            bits.eq(Mux(last, f.width, c.digit)),
            full.eq(moved == bits),
            self.read.eq(address),
            self.w_addr.eq(address),
            self.w_data.eq(field),
            self.o.payload.eq(byte),
        ]

        def next_field() -> None:
            m.d.sync += [part.eq(part + 1), address.eq(address + f.part_stride), moved.eq(0)]
            with m.If(last):
                m.d.sync += [part.eq(0), left.eq(left - 1), base.eq(base + f.stride), address.eq(base + f.stride)]

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start_in | self.start_out):
                    m.d.sync += [
                        base.eq(self.addr),
                        address.eq(self.addr),
                        left.eq(f.n),
                        part.eq(0),
                        moved.eq(0),
                        waited.eq(0),
                        field.eq(0),
                        above.eq(~0),
                    ]
                    with m.If(f.first):
                        m.d.sync += [held.eq(0), byte.eq(0)]
                with m.If(self.start_in):
                    m.next = "IN"
                with m.If(self.start_out):
                    m.next = "OUT"
            with m.State("IN"):
                with m.If(left == 0):
                    m.next = "IDLE"
                with m.Elif(full):
                    m.d.comb += self.write.eq(1)
                    m.d.sync += [field.eq(0), above.eq(~0)]
                    next_field()
                with m.Elif(held == 0):
                    m.d.comb += [self.i.ready.eq(1), self.waits.eq(~self.i.valid)]
                    with m.If(self.i.valid):
                        m.d.sync += [byte.eq(self.i.payload), held.eq(8)]
                with m.Else():
                    # the bit goes to its place, and as a sign to all above it
                    fills = last & f.signed & (moved == bits - 1)
                    here = above & ~Cat(0, above[:-1])
                    m.d.sync += [
                        field.eq(field | Mux(byte[0], Mux(fills, above, here), 0)),
                        above.eq(Cat(0, above[:-1])),
                        byte.eq(byte >> 1),
                        held.eq(held - 1),
                        moved.eq(moved + 1),
                    ]
            with m.State("OUT"):
                with m.If((held == 8) | ((left == 0) & f.last & (held != 0))):
                    with m.If(held == 8):
                        m.d.comb += [self.o.valid.eq(1), self.waits.eq(~self.o.ready)]
                        with m.If(self.o.ready):
                            m.d.sync += held.eq(0)
                    with m.Else():  # zeros fill the last byte
                        m.d.sync += [byte.eq(byte >> 1), held.eq(held + 1)]
                with m.Elif(left == 0):
                    m.next = "IDLE"
                with m.Elif(waited != c.timing.field):
                    m.d.sync += [waited.eq(waited + 1), field.eq(self.element)]
                with m.Elif(full):
                    m.d.sync += waited.eq(0)
                    next_field()
                with m.Else():
                    m.d.sync += [
                        byte.eq(Cat(byte[1:], field[0])),
                        field.eq(field >> 1),
                        held.eq(held + 1),
                        moved.eq(moved + 1),
                    ]
        return m
