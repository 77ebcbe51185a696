"""How a requantize becomes a multiplier, a constant and a shift that give the same integer for every value in range."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir.types import Range

from .isa import Rounding

ROUNDINGS = {
    "floor": Rounding.FLOOR,
    "half_up": Rounding.HALF_UP,
    "half_even": Rounding.HALF_EVEN,
    "toward_zero": Rounding.TOWARD_ZERO,
}

MAX_SHIFT = 63


@dataclass(frozen=True)
class Scaling:
    """round(q * factor) = round((q * multiplier + constant) / 2**shift, by ``rounding``)."""

    multiplier: int
    constant: int
    shift: int
    rounding: Rounding


def scaling(factor: Fraction, rounding: str, bounds: Range, where: str) -> Scaling:
    """The scaling that equals ``requantize``'s for every q in ``bounds``, with the fewest bits; raises UnsupportedError."""
    if factor < 0:
        raise UnsupportedError(f"{where}: factor must not be negative, not {factor}; negate the weights instead")
    numerator, denominator = factor.numerator, factor.denominator
    if denominator & denominator - 1 == 0:
        shift = denominator.bit_length() - 1
        if shift <= MAX_SHIFT:
            return Scaling(numerator, 0, shift, ROUNDINGS[rounding])
        # below the last bit of what can be shifted: nothing but the sign and zero is left of q
        return _dust(numerator, shift, rounding, bounds, where)
    if rounding == "half_even":
        if _ties(factor, bounds):
            raise UnsupportedError(
                f"{where}: half_even with the factor {factor} meets ties, which a multiplier and a shift cannot tell; "
                "choose half_up, or a factor whose denominator is a power of two"
            )
        rounding = "half_up"
    return _search(factor, rounding, bounds, where)


def _dust(numerator: int, shift: int, rounding: str, bounds: Range, where: str) -> Scaling:
    common = shift - MAX_SHIFT
    if numerator % (1 << common) == 0:
        return Scaling(numerator >> common, 0, MAX_SHIFT, ROUNDINGS[rounding])
    raise UnsupportedError(f"{where}: factor must be at least 2**-{MAX_SHIFT}, not {numerator}/2**{shift}")


def _ties(factor: Fraction, bounds: Range) -> bool:
    """Whether some q in ``bounds`` makes q * factor end in exactly one half."""
    if factor.denominator % 2:
        return False
    half = factor.denominator // 2  # q * n / d = k + 1/2 needs q = d/2 * odd, as n is odd
    lo, hi = -(-bounds[0] // half), bounds[1] // half
    return any(k % 2 for k in range(lo, min(hi, lo + 2) + 1))


def _search(factor: Fraction, rounding: str, bounds: Range, where: str) -> Scaling:
    """The smallest shift whose rounded-up multiplier is near enough.

    With F = floor((q n + c) / d) wanted (c = d/2 for half_up, 0 for floor), q n + c = d F + r, and M = ceil(2**s n / d) with
    e = M - 2**s n / d, the hardware's sum is q M + C = 2**s F + q e + 2**s (r - c) / d + C. It lies in 2**s F .. 2**s (F + 1) - 1
    for every q when C takes up the least of q e, and what is added to the greatest r stays below 2**s.
    """
    n, d = factor.numerator, factor.denominator
    if rounding == "toward_zero":  # symmetric: M rounded up is right for |q|, and the hardware rounds toward zero
        most = max(abs(bounds[0]), abs(bounds[1]))
        bounds, offset = (0, most), 0
    else:
        offset = d if rounding == "half_up" else 0
    n, d = 2 * n, 2 * d
    # r = (q n + offset) mod d over all q
    greatest = _extreme(n, offset, d, bounds, largest=True)
    for shift in range(0, MAX_SHIFT + 1):
        multiplier = -(-(n << shift) // d)
        excess = Fraction(multiplier) - Fraction(n << shift, d)
        least = min(bounds[0] * excess, bounds[1] * excess)
        reach = max(bounds[0] * excess, bounds[1] * excess) - least
        base = Fraction(offset << shift, d)
        constant = -((least - base) // 1) if rounding != "toward_zero" else 0
        slack = constant - base + least  # 0 <= slack < 1
        if reach + slack + Fraction(greatest << shift, d) < 1 << shift:
            kind = Rounding.TOWARD_ZERO if rounding == "toward_zero" else Rounding.FLOOR
            return Scaling(multiplier, int(constant), shift, kind)
    raise UnsupportedError(
        f"{where}: no shift up to {MAX_SHIFT} gives the factor {factor} exactly for {bounds[0]}..{bounds[1]}; "
        "requantize the input to fewer bits first"
    )


def _extreme(a: int, b: int, m: int, bounds: Range, *, largest: bool) -> int:
    """The greatest (or least) of (a q + b) mod m for the integers q in ``bounds``."""
    count = bounds[1] - bounds[0]
    start = (a * bounds[0] + b) % m
    a %= m
    lo, hi = 0, m - 1
    while lo < hi:  # is there a value in the better half?
        middle = (lo + hi + 1) // 2 if largest else (lo + hi) // 2
        first = _first(a, start, m, (middle, hi) if largest else (lo, middle))
        found = first is not None and first <= count
        if largest:
            lo, hi = (middle, hi) if found else (lo, middle - 1)
        else:
            lo, hi = (lo, middle) if found else (middle + 1, hi)
    return lo


def _first(a: int, b: int, m: int, target: tuple[int, int]) -> int | None:
    """Least x >= 0 with (a x + b) mod m in target[0]..target[1]; None when there is none. Euclid's algorithm on the two steps."""
    lo, hi = (target[0] - b) % m, (target[1] - b) % m
    if lo > hi:
        return 0
    return _first_in(a, m, lo, hi)


def _first_in(a: int, m: int, lo: int, hi: int) -> int | None:
    """Least x >= 0 with lo <= a x mod m <= hi, where 0 <= lo <= hi < m."""
    if lo == 0:
        return 0
    a %= m
    if a == 0:
        return None
    if 2 * a > m:
        return _first_in(m - a, m, m - hi, m - lo)
    x = -(-lo // a)
    if a * x <= hi:
        return x
    y = _first_in(a - m % a if m % a else a, a, lo % a, hi % a) if lo % a <= hi % a else None
    if y is None:
        return None
    return (lo + m * y + a - 1) // a
