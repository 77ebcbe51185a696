"""A spiking network that runs on from call to call: for closed loops, where the next input depends on the last output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.sim.inputs import check

from .engine import _Answer, _Machine
from .machine import run_steps
from .program import compile_program

ENDLESS = 1 << 62
"""Steps of a sample that never ends."""


class Session:
    """One sample of a clocked graph, given in pieces: ``run`` after ``run`` gives what one call with all steps would give.

    ``step`` is the number of the next step within the sample; ``new_sample()`` starts another one, which resets the
    states of lifetime sample and keeps the persistent ones (learnt weights). Raises UnsupportedError like
    :class:`~neuroloom.sim.spiking.engine.Engine`.
    """

    def __init__(self, graph: Graph, *, probes: Sequence[str] = ()) -> None:
        self.graph = graph
        self.program = compile_program(graph, tuple(probes))
        self._machine = _Machine(self.program)
        self.step = 0

    def new_sample(self) -> None:
        """The next step is step 0 of another sample."""
        self.step = 0

    def state(self, name: str) -> np.ndarray:
        """A persistent state as it is now, int64, for example the learnt ``PROJECTION.weights`` or ``POPULATION.a``.

        Raises InputError when the graph has no persistent state of this name (spike histories are not shown).
        """
        place = self.program.places.get(name)
        if place is None:
            known = ", ".join(self.program.places) or "(none)"
            raise InputError(f"state must be a persistent one, {known}, not {name!r}")
        size = int(np.prod(place.shape, dtype=np.int64))
        memory = self._machine.weights if place.weights else self._machine.values
        out = memory[place.kind][place.at : place.at + size].astype(np.int64)
        if place.order is not None:
            kept = out.copy()
            out[place.order] = kept
        return out.reshape(place.shape)

    def run(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Outputs and probes by name, int64 [T, ...], of the next T steps with ``inputs`` [T, ...].

        Raises InputError on arrays that do not fit the graph.
        """
        if isinstance(inputs, Mapping):
            arrays = check(self.graph, {name: np.asarray(given)[None] for name, given in inputs.items()})
        else:
            arrays = check(self.graph, np.asarray(inputs)[None])
        count = next(iter(arrays.values())).shape[1]
        p, m = self.program, self._machine
        answer = _Answer(p, 1, count, events=False)
        feed = m._feed(arrays, 0, count, count)
        dense = np.empty((count, p.columns), np.int64)
        found = np.empty((max(4096, p.room), 3), np.int32)
        done = 0
        while done < count:
            after, events = run_steps(
                p.code,
                p.resets,
                m.now,
                self.step,
                self.step + count - done,
                ENDLESS,
                p.room,
                m.values,
                m.values[0].view(np.uint64),
                m.weights,
                p.indices,
                p.rings,
                m.counts,
                m.events,
                tuple(f[done:] for f in feed),
                (dense[done:], found),
                m.scratch,
            )
            went = after - self.step
            answer.add(done, dense[done : done + went], found[:events])
            m.now += went
            self.step, done = after, done + went
        return {name: array[0] for name, array in answer.result().items()}

    def samples(self, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
        """Outputs and probes, int64 [N, T, ...], of whole samples one after another with ``inputs`` [N, T, ...].

        Persistent states go on from where they stand and into what is run next, a new sample. Raises InputError on arrays
        that do not fit the graph.
        """
        arrays = check(self.graph, inputs)
        count, steps = next(iter(arrays.values())).shape[:2]
        answer = _Answer(self.program, count, steps, events=False)
        for _ in self._machine.run(arrays, 0, count, steps, answer):
            pass
        self.step = 0
        return answer.result()
