"""The decoder keeps its state between calls and follows the Lorenz system in fixed point as in float32."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.verify.gated import predicted_cycles

import neuroloom as nl
from examples.lorenz_lfads import data
from examples.streaming_gru.compiled import compiled, decode
from examples.streaming_gru.score import r_squared

TRAINING, TEST = data.make()


@pytest.fixture(scope="module")
def model() -> nl.Model:
    return compiled(TRAINING)


def test_the_coordinates_are_followed(model: nl.Model) -> None:
    assert r_squared(TEST.path[::10], decode(model, TEST.counts[::10])) > 0.975


def test_state_lives_on_within_a_sample(model: nl.Model) -> None:
    assert model.graph.clocked and len(model.graph.states) == 1
    counts = TEST.counts[:2, :12]
    whole = model.simulate(counts)
    assert np.array_equal(whole, model.simulate(counts, engine="reference"))
    assert np.array_equal(whole[:, :5], model.simulate(counts[:, :5]))
    assert not np.array_equal(whole[:, 5:], model.simulate(counts[:, 5:])), "the past matters"


def test_a_delta_network_takes_fewer_cycles_and_follows_as_well(model: nl.Model) -> None:
    whole = model.simulate(TEST.counts[:20])
    free, still = (compiled(TRAINING, delta=threshold) for threshold in (0, 0.02))
    assert np.array_equal(free.simulate(TEST.counts[:20]), whole), "a threshold of 0 changes no bit"
    board = load_board("ulx3s_85f")
    cycles = [
        predicted_cycles(m.graph, choose_config(m.graph, board), {"counts": TEST.counts[:1]}).mean()
        for m in (model, free, still)
    ]
    assert cycles[1] < 0.9 * cycles[0] and cycles[2] < 0.95 * cycles[1]
    scores = [r_squared(TEST.path[::5], decode(m, TEST.counts[::5])) for m in (model, still)]
    assert scores[1] > scores[0] - 0.002
