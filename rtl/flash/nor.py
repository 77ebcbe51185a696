"""Transactions with an SPI NOR flash: a command with its address, then bytes out or bytes in. Mode 0, half the clock."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

HEADER_BYTES = 5
"""Command, three address bytes, one dummy byte."""

DESELECT_CYCLES = 8
"""Clock cycles with chip select high between transactions: 100 ns, the slowest usual tSHSL, up to 80 MHz."""


class NorMaster(wiring.Component):
    """One transaction after the other.

    Members
    -------
    sck, cs_n, mosi : ``Out(1)``
        Pins, from registers. ``miso``: ``In(1)``, sampled at the end of the clock's high phase, a whole period after the flash
        was told to change it.
    start : ``In(1)``
        Strobe while ``busy`` is low: begins a transaction.
    header : ``In(40)``, ``header_bytes`` : ``In(3)``
        Bytes sent first, the first one on top; 1 to 5 of them.
    write : ``In(1)``, ``count`` : ``In(24)``
        So many bytes follow, out of ``w`` or into ``r``.
    w : ``In(stream.Signature(8))``, r : ``Out(stream.Signature(8))``
        Data. The flash waits, selected, while they do.
    busy : ``Out(1)``
        From the cycle after ``start`` until chip select has been high long enough for the next one.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "sck": Out(1),
                "cs_n": Out(1, init=1),
                "mosi": Out(1),
                "miso": In(1),
                "start": In(1),
                "header": In(8 * HEADER_BYTES),
                "header_bytes": In(3),
                "write": In(1),
                "count": In(24),
                "w": In(stream.Signature(8)),
                "r": Out(stream.Signature(8)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        header, header_left = Signal.like(self.header), Signal.like(self.header_bytes)
        left, write = Signal.like(self.count), Signal()
        byte, bits, shifting = Signal(8), Signal(3), Signal()
        pause = Signal(range(DESELECT_CYCLES))
        m.d.comb += self.mosi.eq(byte[7])

        def send(value: object) -> None:
            m.d.sync += [byte.eq(value), bits.eq(7), shifting.eq(1)]

        with m.If(shifting):
            m.d.sync += self.sck.eq(~self.sck)
            with m.If(self.sck):
                m.d.sync += [byte.eq(Cat(self.miso, byte[:7])), bits.eq(bits - 1), shifting.eq(bits != 0)]

        with m.FSM(name="nor") as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [
                        header.eq(self.header),
                        header_left.eq(self.header_bytes),
                        left.eq(self.count),
                        write.eq(self.write),
                        self.cs_n.eq(0),
                    ]
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(~shifting):
                    with m.If(header_left != 0):
                        send(header[-8:])
                        m.d.sync += [header.eq(Cat(Const(0, 8), header[:-8])), header_left.eq(header_left - 1)]
                    with m.Else():
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(left == 0):
                    m.next = "END"
                with m.Elif(write):
                    m.d.comb += self.w.ready.eq(1)
                    with m.If(self.w.valid):
                        send(self.w.payload)
                        m.next = "OUT"
                with m.Else():
                    send(0)
                    m.next = "IN"
            with m.State("OUT"):
                with m.If(~shifting):
                    m.d.sync += left.eq(left - 1)
                    m.next = "DATA"
            with m.State("IN"):
                m.d.comb += [self.r.payload.eq(byte), self.r.valid.eq(~shifting)]
                with m.If(self.r.valid & self.r.ready):
                    m.d.sync += left.eq(left - 1)
                    m.next = "DATA"
            with m.State("END"):
                m.d.sync += [self.cs_n.eq(1), pause.eq(DESELECT_CYCLES - 1)]
                m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause == 0):
                    m.next = "IDLE"
        return m
