"""Bytes of samples into elements, and elements into bytes of answers."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS, Op

from .fields import Fields


class StreamUnit(wiring.Component):
    """Carries out IN and OUT: ``n`` elements of ``parts`` fields each; all but the last are digits, the last has ``width`` bits.

    Field p of element e stands at ``addr + e * stride + p * part_stride``. Fields are packed without gaps, lowest bit first,
    over all INs of a sample and all OUTs of an answer, which begin with ``first``; ``last`` of an OUT fills the last byte with
    zeros.

    A cycle takes one byte, or stores one field; one byte is given, or one field is read, which takes ``timing.field`` cycles.

    Members
    -------
    start_in, start_out : In(1), with the instruction in ``word``, which stays as it is while ``busy``, and its address in ``addr``
    busy : Out(1), until the cycle after the last one
    waits : Out(1), the other side of the stream is waited for
    i, o : the streams of bytes
    read, element : Out, In, an element is there ``timing.field`` - 1 cycles after its address
    write, w_addr, w_data : Out, an element is stored
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
        buffer, count = Signal(32, reset_less=True), Signal(6)
        base, address = Signal(c.vector_bits, reset_less=True), Signal(c.vector_bits, reset_less=True)
        left, part = Signal(12, reset_less=True), Signal(3, reset_less=True)
        none = Signal(reset_less=True)  # left is 0: known a cycle before
        last, bits, ones = Signal(reset_less=True), Signal(5, reset_less=True), Signal(c.word, reset_less=True)

        def begin_field(ends: Value) -> None:
            """Whether the next field is the element's last, its bits, and the bits of a word above them: known before it comes."""
            width = Mux(ends, f.width, c.digit)
            m.d.sync += [last.eq(ends), bits.eq(width), ones.eq(Cat(place >= width for place in range(c.word)))]

        def next_field() -> None:
            m.d.sync += [part.eq(part + 1), address.eq(address + f.part_stride)]
            begin_field(Mux(last, f.parts == 1, part + 2 == f.parts))
            with m.If(last):
                m.d.sync += [
                    part.eq(0),
                    left.eq(left - 1),
                    none.eq(left == 1),
                    base.eq(base + f.stride),
                    address.eq(base + f.stride),
                ]

        top = Signal()
        m.d.comb += top.eq((buffer[: c.word] & ~ones & (ones >> 1)).any() | (ones == 0) & buffer[c.word - 1])
        m.d.comb += [
            self.read.eq(address),
            self.w_addr.eq(address),
            self.w_data.eq(Mux(last & f.signed & top, buffer[: c.word] | ones, buffer[: c.word] & ~ones)),
            self.o.payload.eq(buffer[:8]),
        ]
        waited = Signal(range(c.timing.field))
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                begin_field(f.parts == 1)
                with m.If(self.start_in | self.start_out):
                    m.d.sync += [
                        base.eq(self.addr),
                        address.eq(self.addr),
                        left.eq(f.n),
                        none.eq(f.n == 0),
                        part.eq(0),
                        waited.eq(0),
                    ]
                    with m.If(f.first):
                        m.d.sync += [count.eq(0), buffer.eq(0)]
                with m.If(self.start_in):
                    m.next = "IN"
                with m.If(self.start_out):
                    m.next = "OUT"
            with m.State("IN"):
                with m.If(none):
                    m.next = "IDLE"
                with m.Elif(count >= bits):
                    m.d.comb += self.write.eq(1)
                    m.d.sync += [buffer.eq(buffer >> bits), count.eq(count - bits)]
                    next_field()
                with m.Else():
                    m.d.comb += [self.i.ready.eq(1), self.waits.eq(~self.i.valid)]
                    with m.If(self.i.valid):
                        m.d.sync += [count.eq(count + 8), buffer.eq(buffer | (self.i.payload << count)[:32])]
            with m.State("OUT"):
                with m.If((count >= 8) | (none & f.last & (count != 0))):
                    m.d.comb += [self.o.valid.eq(1), self.waits.eq(~self.o.ready)]
                    with m.If(self.o.ready):
                        m.d.sync += [buffer.eq(buffer >> 8), count.eq(Mux(count >= 8, count - 8, 0))]
                with m.Elif(none):
                    m.next = "IDLE"
                with m.Else():
                    m.d.sync += waited.eq(waited + 1)
                    with m.If(waited == c.timing.field - 1):
                        kept = (self.element & ~ones)[: c.word]
                        m.d.sync += [waited.eq(0), count.eq(count + bits)]
                        m.d.sync += buffer.eq(buffer | (kept << count)[:32])
                        next_field()
        return m
