"""The event-driven engine: runs a compiled program on samples, with the same bits as the reference interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.sim.inputs import check

from .codes import BLOCK, SCRATCH
from .machine import run_steps
from .program import Feed, Program, compile_program

CHUNK_BYTES = 1 << 23
"""Input rows and recorded integers that are in memory besides the inputs and outputs themselves."""

EVENTS = 1 << 18
"""Events that are recorded before they are handed over (more when one step could have more)."""


class Engine:
    """A clocked graph compiled for the step machine.

    A step costs the scan of every neuron plus work in proportion to the spikes and their synapses. Memory is the network's
    (about five bytes per synapse), plus what is asked for. Raises UnsupportedError for graphs that are not clocked or have
    operations that the engine lacks.
    """

    def __init__(self, graph: Graph, *, probes: Sequence[str] = ()) -> None:
        self.graph = graph
        self.program = compile_program(graph, tuple(probes))

    def describe(self) -> str:
        """What runs, in half a sentence."""
        return f"{self.program.synapses:,} synapses, event by event, in {self.program.bytes / 1e6:,.1f} MB"

    def run(
        self,
        inputs: Mapping[str, np.ndarray] | np.ndarray,
        *,
        threads: int = 1,
        events: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs (and probes) as int64[N, T, *shape], equal to the reference interpreter's.

        With ``events``, outputs that are bits [n] come as int64[E, 3] instead: (sample, step, index) of every 1, in this
        order. ``progress(done, total)`` counts samples. Samples are shared among threads unless one's learning is the next
        one's start. Raises InputError on arrays that do not fit the graph.
        """
        arrays = check(self.graph, inputs)
        count, steps = next(iter(arrays.values())).shape[:2]
        answer = _Answer(self.program, count, steps, events)
        workers = 1 if self.program.persistent else max(1, min(threads, count))
        spans = [(k * count // workers, (k + 1) * count // workers) for k in range(workers)]
        machines = [_Machine(self.program) for _ in spans]

        def work(k: int) -> Iterator[int]:
            yield from machines[k].run(arrays, *spans[k], steps, answer)

        if workers == 1:
            for done in work(0):
                if progress:
                    progress(done, count)
        else:
            with ThreadPoolExecutor(workers) as pool:
                finished = 0
                for span, _ in zip(spans, pool.map(lambda k: list(work(k)), range(workers)), strict=True):
                    finished += span[1] - span[0]
                    if progress:
                        progress(finished, count)
        return answer.result()


class _Answer:
    """Where recorded steps go; machines write to disjoint samples."""

    def __init__(self, program: Program, count: int, steps: int, events: bool) -> None:
        self.program, self.count, self.steps, self.events = program, count, steps, events
        self.arrays = {
            s.name: np.zeros((count * steps, s.size), np.int64) for s in program.shown if not (events and s.events)
        }
        self.found: dict[str, list[np.ndarray]] = {s.name: [] for s in program.shown if events and s.events}

    def add(self, first: int, dense: np.ndarray, events: np.ndarray) -> None:
        """Take the integers and events of the positions from ``first`` on."""
        for s in self.program.shown:
            if not s.events:
                self.arrays[s.name][first : first + len(dense)] = dense[:, s.column : s.column + s.size]
                continue
            mine = events if self._one_output else events[events[:, 1] == s.column]
            if self.events:
                position = mine[:, 0].astype(np.int64) + first
                self.found[s.name].append(np.stack([position // self.steps, position % self.steps, mine[:, 2]], axis=1))
            else:
                self.arrays[s.name][first + mine[:, 0], mine[:, 2]] = 1

    @property
    def _one_output(self) -> bool:
        return sum(s.events for s in self.program.shown) == 1

    def result(self) -> dict[str, np.ndarray]:
        """All outputs by name."""
        out = {}
        for s in self.program.shown:
            if s.name in self.arrays:
                out[s.name] = self.arrays[s.name].reshape(self.count, self.steps, *s.shape)
            else:
                lists = [np.zeros((0, 3), np.int64), *self.found[s.name]]
                rows = np.concatenate(lists)
                out[s.name] = rows[np.argsort(rows[:, 0], kind="stable")]
        return out


class _Machine:
    """One thread's memories."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.values = tuple(a.copy() for a in program.values)
        self.weights = tuple(a.copy() for a in program.weights)
        self.events, self.counts = program.events.copy(), program.counts.copy()
        self.scratch = np.zeros((SCRATCH, BLOCK), np.int64)
        self.now = 0

    def run(
        self, arrays: Mapping[str, np.ndarray], first: int, last: int, steps: int, answer: _Answer
    ) -> Iterator[int]:
        """Run samples first..last-1; yields the number of finished samples after every part."""
        p = self.program
        row = 8 * (p.feed_words + p.feed_longs + p.columns)
        span = max(1, CHUNK_BYTES // max(row, 1))
        found = np.empty((max(EVENTS, 2 * p.room) if p.room > 1 else 1, 3), np.int32)
        position, stop = first * steps, last * steps
        while position < stop:
            until = min(position + span, stop)
            feed = self._feed(arrays, position, until, steps)
            dense = np.empty((until - position, p.columns), np.int64)
            begin = position
            while position < until:
                at = position - begin
                after, count = run_steps(
                    p.code,
                    p.resets,
                    self.now,
                    position,
                    until,
                    steps,
                    p.room,
                    self.values,
                    self.values[0].view(np.uint64),
                    self.weights,
                    p.indices,
                    p.rings,
                    self.counts,
                    self.events,
                    tuple(f[at:] for f in feed),
                    (dense[at:], found),
                    self.scratch,
                )
                answer.add(position, dense[at : at + after - position], found[:count])
                self.now += after - position
                position = after
            yield position // steps - first

    def _feed(
        self, arrays: Mapping[str, np.ndarray], first: int, last: int, steps: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Input rows of the positions: bits as bytes in 8-byte words, other integers as int64."""
        p, count = self.program, last - first
        bits = np.zeros((count, 8 * p.feed_words), np.uint8)
        numbers = np.empty((count, p.feed_longs), np.int64)
        for f in p.feeds:
            given = _positions(f, arrays[f.name], first, last)
            if f.is_bits:
                bits[:, 8 * f.column : 8 * f.column + f.size] = given
            else:
                numbers[:, f.column : f.column + f.size] = given
        return bits.view(np.uint64).reshape(count, p.feed_words), numbers


def _positions(feed: Feed, array: np.ndarray, first: int, last: int) -> np.ndarray:
    """Rows first..last-1 of [N * T, size], without copying more than these."""
    steps = array.shape[1]
    samples = array[first // steps : -(-last // steps)]
    begin = first - first // steps * steps
    if samples.shape[0] == 1:
        return samples[0, begin : begin + last - first].reshape(last - first, feed.size)
    return samples.reshape(-1, feed.size)[begin : begin + last - first]
