"""Spike counts of a population driven by the Lorenz system, as in the LFADS papers (Sussillo et al. 2016, arXiv 1608.06315).

Every condition is one starting point on the attractor; its trials share the firing rates and differ in their Poisson spikes. Rates
are exponentials of random projections of the three coordinates: they are known, so what a network infers can be held to them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEURONS, STEPS = 70, 73
"""Channels and time bins of the LFADS build that the README compares with (arXiv 2402.04274)."""

CONDITIONS, TRIALS, TEST_TRIALS = 65, 20, 4
BASE_RATE = 0.05
"""Spikes per bin of a neuron whose projection is zero: 5 per second in bins of 10 ms."""

SIGMA, RHO, BETA, DT = 10.0, 28.0, 8.0 / 3.0, 0.006


class Trials(NamedTuple):
    """Spike counts uint8 [N, STEPS, NEURONS], the rates they were drawn from, float64, spikes per bin, and the Lorenz system's
    coordinates behind them, float64 [N, STEPS, 3], of mean 0 and deviation 1.
    """

    counts: np.ndarray
    rates: np.ndarray
    path: np.ndarray


def lorenz(start: np.ndarray, steps: int) -> np.ndarray:
    """Trajectories [..., steps, 3] from ``start`` [..., 3], Runge-Kutta of order 4 with a step of 0.006."""

    def slope(p: np.ndarray) -> np.ndarray:
        x, y, z = p[..., 0], p[..., 1], p[..., 2]
        return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=-1)

    points = [np.asarray(start, np.float64)]
    for _ in range(steps - 1):
        p = points[-1]
        a = slope(p)
        b = slope(p + DT / 2 * a)
        c = slope(p + DT / 2 * b)
        d = slope(p + DT * c)
        points.append(p + DT / 6 * (a + 2 * b + 2 * c + d))
    return np.stack(points, axis=-2)


def make(seed: int = 0) -> tuple[Trials, Trials]:
    """Trials for training and for the test: the last ``TEST_TRIALS`` of every condition are the test's."""
    rng = np.random.default_rng(seed)
    start = lorenz(rng.normal(0, 8, (CONDITIONS, 3)) + [0, 0, 25], 600)[
        :, -1
    ]  # long enough to have come to the attractor
    path = lorenz(start, STEPS)
    path = (path - path.mean((0, 1))) / path.std((0, 1))
    projection = rng.uniform(0.3, 1.0, (3, NEURONS)) * rng.choice([-1, 1], (3, NEURONS)) / np.sqrt(3)
    rates = BASE_RATE * np.exp(1.5 * path @ projection)
    repeated = np.repeat(rates[:, None], TRIALS, axis=1)
    counts = np.minimum(rng.poisson(repeated), 255).astype(np.uint8)
    arrays = counts, repeated, np.repeat(path[:, None], TRIALS, axis=1)
    cut = TRIALS - TEST_TRIALS
    training, test = (
        Trials(*(a[:, part].reshape(-1, *a.shape[2:]) for a in arrays)) for part in (slice(cut), slice(cut, None))
    )
    return training, test


def r_squared(rates: np.ndarray, found: np.ndarray) -> float:
    """Share of the variance of the true log rates that the found ones explain, over all trials, bins and neurons."""
    a, b = np.log(rates), np.log(np.maximum(found, 1e-6))
    return float(1 - ((a - b) ** 2).sum() / ((a - a.mean((0, 1))) ** 2).sum())
