"""From bytes to a finished frame in a response buffer: CRC and COBS encoding, exactly as it goes over the line."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .crc import SerialCrc32
from .protocol import CRC_BYTES, DELIMITER


class FrameWriter(wiring.Component):
    """Builds ``00 COBS(bytes CRC-32) 00`` in memory. A COBS code byte is written when its block is complete.

    Takes one byte every 12 cycles.

    Parameters
    ----------
    offset_bits : :class:`int`
        Address bits of a frame buffer.

    Members
    -------
    open : ``In(1)``
        Strobe: begins a frame at offset ``origin``; only while ``ready`` is high. A frame that is open is abandoned.
    origin : ``In(offset_bits)``
        Offset of the frame's first byte.
    i : ``In(stream.Signature(8))``
        Header and payload.
    close : ``In(1)``
        Strobe: appends the CRC and the border; only while ``ready`` is high, and not together with ``open`` or a byte.
    ready : ``Out(1)``
        Nothing is being done; after ``close``, the frame is complete.
    write_en, write_at, write_data : ``Out``
        Write port of the buffer.
    """

    def __init__(self, offset_bits: int):
        self._offset_bits = offset_bits
        super().__init__(
            {
                "open": In(1),
                "origin": In(offset_bits),
                "i": In(stream.Signature(8)),
                "close": In(1),
                "ready": Out(1),
                "write_en": Out(1),
                "write_at": Out(offset_bits),
                "write_data": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = SerialCrc32()

        at = Signal(self._offset_bits, reset_less=True)  # where the next byte goes
        code_at = Signal(self._offset_bits, reset_less=True)  # where the open block's code byte goes
        run = Signal(8, reset_less=True)  # that code: 1 + data bytes in the block
        trailer = Signal(range(CRC_BYTES + 1))  # CRC bytes still to come

        def end_block() -> None:
            m.d.comb += [self.write_en.eq(1), self.write_at.eq(code_at), self.write_data.eq(run)]
            m.d.sync += [code_at.eq(at), at.eq(at + 1), run.eq(1)]

        m.d.comb += [
            self.write_at.eq(at),
            self.write_data.eq(crc.byte),
            crc.data.eq(Mux(trailer != 0, crc.crc[:8], self.i.payload)),
            crc.drain.eq(trailer != 0),
        ]

        with m.FSM(name="write") as fsm:
            self.proof = {"state": fsm, "at": at, "code_at": code_at, "run": run, "trailer": trailer, "crc": crc}
            """What the formal proof needs to see of the inside."""
            with m.State("READY"):
                m.d.comb += [self.ready.eq(1), self.i.ready.eq(1), crc.start.eq(self.i.valid)]
                with m.If(self.open):
                    m.d.sync += at.eq(self.origin)
                    m.next = "BORDER"
                with m.Elif(self.close):
                    m.d.sync += trailer.eq(CRC_BYTES)
                    m.next = "TRAILER"
                with m.Elif(self.i.valid):
                    m.next = "SHIFT"
            with m.State("BORDER"):
                m.d.comb += [self.write_en.eq(1), self.write_data.eq(DELIMITER), crc.clear.eq(1)]
                m.d.sync += at.eq(at + 1)
                m.next = "FIRST"
            with m.State("FIRST"):
                # Leaves room for the first code byte.
                m.d.sync += [code_at.eq(at), at.eq(at + 1), run.eq(1)]
                m.next = "READY"
            with m.State("TRAILER"):
                m.d.comb += crc.start.eq(1)
                m.next = "SHIFT"
            with m.State("SHIFT"):
                with m.If(~crc.busy):
                    m.next = "STORE"
            with m.State("STORE"):
                with m.If(crc.byte == 0):
                    end_block()
                with m.Else():
                    m.d.comb += self.write_en.eq(1)
                    m.d.sync += [at.eq(at + 1), run.eq(run + 1)]
                m.next = "FULL"
            with m.State("FULL"):
                with m.If(run == 0xFF):
                    end_block()
                m.next = "READY"
                with m.If(trailer != 0):
                    m.d.sync += trailer.eq(trailer - 1)
                    m.next = "TRAILER"
                    with m.If(trailer == 1):
                        m.next = "CODE"
            with m.State("CODE"):
                end_block()
                # end_block leaves room for another code byte: the border goes there.
                m.next = "LAST"
            with m.State("LAST"):
                m.d.comb += [self.write_en.eq(1), self.write_at.eq(code_at), self.write_data.eq(DELIMITER)]
                m.next = "READY"
        return m
