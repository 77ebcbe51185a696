"""Replays a recorded session: to the host, as if the device were there, or to a device, as if the host were there."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from neuroloom.compiler.errors import DeviceError, InputError, MismatchError
from neuroloom.rtl.link.protocol import (
    HEADER_BYTES,
    NAK_STATUS,
    RESPONSE_BIT,
    SEQUENCE_MODULUS,
    Command,
    Identity,
    Status,
)

from .framing import FrameDecoder
from .link import Answer, Link
from .session_file import FROM, TO, Event, read_session
from .transport import Transport


class ReplayLine:
    """A transport that answers from a file; its clock is the file's, so nothing waits and everything repeats exactly.

    The host must do what the recorded one did: a write of other bytes, or one where the recorded host read, raises
    MismatchError with the file's line. At the end of the file the line is dead. ``timeout`` is what the recorded host had.
    """

    def __init__(self, path: Path | str) -> None:
        self.name = str(path)
        self._events = read_session(path)
        self._now = 0.0
        first = self._events[0] if self._events else None
        match = re.match(r"timeout=(\d+(?:\.\d+)?(?:e-?\d+)?) ", first.text) if first and first.kind == "open" else None
        if match is None:
            raise InputError(f"{path}: a recorded session must have an 'open' event with the host's timeout first")
        self.timeout = float(match[1])
        self._at = 1

    def _next(self, kind: str, doing: str) -> Event:
        """The next event, which must be of this kind."""
        if self._at >= len(self._events) or self._events[self._at].kind == "close":
            raise DeviceError(f"the recorded session {self.name} ends here, but the host goes on ({doing})")
        event = self._events[self._at]
        self._now = event.time
        if event.kind == "lost":
            self._at += 1
            raise DeviceError(event.text)
        if event.kind != kind:
            raise MismatchError(
                f"{self.name}, line {event.line}: the host must do as it was recorded ({event.kind} {event.data[:16].hex()}),"
                f" but it did something else ({doing})"
            )
        self._at += 1
        return event

    def read(self, timeout: float) -> bytes:
        """What the recorded host read at this point."""
        return self._next(FROM, f"read for {timeout:.3f} s").data

    def write(self, data: bytes) -> None:
        """Compare with what the recorded host sent."""
        event = self._next(TO, f"write {data[:16].hex()}")
        if event.data != data:
            at = next((n for n, (a, b) in enumerate(zip(event.data, data, strict=False)) if a != b), None)
            where = f"differs at byte {at}" if at is not None else f"has {len(data)} bytes instead of {len(event.data)}"
            raise MismatchError(f"{self.name}, line {event.line}: what the host sends {where} from what was recorded")

    def discard(self) -> None:
        """The beginning of a session."""
        self._next("discard", "begin a session")

    def now(self) -> float:
        """The file's time."""
        return self._now

    def close(self) -> None:
        """Nothing to give back."""

    def nonce(self, size: int) -> bytes:
        """The random bytes of the recorded host's next SYNC."""
        decoder = FrameDecoder()
        for event in self._events[self._at :]:
            for body in decoder.feed(event.data) if event.kind == TO else ():
                if body[0] == Command.SYNC:
                    return body[HEADER_BYTES:][:size]
        raise DeviceError(f"the recorded session {self.name} ends here, but the host begins another one")


@dataclass(frozen=True)
class Exchange:
    """A request that the recorded device executed, and its answer; ``line`` is where the file has the answer."""

    command: int
    arg: int
    payload: bytes
    answer: Answer
    line: int


class _Numbers:
    """Numbers of requests counted up within a session, from those on the line, which wrap."""

    def __init__(self, first: int) -> None:
        self._last = first

    def unwrap(self, sequence: int) -> int:
        half = SEQUENCE_MODULUS // 2
        number = self._last + (sequence - self._last + half) % SEQUENCE_MODULUS - half
        self._last = max(self._last, number)
        return number


def exchanges(events: Iterable[Event]) -> list[list[Exchange]]:
    """What the recorded device executed, session by session, each in the order of its numbers.

    A request may have been sent several times, and others under the same number (a host withdraws by a PING what does not
    get through); the answer tells which of them was executed. Requests without an answer in the file are left out, and so are
    NAKs, which execute nothing.
    """
    sent: list[dict[tuple[int, int], bytes]] = []  # by number and command, one dictionary per session
    nonces: list[bytes] = []
    numbers: list[_Numbers] = []
    answered: list[dict[int, tuple[bytes, int]]] = []
    current, heard = -1, -1
    decoders = {TO: FrameDecoder(), FROM: FrameDecoder()}
    for event in events:
        for body in decoders[event.kind].feed(event.data) if event.kind in decoders else ():
            command, sequence, payload = body[0] & ~RESPONSE_BIT, body[1], body[HEADER_BYTES:]
            if event.kind == TO:
                if command == Command.SYNC and payload not in nonces:
                    nonces.append(payload)
                    sent.append({})
                    answered.append({})
                    numbers.append(_Numbers(sequence))
                    current += 1
                if current >= 0:
                    sent[current].setdefault((numbers[current].unwrap(sequence), command), body)
            elif body[0] & RESPONSE_BIT and body[2] < NAK_STATUS:
                if command == Command.SYNC:
                    heard = nonces.index(payload) if payload in nonces else -1
                if heard >= 0:
                    answered[heard].setdefault(numbers[heard].unwrap(sequence), (body, event.line))
    found = []
    for requests, answers in zip(sent, answered, strict=True):
        session = []
        for number, (body, line) in sorted(answers.items()):
            request = requests.get((number, body[0] & ~RESPONSE_BIT))
            if request is not None and request[0] != Command.SYNC:
                arg = int.from_bytes(request[2:HEADER_BYTES], "little")
                answer = Answer(request[0], body[2], body[HEADER_BYTES:])
                session.append(Exchange(request[0], arg, request[HEADER_BYTES:], answer, line))
        found.append(session)
    return found


COUNTERS = (Command.STATUS, Command.MEMTEST)
"""Commands whose answers count events of the line, which is another one now."""


@dataclass(frozen=True)
class Replayed:
    """Outcome of a replay to a device: sessions, requests whose answers were the same, frames repeated now."""

    sessions: int
    requests: int
    repeats: int


def replay_to_device(
    path: Path | str, line: Transport, *, timeout: float = 5.0, progress: Callable[[int, int], None] | None = None
) -> Replayed:
    """Let a device execute what the recorded one executed, in the same sessions and order, and compare the answers.

    The requests are numbered and repeated anew, so either line may be a bad one. Answers of STATUS and MEMTEST count what
    happened on the line and are not compared. Raises MismatchError with the first difference, DeviceError when the device
    does not answer, InputError for a file that is no session.
    """
    sessions = exchanges(read_session(path))
    total = sum(len(session) for session in sessions)
    link = Link(line, timeout=timeout)
    done = 0
    for number, session in enumerate(sessions, 1):
        link.open()
        link.window = 1
        waiting: deque[Exchange] = deque()
        for exchange in [*session, None]:
            while waiting and (exchange is None or not link.room):
                asked = waiting.popleft()
                answer = link.collect()
                assert answer is not None  # collect without patience always answers
                _compare(
                    f"{path}, line {asked.line}: the answer to {_name(asked)} in session {number}", asked, answer, line
                )
                if asked.command == Command.IDENTIFY and answer.status == Status.OK:
                    link.window = max(1, Identity.from_bytes(answer.payload).window)
                done += 1
                if progress:
                    progress(done, total)
            if exchange is not None:
                link.submit(exchange.command, exchange.payload, exchange.arg, len(exchange.answer.payload))
                waiting.append(exchange)
    link.end()
    return Replayed(len(sessions), total, link.repeats)


def _name(exchange: Exchange) -> str:
    known = {one.value: one.name for one in Command}
    return known.get(exchange.command, f"command {exchange.command:#04x}")


def _compare(where: str, exchange: Exchange, got: Answer, line: Transport) -> None:
    want = exchange.answer
    if got.status != want.status:
        what = f"status {got.status:#04x} instead of {want.status:#04x}"
    elif exchange.command in COUNTERS or got.payload == want.payload:
        return
    elif len(got.payload) != len(want.payload):
        what = f"{len(got.payload)} bytes instead of {len(want.payload)}"
    else:
        at = next(n for n, (a, b) in enumerate(zip(want.payload, got.payload, strict=True)) if a != b)
        what = f"byte {at} is {got.payload[at]:#04x} instead of {want.payload[at]:#04x}"
    raise MismatchError(f"{where} differs on {line.name}: {what}")
