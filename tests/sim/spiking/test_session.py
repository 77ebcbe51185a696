"""A sample given in pieces is the sample given at once, in every output and every state of learning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.sim.spiking import Engine
from neuroloom.sim.spiking.session import Session


@pytest.mark.parametrize("seed", range(8))
def test_pieces_equal_the_whole(spiking_graph: Callable, samples: Callable, seed: int) -> None:
    graph = spiking_graph(seed)
    probes = [n.name for n in graph.states]
    inputs = samples(graph, seed, count=2, steps=23)
    want = Engine(graph, probes=probes).run(inputs)
    session = Session(graph, probes=probes)
    for sample in range(2):
        session.new_sample()
        parts = [
            session.run({k: v[sample, a:b] for k, v in inputs.items()}) for a, b in [(0, 1), (1, 9), (9, 10), (10, 23)]
        ]
        assert session.step == 23
        for name, value in want.items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), value[sample], err_msg=name)


def test_wrong_shapes_are_refused(spiking_graph: Callable) -> None:
    graph = spiking_graph(0)
    with pytest.raises(InputError, match="must"):
        Session(graph).run({i.name: np.zeros((4, 999), np.int64) for i in graph.inputs})
