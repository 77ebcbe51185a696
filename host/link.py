"""The host's side of the link: numbers requests, repeats what is lost, and gives answers exactly once and in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.link.protocol import (
    HEADER_BYTES,
    NAK_STATUS,
    RESPONSE_BIT,
    SEQUENCE_MODULUS,
    Command,
    Status,
    request_header,
)

from .framing import FrameDecoder, encode
from .transport import Transport

NONCE_BYTES = 8
FRAME_OVERHEAD = 24
"""Roughly what a frame adds to its payload, in bytes; for the estimate of answer times only."""

FIRST_WAIT_S = 0.25
"""Wait for an answer to a SYNC before anything is known about the line's pace."""
SHORTEST_WAIT_S = 0.05
"""No repetition earlier than this: USB serial adapters hold bytes back for up to 16 ms in each direction."""


@dataclass(frozen=True)
class Answer:
    """A response to one request: ``command`` as asked, :class:`Status` and payload."""

    command: int
    status: int
    payload: bytes


@dataclass
class _Pending:
    """A request on its way."""

    command: int
    sequence: int
    frame: bytes
    expected: int  # payload bytes of its response
    commands: set[int]  # commands that its number was used for
    sent_at: float = 0.0
    repeats: int = 0
    answer: Answer | None = field(default=None)


class Link:
    """A session with a device over a :class:`Transport`.

    Whatever happens on the line, :meth:`collect` returns the right answer or raises DeviceError; each request is executed
    at most once. After an error the session is over (``in_session`` is false) and :meth:`open` begins a new one.

    ``timeout``: seconds without any progress after which the device is given up. Repetitions come earlier, at a pace that
    follows the line's; repeating too early costs time, never correctness. ``nonce(size)`` gives the random bytes of a SYNC.
    """

    def __init__(
        self, transport: Transport, *, timeout: float = 5.0, nonce: Callable[[int], bytes] | None = None
    ) -> None:
        self.transport = transport
        self._draw = nonce or (lambda size: os.urandom(size))
        self.timeout = timeout
        self.window = 1
        self.in_session = False
        self.repeats = 0
        """Frames sent again since the link exists."""
        self._decoder = FrameDecoder()
        self._pending: deque[_Pending] = deque()
        self._next = 0
        self._nonce = b""
        self._echoes = 0
        self._heard = 0
        self._progress_at = 0.0
        self._due = 0.0
        self._backoff = 1
        self._behind_break = 0  # answers to expect from frames that were on their way behind a broken one
        self._pace = FIRST_WAIT_S / (4 * 4 * FRAME_OVERHEAD)  # seconds per byte, there and back

    # ------------------------------------------------------------------ session

    def open(self) -> None:
        """Begin a session: forget everything older, on both sides. Raises DeviceError if the device does not answer."""
        self.end()
        self.transport.discard()
        self._decoder.reset()
        self._nonce = self._draw(NONCE_BYTES)
        self._echoes = self._heard = 0
        broken = self._decoder.broken
        self._next = self._nonce[0]
        self._progress_at = self.transport.now()
        self._behind_break = 0
        self._send(Command.SYNC, self._nonce, 0, len(self._nonce))
        try:
            self.collect()
        except DeviceError as error:
            raise DeviceError(f"{error}{self._hint(self._decoder.broken - broken)}") from error
        self.in_session = True

    def _hint(self, broken: int) -> str:
        if self._echoes:
            return "; the line returns what the host sends: check that RX and TX are not joined"
        if broken or self._heard:
            return "; bytes came but no frame was right: check the baud rate and the ground wire"
        return (
            "; nothing came: check the port, the power, that a neuroloom bitstream is on the board, and the baud rate"
        )

    def end(self) -> None:
        """End the session, whatever is on its way: the next command must begin a new one."""
        self.in_session = False
        self._pending.clear()

    def close(self) -> None:
        """End the session and give the line back."""
        self.end()
        self.transport.close()

    # ------------------------------------------------------------------ requests

    @property
    def broken(self) -> int:
        """Frames that came damaged since the link exists."""
        return self._decoder.broken

    @property
    def room(self) -> int:
        """Requests that may be submitted now."""
        return max(0, self.window - len(self._pending))

    @property
    def waiting(self) -> int:
        """Requests whose answers have not been collected."""
        return len(self._pending)

    def submit(self, command: int, payload: bytes = b"", arg: int = 0, expected: int = 0) -> None:
        """Send one request; ``expected`` is the payload length of its response. Needs :attr:`room` and a session."""
        if not self.in_session:
            raise DeviceError(f"the session with the device on {self.transport.name} has ended; connect again")
        if not self.room:
            raise ValueError("submit needs room in the window; collect an answer first")
        if not self._pending:
            self._progress_at = self.transport.now()
            self._behind_break = 0
        self._send(command, payload, arg, expected)

    def request(self, command: int, payload: bytes = b"", arg: int = 0, expected: int = 0) -> bytes:
        """One request and its response's payload; raises DeviceError if the device refuses it. Needs an idle link."""
        self.submit(command, payload, arg, expected)
        answer = self.collect()
        if answer is None:
            raise AssertionError("collect without patience always answers")
        self.check(answer)
        return answer.payload

    def check(self, answer: Answer) -> None:
        """Raise DeviceError unless the answer's status is OK."""
        if answer.status == Status.OK:
            return
        name = self.transport.name
        if answer.status == Status.ENGINE_TIMEOUT:
            raise DeviceError(
                f"the engine on {name} stopped in mid-run and was reset; run again, and if it repeats rebuild the bitstream"
            )
        if answer.status == Status.UNKNOWN_COMMAND:
            raise DeviceError(
                f"the device on {name} does not know command {answer.command:#04x}; rebuild its bitstream with this version"
            )
        raise DeviceError(
            f"the device on {name} refused command {answer.command:#04x} with status {answer.status:#04x}"
        )

    def collect(self, patience: int | None = None) -> Answer | None:
        """The answer to the oldest request.

        With ``patience``, returns None when that request has been repeated so often in vain; it stays on its way (see
        :meth:`withdraw`). Raises DeviceError, and ends the session, when nothing has moved for ``timeout`` seconds or the
        device restarted.
        """
        head = self._pending[0]
        try:
            while head.answer is None:
                if patience is not None and head.repeats >= patience:
                    return None
                now = self.transport.now()
                give_up = self._progress_at + self.timeout
                if now >= give_up:
                    self._fail(f"the device on {self.transport.name} did not answer for {self.timeout:g} s")
                if now >= self._due:
                    self._backoff *= 2
                    self._repeat()
                self._receive(min(self._due, give_up) - self.transport.now())
        except BaseException:
            # Also an interrupt: nobody knows what is on its way now, so the next command begins a new session.
            self.end()
            raise
        self._pending.popleft()
        return head.answer

    def withdraw(self) -> list[Answer | None]:
        """Take back what is on its way: each request's answer if it was executed, else None, oldest first.

        An empty PING is sent under each number. The device executes a number once: either the request came through
        earlier and its kept answer comes back, or the PING is executed in its place.
        """
        pending = list(self._pending)
        for item in pending:
            if item.answer is None:
                item.frame = encode(request_header(Command.PING, item.sequence))
                item.commands.add(Command.PING)
                item.repeats = 0
        self._backoff = 1
        self._repeat()
        answers: list[Answer | None] = []
        for item in pending:
            answer = self.collect()
            answers.append(None if answer is not None and answer.command != item.command else answer)
        return answers

    # ------------------------------------------------------------------ the line

    def _send(self, command: int, payload: bytes, arg: int, expected: int) -> None:
        frame = encode(request_header(command, self._next, arg) + payload)
        item = _Pending(command, self._next, frame, expected, {command}, self.transport.now())
        self._next = (self._next + 1) % SEQUENCE_MODULUS
        self._pending.append(item)
        self._backoff = 1
        self._set_due()
        try:
            self.transport.write(frame)
        except BaseException:
            self.end()
            raise

    def _set_due(self) -> None:
        waiting = [item for item in self._pending if item.answer is None]
        size = sum(len(item.frame) + item.expected + 2 * FRAME_OVERHEAD for item in waiting)
        wait = max(SHORTEST_WAIT_S, 4 * self._pace * size) * self._backoff
        self._due = self.transport.now() + min(wait, self.timeout / 2)

    def _repeat(self) -> None:
        """Send everything again that is not answered, oldest first."""
        waiting = [item for item in self._pending if item.answer is None]
        self._behind_break = len(waiting) - 1
        for item in waiting:
            item.repeats += 1
        self.repeats += len(waiting)
        self._set_due()
        self.transport.write(b"".join(item.frame for item in waiting))

    def _receive(self, timeout: float) -> None:
        data = self.transport.read(max(0.0, timeout))
        self._heard += len(data)
        for body in self._decoder.feed(data):
            self._take(body)

    def _take(self, body: bytes) -> None:
        command, sequence, status = body[0], body[1], body[2]
        if not command & RESPONSE_BIT:
            self._echoes += 1
            return
        if status >= NAK_STATUS:
            self._take_nak(sequence, status)
            return
        command &= ~RESPONSE_BIT
        payload = body[HEADER_BYTES:]
        for item in self._pending:
            if item.sequence != sequence or item.answer is not None or command not in item.commands:
                continue
            if command == Command.SYNC and payload != self._nonce:
                return
            now = self.transport.now()
            if item.repeats == 0:
                sample = (now - item.sent_at) / (len(item.frame) + len(body) + FRAME_OVERHEAD)
                self._pace = max(sample, 0.75 * self._pace + 0.25 * sample)
            item.answer = Answer(command, status, payload)
            self._progress_at = now
            self._backoff = 1
            self._set_due()
            return

    def _take_nak(self, sequence: int, status: int) -> None:
        waiting = [item for item in self._pending if item.answer is None]
        if not waiting:
            return
        if status == Status.BAD_FRAME:
            self._repeat()
        elif not self.in_session:
            return
        elif status == Status.NOT_SYNCED:
            self._fail(f"the device on {self.transport.name} restarted in mid-run; connect again and repeat the run")
        elif status == Status.OUT_OF_ORDER and any(item.sequence == sequence for item in waiting):
            # One refusal for each frame behind a broken one is the echo of a break already mended.
            if self._behind_break:
                self._behind_break -= 1
            else:
                self._repeat()

    def _fail(self, message: str) -> None:
        raise DeviceError(message)
