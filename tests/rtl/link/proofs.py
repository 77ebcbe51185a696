"""Formal properties of the link's gateware: benches with ghost state written from the protocol's rules, for an SMT solver.

A bench leaves the inputs of a component free, keeps its own account of what the protocol's document says must happen, and
asserts that the component agrees. Yosys writes it as SMT formulas and yosys-smtbmc unrolls them.
"""

from __future__ import annotations

from amaranth.hdl import Array, Assert, Assume, Cat, Fragment, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from neuroloom.rtl.link.executor import Executor
from neuroloom.rtl.link.protocol import NAK_STATUS, RESPONSE_BIT, Command, Identity, Status
from neuroloom.rtl.link.receiver import FrameReceiver

from .standard_crc import crc_step

GOOD_REGISTER = 0xDEBB20E3
"""The register, before its complement, behind a message and its CRC: the standard's residue."""


class ReceiverProof(wiring.Component):
    """Whatever comes from the line: a frame is called good only if it is one.

    Good means: since the last border no byte was lost, every COBS block is whole, the bytes decoded have the CRC's residue, all
    of them are in the buffer at their offsets, and there was a buffer. Nothing is ever written outside it.
    """

    def __init__(self, offset_bits: int, largest: int) -> None:
        self._receiver = FrameReceiver(offset_bits, largest)
        self._offset_bits, self._largest = offset_bits, largest
        super().__init__({"i": In(stream.Signature(8)), "line_error": In(1), "free": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        receiver = self._receiver
        m.submodules.receiver = Fragment.get(receiver, platform)  # now, so that its inside can be seen here
        inside = receiver.proof
        m.d.comb += [
            receiver.i.valid.eq(self.i.valid),
            receiver.i.payload.eq(self.i.payload),
            receiver.line_error.eq(self.line_error),
            receiver.free.eq(self.free),
            Assume(~ResetSignal()),
            Assume(~(self.line_error & self.i.valid)),  # the UART says either or
        ]
        taken = Signal()
        border = Signal()
        m.d.comb += [taken.eq(self.i.valid & receiver.i.ready), border.eq(taken & (self.i.payload == 0))]

        begun = Signal()  # before the first border, nothing is known about what is on the line
        lost, lacked = Signal(), Signal()
        block = Signal(8)  # data bytes to come in the COBS block
        zero = Signal()  # whether the block ends with a zero, if another one follows
        crc = Signal(32)
        count = Signal(self._offset_bits + 1)
        with m.If(self.line_error):
            m.d.sync += lost.eq(1)
        decoded, value = Signal(), Signal(8)
        with m.If(taken & ~border):
            with m.If(block == 0):
                m.d.comb += [decoded.eq(zero), value.eq(0)]
                m.d.sync += [block.eq(self.i.payload - 1), zero.eq(self.i.payload != 0xFF)]
            with m.Else():
                m.d.comb += [decoded.eq(1), value.eq(self.i.payload)]
                m.d.sync += block.eq(block - 1)
        with m.If(decoded):
            m.d.sync += [crc.eq(crc_step(crc, value)), lacked.eq(lacked | ~self.free)]
            with m.If(count <= self._largest):
                m.d.sync += count.eq(count + 1)
        with m.If(border):
            m.d.sync += [
                begun.eq(1),
                lost.eq(0),
                lacked.eq(0),
                block.eq(0),
                zero.eq(0),
                crc.eq(0xFFFFFFFF),
                count.eq(0),
            ]

        whole = Signal()
        m.d.comb += whole.eq(~lost & ~lacked & (block == 0) & (crc == GOOD_REGISTER) & (count <= self._largest))
        with m.If(begun & receiver.good):
            m.d.comb += [Assert(border), Assert(whole), Assert(count == receiver.end + 4), Assert(count >= 8)]
        with m.If(receiver.write_en):
            m.d.comb += [Assert(self.free), Assert(receiver.write_at < self._largest)]
            with m.If(begun):
                m.d.comb += [Assert(decoded), Assert(receiver.write_at == count), Assert(receiver.write_data == value)]
        m.d.comb += Assert(receiver.good + receiver.bad + receiver.dropped <= 1)
        # And the other way round: what is a frame is not refused.
        with m.If(begun & border & whole & (count >= 8)):
            m.d.comb += Assert(receiver.good)

        # So that a state in the middle of a frame, from which the induction starts, agrees with the ghost.
        first = Signal()  # no block has begun since the border
        with m.If(taken):
            m.d.sync += first.eq(border)
        m.d.comb += Assert(inside["count"] <= self._largest)
        with m.If(begun):
            m.d.comb += [
                Assert(inside["left"] == Mux(first, 0, block + 1)),
                Assert(inside["owed"] == zero),
                Assert(inside["broken"] == (lost | (count > self._largest))),
                Assert(inside["homeless"] == lacked),
                Assert(inside["count"] == Mux(count > self._largest, self._largest, count)),
                Assert(~first | ((block == 0) & ~zero & (count == 0) & ~lacked)),
            ]
            with m.If(~inside["crc"].busy & (count <= self._largest)):
                m.d.comb += Assert(inside["crc"].crc == ~crc)
        return m


BUILDING = ("OPEN", "ANSWER", "BODY", "CLOSE", "FINISH")
"""States in which a response buffer is written."""
EXECUTING = ("QUIET", "MARCH", "WAIT", *BUILDING)
"""States in which a request is carried out, or a NAK made."""


class ExecutorProof(wiring.Component):
    """Whatever requests come, in whatever order and however often: each number is executed at most once, in order.

    The ghost keeps session, next number and kept numbers as the rules in ``docs/link.md`` say. Asserted: the engine is touched, or
    reset, only by a request that carries exactly the next number in a session; a kept answer is sent only for its own number;
    an answer says "executed" only if that was so; and a buffer is never rewritten while it is on its way to the host.
    """

    OFFSET_BITS = 8

    def __init__(self, window: int = 2, *, registered: bool = False) -> None:
        self._window, self._registered = window, registered
        identity = Identity("loopback", "proof", bytes(32), 1, 1, 24_000_000, max_payload=192, window=window)
        self._executor = Executor(identity, self.OFFSET_BITS, 2, registered=registered)
        super().__init__(
            {
                "arrives": In(1),
                "header": In(32),
                "end": In(self.OFFSET_BITS, init=4),
                "body": In(8),
                "bad_frame": In(1),
                "writer_ready": In(1),
                "w_ready": In(1),
                "sent": In(1),
                "march_done": In(1),
                "engine_ready": In(1),
                "engine_valid": In(1),
                "engine_byte": In(8),
                "record": In(64),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = self._executor
        m.submodules.executor = Fragment.get(x, platform)  # now, so that its inside can be seen here
        slot_bits = (self._window - 1).bit_length()
        m.d.comb += Assume(~ResetSignal())

        # The receive buffer: holds one frame until the executor is done with it. At most two bytes of payload.
        holding, header, end = Signal(), Signal(32), Signal(self.OFFSET_BITS)
        address = Signal(self.OFFSET_BITS)
        m.d.sync += address.eq(x.read_at)
        if self._registered:
            near, address = address, Signal(self.OFFSET_BITS)
            m.d.sync += address.eq(near)
        with m.If(self.arrives & ~holding):
            m.d.sync += [holding.eq(1), header.eq(self.header), end.eq(self.end)]
        m.d.comb += [
            Assume((self.end >= 4) & (self.end <= 6)),
            x.frame_valid.eq(holding),
            x.frame_end.eq(end),
            x.bad_frame.eq(self.bad_frame),
            x.read_data.eq(Mux(address < 4, header.word_select(address[:2], 8), self.body)),
            x.writer_ready.eq(self.writer_ready),
            x.w.ready.eq(self.w_ready),
            x.engine_i.ready.eq(self.engine_ready),
            x.engine_o.valid.eq(self.engine_valid),
            x.engine_o.payload.eq(self.engine_byte),
            x.record.eq(self.record),
        ]
        # Transmitter and memory test: busy from their strobe on, for as long as they like.
        sending, sending_slot, marching = Signal(), Signal(slot_bits), Signal()
        with m.If(self.sent):
            m.d.sync += sending.eq(0)
        with m.If(x.send):
            m.d.sync += [sending.eq(1), sending_slot.eq(x.slot)]
        with m.If(self.march_done):
            m.d.sync += marching.eq(0)
        with m.If(x.march_start):
            m.d.sync += marching.eq(1)
        m.d.comb += [x.sending.eq(sending), x.sending_slot.eq(sending_slot), x.march_busy.eq(marching)]

        # The rules.
        command, sequence = header[0:8], header[8:16]
        session, expected = Signal(), Signal(8)
        kept = [Signal(name=f"kept_{n}") for n in range(self._window)]
        numbers = [Signal(8, name=f"number_{n}") for n in range(self._window)]
        slot = Signal(slot_bits)
        due, known = Signal(), Signal()
        m.d.comb += [
            slot.eq(sequence),
            due.eq(holding & session & (sequence == expected) & ~command[7] & (command != Command.SYNC)),
            known.eq(Array(kept)[slot] & (Array(numbers)[slot] == sequence)),
        ]
        synced = holding & (command == Command.SYNC)
        last, answered, refused = Signal(8), Signal(), Signal()
        with m.If(x.frame_done):
            m.d.sync += [
                holding.eq(0),
                last.eq(sequence),
                answered.eq(due | synced),
                refused.eq(~due & ~synced & ~x.repeated),
            ]
            with m.If(synced | (due & (command == Command.MEMTEST))):
                m.d.sync += [one.eq(0) for one in kept]
            with m.If(synced | due):
                m.d.sync += [expected.eq(sequence + 1), Array(kept)[slot].eq(1), Array(numbers)[slot].eq(sequence)]
            with m.If(synced):
                m.d.sync += session.eq(1)

        was_reset = Signal()
        m.d.sync += was_reset.eq(x.engine_reset)
        with m.If(x.engine_i.valid | x.engine_o.ready | x.timed_out):
            m.d.comb += Assert(due & (command == Command.RUN))
        with m.If(x.engine_reset & ~was_reset):
            m.d.comb += Assert(due & ((command == Command.RUN) | (command == Command.RESET)))
        with m.If(x.repeated):
            m.d.comb += Assert(holding & session & known & ~due)
        with m.If(x.frame_done):
            m.d.comb += Assert(holding)
        with m.If(x.synced):
            m.d.comb += Assert(synced)

        # The answer's header: command, number, status and next number.
        place = Signal(3)
        with m.If(x.open):
            m.d.sync += place.eq(0)
            m.d.comb += Assert(~(sending & (sending_slot == x.slot)))
        with m.Elif(x.w.valid & x.w.ready & (place < 4)):
            m.d.sync += place.eq(place + 1)
        status = Signal(8)
        with m.If(x.w.valid & x.w.ready & (place == 2)):
            m.d.sync += status.eq(x.w.payload)
            with m.If(x.w.payload < NAK_STATUS):
                m.d.comb += [Assert(due | synced), Assert(x.slot == slot), Assert(x.origin == 0)]
            with m.Elif(x.w.payload != Status.BAD_FRAME):
                m.d.comb += [Assert(refused), Assert(x.origin != 0)]
        with m.If(x.w.valid & (place == 0)):
            m.d.comb += Assert(x.w.payload[7])
            with m.If(x.origin == 0):
                m.d.comb += Assert(x.w.payload == (command | RESPONSE_BIT))
        with m.If(x.w.valid & (place == 1) & (x.origin == 0)):
            m.d.comb += Assert(x.w.payload == sequence)
        with m.If(x.w.valid & (place == 3) & (x.origin == 0)):
            m.d.comb += Assert(x.w.payload == (sequence + 1)[:8])
        with m.If(x.send & (x.origin == 0)):
            m.d.comb += [
                Assert(x.slot == last[:slot_bits]),
                Assert(Array(kept)[x.slot] & (Array(numbers)[x.slot] == last)),
            ]

        self._connect(m, x, session, expected, kept, numbers, slot, known, last, refused, holding, header, place)
        m.d.comb += Assert(~(self._in(x, *BUILDING, "MARCH") & sending & (sending_slot == x.slot)))
        return m

    @staticmethod
    def _in(x: Executor, *states: str) -> Value:
        return Cat(x.proof["state"].ongoing(state) for state in states).any()

    def _connect(
        self,
        m: Module,
        x: Executor,
        session: Signal,
        expected: Signal,
        kept: list[Signal],
        numbers: list[Signal],
        slot: Signal,
        known: Signal,
        last: Signal,
        refused: Signal,
        holding: Signal,
        header: Signal,
        place: Signal,
    ) -> None:
        """How the inside belongs to the ghost in every state: what the induction starts from."""
        inside = x.proof
        command, sequence = header[0:8], header[8:16]
        nak, at, slot_bits = inside["is_nak"], inside["at"], len(slot)
        sync = command == Command.SYNC
        forgets = sync | (command == Command.MEMTEST)
        busy = Signal()  # a request, not a NAK, is being carried out
        m.d.comb += busy.eq(self._in(x, *EXECUTING) & ~nak)
        begun = Signal()  # it has passed QUIET
        m.d.comb += begun.eq(busy & ~self._in(x, "QUIET"))
        m.d.comb += [
            Assert(self._in(x, "IDLE", "HEADER", "DECIDE", "SEND", *EXECUTING)),
            Assert(~self._in(x, "HEADER", "DECIDE") | (holding & ~nak & (inside["source"] == 0))),
            Assert(~busy | holding),
            Assert(~self._in(x, "QUIET") | (~nak & forgets)),
            Assert(~self._in(x, "MARCH") | (~nak & (command == Command.MEMTEST))),
            # session and numbers
            Assert(inside["session"] == (session | (begun & sync))),
            Assert(~session | busy | (inside["next"] == expected)),
            Assert(~busy | sync | (session & (sequence == expected) & ~command[7])),
            Assert(~busy | (sync & ~begun) | (inside["next"] == (sequence + 1)[:8])),
            Assert(~(busy & sync & ~begun & session) | (inside["next"] == expected)),
            # kept answers
            Assert(inside["kept"] == Mux(begun & forgets, 0, Cat(kept))),
            Assert(~Cat(kept).any() | session),
            *(
                Assert(~keeps | (((expected - number - 1)[:8] < self._window) & (number[:slot_bits] == n)))
                for n, (keeps, number) in enumerate(zip(kept, numbers, strict=True))
            ),
            # the header turns around once while it is sent
            Assert(~busy | (inside["buffer"] == slot)),
            Assert(~self._in(x, "ANSWER") | ((at < 4) & (place == at))),
            Assert(~self._in(x, "BODY", "CLOSE", "FINISH") | (place == 4)),
            # NAKs and sources
            Assert(~(self._in(x, *EXECUTING) & nak & (inside["reason"] != (Status.BAD_FRAME & 3))) | refused),
            Assert(~(self._in(x, *EXECUTING) & nak) | (inside["source"] == 0)),
            Assert(~(self._in(x, *EXECUTING) & (inside["source"] == 4)) | (command == Command.RUN)),
            Assert(~(self._in(x, "SEND") & ~nak) | (inside["buffer"] == last[:slot_bits])),
            Assert(
                ~(self._in(x, "SEND") & ~nak)
                | (Array(kept)[inside["buffer"]] & (Array(numbers)[inside["buffer"]] == last))
            ),
        ]
        turned = Signal(32)
        m.d.comb += turned.eq(inside["header"])
        with m.If(self._in(x, "ANSWER")):
            m.d.comb += turned.eq(Array([inside["header"].rotate_left(8 * n) for n in range(4)])[at[:2]])
        with m.If(busy | self._in(x, "DECIDE")):
            m.d.comb += Assert(turned[:16] == header[:16])
