"""Own delays tell motifs apart that a network with equal delays cannot; the board's core gives the same spikes."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.delay_motifs import motifs as task
from examples.on_core import on_core

THRESHOLD, LEAK = 288, 0.85


def test_motifs_have_equal_spike_counts() -> None:
    motifs = task.make_motifs(0)
    assert motifs.shape == (task.MOTIFS, task.CHANNELS)
    clean = task.make_stream(motifs, 0, shown=20, jitter=0.0)
    assert set(clean.which) == set(range(task.MOTIFS))
    assert motifs.max() < task.SPAN


@pytest.mark.parametrize("seed", [0, 1])
def test_own_delays_find_the_motifs_and_equal_ones_do_not(seed: int) -> None:
    motifs = task.make_motifs(seed)
    stream = task.make_stream(motifs, 200 + seed, shown=40)
    assert task.detect(task.learn_delays(motifs, seed), stream, THRESHOLD, LEAK).f1 > 0.9
    equal = np.zeros((task.CHANNELS, task.MOTIFS), int)
    for threshold in range(128, 641, 64):
        assert task.detect(equal, stream, threshold, 0.95).f1 < 0.45


def test_score_counts_by_hand() -> None:
    stream = task.Stream(np.zeros((200, 1), np.uint8), np.array([0, 1]), np.array([50, 120]))
    spikes = np.zeros((200, 2), np.int64)
    spikes[50, 0] = spikes[52, 0] = 1  # the second one is too many
    spikes[129, 1] = 1  # one step too late
    found = task.score(spikes, stream)
    assert (found.shown, found.hits, found.wrong) == (2, 1, 2)


def test_core_gives_the_same_spikes() -> None:
    motifs = task.make_motifs(0)
    stream = task.make_stream(motifs, 200, shown=3)
    network = task.network(task.learn_delays(motifs, 0), THRESHOLD, LEAK)
    found = on_core(nl.compile(network), {"channels": stream.spikes}, "icebreaker")
    assert found.profile == "delay"
    assert found.differences == 0
    assert found.spikes >= 3
