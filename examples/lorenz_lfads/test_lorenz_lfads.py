"""The network infers the Lorenz system's firing rates in fixed point nearly as well as in float32."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.lorenz_lfads import data
from examples.lorenz_lfads.compiled import FILE, compiled, cycles, rates


@pytest.fixture(scope="module")
def trials() -> tuple[data.Trials, data.Trials]:
    return data.make()


@pytest.fixture(scope="module")
def model(trials: tuple[data.Trials, data.Trials]) -> nl.Model:
    return compiled(trials[0])


def test_the_lorenz_system_by_hand() -> None:
    """One Euler step's worth: at (1, 1, 1) the slope is (0, 26, -5/3); the trajectory starts that way."""
    path = data.lorenz(np.array([1.0, 1.0, 1.0]), 2)
    np.testing.assert_allclose((path[1] - path[0]) / data.DT, [0, 26, -5 / 3], atol=0.9)


def test_rates_are_inferred(model: nl.Model, trials: tuple[data.Trials, data.Trials]) -> None:
    _, test = trials
    found = rates(model, test.counts[::20])
    assert data.r_squared(test.rates[::20], found) > 0.96


def test_wide_weights_take_no_second_pass(model: nl.Model, trials: tuple[data.Trials, data.Trials]) -> None:
    """Weights of 16 bits that are added stand on one step, so W x + U h is one sum of the lanes, as with 8 bits."""
    few = trials[0].counts[::130]
    wide = {n: nl.compile(FILE, calibrate=few, config={"weight_bits": 16, "aligned_bits": n}) for n in (16, 48)}
    assert cycles(wide[16]) < 1.05 * cycles(model)
    assert cycles(wide[48]) > 1.4 * cycles(wide[16])


def test_both_engines_give_the_same_integers(model: nl.Model, trials: tuple[data.Trials, data.Trials]) -> None:
    _, test = trials
    fast = model.simulate(test.counts[:2])
    assert (fast == model.simulate(test.counts[:2], engine="reference")).all()
    assert fast.shape == (2, data.STEPS, data.NEURONS)
