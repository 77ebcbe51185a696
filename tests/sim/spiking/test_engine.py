"""The event-driven engine against the reference interpreter: every output, state and weight of random graphs."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.sim.reference import run
from neuroloom.sim.spiking import Engine


def same(want: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
    assert want.keys() == got.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        assert got[name].dtype == want[name].dtype


@pytest.mark.parametrize("seed", range(120))
def test_random_graphs(spiking_graph, samples, seed: int) -> None:
    graph = spiking_graph(seed)
    inputs = samples(graph, seed)
    rng = np.random.default_rng(seed)
    names = [v for v in graph.values() if v not in {o.name for o in graph.outputs}]
    probes = sorted(rng.choice(names, rng.integers(0, len(names)), replace=False)) if seed % 2 else ()
    same(run(graph, inputs, probes=probes), Engine(graph, probes=probes).run(inputs))
