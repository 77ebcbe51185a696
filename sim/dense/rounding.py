"""Rounding of whole arrays in machine integers, chosen by what the proven range allows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from neuroloom.compiler.ir import Range, Type

Array = np.ndarray
LIMIT = 1 << 62
"""Products up to here leave room for the rounding term in a signed 64-bit word."""


def needs_wide(bounds: Range, factor: Fraction) -> bool:
    """Whether q * factor may need more than a machine word on the way."""
    p, q = factor.numerator, factor.denominator
    return max(abs(b) for b in bounds) * max(abs(p), 1) * 2 + 2 * q >= LIMIT


def rounder(bounds: Range, factor: Fraction, rounding: str) -> Callable[[Array], Array]:
    """A function that gives q * factor rounded to an integer, for q in ``bounds``; Python's integers where a word is too short."""
    p, q = factor.numerator, factor.denominator
    if needs_wide(bounds, factor):
        return lambda x: _wide(x, p, q, rounding)
    if q == 1:
        return (lambda x: x) if p == 1 else (lambda x: x * p)
    if q & (q - 1) == 0:
        return _by_shift(p, q.bit_length() - 1, rounding)
    return _by_division(p, q, rounding)


def _by_shift(p: int, k: int, rounding: str) -> Callable[[Array], Array]:
    half, rest = 1 << (k - 1), (1 << k) - 1

    def run(x: Array) -> Array:
        wide = x if p == 1 else x * p
        if rounding == "half_up":
            wide = wide + half
        elif rounding == "half_even":
            wide = wide + (half - 1) + ((wide >> k) & 1)
        elif rounding == "toward_zero":
            wide = wide + ((wide >> 63) & rest)
        return wide >> k

    return run


def _by_division(p: int, q: int, rounding: str) -> Callable[[Array], Array]:
    def run(x: Array) -> Array:
        wide = x * p
        if rounding == "half_up":
            return (2 * wide + q) // (2 * q)
        low = wide // q
        if rounding == "half_even":
            twice = 2 * (wide - low * q)
            return low + ((twice > q) | ((twice == q) & (low & 1 == 1)))
        if rounding == "toward_zero":
            return low + ((wide < 0) & (low * q != wide))
        return low

    return run


def _wide(x: Array, p: int, q: int, rounding: str) -> Array:
    """Python's integers, where the product does not fit a machine word."""
    wide = x.astype(object) * p
    if rounding == "half_up":
        wide = (2 * wide + q) // (2 * q)
    elif rounding == "floor":
        wide = wide // q
    elif rounding == "half_even":
        low = wide // q
        twice = 2 * (wide - low * q)
        wide = low + ((twice > q) | ((twice == q) & (low % 2 == 1))).astype(object)
    else:
        wide = np.where(wide < 0, -(-wide // q), wide // q)
    return wide


def bounder(type_: Type, bounds: Range, overflow: str) -> Callable[[Array], Array] | None:
    """A function that brings rounded integers in ``bounds`` into ``type_``; None where nothing can be outside."""
    if type_.holds(bounds):
        return None
    lo, hi = type_.range
    if overflow == "saturate":
        return lambda x: np.clip(x, lo, hi).astype(np.int64)
    span = 1 << type_.width
    if max(abs(b) for b in bounds) + span >= LIMIT:
        return lambda x: ((x.astype(object) - lo) % span + lo).astype(np.int64)
    return lambda x: ((x - lo) & (span - 1)) + lo
