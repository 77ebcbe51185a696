"""Cuts samples into RUN requests, keeps the window full, and shrinks the frames when the line is bad."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.link.protocol import Command, Identity, Status

from .link import Link

PATIENCE = 3
"""Repetitions of one frame before it is cut smaller."""
SMALLEST_PIECE = 16
"""Bytes; below this the frame's own overhead dominates."""
GROW_AFTER = 32
"""Frames in a row without repetition before the pieces grow again."""


@dataclass(frozen=True)
class Piece:
    """One RUN: input bytes ``start`` to ``stop`` and the number of answer bytes it asks for."""

    start: int
    stop: int
    answer: int


class Runner:
    """One run of ``count`` samples over ``link``; the engine must be between two samples.

    Pieces are whole samples where they fit a frame; a larger sample goes in several RUNs of which only the last ones ask
    for answer bytes. The engine takes a sample whole before it answers, so that never makes it wait.
    """

    def __init__(self, link: Link, identity: Identity, data: bytes, count: int) -> None:
        self._link = link
        self._bytes_in, self._bytes_out = identity.bytes_in, identity.bytes_out
        self._largest = identity.max_payload
        self._data = data
        self._count = count
        self._size = self._largest
        self._sent_in = self._sent_out = 0  # where the next piece begins

    def run(self, progress: Callable[[int, int], None] | None = None) -> bytes:
        """All answers in order; raises DeviceError."""
        link, out = self._link, bytearray()
        pieces: deque[Piece] = deque()
        total = self._count * self._bytes_out
        good = 0
        while True:
            while link.room and (piece := self._next_piece()) is not None:
                data = self._data[piece.start : piece.stop]
                link.submit(Command.RUN, data, piece.answer, piece.answer)
                pieces.append(piece)
            if not pieces:
                break
            repeats = link.repeats
            answer = link.collect(PATIENCE if self._size > SMALLEST_PIECE else None)
            if answer is None:
                answers = link.withdraw()
                self._size, good = max(SMALLEST_PIECE, self._size // 4), 0
            else:
                answers = [answer]
                good = good + 1 if link.repeats == repeats else 0
                if good >= GROW_AFTER:
                    self._size, good = min(self._largest, self._size * 2), 0
            for answer in answers:
                piece = pieces.popleft()
                if answer is None:
                    # Not executed, and so is nothing behind it: continue from here.
                    self._sent_in, self._sent_out = piece.start, len(out)
                    pieces.clear()
                    break
                link.check(answer)
                if answer.status != Status.OK or len(answer.payload) != piece.answer:
                    raise DeviceError(
                        f"the device on {link.transport.name} must answer {piece.answer} bytes, not {len(answer.payload)};"
                        " rebuild its bitstream"
                    )
                out += answer.payload
            if progress:
                progress(len(out) // self._bytes_out if self._bytes_out else self._count, self._count)
        if len(out) != total:
            raise DeviceError(f"the device on {link.transport.name} must answer {total} bytes in all, not {len(out)}")
        return bytes(out)

    def _next_piece(self) -> Piece | None:
        """The next RUN, from where the last one ended; None when all are on their way."""
        at_in, at_out = self._sent_in, self._sent_out
        if at_in == len(self._data) and at_out == self._count * self._bytes_out:
            return None
        sample, within = divmod(at_in, self._bytes_in)
        owed = sample * self._bytes_out - at_out
        if owed:  # answer bytes of samples that are in the engine
            stop, answer = at_in, min(owed, self._size)
        elif within == 0 and max(self._bytes_in, self._bytes_out) <= self._size:
            samples = min(self._size // max(self._bytes_in, self._bytes_out), self._count - sample)
            stop, answer = at_in + samples * self._bytes_in, samples * self._bytes_out
        else:  # part of a sample; its last part asks for what fits
            stop = min(at_in + self._size, (sample + 1) * self._bytes_in)
            answer = min(self._bytes_out, self._size) if stop == (sample + 1) * self._bytes_in else 0
        self._sent_in, self._sent_out = stop, at_out + answer
        return Piece(at_in, stop, answer)


def stream(link: Link, requests: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    """Send RUN requests of (payload, answer bytes) with the window full; gives the answers in order. Raises DeviceError."""
    waiting: deque[int] = deque()
    source = iter(requests)
    more = True
    while True:
        while more and link.room:
            request = next(source, None)
            if request is None:
                more = False
                break
            link.submit(Command.RUN, request[0], request[1], request[1])
            waiting.append(request[1])
        if not waiting:
            return
        answer = link.collect()
        if answer is None:
            raise AssertionError("collect without patience always answers")
        link.check(answer)
        expected = waiting.popleft()
        if len(answer.payload) != expected:
            raise DeviceError(
                f"the device on {link.transport.name} must answer {expected} bytes, not {len(answer.payload)};"
                " rebuild its bitstream"
            )
        yield answer.payload
