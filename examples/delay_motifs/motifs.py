"""Spatio-temporal motifs in noise, and detectors whose delays bring a motif's spikes together.

A motif is one spike time per channel (within ``SPAN`` steps); all motifs use the same channels with the same number of
spikes, so that only timing tells them apart. A stream holds motifs at random places, their spikes jittered and partly
missing, over background spikes on every channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import neuroloom as nl

CHANNELS, MOTIFS, SPAN = 32, 4, 40
GAP = 60
"""Steps from the end of a motif to the start of the next, at least; up to twice as many."""
NOISE = 0.03
"""Background spikes per channel and step: over a motif's length, 1.2 per channel beside the motif's one."""
MISSING = 0.2
"""Share of a motif's spikes that do not come."""
LEAKS = (0.75, 0.85, 0.95)
"""Leaks that tuning tries, for either network."""
LATE = 8
"""A detector may answer from a motif's first step on and until so many steps behind its last one."""


def make_motifs(seed: int) -> np.ndarray:
    """Spike times int64 [motifs, channels] in 0..39."""
    return np.random.default_rng([seed, 1]).integers(0, SPAN, (MOTIFS, CHANNELS))


@dataclass
class Stream:
    """Spikes uint8 [steps, channels]; per motif shown: which one, and the step of its end."""

    spikes: np.ndarray
    which: np.ndarray
    end: np.ndarray


def make_stream(motifs: np.ndarray, seed: int, *, shown: int = 100, jitter: float = 1.0) -> Stream:
    """A stream with ``shown`` motifs; ``jitter`` is the standard deviation of the spike times in steps."""
    rng = np.random.default_rng([seed, 2])
    which = rng.integers(0, MOTIFS, shown)
    starts = np.cumsum(SPAN + rng.integers(GAP, 2 * GAP, shown))
    steps = int(starts[-1]) + 2 * SPAN
    spikes = rng.random((steps, CHANNELS)) < NOISE
    for motif, start in zip(which, starts, strict=True):
        times = start + motifs[motif] + np.rint(jitter * rng.standard_normal(CHANNELS)).astype(int)
        here = rng.random(CHANNELS) >= MISSING
        spikes[times[here], np.flatnonzero(here)] = True
    return Stream(spikes.astype(np.uint8), which, starts + SPAN - 1)


def learn_delays(motifs: np.ndarray, seed: int, examples: int = 10, jitter: float = 1.0) -> np.ndarray:
    """Delays [channels, motifs] from ``examples`` jittered presentations each: the median time of each channel, made up to
    the end of the motif.

    What a supervisor would record; spikes that are missing do not count. Delays lie in 0..SPAN - 1.
    """
    rng = np.random.default_rng([seed, 3])
    times = motifs[:, None] + np.rint(jitter * rng.standard_normal((MOTIFS, examples, CHANNELS)))
    times[rng.random(times.shape) < MISSING] = np.nan
    return np.clip(SPAN - 1 - np.nanmedian(times, axis=1), 0, SPAN - 1).astype(int).T


def network(delays: np.ndarray, threshold: int, leak: float = 0.75) -> nl.Network:
    """32 channels, 4 detectors that keep ``leak`` per step, each channel to each detector with weight 16 and its own delay."""
    net = nl.Network("motifs")
    channels = net.input("channels", CHANNELS)
    cells = nl.Neuron(threshold=threshold, leak="multiplicative", beta=round(65536 * leak), refractory=10)
    detectors = net.population("detector", MOTIFS, cells, record=["spikes"])
    net.connect(channels, detectors, weights=np.full((CHANNELS, MOTIFS), 16), delay=delays, name="lines")
    return net


@dataclass(frozen=True)
class Score:
    """Detections of a stream: ``hits`` of ``shown`` motifs by their own detector in time; ``wrong``: all other detections."""

    shown: int
    hits: int
    wrong: int

    @property
    def recall(self) -> float:
        """Share of the motifs that were found."""
        return self.hits / self.shown

    @property
    def precision(self) -> float:
        """Share of the detections that were right."""
        return self.hits / max(self.hits + self.wrong, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return 2 * self.hits / (self.shown + self.hits + self.wrong)


def score(spikes: np.ndarray, stream: Stream) -> Score:
    """Judge detector spikes [steps, motifs]."""
    hits, right = 0, np.zeros(spikes.shape, bool)
    for motif, end in zip(stream.which, stream.end, strict=True):
        window = slice(end - SPAN + 1, end + LATE + 1)
        found = np.flatnonzero(spikes[window, motif])
        if len(found):
            hits += 1
            right[window.start + found[0], motif] = True
    return Score(len(stream.which), hits, int(spikes[~right].sum()))


def detect(delays: np.ndarray, stream: Stream, threshold: int, leak: float = 0.75) -> Score:
    """Run the network on a stream and judge it."""
    spikes = nl.compile(network(delays, threshold, leak)).simulate(stream.spikes[None])[0]
    return score(spikes, stream)


def tune(delays: np.ndarray, stream: Stream, leaks: tuple[float, ...] = LEAKS) -> tuple[int, float]:
    """Threshold and leak with the best F1 on ``stream``."""
    best = (-1.0, 0, 0.0)
    for leak in leaks:
        for threshold in range(64, 641, 32):
            best = max(best, (detect(delays, stream, threshold, leak).f1, threshold, leak))
    return best[1], best[2]
