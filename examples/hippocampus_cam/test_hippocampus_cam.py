"""The memory completes fragments, forgets by random firing, and learns the same on the board's core."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.hippocampus_cam import memory as ca3
from examples.on_core import on_core

PATTERNS = 8


@pytest.fixture(scope="module")
def written() -> tuple[np.ndarray, np.ndarray]:
    """Patterns, and the weights after writing them."""
    patterns, rng, memory = ca3.make_patterns(PATTERNS, 0), np.random.default_rng(0), ca3.Memory()
    for pattern in patterns:
        x = ca3.writing(pattern, rng)
        np.testing.assert_array_equal(memory.see(x), x)  # while writing, only inputs make cells fire
    return patterns, memory.weights


def test_fragments_are_completed(written: tuple[np.ndarray, np.ndarray]) -> None:
    patterns, weights = written
    assert weights.min() == 0 and weights.max() == ca3.FULL and not weights.diagonal().any()
    for size in (4, 6, 12):
        assert ca3.recall(weights, patterns, size).quality > 0.95
    assert ca3.recall(weights, patterns, 1).quality == 0
    assert ca3.recall(weights, patterns, 6, wrong=2).quality > 0.9
    assert ca3.recall(np.zeros_like(weights), patterns, 12).quality == 0
    unknown = ca3.make_patterns(PATTERNS, 99)
    assert ca3.recall(weights, unknown, 6).quality < 0.2


def test_random_firing_makes_it_forget() -> None:
    patterns, rng, memory = ca3.make_patterns(4, 1), np.random.default_rng(1), ca3.Memory()
    for pattern in patterns:
        memory.see(ca3.writing(pattern, rng))
    before = ca3.recall(memory.weights, patterns, 6).quality
    memory.see(ca3.noise(3000, 0.02, rng))
    assert before > 0.95 and ca3.recall(memory.weights, patterns, 6).quality < 0.3


def test_core_learns_the_same(written: tuple[np.ndarray, np.ndarray]) -> None:
    patterns, weights = written
    rng = np.random.default_rng(2)
    part = np.concatenate([ca3.writing(patterns[0], rng, 3), ca3.noise(40, 0.02, rng)])
    found = on_core(nl.compile(ca3.network(weights)), {"mossy": part})
    assert found.profile == "reward"
    assert found.differences == 0
    assert found.spikes > 30 and found.changed_weights > 50


def test_core_recalls_the_same(written: tuple[np.ndarray, np.ndarray]) -> None:
    patterns, weights = written
    x = np.zeros((ca3.RECALL, ca3.CELLS), np.uint8)
    x[0, patterns[1][:5]] = 1
    found = on_core(nl.compile(ca3.network(weights, "recall")), {"mossy": x}, "icebreaker")
    assert found.profile == "infer"
    assert found.differences == 0 and found.spikes > 50
