"""The network infers the Lorenz system's firing rates in fixed point nearly as well as in float32."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.lorenz_lfads import data
from examples.lorenz_lfads.compiled import compiled, rates


@pytest.fixture(scope="module")
def model() -> nl.Model:
    return compiled(data.make()[0])


def test_the_lorenz_system_by_hand() -> None:
    """One Euler step's worth: at (1, 1, 1) the slope is (0, 26, -5/3); the trajectory starts that way."""
    path = data.lorenz(np.array([1.0, 1.0, 1.0]), 2)
    np.testing.assert_allclose((path[1] - path[0]) / data.DT, [0, 26, -5 / 3], atol=0.9)


def test_rates_are_inferred(model: nl.Model) -> None:
    _, test = data.make()
    found = rates(model, test.counts[::20])
    assert data.r_squared(test.rates[::20], found) > 0.96


def test_both_engines_give_the_same_integers(model: nl.Model) -> None:
    _, test = data.make()
    fast = model.simulate(test.counts[:2])
    assert (fast == model.simulate(test.counts[:2], engine="reference")).all()
    assert fast.shape == (2, data.STEPS, data.NEURONS)
