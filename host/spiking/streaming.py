"""Samples one behind another on the line, without a wait for the answers in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from .protocol import STATUS_BYTES, Call, Go, Status
from .sample import RUN_STEPS, Recording, SampleRun, Segment

Arrays = Mapping[str, np.ndarray]
Progress = Callable[[int, int], None]
T = TypeVar("T")

BATCHES = (1, 4, 16, 64)
"""Samples sent at once: few at first, as each batch learns from the ones before how many events to ask for."""
SURE_EVENTS = 256
"""Where all events that a sample could give are asked for, at most so many: 3.4 ms of 3 Mbaud."""


class Runner(Protocol):
    """What runs one sample."""

    def run(self, arrays: Arrays) -> Recording:
        """Run one sample of int64 arrays [steps, ...] by input name."""

    def decide(self, arrays: Arrays) -> Status:
        """Run one sample until the core is sure, or to its end."""


class OneByOne:
    """Runs samples of a loaded program, each when the one before has been heard of."""

    def __init__(self, runner: Runner) -> None:
        self._one = runner

    def run(self, samples: Sequence[Arrays], progress: Progress | None = None) -> list[Recording]:
        """The recordings of int64 arrays [steps, ...] by input name, one mapping per sample."""
        return self._all(samples, self._recorded, progress)

    def decide(self, samples: Sequence[Arrays], progress: Progress | None = None) -> list[Status]:
        """The status in which each sample left the core, when it was sure or at its end."""
        return self._all(samples, self._decided, progress)

    def _all(
        self, samples: Sequence[Arrays], batch: Callable[[Sequence[Arrays]], list[T]], progress: Progress | None
    ) -> list[T]:
        found: list[T] = []
        while len(found) < len(samples):
            steps = len(next(iter(samples[0].values())))
            found += batch(samples[len(found) :][: self._batch(len(found), steps)])
            if progress:
                progress(len(found), len(samples))
        return found

    def _batch(self, done: int, steps: int) -> int:
        """Samples of so many steps sent at once behind ``done`` ones."""
        return 1

    def _recorded(self, batch: Sequence[Arrays]) -> list[Recording]:
        return [self._one.run(arrays) for arrays in batch]

    def _decided(self, batch: Sequence[Arrays]) -> list[Status]:
        return [self._one.decide(arrays) for arrays in batch]


class Stream(OneByOne):
    """Runs samples of a loaded program, several on the line at once where nothing depends on an answer before.

    That is so when a sample starts from nothing that must be read first, its events have room in the core's FIFO, and the link's
    watchdog sleeps until the core is done. How many events it gives is not known when they are asked for: what is left in the
    FIFO is lost when the next sample begins, and the sample is then run again, alone. A network with states that outlast a
    sample cannot be run again; there, and where the events have room in pieces only, all are asked for that could come.
    """

    def __init__(self, runner: SampleRun) -> None:
        super().__init__(runner)
        self.runner = runner
        self.again = not runner.maps["persistent_states"]
        self.most = 0  # events of a sample so far

    def _batch(self, done: int, steps: int) -> int:
        # the host hears nothing while a frame full of samples runs: all of them together end before it would be worried
        most = self.runner.session.patience(self.runner.program) // steps
        return max(1, min(next((size for size in BATCHES if done < size), BATCHES[-1]), most))

    def _plan(self, arrays: Arrays) -> list[tuple[list[Segment], int]] | None:
        """A sample as exchanges, each its segments and the events asked for behind them, if it can be streamed."""
        runner, steps = self.runner, len(next(iter(arrays.values())))
        depth = runner.config.event_depth
        most = min(depth // max(runner.watched, 1), RUN_STEPS)
        whole = runner.watched * steps <= depth
        if runner.eligible or not most or not ((whole and self.again) or runner.watched * steps <= SURE_EVENTS):
            return None
        groups: list[list[Segment]] = [[]]
        for segment in runner.segments(arrays, steps, runner.begin(), RUN_STEPS if whole else most):
            if not runner.fits([segment]):
                return None
            if not runner.fits([*groups[-1], segment]):
                if whole:  # it takes too long; what one piece left in the FIFO would come with the next one's events
                    return None
                groups.append([])
            groups[-1].append(segment)
        likely = self.most + (self.most >> 2) if whole and self.again else runner.watched * steps
        return [(group, min(runner.room(group), likely)) for group in groups]

    def _recorded(self, batch: Sequence[Arrays]) -> list[Recording]:
        runner, plans = self.runner, []
        for arrays in batch:
            pieces = self._plan(arrays)
            if pieces is None:
                return super()._recorded(batch)
            plans.append([(group, ask, runner.exchange(group, ask)) for group, ask in pieces])
        data = runner.session.call(call for plan in plans for *_, calls in plan for call in calls)
        found: list[Recording | None] = []
        for number, (arrays, plan) in enumerate(zip(batch, plans, strict=True)):
            runner.begin()
            for group, ask, calls in plan:
                size = sum(call.answer for call in calls)
                runner.heard(group, ask, data[:size])
                data = data[size:]
            self.most = max(self.most, runner.now.events + sum(len(events) for events in runner.events))
            if runner.now.events and number == len(plans) - 1:  # nothing came behind it
                runner.drain(plan[-1][0][0].start)
            steps = len(next(iter(arrays.values())))
            found.append(None if runner.now.events else runner.recording(arrays, steps))
        return [runner.run(arrays) if one is None else one for one, arrays in zip(found, batch, strict=True)]

    def _decided(self, batch: Sequence[Arrays]) -> list[Status]:
        runner = self.runner
        plans: list[tuple[int, list[Call]]] = []
        for arrays in batch:
            plan = self._plan(arrays)
            if plan is None or len(plan) > 1 or len(plan[0][0]) > 1:  # a run behind one that stopped would go on
                return super()._decided(batch)
            group = plan[0][0]
            group[0].flags |= Go.STOP
            plans.append((group[0].stop, runner.exchange(group, 0)))
        data = runner.session.call(call for _, calls in plans for call in calls)
        found = []
        for steps, calls in plans:
            size = sum(call.answer for call in calls)
            runner.begin()
            runner.now = Status.from_bytes(data[size - STATUS_BYTES : size])
            runner.expect(steps)
            found.append(runner.now)
            data = data[size:]
        return found
