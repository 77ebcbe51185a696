"""Yearly sunspot numbers 1700-2008, bundled with statsmodels, cut as in the usual benchmark (Weigend, Huberman, Rumelhart 1990)."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from neuroloom.compiler.errors import MissingToolError

LAGS = 12
"""Years that a prediction is made from."""

TRAINING, TESTS = (1700, 1920), ((1921, 1955), (1956, 1979), (1980, 2008))
SCALE = 191.2
"""Sunspot numbers are divided by this, about the largest one of the years for training."""


class Part(NamedTuple):
    """Windows float32 [N, LAGS] of scaled numbers, oldest first, and the number of the year behind, [N]."""

    windows: np.ndarray
    targets: np.ndarray


def series() -> tuple[np.ndarray, np.ndarray]:
    """Years and sunspot numbers. Raises MissingToolError without statsmodels."""
    found = importlib.util.find_spec("statsmodels")
    if found is None or found.origin is None:
        raise MissingToolError("the sunspots come with statsmodels; install it with `pip install neuroloom[series]`")
    # Read as a file: importing statsmodels takes seconds, and only the numbers are wanted.
    with (Path(found.origin).parent / "datasets" / "sunspots" / "sunspots.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.reader(lines) if row][1:]
    return np.array([int(float(year)) for year, _ in rows]), np.array([float(number) for _, number in rows])


def part(first: int, last: int) -> Part:
    """Predictions of the years ``first`` to ``last``; windows may reach back further."""
    years, numbers = series()
    scaled = (numbers / SCALE).astype(np.float32)
    at = [n for n in range(LAGS, len(years)) if first <= years[n] <= last]
    return Part(np.stack([scaled[n - LAGS : n] for n in at]), scaled[at])


def relative_variance(targets: np.ndarray, found: np.ndarray) -> float:
    """Mean squared error over the variance of all scaled numbers 1700-1920 (0.041 x SCALE²), the benchmark's measure."""
    years, numbers = series()
    variance = float((numbers[years <= TRAINING[1]] / SCALE).var())
    return float(((np.asarray(found, np.float64) - targets) ** 2).mean() / variance)
