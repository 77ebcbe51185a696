"""CRC-32 of IEEE 802.3, one bit per clock cycle: small, and faster than any UART."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .protocol import CRC_POLYNOMIAL


class SerialCrc32(wiring.Component):
    """Takes a byte in 8 cycles.

    Members
    -------
    clear : ``In(1)``
        Begins a new message.
    start : ``In(1)``
        Takes ``data``; only while ``busy`` is low.
    data : ``In(8)``
        The byte.
    drain : ``In(1)``
        With ``start``: instead of taking a byte, moves the register down by one byte, to read the CRC out of ``crc[:8]``.
    busy : ``Out(1)``
        High for the 8 cycles after ``start``.
    byte : ``Out(8)``
        The byte taken last, while ``busy`` is low.
    crc : ``Out(32)``
        The CRC so far: the complement of the usual register, so that it starts with zeros, which every FPGA can.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "data": In(8),
                "drain": In(1),
                "busy": Out(1),
                "byte": Out(8),
                "crc": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Only `left` needs a reset: the others are written before they are looked at. (On iCE40 each reset costs logic.)
        left = Signal(4)
        draining = Signal(reset_less=True)
        byte = Signal(8, reset_less=True)
        crc = Signal(32, reset_less=True)
        feedback = Signal()
        self.proof = {"left": left}
        """What the formal proof needs to see of the inside."""
        # The register that the standard describes is ~crc; complementing both sides of its rule leaves the exclusive or
        # of the polynomial as it is and turns the zero that is shifted in, and crc[0], over.
        m.d.comb += [
            self.busy.eq(left != 0),
            self.byte.eq(byte),
            self.crc.eq(crc),
            feedback.eq(~(crc[0] ^ byte[0]) & ~draining),
        ]
        with m.If(self.busy):
            m.d.sync += [
                crc.eq(Cat(crc[1:], Const(1, 1)) ^ (feedback.replicate(32) & CRC_POLYNOMIAL)),
                byte.eq(byte.rotate_right(1)),
                left.eq(left - 1),
            ]
        with m.If(self.start):
            m.d.sync += [byte.eq(self.data), draining.eq(self.drain), left.eq(8)]
        with m.If(self.clear):
            m.d.sync += [crc.eq(0), left.eq(0)]
        return m
