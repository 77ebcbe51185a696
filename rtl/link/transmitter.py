"""From a response buffer to the line."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .protocol import DELIMITER


class FrameTransmitter(wiring.Component):
    """Sends a finished frame: from its leading border to the next border.

    Parameters
    ----------
    offset_bits : :class:`int`
        Address bits of a frame buffer.
    registered : :class:`bool`
        ``read_data`` comes two cycles after its address, not one.

    Members
    -------
    send : ``In(1)``
        Strobe: sends the frame at ``origin``; only while ``busy`` is low.
    origin : ``In(offset_bits)``
        Offset of its leading border.
    busy : ``Out(1)``
        A frame is being sent; the buffer must stay as it is.
    read_at, read_data : ``Out``, ``In``
        Synchronous read port of the buffer.
    o : ``Out(stream.Signature(8))``
        Bytes for the line.
    """

    def __init__(self, offset_bits: int, *, registered: bool = False):
        self._offset_bits, self._registered = offset_bits, registered
        super().__init__(
            {
                "send": In(1),
                "origin": In(offset_bits),
                "busy": Out(1),
                "read_at": Out(offset_bits),
                "read_data": In(8),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = Signal(reset_less=True)
        at = Signal(self._offset_bits, reset_less=True)
        m.d.comb += [self.o.payload.eq(self.read_data), self.read_at.eq(at)]
        with m.FSM(name="transmit") as fsm:
            self.proof = {"state": fsm, "at": at, "first": first}
            """What the formal proof needs to see of the inside."""
            with m.State("IDLE"):
                m.d.sync += [at.eq(self.origin), first.eq(1)]
                with m.If(self.send):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.busy.eq(1)
                m.next = "FETCHED" if self._registered else "OFFER"
            if self._registered:
                with m.State("FETCHED"):
                    m.d.comb += self.busy.eq(1)
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.busy.eq(1), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.d.sync += [at.eq(at + 1), first.eq(0)]
                    m.next = "FETCH"
                    with m.If((self.read_data == DELIMITER) & ~first):
                        m.next = "IDLE"
        return m
