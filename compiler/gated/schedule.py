"""Chooses the cycle of every job: list scheduling of straight pieces, with everything known and nothing left to wait for."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np

from .code import Access, Job
from .isa import Op
from .timing import Timing

Placed = tuple[int, Op, dict[str, int]]
"""An instruction and its cycle from the beginning of its piece."""


REPEATED = 200
"""Most jobs of a loop's body whose rounds may overlap: every pair of them is looked at."""

WALKED = ("beat", "mac", "vec")
"""Units that a job keeps for as long as it has elements."""


class Busy:
    """When one unit is occupied."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def free_from(self, lo: int, hi: int) -> int:
        """How many cycles later lo..hi is free, at least for the interval that is in the way now; 0 when it is free."""
        at = bisect_left(self.ends, lo)
        if at < len(self.starts) and self.starts[at] <= hi:
            return self.ends[at] + 1 - lo
        return 0

    def occupy(self, lo: int, hi: int) -> None:
        """Mark lo..hi, which is free."""
        if hi >= lo:
            insort(self.starts, lo)
            insort(self.ends, hi)


@dataclass(frozen=True)
class Gap:
    """Part ``later`` of a job starts at least ``cycles`` after part ``earlier`` of the job before."""

    earlier: int
    later: int
    cycles: int


@dataclass
class Node:
    """A job with what must come before it."""

    job: Job
    before: list[tuple[int, list[Gap]]] = field(default_factory=list)
    after: list[tuple[int, int]] = field(default_factory=list)  # (job, distance of the starts that can be expected)
    missing: int = 0
    height: int = 0
    urgency: int = 0


class Block:
    """A straight piece: jobs are placed one after the other, the most urgent of those that can go first."""

    def __init__(self, jobs: list[Job], timing: Timing) -> None:
        self.timing = timing
        self.nodes = [Node(job) for job in jobs]
        self.units: dict[str, Busy] = {}
        self.slots: set[int] = set()
        self.placed: list[Placed] = []
        self.end = 0
        self.starts: dict[int, list[int]] = {}
        self._depend()

    # ------------------------------------------------------------------ what waits for what

    def _depend(self) -> None:
        count = len(self.nodes)
        spans = [(_spans(n.job)) for n in self.nodes]
        for later in range(count):
            job = self.nodes[later].job
            for earlier in range(later):
                other = self.nodes[earlier].job
                gaps = _gaps(other, job, spans[earlier], spans[later], self.timing.offset)
                if gaps:
                    self.nodes[later].before.append((earlier, gaps))
                    expected = max(other.lags[g.earlier] + g.cycles - job.lags[g.later] for g in gaps)
                    self.nodes[earlier].after.append((later, expected))
        for node in reversed(self.nodes):
            own = max((hi for part in node.job.parts for _, _, hi in part.busy), default=1)
            node.height = max([own, *(gap + self.nodes[later].height for later, gap in node.after)])
            # of jobs that wait for one unit, the one with most to do behind it goes first, however long it takes itself
            walked = max((hi - lo for unit, lo, hi in node.job.parts[0].busy if unit in WALKED), default=0)
            node.urgency = node.height - walked
            node.missing = len(node.before)

    # ------------------------------------------------------------------ placing

    def schedule(self) -> None:
        """Place every job."""
        starts = self.starts
        ready = [n for n, node in enumerate(self.nodes) if not node.missing]
        while ready:
            best, at = -1, (0, 0, 0)
            for number in ready:
                node = self.nodes[number]
                least = [0] * len(node.job.parts)
                for earlier, gaps in node.before:
                    for gap in gaps:
                        least[gap.later] = max(least[gap.later], starts[earlier][gap.earlier] + gap.cycles)
                found = self._fit(node.job, least)
                key = (found[0], -node.urgency, number)
                if best < 0 or key < at:
                    best, at, chosen = number, key, found
            ready.remove(best)
            starts[best] = chosen
            self._place(self.nodes[best].job, chosen)
            for later, _ in self.nodes[best].after:
                self.nodes[later].missing -= 1
                if not self.nodes[later].missing:
                    ready.append(later)
        self.placed.sort(key=lambda p: p[0])

    def repeat(self, jump: int) -> int:
        """Cycles of the piece as a loop's body, the jump back (``jump`` cycles) behind it: a round may begin before what the
        round before computed is written, as long as it comes to nothing too early. At most :attr:`end`.
        """
        if len(self.nodes) > REPEATED:
            return self.end
        least = max(cycle for cycle, _, _ in self.placed) + 1 + jump
        for unit in self.units.values():
            if unit.starts:
                least = max(least, unit.ends[-1] - unit.starts[0] + 1)
        spans = [_spans(node.job) for node in self.nodes]
        for a, node in enumerate(self.nodes):
            for b, other in enumerate(self.nodes):
                for gap in _gaps(node.job, other.job, spans[a], spans[b], self.timing.offset):
                    least = max(least, self.starts[a][gap.earlier] + gap.cycles - self.starts[b][gap.later])
        return min(least - jump, self.end)

    def _fit(self, job: Job, least: list[int]) -> list[int]:
        """Cycles of the job's parts, each as early as possible from ``least`` on."""
        at = least[0]
        while True:
            first = self._fit_part(job, 0, at, set())
            cycles, taken = [first], {first + offset for offset, _, _ in job.parts[0].words}
            for number in range(1, len(job.parts)):
                after = max(least[number], first + job.lags[number], cycles[-1] + drain_length(job, number - 1))
                cycle = self._fit_part(job, number, after, taken)
                cycles.append(cycle)
                taken |= {cycle + offset for offset, _, _ in job.parts[number].words}
            held = hold(job, cycles, self.timing)
            late = self._unit("hold").free_from(*held) if held else 0
            if not late:
                return cycles
            at = first + late

    def _fit_part(self, job: Job, number: int, at: int, taken: set[int]) -> int:
        part = job.parts[number]
        while True:
            late = 0
            for unit, lo, hi in part.busy:
                late = max(late, self._unit(unit).free_from(at + lo, at + hi))
            if not late:
                words = {at + offset for offset, _, _ in part.words}
                late = int(bool(words & self.slots) or bool(words & taken))
            if not late:
                return at
            at += late

    def _place(self, job: Job, cycles: list[int]) -> None:
        for part, cycle in zip(job.parts, cycles, strict=True):
            for unit, lo, hi in part.busy:
                self._unit(unit).occupy(cycle + lo, cycle + hi)
            for offset, op, fields in part.words:
                self.slots.add(cycle + offset)
                self.placed.append((cycle + offset, op, fields))
        self.end = max(self.end, settled(job, cycles, self.timing))
        held = hold(job, cycles, self.timing)
        if held:
            self._unit("hold").occupy(*held)

    def _unit(self, name: str) -> Busy:
        return self.units.setdefault(name, Busy())


def settled(job: Job, cycles: list[int], timing: Timing) -> int:
    """From which cycle on what stands behind may begin, when the job's parts start at these."""
    end = 0
    for part, cycle in zip(job.parts, cycles, strict=True):
        if job.sets:
            end = max([end, *(cycle + offset + timing.offset for offset, _, _ in part.words)])
        if len(part.writes.rows):
            end = max(end, cycle + int(part.writes.last.max()) + 1 - timing.settle)
        end = max([end, cycle + 1, *(cycle + hi - timing.settle for _, _, hi in part.busy)])
    return end


def hold(job: Job, cycles: list[int], timing: Timing) -> tuple[int, int] | None:
    """When the row of sums is needed: from its capture to the last drain."""
    if not job.holds:
        return None
    last = max(hi for unit, _, hi in job.parts[0].busy if unit in ("beat", "mac"))
    drained = max(cycle + hi for part, cycle in zip(job.parts[1:], cycles[1:], strict=True) for _, _, hi in part.busy)
    return cycles[0] + last + timing.sum, drained - 1


def drain_length(job: Job, number: int) -> int:
    """Cycles from a part's start to the next one's: a drain goes once around the row of sums."""
    return max((hi - lo + 1 for unit, lo, hi in job.parts[number].busy if unit == "port"), default=1)


def _spans(job: Job) -> tuple[int, int, int, int]:
    """Least and greatest row read, and written."""
    reads = [p.reads.ends for p in job.parts if len(p.reads.rows)]
    writes = [p.writes.ends for p in job.parts if len(p.writes.rows)]
    return (
        min((r[0] for r in reads), default=1 << 30),
        max((r[1] for r in reads), default=-1),
        min((w[0] for w in writes), default=1 << 30),
        max((w[1] for w in writes), default=-1),
    )


def _gaps(
    earlier: Job, later: Job, a: tuple[int, int, int, int], b: tuple[int, int, int, int], offset: int
) -> list[Gap]:
    """What keeps the order of two jobs where it matters; a new offset is there ``offset`` cycles after its instruction."""
    gaps: list[Gap] = []
    changed = bool(earlier.sets & (later.uses | later.sets))
    if changed or (earlier.uses & later.sets):
        gaps += [
            Gap(i, j, max(at for at, _, _ in part.words) + (offset if changed else 1))
            for i, part in enumerate(earlier.parts)
            for j in range(len(later.parts))
        ]
    pairs = []
    if a[2] <= b[1] and b[0] <= a[3]:
        pairs.append(("writes", "reads"))
    if a[0] <= b[3] and b[2] <= a[1]:
        pairs.append(("reads", "writes"))
    if a[2] <= b[3] and b[2] <= a[3]:
        pairs.append(("writes", "writes"))
    for first, second in pairs:
        for i, part in enumerate(earlier.parts):
            for j, other in enumerate(later.parts):
                least = after(getattr(part, first), getattr(other, second))
                if least is not None:
                    gaps.append(Gap(i, j, least))
    return gaps


def after(x: Access, y: Access) -> int | None:
    """Least distance, 1 or more, at which every row of ``y`` is touched after ``x`` is done with it; None without common rows."""
    if not len(x.rows) or not len(y.rows) or x.rows[0] > y.rows[-1] or y.rows[0] > x.rows[-1]:
        return None
    _, at_x, at_y = np.intersect1d(x.rows, y.rows, assume_unique=True, return_indices=True)
    return max(int((x.last[at_x] - y.first[at_y]).max()) + 1, 1) if len(at_x) else None
