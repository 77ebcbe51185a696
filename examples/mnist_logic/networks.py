"""The three MNIST networks: how each is built and how long it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.training.convolution import Pool, TreeConvolution
from examples.training.layers import GroupSum, Lut, Thermometer
from examples.training.loop import Schedule
from examples.training.network import LogicNetwork

PIXELS = 28 * 28
RATES: dict[str, Any] = {"rate": 0.1, "wiring_rate": 0.02, "hard_from": 0.0}


@dataclass(frozen=True)
class Recipe:
    """``build`` makes the untrained network from a seed; ``shifted`` is the share of training images moved."""

    about: str
    build: Callable[[int], LogicNetwork]
    schedule: Schedule
    shifted: float


def _levels(*thresholds: int) -> Thermometer:
    return Thermometer(np.tile(thresholds, (PIXELS, 1)), learned=False)


def small(seed: int) -> LogicNetwork:
    """1,600 and 600 tables of four inputs behind the top bit of each pixel, which costs no logic at all."""
    options: dict[str, Any] = {"generator": np.random.default_rng(seed), "copy_strength": 1.0}
    return LogicNetwork(
        _levels(128),
        Lut(PIXELS, 1600, 4, candidates=16, **options),
        Lut(1600, 600, 4, candidates=8, **options),
        GroupSum(600, 10, tau=3.0),
    )


def gates48k(seed: int) -> LogicNetwork:
    """Six layers of 8,000 two-input gates; only the first layer's wiring is learned."""
    options: dict[str, Any] = {"generator": np.random.default_rng(seed), "copy_strength": 1.0}
    first = Lut(PIXELS * 3, 8000, 2, candidates=8, **options)
    return LogicNetwork(
        _levels(64, 128, 192),
        first,
        *(Lut(8000, 8000, 2, **options) for _ in range(5)),
        GroupSum(8000, 10, tau=10.0),
    )


def conv(seed: int) -> LogicNetwork:
    """Two convolutions of logic trees (16 leaves' inputs each), OR pooling, two layers of tables."""
    options: dict[str, Any] = {"generator": np.random.default_rng(seed), "copy_strength": 1.0}
    first = TreeConvolution((28, 28, 3), 32, 5, stride=2, candidates=4, **options)
    second = TreeConvolution(first.output_shape, 64, 3, candidates=4, **options)
    pool = Pool(second.output_shape)
    return LogicNetwork(
        _levels(64, 128, 192),
        first,
        second,
        pool,
        Lut(pool.outputs, 3000, 4, candidates=8, **options),
        Lut(3000, 1500, 4, candidates=4, **options),
        GroupSum(1500, 10, tau=6.0),
    )


RECIPES = {
    "small": Recipe("(a) small enough for an iCE40", small, Schedule(epochs=60, **RATES), 0.25),
    "gates48k": Recipe("(b) 48,000 two-input gates", gates48k, Schedule(epochs=40, **RATES), 0.5),
    "conv": Recipe("(c) convolutional", conv, Schedule(epochs=25, **RATES), 0.5),
}
