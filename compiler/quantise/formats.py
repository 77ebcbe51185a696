"""Fixed-point formats from what was observed: the width is given, calibration places the binary point."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from neuroloom.compiler.ir.types import Range, Type

from .config import Rules
from .observe import Observed


@dataclass(frozen=True, slots=True)
class Grid:
    """A float input whose values are scale * q + offset with q of ``type`` (without fraction bits), in ``bounds`` if given."""

    type: Type
    scale: Fraction
    offset: Fraction
    bounds: Range | None = None


MAX_FRAC = 60
"""Most fraction bits a format may get; a tensor of zeros would ask for any number."""

FLAT_FROM = {"sigmoid": 0.6931, "tanh": 0.3466, "erf": 0.0}
"""Functions that are constant to b bits outside ±(this * (b + 2)) (erf: ±sqrt of 0.6931 (b + 2)): no format need reach further."""


def point(lo: float, hi: float, bits: int) -> int:
    """The most fraction bits at which a signed number of ``bits`` bits holds lo..hi, rounded to nearest.

    Ends are compared exactly, so that the choice does not depend on the processor.
    """
    low, high = Fraction(lo), Fraction(hi)
    largest = max(abs(low), abs(high))
    if largest == 0:
        return bits - 1
    frac = bits - 1 - math.floor(math.log2(float(largest))) + 2 if float(largest) else MAX_FRAC
    frac = min(frac, MAX_FRAC)
    while not (_round(high, frac) <= (1 << (bits - 1)) - 1 and _round(low, frac) >= -(1 << (bits - 1))):
        frac -= 1
    return frac


def _round(value: Fraction, frac: int) -> int:
    return round(value * Fraction(2) ** frac)


def signed_or_not(frac: int, bits: int, lo: float) -> Type:
    """The type of ``bits`` bits with the sign; values that are never negative save it, at the same step."""
    return Type(bits, True, frac) if lo < 0 else Type(max(bits - 1, 1), False, frac)


def choose(seen: Observed, bits: int, rules: Rules) -> Type:
    """The format of a value by the rules' calibration method.

    minmax: the finest step whose range holds everything seen. percentile: the same for all but the outermost values. mse: the
    step with the least squared error of rounding and clipping together, from the histogram.
    """
    lo, hi = (seen.lo, seen.hi) if rules.calibration != "percentile" else seen.percentile(rules.percentile)
    frac = point(lo, hi, bits)
    if rules.calibration == "mse" and seen.bins is not None:
        best = None
        for candidate in range(frac, min(frac + 6, MAX_FRAC) + 1):
            type_ = signed_or_not(candidate, bits, seen.lo)
            error = seen.squared_error(2.0**-candidate, type_.lo, type_.hi)
            if best is None or error < best[0]:
                best = error, candidate
        assert best is not None
        frac = best[1]
    return signed_or_not(frac, bits, seen.lo)


def table_input(seen: Observed, function: str, out: Type, rules: Rules) -> Type:
    """The format of a table's address: what was observed, cut where the function is flat to the output's last bit."""
    lo, hi = seen.lo, seen.hi
    if function in FLAT_FROM:
        fraction = max(out.frac, 1) + 2
        reach = math.sqrt(0.6931 * fraction) if function == "erf" else FLAT_FROM[function] * fraction
        lo, hi = max(lo, -reach), min(hi, reach)
        lo, hi = min(lo, hi), max(lo, hi)
    return choose(
        replace(seen, lo=lo, hi=hi, bins=seen.bins if (lo, hi) == (seen.lo, seen.hi) else None), rules.table_bits, rules
    )


def integers(data: np.ndarray, frac: int) -> np.ndarray:
    """round(data * 2**frac), ties to even, as int64: exact, because a product with a power of two is, in float64."""
    return np.rint(np.ldexp(np.asarray(data, np.float64), frac)).astype(np.int64)


def weight_point(weights: np.ndarray, rules: Rules, axis: int | None = None) -> np.ndarray:
    """Fraction bits of weights: one for the tensor (axis None) or one per index of ``axis``; by mse where the rules say so."""
    flat = weights.reshape(1, -1) if axis is None else np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    return np.array([_weight_point(row, rules) for row in flat], np.int64)


def _weight_point(row: np.ndarray, rules: Rules) -> int:
    bits = rules.weight_bits
    frac = point(float(row.min(initial=0)), float(row.max(initial=0)), bits)
    if rules.calibration != "mse" or not row.size:
        return frac
    least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def error(candidate: int) -> float:
        near = np.clip(np.rint(np.ldexp(row, candidate)), least, most)
        return float(((np.ldexp(near, -candidate) - row) ** 2).sum())

    return min(range(frac, min(frac + 4, MAX_FRAC) + 1), key=lambda f: (error(f), f))
