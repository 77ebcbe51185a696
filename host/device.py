"""One API for every device: a board on a serial port, a virtual board on a pseudo-terminal, or a model in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from neuroloom.boards.registry import all_boards
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.flash.network import Start
from neuroloom.rtl.link.protocol import (
    BAUD_MAX,
    BOOTS,
    GUARDED,
    STANDALONE,
    STATUS_FIELDS,
    Command,
    Identity,
    size_of,
    unpack,
)
from numpy.typing import NDArray

from .link import Link
from .record import Recorder
from .replay import ReplayLine
from .runner import Feed, MessageFeed, SampleFeed, run
from .serial_port import SerialPort
from .session_file import SUFFIX
from .simulated import DeviceModel, Engine, SimulatedLine
from .transport import Transport

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""

MARCH_BACKGROUNDS = (0x00, 0x55, 0x33, 0x0F)
"""With their complements these tell any two bits of a byte apart."""

IDENTITY_BYTES = len(Identity("none", "x", bytes(32), 0, 0, 0).to_bytes())


RESTART_POLL_S = 0.5
"""One attempt to reach a board that may still be loading its image."""


@dataclass(frozen=True)
class MemtestResult:
    """Outcome of the memory march: bytes covered; if one was wrong, its address and its wrong bits."""

    tested_bytes: int
    address: int = 0
    difference: int = 0

    @property
    def passed(self) -> bool:
        """Whether every read was right."""
        return self.difference == 0


class Device:
    """An open session with a device; use it as a context manager, or call :meth:`close`.

    Every method returns the right answer or raises DeviceError. After an error, or an interrupt, the next call begins a
    new session by itself, resets the engine, and checks that it is still the same device.
    """

    def __init__(
        self, transport: Transport, *, timeout: float = 5.0, nonce: Callable[[int], bytes] | None = None
    ) -> None:
        self._link = Link(transport, timeout=timeout, nonce=nonce)
        self._identity: Identity | None = None
        try:
            self._begin()
        except BaseException:
            self._link.close()
            raise

    # ------------------------------------------------------------------ session

    @property
    def name(self) -> str:
        """The port's name."""
        return self._link.transport.name

    @property
    def timeout(self) -> float:
        """Seconds without any progress after which the device is given up."""
        return self._link.timeout

    @property
    def adapter_latency_ms(self) -> int | None:
        """Milliseconds for which the serial adapter holds a few bytes back; None where nothing tells."""
        latency: int | None = getattr(self._link.transport, "latency", None)
        return latency

    @property
    def repeats(self) -> int:
        """Frames that had to be sent again so far: 0 on a good line whose device answers in time."""
        return self._link.repeats

    @property
    def broken(self) -> int:
        """Frames that came damaged so far."""
        return self._link.broken

    def _begin(self) -> Link:
        """The link, in a session."""
        link = self._link
        if link.in_session:
            return link
        link.open()
        link.window = 1
        identity = Identity.from_bytes(link.request(Command.IDENTIFY, expected=IDENTITY_BYTES))
        # Whatever an earlier host left in the engine, half a sample for instance, goes.
        link.request(Command.RESET)
        if self._identity is not None and identity != self._identity:
            link.in_session = False
            raise DeviceError(
                f"the device on {self.name} must stay the same, but it is now {_describe(identity)}"
                f" instead of {_describe(self._identity)}; connect again"
            )
        if identity.boot & GUARDED:
            # A host has found it and understood it, which is what the guard waits for.
            link.request(Command.CONFIRM)
        self._identity = identity
        link.window = max(1, identity.window)
        return link

    def close(self) -> None:
        """Give the port back; may be called twice."""
        self._link.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ commands

    def identify(self) -> Identity:
        """Who the device is, asked anew."""
        link = self._begin()
        return Identity.from_bytes(link.request(Command.IDENTIFY, expected=IDENTITY_BYTES))

    @property
    def identity(self) -> Identity:
        """Who the device was when the session began."""
        self._begin()
        assert self._identity is not None
        return self._identity

    def check_model(self, model_hash: bytes, name: str = "the model") -> None:
        """Raise DeviceError unless the bitstream was built from the graph or core with this hash (32 bytes)."""
        if len(model_hash) != 32:
            raise InputError(f"model_hash must be 32 bytes, not {len(model_hash)}")
        there = self.identity.model_hash
        if there != model_hash:
            raise DeviceError(
                f"the bitstream on {self.name} must be built from {name} ({model_hash.hex()}), not from {there.hex()};"
                " build and flash that model, or run the one that is on the board"
            )

    def ping(self, payload: bytes = b"neuroloom") -> float:
        """Send ``payload`` there and back through both frame buffers; returns the seconds it took."""
        link = self._begin()
        limit = self.identity.max_payload
        if len(payload) > limit:
            raise InputError(f"payload must be at most {limit} bytes, not {len(payload)}")
        start = link.transport.now()
        answer = link.request(Command.PING, payload, expected=len(payload))
        if answer != payload:
            raise DeviceError(
                f"the device on {self.name} must return a PING as it was sent, but it did not; replace the board"
            )
        return link.transport.now() - start

    def memtest(self) -> MemtestResult:
        """March over the device's response buffers, with four backgrounds."""
        link = self._begin()
        for background in MARCH_BACKGROUNDS:
            record = unpack(
                STATUS_FIELDS, link.request(Command.MEMTEST, arg=background, expected=size_of(STATUS_FIELDS))
            )
            if difference := int(record["memory_difference"]):
                return MemtestResult(self.identity.scratch_bytes, int(record["memory_address"]), difference)
        return MemtestResult(self.identity.scratch_bytes)

    def reset(self) -> None:
        """Put the engine into its power-up state; this also mends a session that the device has lost."""
        link = self._begin()
        try:
            link.request(Command.RESET)
        except DeviceError:
            self._begin()

    def status(self) -> dict[str, int]:
        """The device's counters since its power-up, by the names of the protocol table's status record."""
        data = self._begin().request(Command.STATUS, expected=size_of(STATUS_FIELDS))
        return {name: int(value) for name, value in unpack(STATUS_FIELDS, data).items()}

    def network(self) -> Start | None:
        """What became of the network in the board's flash at its start; None for a design that does not look for one."""
        if not self.identity.boot & STANDALONE:
            return None
        code = self._begin().request(Command.NETWORK, expected=1)[0]
        try:
            return Start(code)
        except ValueError:
            raise DeviceError(
                f"the device on {self.name} names a state of its network that this host does not know ({code}); update neuroloom"
            ) from None

    def now(self) -> float:
        """Seconds on the line's clock, from any moment on."""
        return self._link.transport.now()

    def allow(self, seconds: float) -> None:
        """Wait at least so long for the device to move before it is given up."""
        self._link.timeout = max(self._link.timeout, seconds)

    def boot_golden(self) -> None:
        """Leave this image for golden; the next call begins a session with whatever answers then. Raises DeviceError.

        An answer that is lost on the way is no error: the board has then restarted.
        """
        identity = self.identity
        if not identity.boot & BOOTS:
            raise DeviceError(
                f"the design on {self.name} must know how to boot golden, but {_describe(identity)} does not; switch the board off"
                " and on: golden waits for a host before it starts anything"
            )
        try:
            self._begin().request(Command.BOOT)
        except DeviceError as error:
            if "restarted" not in str(error):
                raise
        self.expect_restart()

    def expect_restart(self) -> None:
        """The board boots another image: the next call begins a session with whatever answers then."""
        self._link.end()
        self._identity = None

    def expect(self, seconds: float, wanted: Callable[[Identity], bool]) -> Identity:
        """Ask for ``seconds`` until a device answers that is ``wanted``; returns who answers at the end, wanted or not.

        Raises DeviceError when nobody does.
        """
        link = self._link
        patience, wait = link.timeout, RESTART_POLL_S
        started = link.transport.now()
        found, problem = None, "nothing came"
        try:
            while (left := started + seconds - link.transport.now()) > 0:
                link.timeout = min(wait, max(left, RESTART_POLL_S))
                wait *= 2  # what does not answer so soon may be slow
                try:
                    found = self.identity
                    if wanted(found):
                        return found
                    link.transport.read(RESTART_POLL_S)  # the other image may still be on its way
                except DeviceError as error:
                    found, problem = None, str(error)  # who answered before the boot has left
                self.expect_restart()
        finally:
            link.timeout = patience
        if found is None:
            raise DeviceError(f"nothing answered on {self.name} within {seconds:g} s of the boot ({problem})")
        return found

    def stream(self, messages: Iterable[tuple[bytes, int]]) -> bytes:
        """Messages of (payload, answer bytes), for engines whose bytes are not samples; returns the answers, one behind another.

        The engine must take a message whole before it answers; messages travel many to a frame or in several frames, as they
        fit, several frames at once, and in smaller ones on a bad line. Each is executed exactly once. Raises DeviceError.
        """
        return self._run(MessageFeed(messages))

    def _run(self, feed: Feed, progress: Callable[[int], None] | None = None) -> bytes:
        link, out = self._begin(), bytearray()
        try:
            for answer in run(link, feed, self.identity.max_payload):
                out += answer
                if progress:
                    progress(len(out))
        except BaseException:
            link.end()
            raise
        return bytes(out)

    def run_bytes(self, samples: NDArray[np.uint8], progress: Progress | None = None) -> NDArray[np.uint8]:
        """Run samples through the engine: uint8 (N, bytes_in) → uint8 (N, bytes_out), in order.

        Samples travel many to a frame and several frames at once. N may be 0. Raises InputError for another shape or
        dtype, DeviceError when the line or the engine fails; then no partial result is returned.
        """
        identity = self.identity
        if not identity.bytes_in:
            raise InputError(
                f"the device on {self.name} must have an engine to run samples, but it is a bare link shell"
            )
        samples = np.asarray(samples)
        if samples.dtype != np.uint8:
            raise InputError(f"samples must be uint8, not {samples.dtype}")
        if samples.ndim != 2 or samples.shape[1] != identity.bytes_in:
            raise InputError(f"samples must have shape (N, {identity.bytes_in}), not {samples.shape}")
        count, size = len(samples), identity.bytes_out

        def report(done: int) -> None:
            assert progress is not None
            progress(done // size if size else count, count)

        data = self._run(
            SampleFeed(samples.tobytes(), count, identity.bytes_in, size), report if progress is not None else None
        )
        if len(data) != count * size:
            raise DeviceError(f"the device on {self.name} must answer {count * size} bytes in all, not {len(data)}")
        return np.frombuffer(data, np.uint8).reshape(len(samples), identity.bytes_out).copy()


def _describe(identity: Identity) -> str:
    return f"a {identity.engine} engine on {identity.board} with model {identity.model_hash.hex()[:12]}"


def connect(
    port: str | os.PathLike[str],
    baud: int | None = None,
    timeout: float = 5.0,
    record: str | os.PathLike[str] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Device:
    """Open a serial port (a board's, or a virtual board's pseudo-terminal) and begin a session with the device.

    ``baud`` None tries the line rates of the supported boards, the fastest first. ``timeout``: seconds without any progress
    after which the device is given up; longer than its watchdog. ``record`` writes everything on the line to a file,
    ``*.nls``; such a file as ``port`` replays it, with its own timeout and without any device. ``on_wait`` is called with a
    sentence when a virtual board compiles what it boots, which no ``timeout`` counts. Raises DeviceError when the port does not
    open, or nothing that speaks the protocol answers.
    """
    name = os.fspath(port)
    if name.endswith(SUFFIX):
        if record is not None:
            raise InputError(f"a recorded session ({name}) cannot be recorded again; connect to a port")
        replay = ReplayLine(name)
        return Device(replay, timeout=replay.timeout, nonce=replay.nonce)
    line = open_port(name, baud, timeout, on_wait)
    return Device(line if record is None else Recorder(line, os.fspath(record), timeout=timeout), timeout=timeout)


def open_port(name: str, baud: int | None, timeout: float, on_wait: Callable[[str], None] | None = None) -> SerialPort:
    """A serial port at its device's line rate, which is looked for if ``baud`` is None; raises as :func:`connect` does."""
    line = SerialPort(name, BAUD_MAX if baud is None else baud, on_wait)
    try:
        if baud is None:
            _find_rate(line, timeout)
    except BaseException:
        line.close()
        raise
    return line


PROBE_S = 0.5
"""Patience with each line rate at first: a device answers a SYNC within a millisecond, a virtual one sooner or later."""


def line_rates() -> list[int]:
    """Line rates of the supported boards in baud, fastest first."""
    return sorted({speed.baud for board in all_boards() for speed in board.speeds.values()}, reverse=True)


def _find_rate(line: SerialPort, timeout: float) -> None:
    """Leave the port at the line rate at which something that speaks the protocol answers; raises DeviceError if none does."""
    rates = line_rates()
    why = ""
    for patience in sorted({min(PROBE_S, timeout), timeout}):
        for rate in rates:
            try:
                line.set_baud(rate)
                Link(line, timeout=patience).open()
                return
            except InputError as error:  # not a rate of this driver; the next one may be
                why = why or str(error)
            except DeviceError as error:
                if line.gone:
                    raise
                why = str(error)
    raise DeviceError(f"{why} (tried {', '.join(f'{rate:,}' for rate in rates)} baud)")


class SimulatedDevice(Device):
    """A device in this process: the same API over a Python model of the device.

    ``engine`` is called with whole samples (``n * bytes_in`` bytes) and returns their answers (``n * bytes_out`` bytes).
    """

    def __init__(
        self,
        engine: Engine,
        *,
        bytes_in: int,
        bytes_out: int,
        model_hash: bytes = bytes(32),
        kind: str = "loopback",
        board: str = "simulated",
        reset: Callable[[], None] | None = None,
    ) -> None:
        identity = Identity(kind, board, model_hash, bytes_in, bytes_out, 24_000_000)
        self.model = DeviceModel(identity, engine, reset=reset)
        super().__init__(SimulatedLine(self.model))
