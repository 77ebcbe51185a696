"""One sample on a core: cut into runs of the core, events drained while they go on, and read as the graph's outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from neuroloom.compiler.errors import DeviceError
from neuroloom.compiler.spiking import layout
from neuroloom.compiler.spiking.core import CoreProgram
from neuroloom.compiler.spiking.image import input_spikes, read_synapses, reset_eligibility, sample_reset, write_raster

from .pool import GAP, fill, read_words, spans, words_of, write_words
from .protocol import (
    EVENT_BYTES,
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
    zero,
)

if TYPE_CHECKING:
    from .session import SpikingDevice

RUN_STEPS = 1 << 14
"""Steps of one run at most: events carry 16 bits of the step."""
MASK = (1 << 32) - 1
"""The core counts cycles and steps in 32 bits."""
DRAIN_LEAST = 8
"""Events asked for with every look at a running core."""
FRESH = Status(False, False, False, False, 0, 0, 0, 0, 0, 0, 0)
"""The registers behind ``Z``."""
DECISIONS = ("winner", "done", "at", "now", "counts")


@dataclass
class Recording:
    """What a sample gave; ``saturated`` are of :data:`~neuroloom.host.spiking.protocol.SATURATIONS`."""

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    cycles: int = 0
    stalls: int = 0
    saturated: tuple[str, ...] = ()
    step_cycles: list[int] = field(default_factory=list)


@dataclass
class Segment:
    """Steps start..stop-1 that the core does in one go, and what is written before."""

    start: int
    stop: int
    setup: list[Call]
    flags: int


class SampleRun:
    """Runs samples of a loaded program; see :meth:`SpikingDevice.run`."""

    def __init__(
        self, session: SpikingDevice, program: CoreProgram, *, raster: bool | None, trace: bool = False
    ) -> None:
        self.session, self.program, self.config = session, program, program.config
        self.limit = session.limit
        self.maps: Mapping[str, Any] = program.maps
        place = self.maps["raster"]
        self.raster = bool(place and place["capacity"]) if raster is None else raster
        self.trace = trace
        self.reads = self._reads()
        self.each_step = trace or bool(self.reads)
        self.watched = sum(p["size"] for p in self.maps["populations"].values() if p["watch"])
        self.reset_calls = [
            call
            for first, words in sample_reset(program)
            for call in write_words(self.config, first, words, self.limit)
        ]
        self.eligible = self._eligible()
        self.now = self.before = FRESH
        self.base = 0
        self.counts: int | np.ndarray = 0
        self.events: list[np.ndarray] = []
        self.seen: list[np.ndarray] = []
        self.marks: list[int] = []
        self.usual = 0

    # ------------------------------------------------------------------ what is read behind every step

    def _reads(self) -> list[tuple[int, int]]:
        """Spans of the pool that recorded states, weights and eligibilities stand in."""
        words = []
        for kind, of in self.maps["outputs"].values():
            if kind in ("spikes", "decision"):
                continue
            if kind in ("weights", "eligibility"):
                place = self.maps["projections"][of]
                at = place["at" if kind == "weights" else "eligibility_at"]
                words.append(words_of(self.config, at, self.config.weight_bits if kind == "weights" else 8))
            else:
                words.append(words_of(self.config, self._state(kind, of), 32))
        return spans(np.concatenate(words), GAP) if words else []

    def _state(self, word: str, of: str) -> np.ndarray:
        place = self.maps["populations"].get(of) or self.maps["inputs"][of]
        return layout.state_at(self.config, place["base"], place["stride"], place["words"][word], place["size"])

    def _eligible(self) -> list[tuple[int, int]]:
        """Spans of the pool whose eligibilities are reset with a sample."""
        lasting = set(self.maps["persistent_states"])
        at = [
            words_of(self.config, place["eligibility_at"], 8)
            for place in self.maps["projections"].values()
            if len(place["eligibility_at"]) and place["eligibility"] not in lasting
        ]
        return spans(np.concatenate(at), GAP) if at else []

    # ------------------------------------------------------------------ a sample

    def run(self, arrays: Mapping[str, np.ndarray]) -> Recording:
        """Run one sample of int64 arrays [steps, ...] by input name."""
        return self._proceed(arrays, self.begin())

    def proceed(self, arrays: Mapping[str, np.ndarray]) -> Recording:
        """Run the next steps of the sample that :meth:`start` began; cycles and stalls are those of these steps."""
        return self._proceed(arrays, [])

    def _proceed(self, arrays: Mapping[str, np.ndarray], lead: list[Call]) -> Recording:
        steps = self._continue(arrays)
        group: list[Segment] = []
        for segment in self.segments(arrays, steps, lead):
            if not self.fits([segment]):
                self._flush(group)
                self._go(segment)
                continue
            if not self.fits([*group, segment]):
                self._flush(group)
            group.append(segment)
        self._flush(group)
        return self.recording(arrays, steps)

    def _continue(self, arrays: Mapping[str, np.ndarray]) -> int:
        """Forget what the last steps gave; how many come."""
        self.base, self.before = self.now.step, self.now
        self.events, self.seen, self.marks = [], [], []
        return len(next(iter(arrays.values())))

    def decide(self, arrays: Mapping[str, np.ndarray]) -> Status:
        """Run one sample until the core is sure, or to its end; returns the status it was left in."""
        steps = len(next(iter(arrays.values())))
        for segment in self.segments(arrays, steps, self.begin()):
            segment.flags |= Go.STOP
            self._go(segment)
            if self.now.stopped:
                break
        return self.now

    def start(self) -> None:
        """Begin a sample; its steps come with :meth:`proceed`."""
        self.session.call(self.begin())

    def begin(self) -> list[Call]:
        """What a new sample starts from: no history, initial states; weights stay as they are. To be sent before its steps."""
        self.now = self.before = FRESH
        self.base, self.counts = 0, 0
        self.events, self.seen, self.marks = [], [], []
        calls = [zero(), *self.reset_calls]
        if self.eligible:
            words = np.zeros((len(self.program.pool), self.config.lanes), np.uint32)
            data = self.session.call(c for span in self.eligible for c in read_words(self.config, span, self.limit))
            fill(words, self.eligible, data, self.config)
            words = reset_eligibility(self.program, words)
            for first, end in self.eligible:
                calls += write_words(self.config, first, words[first:end], self.limit)
        return calls

    def room(self, segments: list[Segment]) -> int:
        """Events that the segments can give at most."""
        return self.watched * sum(segment.stop - segment.start for segment in segments)

    def fits(self, segments: list[Segment]) -> bool:
        """Whether the host may wait for the end of the segments: all events have room, and all end before the link's watchdog."""
        if self.room(segments) > self.config.event_depth:
            return False
        steps = sum(segment.stop - segment.start for segment in segments)
        return steps == 1 or steps <= self.session.patience(self.program)

    def segments(
        self, arrays: Mapping[str, np.ndarray], steps: int, lead: list[Call], most: int = RUN_STEPS
    ) -> Iterator[Segment]:
        """Cut the steps where something must be written or read in between, and behind ``most``; ``lead`` is written before all."""
        spikes = {name: arrays[name] for name in self.maps["inputs"]}
        held = [*self.maps["drives"], *([self.maps["reward"]] if self.maps["reward"] else [])]
        new = np.zeros(steps, bool)
        new[0] = True
        for name in held:
            flat = arrays[name].reshape(steps, -1)
            new[1:] |= (flat[1:] != flat[:-1]).any(1)
        longest = 1 if self.each_step or (spikes and not self.raster) else most
        if spikes and self.raster:
            longest = min(longest, self.maps["raster"]["capacity"])
        start = 0
        while start < steps:
            later = np.flatnonzero(new[start + 1 : start + longest])
            stop = min(start + 1 + int(later[0]) if len(later) else start + longest, steps)
            setup = lead + (self._held(arrays, start) if new[start] else [])
            flags: int = Go.CONTINUE
            if spikes and self.raster:
                first, words = write_raster(self.program, {n: a[start:stop] for n, a in spikes.items()})
                setup += [*write_words(self.config, first, words, self.limit), control(Control.POSITION, 0)]
                flags |= Go.RASTER
            elif spikes:
                fired = np.flatnonzero(input_spikes(self.program, spikes, start)) + self.config.neurons
                setup += inject(fired)
            yield Segment(start, stop, setup, flags)
            start, lead = stop, []

    def _held(self, arrays: Mapping[str, np.ndarray], t: int) -> list[Call]:
        """Write the input currents and the reward of step ``t``."""
        calls = []
        for name, (population, word) in self.maps["drives"].items():
            at = self._state(word, population)
            rows = np.zeros((-(-len(at) // self.config.lanes), self.config.lanes), np.uint32)
            rows.reshape(-1)[: len(at)] = arrays[name][t].reshape(-1).astype(np.int64).astype(np.uint32)
            first = at[:: self.config.lanes] // self.config.word_bits
            for word_at, row in zip(first.tolist(), rows, strict=True):
                calls += write_words(self.config, word_at, row[None], self.limit)
        if self.maps["reward"]:
            calls.append(control(Control.REWARD, int(arrays[self.maps["reward"]][t])))
        return calls

    # ------------------------------------------------------------------ on the line

    def _behind(self) -> list[Call]:
        """Calls behind a step: what is recorded, and the status."""
        calls = [c for span in self.reads for c in read_words(self.config, span, self.limit)]
        if self.trace:
            calls += [*read(Space.CONTROL, 0, 4, self.limit), status()]  # a read waits until the core is idle
        return calls

    def _take(self, data: bytes) -> None:
        """The answer to :meth:`_behind`."""
        if self.trace:
            self.marks.append(Status.from_bytes(data[-STATUS_BYTES:]).cycles)
            data = data[: -STATUS_BYTES - 4]
        if self.reads:
            words = np.zeros((len(self.program.pool), self.config.lanes), np.uint32)
            fill(words, self.reads, data, self.config)
            self.seen.append(words)

    def exchange(self, group: list[Segment], ask: int) -> list[Call]:
        """Segments that fit, one behind another, then ``ask`` events and the status; :meth:`heard` takes the answer."""
        behind = self._behind()
        calls = []
        for segment in group:
            calls += [*segment.setup, go(segment.stop - segment.start, segment.flags), *behind]
        return [*calls, *read(Space.CONTROL, 0, 4, self.limit), *drain(ask, self.limit), status()]

    def heard(self, group: list[Segment], ask: int, data: bytes) -> None:
        """The answer to :meth:`exchange`. Events that it did not ask for wait on: ``now.events``."""
        size = sum(call.answer for call in self._behind())
        for n in range(len(group)):
            if size:
                self._take(data[n * size : (n + 1) * size])
        self.now = Status.from_bytes(data[-STATUS_BYTES:])
        self._events(data[len(data) - STATUS_BYTES - EVENT_BYTES * ask : -STATUS_BYTES], group[0].start)
        self.expect(group[-1].stop)

    def _flush(self, group: list[Segment]) -> None:
        """Segments that fit together: one exchange, and one for the events that are more than last time."""
        if not group:
            return
        ask = min(self.room(group), self.usual)
        self.heard(group, ask, self.session.call(self.exchange(group, ask)))
        self.drain(group[0].start)
        group.clear()

    def drain(self, start: int) -> None:
        """Take the events that wait in an idle core, of steps from ``start`` on."""
        if self.now.events:
            self._events(self.session.call(drain(self.now.events, self.limit)), start)
            self.now = replace(self.now, events=0)

    def _go(self, segment: Segment) -> None:
        """A run of the core that may fill the FIFO: look and drain until it is idle and all events are here."""
        session = self.session
        clock, timeout = (
            time.monotonic,
            session.device.timeout,
        )  # the line answers all the while: its own clock may stand
        moved, wait, last = clock(), DRAIN_LEAST, (-1, -1, -1)
        calls = [*segment.setup, go(segment.stop - segment.start, segment.flags)]
        while True:
            data = session.call([*calls, *drain(wait, self.limit), status()])
            calls = []
            found = len(events_of(data[:-STATUS_BYTES]))
            self._events(data[:-STATUS_BYTES], segment.start)
            self.now = now = Status.from_bytes(data[-STATUS_BYTES:])
            if not now.running and not now.events:
                break
            if found or (now.step, now.cycles, now.stalls) != last:
                moved, last = clock(), (now.step, now.cycles, now.stalls)
            elif clock() - moved > timeout:
                raise DeviceError(
                    f"the core on {session.device.name} stopped in step {now.step}; load the network again, and if it repeats"
                    " rebuild the bitstream"
                )
            wait = max(now.events + (now.events >> 1) * now.running, DRAIN_LEAST * now.running, 1)
        if self.reads or self.trace:
            self._take(session.call(self._behind()))
        self.expect(segment.stop)

    def _events(self, data: bytes, start: int) -> None:
        """Keep events; their steps are counted from ``start`` on, a step of what is under way."""
        found = events_of(data)
        self.usual = max(self.usual, len(found))
        if len(found):
            rows = found.astype(np.int64)
            rows[:, 0] = start + ((rows[:, 0] - self.base - start) & 0xFFFF)
            self.events.append(rows)

    def expect(self, stop: int) -> None:
        step = self.base + stop
        if self.now.step != step and not (self.now.stopped and self.now.step < step):
            raise DeviceError(
                f"the core on {self.session.device.name} must have done {step} steps, not {self.now.step}; load the network again"
            )

    # ------------------------------------------------------------------ what it means

    def recording(self, arrays: Mapping[str, np.ndarray], steps: int) -> Recording:
        events = np.concatenate(self.events) if self.events else np.zeros((0, 2), np.int64)
        fired = {
            name: self._fired(place, events, steps)
            for name, place in self.maps["populations"].items()
            if place["watch"]
        }
        decisions = self._decisions(fired, steps) if self.maps["decision"] else {}
        out = Recording(
            cycles=self.now.cycles - self.before.cycles & MASK,
            stalls=self.now.stalls - self.before.stalls & MASK,
            step_cycles=[b - a & MASK for a, b in pairwise([self.before.cycles, *self.marks])],
        )
        out.saturated = tuple(text for n, text in enumerate(SATURATIONS) if self.now.saturated >> n & 1)
        for name, (kind, of) in self.maps["outputs"].items():
            if kind == "spikes":
                out.outputs[name] = fired[of] if of in fired else arrays[of].astype(np.int64)
            elif kind == "decision":
                out.outputs[name] = decisions[of]
            elif kind in ("weights", "eligibility"):
                place = self.maps["projections"][of]
                out.outputs[name] = np.stack([read_synapses(self.config, place, w, kind) for w in self.seen])
            else:
                at = self._state(kind, of)
                out.outputs[name] = np.stack([layout.read_fields(w, at, self.config.state_bits) for w in self.seen])
        return out

    def _fired(self, place: Mapping[str, Any], events: np.ndarray, steps: int) -> np.ndarray:
        out = np.zeros((steps, place["size"]), np.int64)
        mine = events[(events[:, 1] >= place["first"]) & (events[:, 1] < place["first"] + place["size"])]
        if len(mine) and int(mine[:, 0].max()) >= steps:
            raise DeviceError(f"the core on {self.session.device.name} told of a spike after the last step; load again")
        out[mine[:, 0], mine[:, 1] - place["first"]] = 1
        return out

    def _decisions(self, fired: Mapping[str, np.ndarray], steps: int) -> dict[str, np.ndarray]:
        """The decision as it stood after every step: the leader until the core was sure, its verdict from then on."""
        counts = self.counts + fired[self.maps["decision"]["population"]].cumsum(0)
        self.counts = counts[-1]
        at = self.now.decided_at if self.now.decided else self.base + steps
        step = self.base + np.arange(steps)
        after = step >= at
        winner = np.where(step > at, self.now.winner, counts.argmax(1))
        return {
            "winner": winner,
            "done": after.astype(np.int64),
            "at": np.where(after, at, 0),
            "now": step + 1,
            "counts": counts,
        }
