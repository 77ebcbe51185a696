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


GRID = (80, 100)
"""Rows and columns of the gates of one layer of (b): 8,000 in all."""


def _near(at: np.ndarray, size: tuple[int, int], reach: int, wires: int, generator: np.random.Generator) -> np.ndarray:
    """Places on a grid of ``size`` at most ``reach`` rows and columns away from ``at`` [2, n], int64 [n, 2, wires]."""
    away = generator.integers(-reach, reach + 1, (2, at.shape[1], 2, wires))
    row, column = (np.clip(a[:, None, None] + d, 0, s - 1) for a, d, s in zip(at, away, size, strict=True))
    return row * size[1] + column


def gates48k(seed: int) -> LogicNetwork:
    """Six layers of 8,000 two-input gates with short wires; only the first layer's wiring is learned.

    A layer lies on a grid over the image: its gates read pixels (up to 6 away) or gates (up to 7 places away) around their
    own place, so that a chip can be routed. The classes take turns over the last layer's grid, so all see the whole image.
    """
    generator = np.random.default_rng(seed)
    options: dict[str, Any] = {"generator": generator, "copy_strength": 1.0}
    gates = GRID[0] * GRID[1]
    at = np.stack(np.divmod(np.arange(gates), GRID[1]))
    pixels = _near(at * 28 // np.reshape(GRID, (2, 1)), (28, 28), 6, 8, generator)
    first = pixels * 3 + generator.integers(0, 3, pixels.shape)
    by_class = np.argsort((at[1] + 3 * at[0]) % 10, kind="stable")
    layers = [_near(place, GRID, 7, 1, generator) for place in (at, at, at, at, at[:, by_class])]
    return LogicNetwork(
        _levels(64, 128, 192),
        Lut(PIXELS * 3, gates, 2, wires=first.astype(np.int32), **options),
        *(Lut(gates, gates, 2, wires=wires.astype(np.int32), **options) for wires in layers),
        GroupSum(gates, 10, tau=10.0),
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
