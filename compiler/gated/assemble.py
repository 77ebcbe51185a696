"""Jobs and control to program words: delays filled in, jumps resolved."""

from __future__ import annotations

from dataclasses import dataclass

from neuroloom.compiler.errors import UnsupportedError

from .code import Branch, Fields, Halt, Item, Job, Load, Loop, Main, Stream, Walk
from .isa import MAX_DELAY, Op, encode
from .overlap import Overlap, overlap
from .schedule import Block, Placed
from .timing import Timing
from .walks import cycles, plan


@dataclass
class Label:
    """A place in the program."""

    at: int = -1


Word = tuple[Op, Fields, Label | None]


@dataclass(frozen=True)
class Cost:
    """Cycles of a piece of program: least and most of the ways that go on (None: none does), and of those that end the run."""

    on: tuple[int, int] | None = (0, 0)
    ended: tuple[tuple[int, int], ...] = ()

    def then(self, other: Cost) -> Cost:
        """One behind the other."""
        if self.on is None:
            return self
        least, most = self.on
        ended = tuple((least + lo, most + hi) for lo, hi in other.ended)
        on = None if other.on is None else (least + other.on[0], most + other.on[1])
        return Cost(on, self.ended + ended)

    def plus(self, cycles: int) -> Cost:
        """Some cycles more, first."""
        return Cost((cycles, cycles)).then(self)


class Assembler:
    """Collects words; ``cycles`` are the least and the most of a run, once :meth:`program` is done.

    ``overlaps``: the rounds of loops may overlap, which is faster and takes more words.
    """

    def __init__(self, timing: Timing, ports: int, overlaps: bool = True) -> None:
        self.timing = timing
        self.ports = ports
        self.overlaps = overlaps
        self.words: list[Word] = []
        self.main = Label()
        self.cycles = (0, 0)

    def program(self, items: list[Item]) -> None:
        """A whole program: the jump to its main part, the reset of the states, the main part."""
        self.put(Op.JUMP, None, self.main)
        at = next(n for n, item in enumerate(items) if isinstance(item, Main))
        reset = self.items(items[: at + 1])
        main = self.items(items[at + 1 :])
        ways = [*main.plus(self.timing.taken).ended, *reset.then(main).ended]
        self.cycles = self.timing.start + min(lo for lo, _ in ways), self.timing.start + max(hi for _, hi in ways)

    def put(self, op: Op, fields: Fields | None = None, label: Label | None = None) -> None:
        """One word; ``label`` fills its target."""
        self.words.append((op, dict(fields or {}), label))

    def mark(self, label: Label) -> None:
        """The label stands here."""
        label.at = len(self.words)

    def items(self, items: list[Item]) -> Cost:
        """Everything in order."""
        straight: list[Job] = []
        cost = Cost()
        for item in items:
            if isinstance(item, Job):
                straight.append(item)
                continue
            if isinstance(item, Walk) and not item.sums:
                continue
            cost = cost.then(self.block(straight)).then(self.control(item))
            straight = []
        return cost.then(self.block(straight))

    def block(self, jobs: list[Job]) -> Cost:
        """A straight piece, scheduled."""
        if not jobs:
            return Cost()
        block = Block(jobs, self.timing)
        block.schedule()
        length = self._lay(block.placed, block.end)
        return Cost((length, length))

    def _lay(self, placed: list[Placed], end: int) -> int:
        """Write a scheduled piece whose successor begins at ``end``; returns its cycles."""
        at = 0
        for index, (cycle, op, fields) in enumerate(placed):
            self._wait(cycle - at)
            follows = placed[index + 1][0] if index + 1 < len(placed) else max(end, cycle + 1)
            delay = follows - cycle - 1
            at = cycle + 1
            if op != Op.TERM:
                held = min(delay, MAX_DELAY)
                fields = {**fields, "delay": held}
                at += held
            self.put(op, fields)
        self._wait(end - at)
        return max(end, at)

    def _wait(self, cycles: int) -> None:
        while cycles > 0:
            held = min(cycles - 1, MAX_DELAY)
            self.put(Op.OFF, {"delay": held})
            cycles -= held + 1

    def control(self, item: Item) -> Cost:
        """What is not a job."""
        if isinstance(item, Loop):
            jobs = [each for each in item.body if isinstance(each, Job)]
            if jobs and len(jobs) == len(item.body):
                return self._rounds(item, jobs)
            top = Label()
            self.put(Op.LOOP, {"level": item.level, "count": item.count})
            self.mark(top)
            first = len(self.words)
            body = self.items(item.body)
            if len(self.words) == first:  # END looks at the counter when it is fetched
                self._wait(1)
                body = body.plus(1)
            self.put(Op.END, {"level": item.level}, top)
            assert body.on is not None and not body.ended  # runs end at the top level only
            turns = 2 + self.timing.taken * (item.count - 1)
            return Cost((body.on[0] * item.count + turns, body.on[1] * item.count + turns))
        if isinstance(item, Branch):
            return self._branch(item)
        if isinstance(item, Stream):
            self.put(item.op, item.fields)
            return Cost((self.timing.stream, self.timing.stream))
        if isinstance(item, Load):
            self.put(Op.LDO, {"reg": item.reg, "addr": item.addr, "areg": item.areg})
            return Cost((self.timing.branch, self.timing.branch))
        if isinstance(item, Walk):
            return self._walk(item)
        if isinstance(item, Main):
            self.mark(self.main)
            return Cost()
        assert isinstance(item, Halt)
        self.put(Op.HALT)
        return Cost(None, ((0, 0),))

    def _walk(self, item: Walk) -> Cost:
        planned = plan(item, self.timing)
        for op, fields, follows in planned:
            self.put(op, {**fields, "delay": follows - 1})
        return Cost((cycles(planned, {}), cycles(planned, item.longest)))

    def _rounds(self, item: Loop, jobs: list[Job]) -> Cost:
        """A loop around a straight piece: rounds overlap, and the last one is waited for."""
        block = Block(jobs, self.timing)
        block.schedule()
        body, taken = block.repeat(self.timing.taken), self.timing.taken
        rest = max(block.end - body - 1, 0)
        whole = 1 + body * item.count + taken * (item.count - 1) + 1 + rest
        if self.overlaps:
            found = overlap(jobs, item.count, self.timing, self.ports, body + taken)
            if found is not None and (shorter := found.cycles(item.count, taken)) < whole:
                self._overlapped(item, found)
                return Cost((shorter, shorter))
        top = Label()
        self.put(Op.LOOP, {"level": item.level, "count": item.count})
        self.mark(top)
        self._lay(block.placed, body)
        self.put(Op.END, {"level": item.level}, top)
        self._wait(rest)
        return Cost((whole, whole))

    def _overlapped(self, item: Loop, found: Overlap) -> None:
        """Prologue, loop and epilogue of a body whose rounds overlap."""
        text = found.period - self.timing.taken  # cycles of the loop's text before its END
        for period in range(found.stages - 1):
            last = period == found.stages - 2
            self._lay(found.during(range(period + 1), text), found.period - last)
        top = Label()
        self.put(Op.LOOP, {"level": item.level, "count": item.count - found.stages + 1})
        self.mark(top)
        self._lay(found.during(range(found.stages), text), text)
        self.put(Op.END, {"level": item.level}, top)
        self._wait(self.timing.taken - 1)  # as if it jumped once more
        if found.stages == 1:
            self._wait(found.end - found.period)
        for period in range(1, found.stages):
            last = period == found.stages - 1
            end = found.end - (found.stages - 1) * found.period if last else found.period
            self._lay(found.behind(period), max(end, 0))

    def _branch(self, item: Branch) -> Cost:
        end, ways, before = Label(), [], 0
        for number, body in enumerate(item.bodies):
            last = number == len(item.bodies) - 1
            beyond = Label()
            if not last:
                self.put(Op.BR, {"addr": item.addr, "areg": item.reg, "imm": number, "unequal": 1}, beyond)
            cost = self.items(body).plus(before + (0 if last else self.timing.branch))
            if not last:
                self.put(Op.JUMP, None, end)
                self.mark(beyond)
                cost = cost.then(Cost((self.timing.taken, self.timing.taken)))
                before += self.timing.branch + self.timing.taken - 1
            ways.append(cost)
        self.mark(end)
        on = [way.on for way in ways if way.on is not None]
        ended = tuple(e for way in ways for e in way.ended)
        return Cost((min(o[0] for o in on), max(o[1] for o in on)) if on else None, ended)

    def encoded(self) -> list[int]:
        """The program's words; raises UnsupportedError when a number does not fit its field."""
        out = []
        for op, fields, label in self.words:
            if label is not None:
                fields = {**fields, "target": label.at}
            try:
                out.append(encode(op, fields))
            except Exception as error:
                raise UnsupportedError(f"the program cannot be written: {error}; take a smaller network") from None
        return out
