"""Which values may share memory: where each is first and last touched, and where it is put then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .code import Branch, Item, Job, Load, Loop, Stream, Walk


@dataclass
class Life:
    """From the first to the last item that touches a block of memory, in the order of the program."""

    first: int
    last: int


class Lives:
    """The lives of all blocks of a program that was made with a block for every value."""

    def __init__(self, items: list[Item], blocks: list[tuple[int, int]], row: int) -> None:
        self._row = row
        rows = max((at + words for at, words in blocks), default=0) // row + 1
        self._owner = np.full(rows, -1, np.int64)
        for number, (at, words) in enumerate(blocks):
            self._owner[at // row : -(-(at + words) // row)] = number
        self.of: list[Life | None] = [None] * len(blocks)
        self._loops: list[tuple[int, int]] = []
        self._clock = 0
        self._walk(items)
        # what lives on outside a loop must survive all of its rounds
        for begin, end in sorted(self._loops, key=lambda span: span[1] - span[0]):
            for life in self.of:
                if (
                    life is not None
                    and life.first <= end
                    and life.last >= begin
                    and (life.first < begin or life.last > end)
                ):
                    life.first, life.last = min(life.first, begin), max(life.last, end)

    def _touch(self, rows: np.ndarray) -> None:
        rows = rows[(rows >= 0) & (rows < len(self._owner))]
        for number in np.unique(self._owner[rows]):
            if number < 0:
                continue
            life = self.of[number]
            if life is None:
                self.of[number] = Life(self._clock, self._clock)
            else:
                life.last = self._clock

    def _walk(self, items: list[Item]) -> None:
        for item in items:
            self._clock += 1
            if isinstance(item, Job):
                for part in item.parts:
                    self._touch(part.reads.rows)
                    self._touch(part.writes.rows)
            elif isinstance(item, Loop):
                begin = self._clock
                self._walk(item.body)
                self._clock += 1
                self._loops.append((begin, self._clock))
            elif isinstance(item, Branch):
                self._touch(np.array([item.addr // self._row]))
                for body in item.bodies:
                    self._walk(body)
            elif isinstance(item, Stream) and item.fields["n"]:
                self._touch(np.arange(item.span[0] // self._row, item.span[1] // self._row + 1))
            elif isinstance(item, Walk):
                self._touch(item.writes.rows)
            elif isinstance(item, Load):
                self._touch(np.array([item.addr // self._row]))


def place(
    blocks: list[tuple[int, int]], lives: list[Life | None], kept: set[int], row: int, limit: int, *, spread: bool
) -> list[int] | None:
    """Addresses of the blocks, so that those alive at the same time do not meet; None when they do not fit into ``limit`` words.

    ``kept`` blocks live for ever. ``spread``: memory that was never used comes first, then what was free for longest; else what
    begins lowest.
    """
    sizes = [-(-max(words, 1) // row) * row for _, words in blocks]
    out = [0] * len(blocks)
    placed: list[tuple[int, int, int, int]] = []  # address, words, first, last
    at = 0
    order = sorted(range(len(blocks)), key=lambda n: _first(lives[n]))
    for number in [n for n in order if n in kept]:
        out[number] = at
        placed.append((at, sizes[number], -1, 1 << 60))
        at += sizes[number]
    for number in [n for n in order if n not in kept]:
        life, size = lives[number], sizes[number]
        first, last = (life.first, life.last) if life else (0, 0)
        # places where something ends, or the beginning
        tries = sorted({0, *(a + w for a, w, _, _ in placed)})
        best: tuple[int, int] | None = None
        for start in tries:
            if start + size > limit:
                continue
            over = [p for p in placed if p[0] < start + size and start < p[0] + p[1]]
            if any(p[2] <= last and first <= p[3] for p in over):
                continue
            since = max((p[3] for p in over), default=-2)
            key = (since, start) if spread else (0, start)
            if best is None or key < best:
                best = key
        if best is None:
            return None
        out[number] = best[1]
        placed.append((best[1], size, first, last))
    return out


def _first(life: Life | None) -> int:
    return life.first if life else -1
