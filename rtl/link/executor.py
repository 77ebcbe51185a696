"""Carries out requests: sequence numbers, at-most-once execution, and the commands themselves."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .protocol import (
    BOOTS,
    FRAME_RESERVE,
    HEADER_BYTES,
    NAK_RESERVE,
    RESPONSE_BIT,
    STANDALONE,
    STATUS_FIELDS,
    Command,
    Identity,
    Status,
    size_of,
)

BODY_AT = HEADER_BYTES
"""Offset of a response's first byte behind the header, as in the request."""


def _reached(count: Value, end: int) -> Value:
    """Whether ``count``, which counts up from below, has come to ``end``: all bits of ``end`` are set for the first time."""
    return Cat(count[bit] for bit in range(end.bit_length()) if end >> bit & 1).all()


class Source(enum.Enum, shape=3):  # type: ignore[call-arg]
    """Where the bytes of a response come from."""

    NOTHING = 0
    ECHO = 1
    IDENTITY = 2
    STATUS = 3
    ENGINE = 4
    NETWORK = 5


class Executor(wiring.Component):
    """Takes frames from the receive buffers in order and leaves responses in the response buffers.

    A response is built in buffer ``sequence % window`` and stays there until its number is reused, so that a repeated
    request is answered without being executed. A NAK is built in the last bytes of buffer 0, which no response reaches.

    Parameters
    ----------
    identity : :class:`Identity`
        Complete, with ``max_payload`` and ``window``.
    offset_bits : :class:`int`
        Address bits of a frame buffer.
    watchdog_bits : :class:`int`
        A RUN without progress is given up after ``2 ** watchdog_bits`` cycles.
    registered : :class:`bool`
        ``read_data`` comes two cycles after its address, not one.

    Members
    -------
    frame_valid, frame_end, frame_done : ``In(1)``, ``In(offset_bits)``, ``Out(1)``
        A frame waits in the current receive buffer and its payload ends before ``frame_end``; strobe: go to the next one.
    read_at, read_data : ``Out``, ``In``
        Synchronous read port of that buffer, one cycle of latency.
    bad_frame : ``In(1)``
        Strobe: a broken frame came, a NAK is due.
    slot, origin, open, close, writer_ready, w
        The frame writer and the response buffer it writes to.
    send, sending, sending_slot
        The transmitter: strobe to send the frame at ``slot`` and ``origin``; whether it is busy, and with which buffer.
    engine_i, engine_o, engine_reset
        The engine.
    march_start, march_busy, background
        The memory test.
    record : ``In(8 * size)``
        The status record.
    leave, confirm
        Strobes for the boot guard; only where the identity says that the design boots.
    network : ``In(3)``
        What NETWORK answers; only where the identity says that the design loads a network at its start.
    repeated, timed_out, synced
        Strobes for the counters: a kept response is sent again; a RUN was given up; a session began.
    busy : ``Out(1)``
        A request is being carried out.
    """

    def __init__(self, identity: Identity, offset_bits: int, watchdog_bits: int, *, registered: bool = False):
        self._identity = identity
        self._registered = registered
        self._offset_bits = offset_bits
        self._slot_bits = (identity.window - 1).bit_length()
        self._watchdog_bits = watchdog_bits
        self._boots = bool(identity.boot & BOOTS)
        self._starts = bool(identity.boot & STANDALONE)
        super().__init__(
            {
                **({"leave": Out(1), "confirm": Out(1)} if self._boots else {}),
                **({"network": In(3)} if self._starts else {}),
                "frame_valid": In(1),
                "frame_end": In(offset_bits),
                "frame_done": Out(1),
                "read_at": Out(offset_bits),
                "read_data": In(8),
                "bad_frame": In(1),
                "slot": Out(self._slot_bits),
                "origin": Out(offset_bits),
                "open": Out(1),
                "close": Out(1),
                "writer_ready": In(1),
                "w": Out(stream.Signature(8)),
                "send": Out(1),
                "sending": In(1),
                "sending_slot": In(self._slot_bits),
                "engine_i": Out(stream.Signature(8)),
                "engine_o": In(stream.Signature(8)),
                "engine_reset": Out(1),
                "march_start": Out(1),
                "march_busy": In(1),
                "background": Out(8),
                "record": In(8 * size_of(STATUS_FIELDS)),
                "repeated": Out(1),
                "timed_out": Out(1),
                "synced": Out(1),
                "busy": Out(1),
            }
        )

    def _too_long(self, length: Value) -> Value:
        """Whether ``length`` exceeds the largest payload, which is the frame buffer less FRAME_RESERVE, a power of two."""
        low = (FRAME_RESERVE - 1).bit_length()
        return length[self._offset_bits :].any() | (length[low : self._offset_bits].all() & length[:low].any())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        window = self._identity.window

        rom_init = bytes(BODY_AT) + self._identity.to_bytes()
        m.submodules.rom = rom = Memory(
            shape=8, depth=len(rom_init), init=rom_init, attrs={"rom_block": 1, "rom_style": "block"}
        )
        rom_read = rom.read_port()
        rom_byte: Value = rom_read.data
        if self._registered:
            rom_byte = Signal(8, name="rom_byte", reset_less=True)
            m.d.sync += rom_byte.eq(rom_read.data)

        # A register without a reset is written before it is looked at; on iCE40 each reset of an enabled one costs logic.
        header = Signal(8 * HEADER_BYTES, reset_less=True)
        command, sequence, arg = header[0:8], header[8:16], header[16:32]
        next_sequence = Signal(8, reset_less=True)
        in_session = Signal()
        kept = Signal(window)  # which response buffers hold a response that may be asked for again
        is_nak = Signal(reset_less=True)
        reason = Signal(2, reset_less=True)
        nak_due = Signal()
        source = Signal(Source, reset_less=True)
        watchdog = Signal(self._watchdog_bits + 1, reset_less=True)

        # One offset counts through the request's header, then through header and body of the response. The byte at this
        # offset is on the read ports from the second cycle on, from the third where there is a register behind the memory.
        at = Signal(self._offset_bits, reset_less=True)
        fresh = Signal(reset_less=True)
        advance = Signal()
        # Whether the byte at the offset belongs to the body, one cycle late: like the byte itself, which is why this is a
        # register and no long path from the frame's end to the offset.
        belongs, more = Signal(), Signal(reset_less=True)
        m.d.comb += belongs.eq(at != self.frame_end)
        m.d.sync += more.eq(belongs)
        early = Signal(reset_less=True) if self._registered else Const(1, 1)
        m.d.sync += fresh.eq(early)
        if self._registered:
            m.d.sync += early.eq(1)

        def turn_to(offset: Value | int) -> None:
            m.d.sync += [at.eq(offset), fresh.eq(0), *([early.eq(0)] if self._registered else [])]

        with m.If(advance):
            turn_to(at + 1)
        m.d.comb += [self.read_at.eq(at), rom_read.addr.eq(at)]

        # Status codes are 0 to 3, and 0x40 to 0x42 for a NAK.
        status = Cat(reason, Const(0, 4), is_nak, Const(0, 1))

        buffer = Signal(self._slot_bits, reset_less=True)
        behind = Signal(8)
        repetition = Signal()
        m.d.comb += [
            self.slot.eq(Mux(is_nak, 0, buffer)),
            self.origin.eq(Mux(is_nak, (1 << self._offset_bits) - NAK_RESERVE, 0)),
            self.background.eq(arg[:8]),
            behind.eq(sequence - next_sequence),
            repetition.eq(behind[self._slot_bits :].all() & kept.bit_select(buffer, 1)),
        ]
        with m.If(self.bad_frame):
            m.d.sync += nak_due.eq(1)

        def refuse(code: Status) -> None:
            m.d.sync += [is_nak.eq(1), reason.eq(code & 3), source.eq(Source.NOTHING)]
            m.d.comb += self.frame_done.eq(1)
            m.next = "WAIT"

        with m.FSM(name="execute") as fsm:
            self.proof = {"state": fsm, "header": header, "next": next_sequence, "session": in_session, "kept": kept}
            self.proof |= {"is_nak": is_nak, "reason": reason, "source": source.as_value(), "at": at, "buffer": buffer}
            """What the formal proof needs to see of the inside."""
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"):
                turn_to(0)
                m.d.sync += [is_nak.eq(0), reason.eq(Status.OK), source.eq(Source.NOTHING)]
                with m.If(self.frame_valid):
                    m.next = "HEADER"
                with m.Elif(nak_due):
                    m.d.sync += [nak_due.eq(0), header.eq(0), is_nak.eq(1), reason.eq(Status.BAD_FRAME & 3)]
                    m.next = "WAIT"

            with m.State("HEADER"):
                with m.If(fresh):
                    m.d.comb += advance.eq(1)
                    m.d.sync += header.eq(Cat(header[8:], self.read_data))
                    m.d.sync += buffer.eq(header[16:])  # the sequence number, when the last byte comes
                    with m.If(at[:2] == HEADER_BYTES - 1):
                        m.next = "DECIDE"

            with m.State("DECIDE"):
                with m.If(command & RESPONSE_BIT):
                    m.d.comb += self.frame_done.eq(1)
                    m.next = "IDLE"
                with m.Elif(command == Command.SYNC):
                    m.d.sync += source.eq(Source.ECHO)
                    m.next = "QUIET"
                with m.Elif(~in_session):
                    refuse(Status.NOT_SYNCED)
                with m.Elif(behind == 0):
                    m.d.sync += next_sequence.eq(sequence + 1)
                    m.next = "WAIT"
                    with m.Switch(command):
                        with m.Case(Command.PING):
                            m.d.sync += source.eq(Source.ECHO)
                        with m.Case(Command.IDENTIFY):
                            m.d.sync += source.eq(Source.IDENTITY)
                        with m.Case(Command.STATUS):
                            m.d.sync += source.eq(Source.STATUS)
                        with m.Case(Command.MEMTEST):
                            m.d.sync += source.eq(Source.STATUS)
                            m.next = "QUIET"
                        with m.Case(Command.RESET):
                            m.d.sync += self.engine_reset.eq(1)
                        with m.Case(Command.RUN):
                            with m.If(self._too_long(arg)):
                                m.d.sync += reason.eq(Status.BAD_LENGTH)
                            with m.Else():
                                m.d.sync += source.eq(Source.ENGINE)
                        if self._boots:
                            with m.Case(Command.BOOT):
                                m.d.comb += self.leave.eq(1)
                            with m.Case(Command.CONFIRM):
                                m.d.comb += self.confirm.eq(1)
                        if self._starts:
                            with m.Case(Command.NETWORK):
                                m.d.sync += source.eq(Source.NETWORK)
                        with m.Default():
                            m.d.sync += reason.eq(Status.UNKNOWN_COMMAND)
                with m.Elif(repetition):
                    m.d.comb += [self.frame_done.eq(1), self.repeated.eq(1)]
                    m.next = "SEND"
                with m.Else():
                    refuse(Status.OUT_OF_ORDER)

            with m.State("QUIET"):
                # Nothing older may leave after the response, and the buffers are about to be forgotten.
                with m.If(~self.sending):
                    m.d.sync += kept.eq(0)
                    with m.If(command == Command.SYNC):
                        m.d.comb += self.synced.eq(1)
                        m.d.sync += [in_session.eq(1), next_sequence.eq(sequence + 1)]
                        m.next = "OPEN"
                    with m.Else():
                        m.d.comb += self.march_start.eq(1)
                        m.next = "MARCH"
            with m.State("MARCH"):
                with m.If(~self.march_busy):
                    m.next = "OPEN"

            with m.State("WAIT"):
                # The buffer may still be on its way to the host, as a repetition.
                with m.If(~self.sending | (self.sending_slot != self.slot)):
                    m.next = "OPEN"
            with m.State("OPEN"):
                m.d.sync += at.eq(0)
                with m.If(self.writer_ready):
                    m.d.comb += self.open.eq(1)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                # Four steps turn the request's header once around; its second half is not sent.
                m.d.comb += [self.w.valid.eq(1), self.w.payload.eq(header[:8]), advance.eq(self.w.ready)]
                with m.If(self.w.ready):
                    m.d.sync += header.eq(header.rotate_right(8))
                with m.Switch(at[:2]):
                    with m.Case(0):
                        m.d.comb += self.w.payload[7].eq(1)  # RESPONSE_BIT
                    with m.Case(2):
                        m.d.comb += self.w.payload.eq(status)
                    with m.Case(3):
                        m.d.comb += self.w.payload.eq(next_sequence)
                m.d.sync += watchdog.eq(0)
                with m.If(self.w.ready & (at[:2] == HEADER_BYTES - 1)):
                    m.d.sync += self.engine_reset.eq(0)
                    m.next = "BODY"

            with m.State("BODY"):
                with m.Switch(source):
                    with m.Case(Source.ENGINE):
                        # The engine's bytes are counted down in the request's argument.
                        wanted = arg != 0
                        m.d.comb += [
                            self.engine_i.valid.eq(fresh & more),
                            self.engine_i.payload.eq(self.read_data),
                            advance.eq(self.engine_i.valid & self.engine_i.ready),
                            self.w.payload.eq(self.engine_o.payload),
                            self.w.valid.eq(self.engine_o.valid & wanted),
                            self.engine_o.ready.eq(self.w.ready & wanted),
                        ]
                        m.d.sync += watchdog.eq(watchdog + 1)
                        with m.If(self.w.valid & self.w.ready):
                            m.d.sync += arg.eq(arg - 1)
                        with m.If(advance | (self.w.valid & self.w.ready)):
                            m.d.sync += watchdog.eq(0)
                        with m.If(~more & ~wanted):
                            m.next = "CLOSE"
                        with m.Elif(watchdog[-1]):
                            m.d.comb += self.timed_out.eq(1)
                            m.d.sync += [
                                self.engine_reset.eq(1),
                                reason.eq(Status.ENGINE_TIMEOUT),
                                source.eq(Source.NOTHING),
                            ]
                            m.next = "OPEN"
                    with m.Case(Source.NOTHING):
                        m.next = "CLOSE"
                    with m.Default():
                        m.d.comb += [self.w.valid.eq(fresh & more), advance.eq(self.w.valid & self.w.ready)]
                        with m.Switch(source):
                            with m.Case(Source.IDENTITY):
                                m.d.comb += [self.w.payload.eq(rom_byte), belongs.eq(~_reached(at, len(rom_init)))]
                            with m.Case(Source.STATUS):
                                m.d.comb += [
                                    self.w.payload.eq(self.record.word_select((at - BODY_AT)[:3], 8)),
                                    belongs.eq(~_reached(at, BODY_AT + size_of(STATUS_FIELDS))),
                                ]
                            if self._starts:
                                with m.Case(Source.NETWORK):
                                    m.d.comb += [
                                        self.w.payload.eq(self.network),
                                        belongs.eq(~_reached(at, BODY_AT + 1)),
                                    ]
                            with m.Default():
                                m.d.comb += self.w.payload.eq(self.read_data)
                        with m.If(~more):
                            m.next = "CLOSE"
            with m.State("CLOSE"):
                with m.If(self.writer_ready):
                    m.d.comb += self.close.eq(1)
                    m.next = "FINISH"
            with m.State("FINISH"):
                with m.If(self.writer_ready):
                    with m.If(~is_nak):
                        m.d.sync += kept.bit_select(buffer, 1).eq(1)
                        m.d.comb += self.frame_done.eq(1)
                    m.next = "SEND"
            with m.State("SEND"):
                with m.If(~self.sending):
                    m.d.comb += self.send.eq(1)
                    m.next = "IDLE"
        return m
