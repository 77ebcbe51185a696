"""The link without a UART: buffers, framing and command execution over byte streams."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.errors import InputError

from .executor import Executor
from .march import MemoryMarch
from .protocol import (
    BOOTS,
    CRC_BYTES,
    FRAME_BYTES_MAX,
    FRAME_BYTES_MIN,
    HEADER_BYTES,
    STANDALONE,
    STATUS_FIELDS,
    WINDOW_MAX,
    Identity,
    max_payload,
)
from .receiver import FrameReceiver
from .transmitter import FrameTransmitter
from .writer import FrameWriter


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def watchdog_bits(identity: Identity, watchdog_cycles: int | None) -> int:
    """The watchdog waits ``2 ** bits`` cycles: at least ``watchdog_cycles``, by default one second."""
    cycles = identity.clock_hz if watchdog_cycles is None else watchdog_cycles
    return max(1, (cycles - 1).bit_length())


def complete(identity: Identity, *, frame_bytes: int, window: int, watchdog_cycles: int | None = None) -> Identity:
    """The identity with the fields that follow from the link's parameters; raises InputError if those are not allowed."""
    if not (_power_of_two(frame_bytes) and FRAME_BYTES_MIN <= frame_bytes <= FRAME_BYTES_MAX):
        raise InputError(
            f"frame_bytes must be a power of two from {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX}, not {frame_bytes}"
        )
    if not (_power_of_two(window) and window <= WINDOW_MAX):
        raise InputError(f"window must be 1, 2, 4 or 8, not {window}")
    return identity.with_link(
        max_payload=max_payload(frame_bytes),
        window=window,
        scratch_bytes=frame_bytes * window,
        watchdog_ms=-(-(1000 << watchdog_bits(identity, watchdog_cycles)) // identity.clock_hz),
    )


def _padded(value: Value, size: int) -> Value:
    return Cat(value, Const(0, size - len(value)))


class LinkCore(wiring.Component):
    """Framing and command execution; parameters, engine ports and LEDs as in :class:`LinkShell`.

    Members
    -------
    line_i : ``In(stream.Signature(8))``
        Bytes from the line, at most one every 10 cycles (a UART may ignore ``ready``).
    line_error : ``In(1)``
        Strobe: a byte was lost on the line.
    line_o : ``Out(stream.Signature(8))``
        Bytes for the line.
    leave, confirm : ``Out(1)``
        Strobes of BOOT and CONFIRM, in designs that boot.
    network : ``In(3)``
        What NETWORK answers, in designs that load a network at their start.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        frame_bytes: int,
        window: int,
        registered: bool = False,
        watchdog_cycles: int | None = None,
    ):
        self.identity = complete(identity, frame_bytes=frame_bytes, window=window, watchdog_cycles=watchdog_cycles)
        self._watchdog_bits = watchdog_bits(identity, watchdog_cycles)
        self._frame_bytes = frame_bytes
        self._window = window
        self._registered = registered
        # The buffers need no initial content: nothing is read that was not written before.
        self.requests = MemoryData(shape=8, depth=frame_bytes * window, init=[])
        self.responses = MemoryData(shape=8, depth=frame_bytes * window, init=[])
        boots = {"leave": Out(1), "confirm": Out(1)} if identity.boot & BOOTS else {}
        starts = {"network": In(3)} if identity.boot & STANDALONE else {}
        super().__init__(
            {
                **boots,
                **starts,
                "line_i": In(stream.Signature(8)),
                "line_error": In(1),
                "line_o": Out(stream.Signature(8)),
                "engine_i": Out(stream.Signature(8)),
                "engine_o": In(stream.Signature(8)),
                "engine_reset": Out(1),
                "led_link": Out(1),
                "led_busy": Out(1),
                "led_error": Out(1),
            }
        )

    def _behind(self, m: Module, name: str, data: Value) -> Value:
        """What a memory reads, through a register where it has one."""
        if not self._registered:
            return data
        kept = Signal(8, name=name, reset_less=True)
        m.d.sync += kept.eq(data)
        return kept

    def elaborate(self, platform: object) -> Module:
        m = Module()
        identity = self.identity
        offset_bits = (self._frame_bytes - 1).bit_length()
        slot_bits = (self._window - 1).bit_length()
        address_bits = offset_bits + slot_bits

        m.submodules.receiver = receiver = FrameReceiver(offset_bits, HEADER_BYTES + identity.max_payload + CRC_BYTES)
        m.submodules.writer = writer = FrameWriter(offset_bits)
        m.submodules.transmitter = transmitter = FrameTransmitter(offset_bits, registered=self._registered)
        m.submodules.march = march = MemoryMarch(address_bits, registered=self._registered)
        m.submodules.executor = executor = Executor(
            identity, offset_bits, self._watchdog_bits, registered=self._registered
        )
        m.submodules.requests = requests = Memory(self.requests)
        m.submodules.responses = responses = Memory(self.responses)

        wiring.connect(m, wiring.flipped(self.line_i), receiver.i)
        wiring.connect(m, transmitter.o, wiring.flipped(self.line_o))
        wiring.connect(m, executor.engine_i, wiring.flipped(self.engine_i))
        wiring.connect(m, wiring.flipped(self.engine_o), executor.engine_o)
        wiring.connect(m, executor.w, writer.i)

        # Requests: a ring of `window` buffers; the counters have one bit more than an index, to tell full from empty.
        filled = Signal(slot_bits + 1)
        taken = Signal(slot_bits + 1)
        ends = [Signal(offset_bits, name=f"end_{slot}", reset_less=True) for slot in range(self._window)]
        request_write, request_read = requests.write_port(), requests.read_port()
        m.d.comb += [
            receiver.line_error.eq(self.line_error),
            receiver.free.eq((filled - taken)[slot_bits] == 0),
            request_write.en.eq(receiver.write_en),
            request_write.addr.eq(Cat(receiver.write_at, filled[:slot_bits])),
            request_write.data.eq(receiver.write_data),
            request_read.addr.eq(Cat(executor.read_at, taken[:slot_bits])),
            executor.read_data.eq(self._behind(m, "request_byte", request_read.data)),
            executor.frame_valid.eq(filled != taken),
            executor.frame_end.eq(Array(ends)[taken[:slot_bits]]),
            executor.bad_frame.eq(receiver.bad),
        ]
        with m.If(receiver.good):
            m.d.sync += [filled.eq(filled + 1), Array(ends)[filled[:slot_bits]].eq(receiver.end)]
        with m.If(executor.frame_done):
            m.d.sync += taken.eq(taken + 1)

        # Responses: written by the writer, read by the transmitter; the memory test borrows both ports.
        response_write, response_read = responses.write_port(), responses.read_port()
        response_byte = self._behind(m, "response_byte", response_read.data)
        sending_slot = Signal(slot_bits, reset_less=True)
        m.d.comb += [
            writer.open.eq(executor.open),
            writer.close.eq(executor.close),
            writer.origin.eq(executor.origin),
            executor.writer_ready.eq(writer.ready),
            transmitter.send.eq(executor.send),
            transmitter.origin.eq(executor.origin),
            executor.sending.eq(transmitter.busy),
            executor.sending_slot.eq(sending_slot),
            march.start.eq(executor.march_start),
            march.background.eq(executor.background),
            executor.march_busy.eq(march.busy),
            march.read_data.eq(response_byte),
            transmitter.read_data.eq(response_byte),
        ]
        with m.If(executor.send):
            m.d.sync += sending_slot.eq(executor.slot)
        with m.If(march.busy):
            m.d.comb += [
                response_write.en.eq(march.write_en),
                response_write.addr.eq(march.at),
                response_write.data.eq(march.write_data),
                response_read.addr.eq(march.at),
            ]
        with m.Else():
            m.d.comb += [
                response_write.en.eq(writer.write_en),
                response_write.addr.eq(Cat(writer.write_at, executor.slot)),
                response_write.data.eq(writer.write_data),
                response_read.addr.eq(Cat(transmitter.read_at, sending_slot)),
            ]

        events = {
            "frames_ok": receiver.good,
            "frames_bad": receiver.bad,
            "repeats": executor.repeated,
            "dropped": receiver.dropped,
            "engine_timeouts": executor.timed_out,
        }
        record: dict[str, Value] = {
            "memory_difference": march.difference,
            "memory_address": march.at,
        }
        sizes = {field.name: 8 * field.size for field in STATUS_FIELDS}
        for name, event in events.items():
            record[name] = counter = Signal(sizes[name], name=name)
            with m.If(event):
                m.d.sync += counter.eq(counter + 1)
        m.d.comb += executor.record.eq(Cat(_padded(record[name], size) for name, size in sizes.items()))

        if identity.boot & BOOTS:
            m.d.comb += [self.leave.eq(executor.leave), self.confirm.eq(executor.confirm)]
        if identity.boot & STANDALONE:
            m.d.comb += executor.network.eq(self.network)
        m.d.comb += [
            self.engine_reset.eq(executor.engine_reset),
            self.led_link.eq(record["frames_ok"][2]),
            self.led_busy.eq(executor.busy),
        ]
        with m.If(receiver.bad | executor.timed_out):
            m.d.sync += self.led_error.eq(1)
        with m.If(executor.synced):
            m.d.sync += self.led_error.eq(0)
        return m
