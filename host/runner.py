"""Moves bytes through the engine in RUN requests: keeps the window full, and shrinks the frames when the line is bad."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.link.protocol import Command, Status

from .link import Link

PATIENCE = 3
"""Repetitions of one frame before it is cut smaller."""
SMALLEST_PIECE = 16
"""Bytes; below this the frame's own overhead dominates."""
GROW_AFTER = 32
"""Frames in a row without repetition before the pieces grow again."""


@dataclass(frozen=True)
class Piece:
    """One RUN: its payload, and the number of answer bytes it asks for."""

    payload: bytes
    answer: int


class Feed(Protocol):
    """What is to be moved. The engine takes a message whole before it gives the first byte of its answer.

    Frames are filled: one may end, and the next one begin, in the middle of a message or of an answer. So that the engine never
    waits for a frame that cannot come, a RUN asks for all answer bytes of the messages that end in it, or as many as it can
    hold, and carries nothing behind a message whose answer it does not ask for to its end.
    """

    def next_piece(self, size: int) -> Piece | None:
        """The next RUN, of at most ``size`` bytes in either direction, from where the last one ended; None at the end."""

    def rewind(self, pieces: int) -> None:
        """Take the last ``pieces`` pieces back."""

    def done(self) -> None:
        """The oldest piece was answered: it will not be taken back."""


def run(link: Link, feed: Feed, largest: int) -> Iterator[bytes]:
    """Move everything of ``feed`` through the engine in frames of at most ``largest`` payload bytes.

    Gives the answer bytes in order, piece by piece; each piece is executed exactly once. Raises DeviceError.
    """
    size = largest
    pieces: deque[Piece] = deque()
    good = 0
    while True:
        while link.room and (piece := feed.next_piece(size)) is not None:
            link.submit(Command.RUN, piece.payload, piece.answer, piece.answer)
            pieces.append(piece)
        if not pieces:
            return
        repeats = link.repeats
        answer = link.collect(PATIENCE if size > SMALLEST_PIECE else None)
        if answer is None:
            answers = link.withdraw()
            size, good = max(SMALLEST_PIECE, size // 4), 0
        else:
            answers = [answer]
            good = good + 1 if link.repeats == repeats else 0
            if good >= GROW_AFTER:
                size, good = min(largest, size * 2), 0
        for answer in answers:
            if answer is None:
                # Not executed, and so is nothing behind it: continue from here.
                feed.rewind(len(pieces))
                pieces.clear()
                break
            piece = pieces.popleft()
            link.check(answer)
            if answer.status != Status.OK or len(answer.payload) != piece.answer:
                raise DeviceError(
                    f"the device on {link.transport.name} must answer {piece.answer} bytes, not {len(answer.payload)};"
                    " rebuild its bitstream"
                )
            feed.done()
            yield answer.payload


class SampleFeed:
    """``count`` samples of ``bytes_in`` bytes, back to back in ``data``, each answered by ``bytes_out`` bytes."""

    def __init__(self, data: bytes, count: int, bytes_in: int, bytes_out: int) -> None:
        self._data = data
        self._count = count
        self._bytes_in, self._bytes_out = bytes_in, bytes_out
        self._at = (0, 0)  # bytes sent and asked for
        self._starts: deque[tuple[int, int]] = deque()

    def next_piece(self, size: int) -> Piece | None:
        """See :class:`Feed`."""
        at_in, at_out = self._at
        if at_in == len(self._data) and at_out == self._count * self._bytes_out:
            return None
        owed = at_in // self._bytes_in * self._bytes_out - at_out  # answer bytes of samples that are in the engine
        stop = at_in
        if owed <= size:
            # As many more samples as have their whole answers in this RUN, and one more, behind which nothing may come.
            stop = min(at_in + size, len(self._data))
            if self._bytes_out:
                samples = at_in // self._bytes_in + (size - owed) // self._bytes_out + 1
                stop = min(stop, samples * self._bytes_in)
        answer = min(stop // self._bytes_in * self._bytes_out - at_out, size)
        self._starts.append(self._at)
        self._at = (stop, at_out + answer)
        return Piece(self._data[at_in:stop], answer)

    def rewind(self, pieces: int) -> None:
        """See :class:`Feed`."""
        for _ in range(pieces):
            self._at = self._starts.pop()

    def done(self) -> None:
        """See :class:`Feed`."""
        self._starts.popleft()


class MessageFeed:
    """Messages of (payload, answer bytes) of any sizes, drawn from an iterable only as far as the line has room."""

    def __init__(self, messages: Iterable[tuple[bytes, int]]) -> None:
        self._source = iter(messages)
        self._kept: deque[tuple[bytes, int]] = deque()  # from the oldest unanswered piece's first message on
        self._first = 0  # number of the first one kept
        self._at = (0, 0, 0)  # message, payload bytes sent of it, answer bytes asked for
        self._starts: deque[tuple[int, int, int]] = deque()

    def _message(self, number: int) -> tuple[bytes, int] | None:
        while number - self._first >= len(self._kept):
            message = next(self._source, None)
            if message is None:
                return None
            self._kept.append(message)
        return self._kept[number - self._first]

    def next_piece(self, size: int) -> Piece | None:
        """See :class:`Feed`."""
        start = self._at
        number, sent, asked = start
        payload, answer = bytearray(), 0
        while (message := self._message(number)) is not None:
            data, owed = message
            part = data[sent : sent + size - len(payload)]
            payload += part
            sent += len(part)
            if sent < len(data):
                break
            more = min(owed - asked, size - answer)
            answer += more
            asked += more
            if asked < owed:
                break
            number, sent, asked = number + 1, 0, 0
        if not payload and not answer:
            return None
        self._starts.append(start)
        self._at = (number, sent, asked)
        return Piece(bytes(payload), answer)

    def rewind(self, pieces: int) -> None:
        """See :class:`Feed`."""
        for _ in range(pieces):
            self._at = self._starts.pop()

    def done(self) -> None:
        """See :class:`Feed`."""
        self._starts.popleft()
        oldest = (self._starts[0] if self._starts else self._at)[0]
        while self._first < oldest:
            self._kept.popleft()
            self._first += 1
