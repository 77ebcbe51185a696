"""Formal properties of the way out: the frame writer and the transmitter, as ``proofs.py`` has them of the way in."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Fragment, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In
from neuroloom.rtl.link.transmitter import FrameTransmitter
from neuroloom.rtl.link.writer import FrameWriter

from .standard_crc import crc_step

FULL = 255
"""Code of a COBS block of 254 data bytes, which stands for no zero."""


class Due(enum.Enum, shape=3):
    """What must be written next."""

    NOTHING = 0
    BORDER = 1
    BYTE = 2
    FULL = 3
    CODE = 4
    LAST = 5


class WriterProof(wiring.Component):
    """Whatever is written, and whenever it comes: the buffer then holds ``00 COBS(bytes CRC-32) 00`` from the origin on.

    The ghost is COBS by its definition: a byte other than zero goes to the next place; a zero, the 254th byte in a row, or the end
    puts the distance to the next place into the place that was left for it, and leaves the next place for another. Each write
    must be the one that is due, with the right address and value, and the writer is ready only when nothing is due.
    """

    def __init__(self, offset_bits: int) -> None:
        self._writer = FrameWriter(offset_bits)
        self._offset_bits = offset_bits
        super().__init__(
            {"open": In(1), "origin": In(offset_bits), "close": In(1), "i": In(stream.Signature(8))},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = self._writer
        m.submodules.writer = Fragment.get(x, platform)  # now, so that its inside can be seen here
        opened = Signal()  # a frame was begun and not closed
        m.d.comb += [
            Assume(~ResetSignal()),
            x.open.eq(self.open),
            x.origin.eq(self.origin),
            x.close.eq(self.close),
            x.i.valid.eq(self.i.valid),
            x.i.payload.eq(self.i.payload),
            # what the executor promises
            Assume(x.ready | ~(self.open | self.close)),
            Assume((self.open + self.close + self.i.valid)[:2] <= 1),
            Assume(opened | ~(self.close | self.i.valid)),
        ]
        due = Signal(Due)
        origin, place, left_open = Signal(self._offset_bits), Signal(self._offset_bits), Signal(self._offset_bits)
        value, crc, trailer = Signal(8), Signal(32), Signal(range(5))
        rest = Signal(32)  # CRC bytes to come, the next one lowest
        distance = Signal(self._offset_bits)
        m.d.comb += distance.eq(place - left_open)

        def go_on() -> None:
            with m.Switch(trailer):
                with m.Case(0):
                    m.d.sync += due.eq(Due.NOTHING)
                with m.Case(1):
                    m.d.sync += [due.eq(Due.CODE), trailer.eq(0)]
                with m.Default():
                    m.d.sync += [due.eq(Due.BYTE), trailer.eq(trailer - 1), value.eq(rest[8:16]), rest.eq(rest >> 8)]

        with m.If(self.open):
            m.d.sync += [due.eq(Due.BORDER), opened.eq(1), origin.eq(self.origin), trailer.eq(0)]
        with m.Elif(self.close):
            m.d.sync += [due.eq(Due.BYTE), opened.eq(0), trailer.eq(4), value.eq(~crc[:8]), rest.eq(~crc)]
        with m.Elif(self.i.valid & x.i.ready):
            m.d.sync += [due.eq(Due.BYTE), value.eq(self.i.payload), crc.eq(crc_step(crc, self.i.payload))]
        with m.Elif(x.write_en):
            with m.Switch(due):
                with m.Case(Due.BORDER):
                    m.d.comb += [Assert(x.write_at == origin), Assert(x.write_data == 0)]
                    m.d.sync += [
                        due.eq(Due.NOTHING),
                        left_open.eq(origin + 1),
                        place.eq(origin + 2),
                        crc.eq(0xFFFFFFFF),
                    ]
                with m.Case(Due.BYTE):
                    m.d.sync += place.eq(place + 1)
                    with m.If(value == 0):
                        m.d.comb += [Assert(x.write_at == left_open), Assert(x.write_data == distance)]
                        m.d.sync += left_open.eq(place)
                        go_on()
                    with m.Else():
                        m.d.comb += [Assert(x.write_at == place), Assert(x.write_data == value)]
                        with m.If(distance + 1 == FULL):
                            m.d.sync += due.eq(Due.FULL)
                        with m.Else():
                            go_on()
                with m.Case(Due.FULL):
                    m.d.comb += [Assert(x.write_at == left_open), Assert(x.write_data == FULL)]
                    m.d.sync += [left_open.eq(place), place.eq(place + 1)]
                    go_on()
                with m.Case(Due.CODE):
                    m.d.comb += [Assert(x.write_at == left_open), Assert(x.write_data == distance)]
                    m.d.sync += due.eq(Due.LAST)
                with m.Case(Due.LAST):
                    m.d.comb += [Assert(x.write_at == place), Assert(x.write_data == 0)]
                    m.d.sync += due.eq(Due.NOTHING)
                with m.Default():
                    m.d.comb += Assert(0)
        m.d.comb += Assert(~x.ready | (due == Due.NOTHING))
        self._connect(m, opened, due, origin, place, left_open, value, crc, trailer, rest)
        return m

    def _connect(
        self,
        m: Module,
        opened: Signal,
        due: Signal,
        origin: Signal,
        place: Signal,
        left_open: Signal,
        value: Signal,
        crc: Signal,
        trailer: Signal,
        rest: Signal,
    ) -> None:
        """How the inside belongs to the ghost in every state: what the induction starts from."""
        inside = self._writer.proof
        state, serial, kept = inside["state"], inside["crc"], inside["trailer"]
        run, left = inside["run"], serial.proof["left"]

        def in_any(*names: str) -> Value:
            return Cat(state.ongoing(name) for name in names).any()

        known = Signal()  # a place is left for the block's code
        m.d.comb += known.eq(in_any("SHIFT", "STORE", "FULL", "TRAILER", "CODE") | (in_any("READY") & opened))
        distance = Signal(len(place))
        m.d.comb += distance.eq(place - left_open)
        m.d.comb += [
            Assert(in_any("READY", "BORDER", "FIRST", "TRAILER", "SHIFT", "STORE", "FULL", "CODE", "LAST")),
            Assert(left <= 8),
            Assert(~in_any("BORDER") | ((due == Due.BORDER) & opened & (inside["at"] == origin) & (trailer == 0))),
            Assert(
                ~in_any("FIRST")
                | ((due == Due.NOTHING) & opened & (inside["at"] == left_open) & (distance == 1) & (crc == 0xFFFFFFFF))
            ),
            Assert(~known | ((inside["at"] == place) & (inside["code_at"] == left_open) & (run == distance))),
            Assert(~known | ((run >= 1) & ((run < FULL) | (in_any("FULL") & (due == Due.FULL))))),
            Assert(~in_any("TRAILER", "SHIFT", "STORE") | ((due == Due.BYTE) & (trailer == kept))),
            Assert(~in_any("READY", "BORDER", "FIRST", "CODE", "LAST") | ((kept == 0) & (trailer == 0))),
            Assert(~in_any("TRAILER") | ((kept != 0) & (left == 0))),
            Assert(~in_any("STORE") | ((left == 0) & (serial.byte == value))),
            Assert(~in_any("FULL") | (left == 0)),
            Assert(
                ~in_any("FULL")
                | Mux(
                    run == FULL,
                    (due == Due.FULL) & (trailer == kept),
                    Mux(
                        kept == 0,
                        (due == Due.NOTHING) & (trailer == 0),
                        Mux(kept == 1, (due == Due.CODE) & (trailer == 0), (due == Due.BYTE) & (trailer == kept - 1)),
                    ),
                )
            ),
            Assert(kept <= 4),
            Assert((kept == 0) | ~opened),
            Assert(~(in_any("SHIFT", "STORE", "FULL") & (kept == 0)) | opened),
            Assert(~in_any("CODE") | ((due == Due.CODE) & (trailer == 0) & ~opened)),
            Assert(~in_any("LAST") | ((due == Due.LAST) & (inside["code_at"] == place) & ~opened)),
            Assert(~(in_any("READY", "FIRST") & opened) | (left == 0)),
            Assert(~(opened & in_any("READY", "FIRST", "STORE", "FULL")) | (serial.crc == ~crc)),
            # the CRC's bytes not sent yet are the lowest of the register
            Assert(~in_any("TRAILER") | ((serial.crc[:8] == value) & (value == rest[:8]))),
            *(Assert(~(in_any("TRAILER") & (kept == n)) | (serial.crc[: 8 * n] == rest[: 8 * n])) for n in range(1, 5)),
            *(
                Assert(~(in_any("STORE") & (kept == n + 1)) | (serial.crc[: 8 * n] == rest[8 : 8 * n + 8]))
                for n in range(1, 4)
            ),
            Assert(~(in_any("STORE", "SHIFT") & (kept != 0)) | (value == rest[:8])),
            Assert(~(in_any("FULL") & (kept > 1) & (run != FULL)) | (value == rest[:8])),
            *(
                Assert(
                    ~(in_any("FULL") & (kept == n + 1))
                    | (serial.crc[: 8 * n] == Mux(run == FULL, rest >> 8, rest)[: 8 * n])
                )
                for n in range(1, 4)
            ),
        ]


class TransmitterProof(wiring.Component):
    """Whatever is in the buffer: its bytes go out in order from the origin on, up to the first border behind the leading one.

    The memory is any memory: one byte of it, at any place, has any value. A byte is offered as it is until it is taken, and the
    transmitter is busy exactly while a frame is on its way.
    """

    def __init__(self, offset_bits: int, *, registered: bool = False) -> None:
        self._transmitter = FrameTransmitter(offset_bits, registered=registered)
        self._offset_bits, self._registered = offset_bits, registered
        super().__init__(
            {
                "send": In(1),
                "origin": In(offset_bits),
                "ready": In(1),
                "read": In(8),
                "place": In(offset_bits),
                "value": In(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = self._transmitter
        m.submodules.transmitter = Fragment.get(x, platform)
        place, value, chosen = Signal(self._offset_bits), Signal(8), Signal()
        address = Signal(self._offset_bits)
        m.d.sync += [place.eq(self.place), value.eq(self.value), chosen.eq(1), address.eq(x.read_at)]
        states = ["IDLE", "FETCH", "OFFER"]
        if self._registered:
            states.append("FETCHED")
            near, address = address, Signal(self._offset_bits)
            m.d.sync += address.eq(near)
        m.d.comb += [
            Assume(~ResetSignal()),
            Assume(~chosen | ((place == self.place) & (value == self.value))),  # chosen once
            Assume((address != self.place) | (self.read == self.value)),
            x.read_data.eq(self.read),
            x.send.eq(self.send),
            x.origin.eq(self.origin),
            x.o.ready.eq(self.ready),
            Assume(~(self.send & x.busy)),
        ]
        active, first, at = Signal(), Signal(), Signal(self._offset_bits)
        offered, held = Signal(), Signal(8)
        m.d.sync += [offered.eq(x.o.valid & ~self.ready), held.eq(x.o.payload)]
        with m.If(self.send):
            m.d.sync += [active.eq(1), first.eq(1), at.eq(self.origin)]
        with m.If(x.o.valid):
            m.d.comb += [
                Assert(active),
                Assert((at != self.place) | (x.o.payload == self.value)),
                Assert(address == at),
            ]
            with m.If(self.ready):
                m.d.sync += [at.eq(at + 1), first.eq(0)]
                with m.If((x.o.payload == 0) & ~first):
                    m.d.sync += active.eq(0)
        with m.If(offered):
            m.d.comb += Assert(x.o.valid)
        m.d.comb += [
            Assert(x.busy == active),
            Assert(~active | (x.proof["at"] == at)),
            Assert(~active | (x.proof["first"] == first)),
            Assert(~x.proof["state"].ongoing("IDLE") == active),
            Assert(Cat(x.proof["state"].ongoing(name) for name in states).any()),
        ]
        return m
