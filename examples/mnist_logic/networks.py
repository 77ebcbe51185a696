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


TREE_GRIDS = ((150, 160), (100, 120), (60, 100), (50, 60), (40, 50), (25, 40))
"""Rows and columns of the gates of each layer of (b), each over the whole image: 48,000 in all."""


def _places(rows: int, columns: int) -> np.ndarray:
    """Where the gates of a grid lie on the image, in shares of its height and width: float64 [2, rows * columns]."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([(row + 0.5) / rows, (column + 0.5) / columns])


def _near_pixels(at: np.ndarray, reach: int, wires: int, generator: np.random.Generator) -> np.ndarray:
    """For both inputs of the gates at ``at`` [2, n], ``wires`` thermometer wires of pixels at most ``reach`` away: int32
    [n, 2, wires].
    """
    away = generator.integers(-reach, reach + 1, (2, at.shape[1], 2, wires))
    row, column = np.clip(np.floor(at * 28).astype(int)[:, :, None, None] + away, 0, 27)
    return ((row * 28 + column) * 3 + generator.integers(0, 3, row.shape)).astype(np.int32)


def _near_gates(
    sources: np.ndarray, rows: int, columns: int, reach: float, generator: np.random.Generator
) -> np.ndarray:
    """Fixed wires from ``sources`` [2, n] to a grid of two-input gates, each source used equally often: int32 [gates, 2, 1].

    Every use of a source is moved by at most ``reach`` pixels each way; sorted by row and then by column, the moved ones
    are dealt out to the gates in the order in which these lie.
    """
    inputs, have = 2 * rows * columns, sources.shape[1]
    every, rest = divmod(inputs, have)
    uses = np.concatenate([np.tile(np.arange(have), every), generator.permutation(have)[:rest]])
    row, column = sources[:, uses] + generator.uniform(-reach, reach, (2, inputs)) / 28
    order = np.argsort(row, kind="stable").reshape(rows, 2 * columns)
    order = np.take_along_axis(order, np.argsort(column[order], axis=1, kind="stable"), 1)
    return uses[order].reshape(-1, 2, 1).astype(np.int32)


def gates48k(seed: int) -> LogicNetwork:
    """Six layers of two-input gates, 24,000 down to 1,000: nearly trees, over neighbouring pixels; the first layer's wiring
    is learned.

    A layer lies on a grid over the image. Its gates read pixels up to 4 away, or the nearest gates of the layer before,
    moved about by up to 3 pixels: short wires, and little fan-out, so that a chip can be routed. The classes take turns
    over the last layer's grid, so all see the whole image.
    """
    generator = np.random.default_rng(seed)
    options: dict[str, Any] = {"generator": generator, "copy_strength": 1.0}
    at = _places(*TREE_GRIDS[0])
    first = _near_pixels(at, 4, 8, generator)
    layers = [Lut(PIXELS * 3, at.shape[1], 2, wires=first, **options)]
    for rows, columns in TREE_GRIDS[1:]:
        wires = _near_gates(at, rows, columns, 3, generator)
        if (rows, columns) == TREE_GRIDS[-1]:
            row, column = np.divmod(np.arange(rows * columns), columns)
            wires = wires[np.argsort((column + 3 * row) % 10, kind="stable")]
        layers.append(Lut(at.shape[1], rows * columns, 2, wires=wires, **options))
        at = _places(rows, columns)
    return LogicNetwork(_levels(64, 128, 192), *layers, GroupSum(at.shape[1], 10, tau=4.0))


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
