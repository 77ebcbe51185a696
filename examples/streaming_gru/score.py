"""How well the coordinates are followed."""

from __future__ import annotations

import numpy as np

SETTLING = 10
"""Bins at the beginning of a trial, in which nobody can know much."""


def r_squared(path: np.ndarray, found: np.ndarray) -> float:
    """Share of the variance of coordinates [N, T, 3] that is explained, after the first ten bins."""
    a, b = path[:, SETTLING:], np.asarray(found, np.float64)[:, SETTLING:]
    return float(1 - ((a - b) ** 2).sum() / ((a - a.mean((0, 1))) ** 2).sum())
