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


@pytest.mark.parametrize("seed", range(8))
def test_samples_go_on_from_what_was_learnt(spiking_graph: Callable, samples: Callable, seed: int) -> None:
    graph = spiking_graph(seed)
    inputs = samples(graph, seed, count=5, steps=7)
    want = Engine(graph).run(inputs)
    session = Session(graph)
    parts = [session.samples({k: v[a:b] for k, v in inputs.items()}) for a, b in [(0, 2), (2, 4)]]
    last = session.run({k: v[4] for k, v in inputs.items()})
    for name, value in want.items():
        whole = np.concatenate([*(p[name] for p in parts), last[name][None]])
        np.testing.assert_array_equal(whole, value, err_msg=name)


@pytest.mark.parametrize("seed", range(8))
def test_persistent_states_can_be_read(spiking_graph: Callable, samples: Callable, seed: int) -> None:
    """What ``state`` gives between two pieces is what a probe of it shows in the first step of the second."""
    graph = spiking_graph(seed)
    inputs = samples(graph, seed, count=1, steps=24)
    session, probing = Session(graph), Session(graph, probes=[n.name for n in graph.states])
    for at in range(0, 24, 6):
        seen = probing.run({k: v[0, at : at + 6] for k, v in inputs.items()})
        for name, place in session.program.places.items():
            value = session.state(name)
            assert value.shape == place.shape
            np.testing.assert_array_equal(value, seen[name][0], err_msg=name)
        session.run({k: v[0, at : at + 6] for k, v in inputs.items()})


def test_other_states_are_refused(spiking_graph: Callable) -> None:
    with pytest.raises(InputError, match="state must be a persistent one"):
        Session(spiking_graph(0)).state("nowhere")


def test_wrong_shapes_are_refused(spiking_graph: Callable) -> None:
    graph = spiking_graph(0)
    with pytest.raises(InputError, match="must"):
        Session(graph).run({i.name: np.zeros((4, 999), np.int64) for i in graph.inputs})
