"""The decoder keeps its state between calls and follows the Lorenz system in fixed point as in float32."""

from __future__ import annotations

import numpy as np
import pytest

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
