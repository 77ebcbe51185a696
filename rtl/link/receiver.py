"""From the line to a frame buffer: COBS decoding and the CRC check."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .crc import SerialCrc32
from .protocol import CRC_BYTES, CRC_RESIDUE, DELIMITER, HEADER_BYTES

SHORTEST_BITS = (HEADER_BYTES + CRC_BYTES - 1).bit_length()
"""The shortest frame has 2**3 bytes, so one bit above these says that a frame is long enough."""


class FrameReceiver(wiring.Component):
    """Decodes frames into the buffer that is free, and says at each border whether the frame was right.

    Takes one byte every 10 cycles at most (the CRC runs bit by bit).

    Parameters
    ----------
    offset_bits : :class:`int`
        Address bits of a frame buffer.
    largest : :class:`int`
        Largest decoded frame, header and CRC included; a longer one is a broken one.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Bytes from the line.
    line_error : ``In(1)``
        Strobe: a byte was lost, the frame around it is broken.
    free : ``In(1)``
        Whether there is a buffer to write to. A frame that meets none is dropped whole.
    write_en, write_at, write_data : ``Out``
        Write port of that buffer.
    good : ``Out(1)``
        Strobe: a right frame is in the buffer, its payload ends before offset ``end``.
    end : ``Out(offset_bits)``
        Valid with ``good``.
    bad, dropped : ``Out(1)``
        Strobes: the frame was broken; there was no buffer for it.
    """

    def __init__(self, offset_bits: int, largest: int):
        self._offset_bits = offset_bits
        self._largest = largest
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "line_error": In(1),
                "free": In(1),
                "write_en": Out(1),
                "write_at": Out(offset_bits),
                "write_data": Out(8),
                "good": Out(1),
                "end": Out(offset_bits),
                "bad": Out(1),
                "dropped": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = SerialCrc32()

        count = Signal(self._offset_bits, reset_less=True)
        left = Signal(8, reset_less=True)  # data bytes left in the COBS block, plus one; 0 before the first block
        owed = Signal(reset_less=True)  # whether the next code byte stands for a zero
        broken = Signal(reset_less=True)
        homeless = Signal(reset_less=True)
        emit = Signal()
        complete = Signal()
        self.proof = {"count": count, "left": left, "owed": owed, "broken": broken, "homeless": homeless, "crc": crc}
        """What the formal proof needs to see of the inside."""

        m.d.comb += [
            self.i.ready.eq(~crc.busy),
            self.write_at.eq(count),
            self.write_data.eq(self.i.payload),
            crc.data.eq(self.write_data),
            self.end.eq(count - CRC_BYTES),
            complete.eq(left[1:] == 0),
        ]
        with m.If(self.line_error):
            m.d.sync += broken.eq(1)
        with m.If(self.i.valid & self.i.ready):
            with m.If(self.i.payload == DELIMITER):
                m.d.comb += crc.clear.eq(1)
                m.d.sync += [count.eq(0), left.eq(0), owed.eq(0), broken.eq(0), homeless.eq(0)]
                with m.If(homeless):
                    m.d.comb += self.dropped.eq(1)
                with m.Elif(broken | ~complete):
                    m.d.comb += self.bad.eq(1)
                with m.Elif((crc.crc == CRC_RESIDUE) & count[SHORTEST_BITS:].any()):
                    m.d.comb += self.good.eq(1)
                with m.Elif(count != 0):
                    m.d.comb += self.bad.eq(1)
            with m.Elif(complete):
                m.d.comb += [emit.eq(owed), self.write_data.eq(0)]
                m.d.sync += [left.eq(self.i.payload), owed.eq(self.i.payload != 0xFF)]
            with m.Else():
                m.d.comb += emit.eq(1)
                m.d.sync += left.eq(left - 1)
        with m.If(emit):
            with m.If(~self.free):
                m.d.sync += homeless.eq(1)
            with m.If(count == self._largest):
                m.d.sync += broken.eq(1)
            with m.Else():
                m.d.comb += [self.write_en.eq(self.free & ~homeless), crc.start.eq(1)]
                m.d.sync += count.eq(count + 1)
        return m
