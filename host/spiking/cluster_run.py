"""One sample on several cores: they step together, and each has its own inputs, events and memories."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from neuroloom.compiler.errors import DeviceError
from neuroloom.compiler.spiking.cluster import ClusterProgram, inputs_of, outputs_of
from neuroloom.compiler.spiking.image import input_spikes, write_raster

from .pool import write_words
from .protocol import (
    ALL,
    SATURATIONS,
    STATUS_BYTES,
    Call,
    Control,
    Go,
    Space,
    Status,
    control,
    drain,
    events_of,
    go,
    inject,
    read,
    status,
    to_core,
)
from .sample import DRAIN_LEAST, MASK, RUN_STEPS, Recording, SampleRun

if TYPE_CHECKING:
    from .cluster import ClusterDevice

CONTROL_BYTES = 4
"""Read behind a step: the answer comes when the core is idle."""


@dataclass
class _Segment:
    """Steps start..stop-1 that the cores do in one go, and what is written before (for all cores, in envelopes)."""

    start: int
    stop: int
    setup: list[Call]
    flags: int


class ClusterRun:
    """Runs samples on several cores, as :class:`~.sample.SampleRun` does on one."""

    def __init__(
        self, session: ClusterDevice, program: ClusterProgram, *, raster: bool | None, trace: bool = False
    ) -> None:
        self.session, self.program, self.trace = session, program, trace
        fed = [place for part in program.parts if (place := _maps(part)["raster"])]
        self.raster = bool(fed) and all(place["capacity"] for place in fed) if raster is None else raster
        self.longest = min([RUN_STEPS, *(place["capacity"] for place in fed)]) if self.raster else RUN_STEPS
        self.runs = [
            SampleRun(member, part, raster=self.raster)
            for member, part in zip(session.members, program.parts, strict=True)
        ]
        self.limit = session.members[0].limit
        self.each_step = trace or any(run.reads for run in self.runs)
        self.marks: list[int] = []

    @property
    def now(self) -> Status:
        """The registers as they were seen last: of the core that decides, or the first one."""
        decision = self.program.maps["decision"]
        return self.runs[decision["core"] if decision else 0].now

    # ------------------------------------------------------------------ a sample

    def run(self, arrays: Mapping[str, np.ndarray]) -> Recording:
        """Run one sample of int64 arrays [steps, ...] by input name."""
        self.start()
        return self.proceed(arrays)

    def start(self) -> None:
        """Begin a sample; its steps come with :meth:`proceed`."""
        for run in self.runs:
            run.start()
        self.marks = []

    def proceed(self, arrays: Mapping[str, np.ndarray]) -> Recording:
        """Run the next steps of the sample that :meth:`start` began; cycles and stalls are those of these steps."""
        steps = len(next(iter(arrays.values())))
        self.marks = []
        for run in self.runs:
            run.base, run.before = run.now.step, run.now
            run.events, run.seen = [], []
        group: list[_Segment] = []
        for segment in self._segments(arrays, steps):
            if segment.stop - segment.start > 1 or not self._room(1):
                self._flush(group)
                self._go(segment)
                continue
            if not self._room(len(group) + 1):
                self._flush(group)
            group.append(segment)
        self._flush(group)
        return self._recording(arrays, steps)

    def decide(self, arrays: Mapping[str, np.ndarray]) -> Status:
        """Run one sample until a core is sure, or to its end; returns the status that core was left in."""
        self.start()
        for segment in self._segments(arrays, len(next(iter(arrays.values())))):
            segment.flags |= Go.STOP
            self._go(segment)
            if self.now.stopped:
                break
        return self.now

    def _room(self, steps: int) -> bool:
        """Whether the events of so many steps have room on every core."""
        return all(steps * run.watched <= run.config.event_depth for run in self.runs)

    def _segments(self, arrays: Mapping[str, np.ndarray], steps: int) -> Iterator[_Segment]:
        """Cut the steps where something must be written or read in between."""
        maps = self.program.maps
        own = [inputs_of(self.program, k, arrays) for k in range(len(self.runs))]
        new = np.zeros(steps, bool)
        new[0] = True
        for name in [*maps["drives"], *([maps["reward"]] if maps["reward"] else [])]:
            flat = arrays[name].reshape(steps, -1)
            new[1:] |= (flat[1:] != flat[:-1]).any(1)
        fed = any(_maps(part)["inputs"] for part in self.program.parts)
        longest = 1 if self.each_step or (fed and not self.raster) else self.longest
        start = 0
        while start < steps:
            later = np.flatnonzero(new[start + 1 : start + longest])
            stop = min(start + 1 + int(later[0]) if len(later) else start + longest, steps)
            setup = [
                c for k in range(len(self.runs)) for c in to_core(k, self._setup(k, own[k], start, stop, new[start]))
            ]
            yield _Segment(start, stop, setup, Go.CONTINUE | (Go.RASTER if fed and self.raster else 0))
            start = stop

    def _setup(self, core: int, arrays: Mapping[str, np.ndarray], start: int, stop: int, new: bool) -> list[Call]:
        """What a core is written before the steps."""
        run = self.runs[core]
        calls = run._held(arrays, start) if new else []
        spikes = {name: arrays[name] for name in run.maps["inputs"]}
        if not spikes:
            return calls
        if self.raster:
            first, words = write_raster(run.program, {n: a[start:stop] for n, a in spikes.items()})
            return calls + write_words(run.config, first, words, self.limit) + [control(Control.POSITION, 0)]
        return calls + inject(np.flatnonzero(input_spikes(run.program, spikes, start)) + run.config.neurons)

    # ------------------------------------------------------------------ on the line

    def _behind(self) -> list[Call]:
        """Calls behind a step: what is recorded on every core, and the cycles."""
        calls = [c for k, run in enumerate(self.runs) for c in to_core(k, run._behind())]
        if self.trace:  # a read waits until the core is idle
            calls += to_core(0, [*read(Space.CONTROL, 0, CONTROL_BYTES, self.limit), status()])
        return calls

    def _take(self, data: bytes) -> None:
        """The answer to :meth:`_behind`."""
        for run in self.runs:
            size = sum(call.answer for call in run._behind())
            run._take(data[:size])
            data = data[size:]
        if self.trace:
            self.marks.append(Status.from_bytes(data[CONTROL_BYTES:]).cycles)

    def _flush(self, group: list[_Segment]) -> None:
        """Single steps whose events all have room: one exchange with the host, one for the events."""
        if not group:
            return
        behind = self._behind()
        size = sum(call.answer for call in behind)
        calls = []
        for segment in group:
            calls += [*segment.setup, *to_core(ALL, [go(1, segment.flags)]), *behind]
        for k in range(len(self.runs)):
            calls += to_core(k, [*read(Space.CONTROL, 0, CONTROL_BYTES, self.limit), status()])
        data = self.session.call(calls)
        for n in range(len(group)):
            if size:
                self._take(data[n * size : (n + 1) * size])
        tail, each = data[len(group) * size :], CONTROL_BYTES + STATUS_BYTES
        for k, run in enumerate(self.runs):
            run.now = Status.from_bytes(tail[k * each + CONTROL_BYTES : (k + 1) * each])
            if run.now.events:
                run._events(run.session.call(drain(run.now.events, self.limit)), group[0].start)
            run.expect(group[-1].stop)
        group.clear()

    def _go(self, segment: _Segment) -> None:
        """A run of the cores that may fill FIFOs: look and drain, one core after the other, until all are idle."""
        self.session.call([*segment.setup, *to_core(ALL, [go(segment.stop - segment.start, segment.flags)])])
        timeout, clock = self.session.device.timeout, time.monotonic
        moved, last = clock(), [(-1, -1, -1)] * len(self.runs)
        wait = [DRAIN_LEAST] * len(self.runs)
        busy = True
        while busy:
            busy = False
            for k, run in enumerate(self.runs):
                data = run.session.call([*drain(wait[k], self.limit), status()])
                run._events(data[:-STATUS_BYTES], segment.start)
                run.now = now = Status.from_bytes(data[-STATUS_BYTES:])
                busy |= now.running or now.events > 0
                state = (now.step, now.cycles, now.stalls)
                if len(events_of(data[:-STATUS_BYTES])) or state != last[k]:
                    moved, last[k] = clock(), state
                wait[k] = max(now.events + (now.events >> 1) * now.running, DRAIN_LEAST * now.running, 1)
            if clock() - moved > timeout:
                raise DeviceError(
                    f"the cores on {self.session.device.name} stopped in step {self.now.step}; load the network again, and if it"
                    " repeats rebuild the bitstream"
                )
        if self.each_step:
            self._take(self.session.call(self._behind()))
        for run in self.runs:
            run.expect(segment.stop)

    # ------------------------------------------------------------------ what it means

    def _recording(self, arrays: Mapping[str, np.ndarray], steps: int) -> Recording:
        parts = [run.recording(inputs_of(self.program, k, arrays), steps).outputs for k, run in enumerate(self.runs)]
        first = self.runs[0]
        saturated = int(np.bitwise_or.reduce([run.now.saturated for run in self.runs]))
        return Recording(
            outputs=outputs_of(self.program, parts, arrays),
            cycles=first.now.cycles - first.before.cycles & MASK,
            stalls=first.now.stalls - first.before.stalls & MASK,
            saturated=tuple(text for n, text in enumerate(SATURATIONS) if saturated >> n & 1),
            step_cycles=[b - a & MASK for a, b in pairwise([first.before.cycles, *self.marks])],
        )


def _maps(part: Any) -> Mapping[str, Any]:
    """A program's maps."""
    return part.maps
