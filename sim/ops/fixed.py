"""Saturating fixed-point steps that the spiking operations are made of."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Type


def sat(x: np.ndarray, t: Type) -> np.ndarray:
    """``x`` bounded to the integers of ``t``."""
    return np.clip(x, t.lo, t.hi)


def rnd(product: np.ndarray, bits: int, rounding: str) -> np.ndarray:
    """``product`` / 2**bits, rounded ``floor``, ``half_up`` (floor of value + 1/2) or ``toward_zero``."""
    if rounding == "half_up":
        product = product + (1 << bits - 1)
    elif rounding == "toward_zero":
        product = product + np.where(product < 0, (1 << bits) - 1, 0)
    return product >> bits


def winner_takes_all(spike: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Keep in each row only the spike with the largest ``margin``, the lowest index of equals."""
    best = np.where(spike == 1, margin, np.iinfo(np.int64).min).argmax(axis=1)
    return spike * (np.arange(spike.shape[1]) == best[:, None])
