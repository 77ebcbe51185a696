"""A program before it has addresses: straight pieces of jobs, and the control between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .isa import Op

Fields = dict[str, int]


@dataclass(frozen=True, eq=False)
class Access:
    """What a job reads or writes: rows of the vector memory (sorted, each once), and the first and last cycle of each.

    Cycles count from the job's start.
    """

    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, cycles: np.ndarray) -> Access:
        """From rows in any order, some of them often."""
        rows, cycles = np.asarray(rows, np.int64).ravel(), np.asarray(cycles, np.int64).ravel()
        if len(rows) == 0:
            return NOTHING
        order = np.lexsort((cycles, rows))
        rows, cycles = rows[order], cycles[order]
        begins = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        ends = np.r_[begins[1:], len(rows)] - 1
        return cls(rows[begins], cycles[begins], cycles[ends])

    @classmethod
    def span(cls, lo: int, hi: int, first: int, last: int) -> Access:
        """All rows from ``lo`` to ``hi``, at any time in between."""
        rows = np.arange(lo, hi + 1)
        return cls(rows, np.full(len(rows), first), np.full(len(rows), last))

    @classmethod
    def join(cls, parts: list[Access]) -> Access:
        """All of them together."""
        parts = [p for p in parts if len(p.rows)]
        if len(parts) < 2:
            return parts[0] if parts else NOTHING
        rows = np.concatenate([p.rows for p in parts] * 2)
        return cls.of(rows, np.concatenate([p.first for p in parts] + [p.last for p in parts]))

    @property
    def ends(self) -> tuple[int, int]:
        """Least and greatest row; (0, -1) when there is none."""
        return (int(self.rows[0]), int(self.rows[-1])) if len(self.rows) else (0, -1)

    def moved(self, cycles: int) -> Access:
        """The same, later."""
        return Access(self.rows, self.first + cycles, self.last + cycles)


NOTHING = Access(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Touch:
    """What is read or written through one offset register.

    ``whole``: the rows it may be, whatever the register adds. ``rows``: without what it adds, which is a number of rows; with
    ``register`` None that is not known.
    """

    register: int | None
    rows: Access
    whole: Access


@dataclass
class Part:
    """Instructions of a job that are placed together: ``words`` with their cycles from the part's start.

    ``busy``: what is occupied, as (unit, first cycle, last cycle). Units: ``beat`` (multipliers; ``mac`` and ``vec`` where
    they have their own), ``walk`` (the term walker), ``port``, ``hold``. ``by_read`` and ``by_write``: reads and writes by
    register, where they are known so well.
    """

    words: list[tuple[int, Op, Fields]]
    busy: list[tuple[str, int, int]]
    reads: Access = NOTHING
    writes: Access = NOTHING
    by_read: tuple[Touch, ...] = ()
    by_write: tuple[Touch, ...] = ()

    @property
    def reading(self) -> tuple[Touch, ...]:
        """Reads by register, or all of them with none known."""
        return self.by_read or ((Touch(None, self.reads, self.reads),) if len(self.reads.rows) else ())

    @property
    def writing(self) -> tuple[Touch, ...]:
        """Writes by register, or all of them with none known."""
        return self.by_write or ((Touch(None, self.writes, self.writes),) if len(self.writes.rows) else ())


@dataclass
class Job:
    """Something the engine does once started; the scheduler chooses when.

    ``parts``: the first decides; part n starts at least ``lags[n]`` cycles after the first, as soon as its units are free.
    ``uses``, ``sets``: offset registers. ``lists``: it lists
    changes. ``holds``: the first part fills the row of sums, the others drain it.
    ``multiplies``: multiplications that count as work.
    """

    parts: list[Part]
    lags: list[int] = field(default_factory=lambda: [0])
    uses: frozenset[int] = frozenset()
    sets: frozenset[int] = frozenset()
    holds: bool = False
    multiplies: int = 0
    source: str = ""
    lists: bool = False


@dataclass
class Loop:
    """The body ``count`` times; ``level`` is its counter."""

    level: int
    count: int
    body: list[Item]


@dataclass
class Branch:
    """One of several bodies, by the word at ``addr`` (+ register): body n for the value n, the last one otherwise."""

    addr: int
    reg: int
    bodies: list[list[Item]]
    source: str = ""


@dataclass
class Stream:
    """IN or OUT; ``span``: least and greatest address touched."""

    op: Op
    fields: Fields
    span: tuple[int, int] = (0, 0)


@dataclass
class Load:
    """LDO: an offset register from an element."""

    reg: int
    addr: int
    areg: int


@dataclass
class Sum:
    """One row of sums that stays in a bank: ``macs`` first (with their cycles from the first one's on), then ``walks``, the CMACs;
    then ``drains``, DRAINs, each with the cycles for which it needs the ports.
    """

    macs: list[tuple[int, Fields]]
    walks: list[Fields]
    drains: list[tuple[int, Fields]]


@dataclass
class Walk:
    """Sums over lists of changes, whose cycles are known only when it runs; ``longest``: most changes of each list."""

    sums: list[Sum]
    longest: dict[int, int] = field(default_factory=dict)
    writes: Access = NOTHING
    uses: frozenset[int] = frozenset()
    source: str = ""


@dataclass
class Halt:
    """The end of a run."""


@dataclass
class Main:
    """Where a run begins that keeps the states."""


Item = Job | Loop | Branch | Stream | Load | Walk | Halt | Main
