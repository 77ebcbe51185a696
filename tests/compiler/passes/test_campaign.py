"""Random graphs before and after all passes, against the reference interpreter. ``make campaign`` runs the long version."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from neuroloom.compiler.passes.manager import Options


def options(rng, graph) -> Options:
    names = [v.name for n in graph.nodes for v in n.outputs]
    keep = tuple(names[int(i)] for i in rng.integers(0, len(names), int(rng.integers(0, 4))))
    return Options(lut_size=int(rng.integers(3, 7)), keep=keep, level=int(rng.random() < 0.85))


@pytest.mark.parametrize("seed", range(60))
def test_small_graphs(seed, random_graph, same_answers):
    rng = np.random.default_rng(seed)
    graph = random_graph(seed, int(rng.integers(1, 40)))
    same_answers(graph, options(rng, graph))


@pytest.mark.campaign
def test_long(random_graph, same_answers):
    start = int(os.environ.get("NEUROLOOM_SEED", time.time_ns() % 1_000_000_000))
    seconds = float(os.environ.get("NEUROLOOM_SECONDS", "300"))
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        seed = start + count
        rng = np.random.default_rng(seed)
        try:
            graph = random_graph(seed, int(rng.integers(1, 80)))
            same_answers(graph, options(rng, graph), samples=100, seed=seed)
        except Exception as e:
            raise AssertionError(f"seed {seed} (NEUROLOOM_SEED={seed} NEUROLOOM_SECONDS=1 repeats it)") from e
        count += 1
    print(f"{count} graphs from seed {start}")
