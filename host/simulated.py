"""A device in Python: the protocol's device side, with a callable for an engine."""

from __future__ import annotations

from collections.abc import Callable

from neuroloom.compiler.errors import InputError
from neuroloom.rtl.link.protocol import (
    HEADER_BYTES,
    RESPONSE_BIT,
    SEQUENCE_MODULUS,
    STATUS_FIELDS,
    Command,
    Identity,
    Status,
    max_payload,
    pack,
)

from .framing import FrameDecoder, encode

Engine = Callable[[bytes], bytes]
"""Samples in, answers out: ``n * bytes_in`` bytes to ``n * bytes_out`` bytes."""


class DeviceModel:
    """Takes line bytes, gives line bytes, as the gateware does, in no time.

    ``identity`` needs no link fields, they are filled in from ``frame_bytes`` and ``window``. ``engine`` is called with
    whole samples; ``reset`` (if given) when the engine is reset. ``runs`` counts executed RUN requests.
    """

    def __init__(
        self,
        identity: Identity,
        engine: Engine,
        *,
        reset: Callable[[], None] | None = None,
        frame_bytes: int = 4096,
        window: int = 8,
    ) -> None:
        self.identity = identity.with_link(
            baud=3_000_000,
            max_payload=max_payload(frame_bytes),
            window=window,
            scratch_bytes=frame_bytes * window,
            watchdog_ms=1000,
        )
        self._engine = engine
        self._reset = reset
        self.power_up()

    def power_up(self) -> None:
        """Start afresh, as after a power cut."""
        self._decoder = FrameDecoder(self.identity.max_payload + 64)
        self._in_session = False
        self._next = 0
        self._kept: dict[int, bytes] = {}
        self._counters = dict.fromkeys((field.name for field in STATUS_FIELDS), 0)
        self.runs = 0
        self._reset_engine()

    def _reset_engine(self) -> None:
        self._samples = b""
        self._results = b""
        if self._reset:
            self._reset()

    def feed(self, data: bytes) -> bytes:
        """Bytes from the line; returns the device's answer to them."""
        broken = self._decoder.broken
        bodies = self._decoder.feed(data)
        out = b"".join(self._answer(body) for body in bodies)
        for _ in range(self._decoder.broken - broken):
            self._count("frames_bad")
            out += self._respond(RESPONSE_BIT, 0, Status.BAD_FRAME)
        return out

    def _count(self, name: str) -> None:
        size = next(field.size for field in STATUS_FIELDS if field.name == name)
        self._counters[name] = (self._counters[name] + 1) % (1 << 8 * size)

    def _respond(self, command: int, sequence: int, status: int, payload: bytes = b"") -> bytes:
        return encode(bytes([command | RESPONSE_BIT, sequence, status, self._next]) + payload)

    def _answer(self, body: bytes) -> bytes:
        command, sequence, arg = body[0], body[1], int.from_bytes(body[2:4], "little")
        payload = body[HEADER_BYTES:]
        self._count("frames_ok")
        if len(payload) > self.identity.max_payload:
            return self._respond(RESPONSE_BIT, 0, Status.BAD_FRAME)
        if command & RESPONSE_BIT:
            return b""
        if command == Command.SYNC:
            self._in_session = True
            self._kept.clear()
        elif not self._in_session:
            return self._respond(command, sequence, Status.NOT_SYNCED)
        elif sequence in self._kept:
            self._count("repeats")
            return self._kept[sequence]
        elif sequence != self._next:
            return self._respond(command, sequence, Status.OUT_OF_ORDER)
        status, result = self._execute(command, payload, arg)
        self._next = (sequence + 1) % SEQUENCE_MODULUS
        self._kept.pop((sequence - self.identity.window) % SEQUENCE_MODULUS, None)
        self._kept[sequence] = self._respond(command, sequence, status, result)
        return self._kept[sequence]

    def _execute(self, command: int, payload: bytes, arg: int) -> tuple[int, bytes]:
        if command in (Command.SYNC, Command.PING):
            return Status.OK, payload
        if command == Command.IDENTIFY:
            return Status.OK, self.identity.to_bytes()
        if command == Command.STATUS:
            return Status.OK, pack(STATUS_FIELDS, dict(self._counters))
        if command == Command.MEMTEST:
            self._kept.clear()
            return Status.OK, pack(STATUS_FIELDS, dict(self._counters))
        if command == Command.RESET:
            self._reset_engine()
            return Status.OK, b""
        if command == Command.RUN:
            return self._run(payload, arg)
        return Status.UNKNOWN_COMMAND, b""

    def _run(self, payload: bytes, arg: int) -> tuple[int, bytes]:
        if arg > self.identity.max_payload:
            return Status.BAD_LENGTH, b""
        self.runs += 1
        self._samples += payload
        whole = len(self._samples) // self.identity.bytes_in * self.identity.bytes_in
        if whole:
            samples, self._samples = self._samples[:whole], self._samples[whole:]
            results = self._engine(samples)
            if len(results) != whole // self.identity.bytes_in * self.identity.bytes_out:
                raise InputError(
                    f"the simulated engine must return {self.identity.bytes_out} bytes per sample, not {len(results)}"
                    f" for {whole // self.identity.bytes_in} samples"
                )
            self._results += results
        if len(self._results) < arg:
            self._count("engine_timeouts")
            self._reset_engine()
            return Status.ENGINE_TIMEOUT, b""
        result, self._results = self._results[:arg], self._results[arg:]
        return Status.OK, result


class SimulatedLine:
    """A transport to a :class:`DeviceModel`; its clock moves only when the host waits in vain."""

    def __init__(self, model: DeviceModel, name: str = "the simulated device") -> None:
        self.name = name
        self.model = model
        self._to_host = b""
        self._clock = 0.0

    def read(self, timeout: float) -> bytes:
        """What the device said; waiting costs no real time."""
        data, self._to_host = self._to_host, b""
        if not data:
            self._clock += timeout + 1e-6
        return data

    def write(self, data: bytes) -> None:
        """Let the device take ``data``."""
        self._to_host += self.model.feed(data)

    def discard(self) -> None:
        """Forget what the device said."""
        self._to_host = b""

    def now(self) -> float:
        """Simulated seconds."""
        return self._clock

    def close(self) -> None:
        """Nothing to give back."""
