"""Interval arithmetic on binary fixed-point numbers of any precision: what proves that a table entry is rounded correctly.

Ends are integers times 2**-bits, rounded outwards, so the true value always lies inside. ``exp`` and ``ln`` come from the decimal
module, which rounds them correctly to any number of digits; nothing here asks the processor's libm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache

from neuroloom.compiler.errors import GraphError


@dataclass(frozen=True, slots=True)
class Interval:
    """The reals from lo * 2**-bits to hi * 2**-bits."""

    lo: int
    hi: int
    bits: int

    @classmethod
    def of(cls, value: Fraction | int, bits: int) -> Interval:
        """The narrowest interval around a rational; a single point when it has at most ``bits`` fraction bits."""
        scaled = Fraction(value) * (1 << bits)
        return cls(math.floor(scaled), math.ceil(scaled), bits)

    @property
    def exact(self) -> bool:
        """Whether it is one number."""
        return self.lo == self.hi

    def is_number(self, value: int) -> bool:
        """Whether it is exactly the integer ``value``."""
        return self.lo == self.hi == value << self.bits

    def __add__(self, other: Interval | int) -> Interval:
        other = self._lift(other)
        return Interval(self.lo + other.lo, self.hi + other.hi, self.bits)

    __radd__ = __add__

    def __neg__(self) -> Interval:
        return Interval(-self.hi, -self.lo, self.bits)

    def __sub__(self, other: Interval | int) -> Interval:
        return self + -self._lift(other)

    def __rsub__(self, other: int) -> Interval:
        return self._lift(other) - self

    def __mul__(self, other: Interval | int) -> Interval:
        other = self._lift(other)
        corners = [a * b for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        return Interval(min(corners) >> self.bits, -(-max(corners) >> self.bits), self.bits)

    __rmul__ = __mul__

    def times(self, value: Fraction) -> Interval:
        """The product with a positive rational, rounded outwards once."""
        return Interval(math.floor(self.lo * value), math.ceil(self.hi * value), self.bits)

    def __truediv__(self, other: Interval | int) -> Interval:
        other = self._lift(other)
        if other.lo <= 0 <= other.hi:
            raise GraphError("a divisor must not be 0")
        corners = [Fraction(a << self.bits, b) for a in (self.lo, self.hi) for b in (other.lo, other.hi)]
        return Interval(math.floor(min(corners)), math.ceil(max(corners)), self.bits)

    def __rtruediv__(self, other: int) -> Interval:
        return self._lift(other) / self

    def _lift(self, other: Interval | int) -> Interval:
        return other if isinstance(other, Interval) else Interval(other << self.bits, other << self.bits, self.bits)

    def least(self, other: Interval | int) -> Interval:
        """The smaller of both."""
        other = self._lift(other)
        return Interval(min(self.lo, other.lo), min(self.hi, other.hi), self.bits)

    def most(self, other: Interval | int) -> Interval:
        """The larger of both."""
        other = self._lift(other)
        return Interval(max(self.lo, other.lo), max(self.hi, other.hi), self.bits)

    def sign(self) -> int:
        """-1, 0 or 1 where it is sure; GraphError where the interval crosses 0 (more bits are needed)."""
        if self.lo > 0:
            return 1
        if self.hi < 0:
            return -1
        if self.exact:
            return 0
        raise Undecided

    def exp(self) -> Interval:
        """e to the power of it."""
        if self.is_number(0):
            return Interval(1 << self.bits, 1 << self.bits, self.bits)
        return Interval(_exp(self.lo, self.bits)[0], _exp(self.hi, self.bits)[1], self.bits)

    def ln(self) -> Interval:
        """Natural logarithm of a positive interval."""
        if self.lo <= 0:
            raise GraphError("the logarithm must be of a positive number")
        if self.is_number(1):
            return Interval(0, 0, self.bits)
        return Interval(_ln(self.lo, self.bits)[0], _ln(self.hi, self.bits)[1], self.bits)

    def sqrt(self) -> Interval:
        """Square root of an interval that is not negative."""
        if self.lo < 0:
            raise GraphError("the square root must be of a number that is not negative")
        low, high = math.isqrt(self.lo << self.bits), math.isqrt(self.hi << self.bits)
        return Interval(low, high + (high * high != self.hi << self.bits), self.bits)

    def erf(self) -> Interval:
        """The error function."""
        if self.is_number(0):
            return self
        return Interval(_erf(self.lo, self.bits)[0], _erf(self.hi, self.bits)[1], self.bits)

    def rounded(self) -> int:
        """The nearest integer, ties to even; :class:`Undecided` where the interval holds a place at which it changes."""
        ends = {round(Fraction(end, 1 << self.bits)) for end in (self.lo, self.hi)}
        if len(ends) > 1:
            raise Undecided
        return ends.pop()


class Undecided(Exception):
    """More bits are needed."""


def _context(bits: int, extra: int = 0) -> Context:
    digits = int(bits * 0.30103) + 12 + extra
    return Context(prec=digits, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _decimal(scaled: int, bits: int) -> Decimal:
    """scaled * 2**-bits, exactly."""
    number = abs(scaled) * 5**bits
    return Decimal((int(scaled < 0), tuple(map(int, str(number))), -bits))


def _ends(value: Decimal, bits: int, context: Context) -> tuple[int, int]:
    """Bounds, scaled by 2**bits, of a number that ``value`` is the correctly rounded form of."""
    wide = Context(prec=context.prec + bits + 30, rounding=ROUND_FLOOR, Emax=MAX_EMAX, Emin=MIN_EMIN)
    floor = int(wide.multiply(value, Decimal(1 << bits)).to_integral_value(ROUND_FLOOR))
    return floor - 1, floor + 2  # the context keeps digits below 2**-bits, so its error is far less than one


def _exp(scaled: int, bits: int) -> tuple[int, int]:
    size = max(scaled >> bits, 0)
    if size > 1 << 14:
        raise GraphError(f"the exponential must be of at most {1 << 14}, not {size}; its input's format is too wide")
    context = _context(bits, size // 2)
    low, high = _ends(context.exp(_decimal(scaled, bits)), bits, context)
    return max(low, 0), high


def _ln(scaled: int, bits: int) -> tuple[int, int]:
    context = _context(bits, 10)
    return _ends(context.ln(_decimal(scaled, bits)), bits, context)


@lru_cache(maxsize=64)
def pi(bits: int) -> Interval:
    """The number pi by Machin's formula, 16 atan(1/5) - 4 atan(1/239)."""

    def atan_inverse(n: int) -> Fraction:
        total, power, k = Fraction(0), Fraction(1, n), 0
        while power > Fraction(1, 1 << (bits + 8)):
            total += power / (2 * k + 1) * (-1) ** k
            power /= n * n
            k += 1
        return total

    middle = math.floor((16 * atan_inverse(5) - 4 * atan_inverse(239)) * (1 << bits))
    return Interval(middle - 1, middle + 2, bits)


def _erf(scaled: int, bits: int) -> tuple[int, int]:
    """Bounds of erf: 2/sqrt(pi) times x minus x**3/3 plus x**5/10 ..., an alternating series; -1 or 1 far outside."""
    if scaled < 0:
        low, high = _erf(-scaled, bits)
        return -high, -low
    x = Fraction(scaled, 1 << bits)
    if x * x > bits + 2:  # 1 - erf(x) < exp(-x * x) < 2**-bits
        return (1 << bits) - 1, 1 << bits
    inner = 2 * bits + 8 + int(x * x * 3)
    square = (scaled * scaled << inner) >> (2 * bits)
    term, total, k = (scaled << inner) >> bits, 0, 0
    while term > 1:  # term = x**(2k+1) / k!
        total += (-1) ** k * (term // (2 * k + 1))
        k += 1
        term = ((term * square) >> inner) // k
    slack = 4 * k + 8  # every step lost at most a few units
    series = Interval(total - slack, total + slack, inner)
    result = series * 2 / pi(inner).sqrt()
    cut = inner - bits
    return max(result.lo >> cut, 0), min(-(-result.hi >> cut), 1 << bits)
