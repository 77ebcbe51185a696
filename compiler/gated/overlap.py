"""Rounds of a loop that overlap: modulo scheduling of a body of jobs.

Every ``period`` cycles a round begins, and a round may take longer than that: the loop's text then holds what one round does
first and what the rounds before do last. B. R. Rau, "Iterative modulo scheduling" (MICRO 1994) calls the part of a round that falls
into its n-th period its stage n. Before the loop stand the first rounds without what there is nothing to do for yet (the
prologue), behind it the last rounds' ends (the epilogue).

Registers move on once a period, as its last words, so an instruction of stage n finds them n rounds ahead; its addresses are as
much smaller. What two jobs touch through the same register is compared row by row, so a round reads in time what the one
before stacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .code import Access, Fields, Job, Part, Touch
from .isa import Op
from .schedule import Placed, after, drain_length, hold, settled
from .timing import Timing

MOST_JOBS = 64
"""Most jobs of a body that is looked at: every pair of them is, for some rounds."""

STAGES = 4
"""Most periods of a round."""

TRIED = 2500
"""Most jobs that are placed, all tries with a delayed one together."""

UNITS = ("beat", "mac", "vec")
"""Units that a job keeps for as long as it has elements."""

WALKED = (Op.MAC, Op.TERM, Op.VEC, Op.DRAIN, Op.PICK)
"""What may stand in a body besides the moves of registers."""


@dataclass(frozen=True)
class Edge:
    """Part ``later`` of job ``b``, ``rounds`` rounds on, starts at least ``cycles`` after part ``earlier`` of job ``a``."""

    a: int
    earlier: int
    b: int
    later: int
    rounds: int
    cycles: int


@dataclass(frozen=True)
class Overlap:
    """A body whose rounds overlap.

    ``period``: cycles from round to round, the jump included. ``words``: by stage, the words of a round with their cycles in their
    period. ``moves``: the words that move the registers on, the last ``len(moves)`` of ``period`` - jump cycles. ``strides``: what
    each of them moves by. ``end``: cycles from a round's begin until what stands behind may begin.
    """

    period: int
    words: tuple[tuple[Placed, ...], ...]
    moves: tuple[Fields, ...]
    strides: dict[int, int]
    end: int

    @property
    def stages(self) -> int:
        """Periods of a round."""
        return len(self.words)

    def during(self, stages: range, text: int) -> list[Placed]:
        """The words of these stages of as many rounds in one period, which moves the registers on just before cycle ``text``."""
        words = [
            (cycle, op, _back(fields, self.strides, stage))
            for stage in stages
            for cycle, op, fields in self.words[stage]
        ]
        first = text - len(self.moves)
        return sorted([*words, *((first + n, Op.OFF, fields) for n, fields in enumerate(self.moves))], key=_cycle)

    def behind(self, period: int) -> list[Placed]:
        """What is left of the rounds in the n-th period behind the loop (from 1 on), where no register moves any more."""
        words = [
            (cycle, op, _back(fields, self.strides, stage - period + 1))
            for stage in range(period, self.stages)
            for cycle, op, fields in self.words[stage]
        ]
        return sorted(words, key=_cycle)

    def cycles(self, count: int, taken: int) -> int:
        """Of ``count`` rounds, until what stands behind may begin; a jump takes ``taken`` cycles."""
        last = max((cycle for cycle, _, _ in self.words[-1]), default=0) + 1 + (self.stages - 1) * self.period
        whole = (count - 1) * self.period + max(self.end, last)
        if self.stages == 1:  # END, not taken, stands behind the text, and LOOP before all
            return 1 + (count - 1) * self.period + max(self.end, self.period)
        return whole


def _cycle(word: Placed) -> int:
    return word[0]


def _back(fields: Fields, strides: dict[int, int], ahead: int) -> Fields:
    """Addresses for registers that have been moved on ``ahead`` times too often; what they have above 16 bits is cut."""
    found = dict(fields)
    for name, register in fields.items():
        if name.endswith("_reg") and register in strides:
            place = name[: -len("reg")] + "addr"
            found[place] = (fields[place] - ahead * strides[register]) % (1 << 16)
    return found


def overlap(jobs: list[Job], count: int, timing: Timing, ports: int, below: int) -> Overlap | None:
    """The shortest period under ``below`` that is found for a loop of ``count`` rounds; None when there is none."""
    moves = [job for job in jobs if job.sets]
    work = [job for job in jobs if not job.sets]
    words = [(op, fields) for job in moves for part in job.parts for _, op, fields in part.words]
    if any(op != Op.OFF or fields["reg"] != fields["src"] for op, fields in words):
        return None
    if not work or len(work) > MOST_JOBS or any(op not in WALKED for job in work for op in _ops(job)):
        return None
    strides = {fields["reg"]: fields["imm"] for _, fields in words}
    least, moved = _least(work, len(words), timing), tuple(fields for _, fields in words)
    edges = list(_edges(work, {register: stride // ports for register, stride in strides.items()}, least))
    order = _order(work, edges)
    budget = TRIED // len(work)
    for period, (begin, delays) in product(range(least, below), list(_ways(work, timing.taken + len(words)))):
        if delays and not budget:
            continue
        budget -= bool(delays)
        text = period - timing.taken - len(words)  # cycles for other words than those that end a period
        found = _Try(work, edges, period, text, timing).run(order, begin, delays)
        if found is None:
            continue
        stages = max(
            (cycle + offset) // period
            for job, cycles in zip(work, found, strict=True)
            for part, cycle in zip(job.parts, cycles, strict=True)
            for offset, _, _ in part.words
        )
        if stages >= min(STAGES, count):
            continue
        laid: list[list[Placed]] = [[] for _ in range(stages + 1)]
        for job, cycles in zip(work, found, strict=True):
            for part, cycle in zip(job.parts, cycles, strict=True):
                for offset, op, fields in part.words:
                    laid[(cycle + offset) // period].append(((cycle + offset) % period, op, fields))
        end = max(settled(job, cycles, timing) for job, cycles in zip(work, found, strict=True))
        return Overlap(period, tuple(tuple(sorted(p, key=lambda w: w[0])) for p in laid), moved, strides, end)
    return None


def _ways(jobs: list[Job], move: int) -> Iterator[tuple[int, dict[int, int]]]:
    """Where to begin, and what to delay: first nothing, then one job so that a shorter one finds room before it, or that
    and a drain."""
    begins = (0, move)  # the words that end a period stand elsewhere in the round
    yield from ((begin, {}) for begin in begins)
    walked: list[dict[str, int]] = []
    for job in jobs:
        walked.append({unit: hi - lo + 1 for unit, lo, hi in job.parts[0].busy if unit in UNITS})
    most = max(drain_length(job, number) for job in jobs for number in range(len(job.parts)))
    for number, own in enumerate(walked):
        lengths = {length for unit in own for other in walked if 0 < (length := other.get(unit, 0)) < own[unit]}
        for delay in sorted({*lengths, *(length + most for length in lengths)}):
            yield from ((begin, {number: delay}) for begin in begins)


def _ops(job: Job) -> Iterator[Op]:
    for part in job.parts:
        yield from (op for _, op, _ in part.words)


# ------------------------------------------------------------------ what waits for what


def _edges(jobs: list[Job], moved: dict[int, int], period: int) -> Iterator[Edge]:
    """Everything that keeps the order of two jobs, of one round or of some rounds apart; periods are at least ``period``."""
    longest = max(int(t.whole.last.max(initial=0)) for job in jobs for p in job.parts for t in (*p.reading, *p.writing))
    beyond = STAGES + 2 + longest // period  # rounds that are so far apart are so by themselves
    for a, one in enumerate(jobs):
        for b, two in enumerate(jobs):
            for i, part in enumerate(one.parts):
                for j, other in enumerate(two.parts):
                    known = 0
                    for rounds in range(int(b <= a), beyond):
                        least = _apart(part, other, rounds, moved)
                        if least > known:
                            yield Edge(a, i, b, j, rounds, least)
                            known = least


def _apart(part: Part, other: Part, rounds: int, moved: dict[int, int]) -> int:
    """Least distance of the starts of two parts, the other one so many rounds later; 0 where they do not meet."""
    pairs = ((part.writing, other.reading), (part.reading, other.writing), (part.writing, other.writing))
    return max(
        (_meet(x, y, rounds, moved) or 0 for first, second in pairs for x in first for y in second),
        default=0,
    )


def _meet(x: Touch, y: Touch, rounds: int, moved: dict[int, int]) -> int | None:
    if x.register is None or x.register != y.register:
        return after(x.whole, y.whole)
    ahead = rounds * moved.get(x.register, 0)
    return after(x.rows, Access(y.rows.rows + ahead, y.rows.first, y.rows.last) if ahead else y.rows)


def _order(jobs: list[Job], edges: list[Edge]) -> list[int]:
    """The jobs, those with most to do behind them in a round first, none before what it waits for."""
    heights = [0] * len(jobs)
    for a in reversed(range(len(jobs))):
        job = jobs[a]
        own = max((hi for part in job.parts for _, _, hi in part.busy), default=1)
        behind = [
            job.lags[e.earlier] + e.cycles - jobs[e.b].lags[e.later] + heights[e.b]
            for e in edges
            if e.a == a and not e.rounds
        ]
        heights[a] = max([own, *behind])
    walked = [max((hi - lo for _, lo, hi in job.parts[0].busy), default=0) for job in jobs]
    left, order = set(range(len(jobs))), []
    while left:
        ready = [b for b in left if not any(e.b == b and not e.rounds and e.a in left for e in edges)]
        best = min(ready, key=lambda b: (walked[b] - heights[b], b))
        order.append(best)
        left.remove(best)
    return order


def _least(jobs: list[Job], moves: int, timing: Timing) -> int:
    """No period is shorter than what the busiest unit, or the words, take."""
    busy: dict[str, int] = {}
    words = moves + timing.taken
    for job in jobs:
        for part in job.parts:
            words += len(part.words)
            for unit, lo, hi in part.busy:
                busy[unit] = busy.get(unit, 0) + hi - lo + 1
    return max([words, *busy.values()])


# ------------------------------------------------------------------ a period tried


class _Try:
    """Places jobs one after the other, each as early as it can be; occupied cycles of a period are bits of a number."""

    def __init__(self, jobs: list[Job], edges: list[Edge], period: int, text: int, timing: Timing) -> None:
        self.jobs, self.period, self.text, self.timing = jobs, period, text, timing
        self.into: list[list[Edge]] = [[] for _ in jobs]
        self.out: list[list[Edge]] = [[] for _ in jobs]
        for edge in edges:
            self.into[edge.b].append(edge)
            self.out[edge.a].append(edge)
        self.units: dict[str, int] = {}
        self.slots = 0
        self.starts: dict[int, list[int]] = {}

    def run(self, order: list[int], begin: int, delays: dict[int, int]) -> list[list[int]] | None:
        """The cycles of every job's parts, none before ``begin``, some jobs later than they could; None when the period is too
        short for that.
        """
        for number in order:
            if not self._place(number, begin, delays.get(number, 0)):
                return None
        return [self.starts[n] for n in range(len(self.jobs))]

    def _bits(self, lo: int, hi: int) -> int | None:
        """The cycles lo..hi of a period; None when they are more than it has."""
        length = hi - lo + 1
        if length > self.period:
            return None
        lo %= self.period
        mask = ((1 << length) - 1) << lo
        return (mask | mask >> self.period) & (1 << self.period) - 1

    def _place(self, number: int, begin: int, delay: int) -> bool:
        job, period = self.jobs[number], self.period
        least = [begin] * len(job.parts)
        most: list[int | None] = [None] * len(job.parts)
        for e in self.into[number]:
            if e.a in self.starts:
                least[e.later] = max(least[e.later], self.starts[e.a][e.earlier] + e.cycles - e.rounds * period)
        for e in self.out[number]:
            if e.b in self.starts:
                limit = self.starts[e.b][e.later] - e.cycles + e.rounds * period
                before = most[e.earlier]
                most[e.earlier] = limit if before is None else min(before, limit)
        own = [e for e in self.out[number] if e.b == number]
        soonest = least[0]
        for at in range(least[0], least[0] + period + delay):
            if at < soonest:
                continue
            placed = self._fit(job, at, least)
            if placed is None:
                continue
            if delay:  # from where it could be
                soonest, delay = at + delay, 0
                continue
            cycles, units, slots = placed
            if any(m is not None and c > m for c, m in zip(cycles, most, strict=True)):
                return False  # later it is only worse
            if any(cycles[e.earlier] + e.cycles > cycles[e.later] + e.rounds * period for e in own):
                continue
            self.starts[number] = cycles
            self.units.update(units)
            self.slots = slots
            return True
        return False

    def _fit(self, job: Job, at: int, least: list[int]) -> tuple[list[int], dict[str, int], int] | None:
        """The cycles of a job's parts when the first one starts at ``at``, with what is occupied then."""
        units, slots = dict(self.units), self.slots
        cycles: list[int] = []
        for number, part in enumerate(job.parts):
            cycle = at
            if number:
                cycle = max(least[number], at + job.lags[number], cycles[-1] + drain_length(job, number - 1))
            for _ in range(1 if not number else self.period):
                taken = self._taken(part, cycle, units, slots)
                if taken is not None:
                    break
                cycle += 1
            else:
                return None
            units, slots = taken
            cycles.append(cycle)
        held = hold(job, cycles, self.timing)
        if held:
            bits = self._bits(*held)
            if bits is None or bits & units.get("hold", 0):
                return None
            units["hold"] = units.get("hold", 0) | bits
        return cycles, units, slots

    def _taken(self, part: Part, cycle: int, units: dict[str, int], slots: int) -> tuple[dict[str, int], int] | None:
        """What is occupied with the part at this cycle; None when it does not fit there."""
        last = max(offset for offset, _, _ in part.words)
        if cycle % self.period + last >= self.text:
            return None  # its words are of one period, before the registers move
        own: dict[str, int] = {}
        for unit, lo, hi in part.busy:
            bits = self._bits(cycle + lo, cycle + hi) if hi >= lo else 0
            known = own.get(unit, units.get(unit, 0))
            if bits is None or bits & known:
                return None
            own[unit] = known | bits
        for offset, _, _ in part.words:
            bit = 1 << (cycle + offset) % self.period
            if slots & bit:
                return None
            slots |= bit
        return {**units, **own}, slots
