"""Shape arithmetic with an unknown batch size: integers of the form a + b*N inside numpy object arrays.

Exporters compute shapes at run time (Shape, Gather, Concat, Reshape). With N, the number of samples, unknown, such a shape
is an array of plain integers and :class:`Dim` objects; everything an exporter does with it folds here, or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError


@dataclass(frozen=True, slots=True, eq=False)
class Dim:
    """a + b*N with N >= 1 the number of samples and b != 0."""

    a: int
    b: int

    def __str__(self) -> str:
        n = "N" if self.b == 1 else f"{self.b}N"
        return n if self.a == 0 else f"{n}{self.a:+d}"

    __repr__ = __str__
    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Dim | int) -> Dim | int:
        a, b = _parts(other)
        return linear(self.a + a, self.b + b)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Dim(-self.a, -self.b)

    def __sub__(self, other: Dim | int) -> Dim | int:
        a, b = _parts(other)
        return linear(self.a - a, self.b - b)

    def __rsub__(self, other: int) -> Dim | int:
        return (-self) + other

    def __mul__(self, other: Dim | int) -> Dim | int:
        a, b = _parts(other)
        if b:
            raise UnsupportedError(f"the product {self} * {other} of two batch sizes is not supported")
        return linear(self.a * a, self.b * a)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim | int) -> Dim | int:
        """Exact quotients only; they are the same for every rounding."""
        a, b = _parts(other)
        if b and self.a * b == a * self.b and self.b % b == 0:
            return self.b // b
        if not b and a and self.a % a == 0 and self.b % a == 0:
            return linear(self.a // a, self.b // a)
        raise UnsupportedError(f"the quotient {self} / {other} depends on the batch size")

    def __rfloordiv__(self, other: int) -> Dim | int:
        raise UnsupportedError(f"the quotient {other} / {self} depends on the batch size")

    def __mod__(self, other: Dim | int) -> int:
        a, b = _parts(other)
        if not b and a and self.a % a == 0 and self.b % a == 0:
            return 0
        raise UnsupportedError(f"the remainder {self} % {other} depends on the batch size")

    def _sign(self, other: Dim | int, what: str) -> int:
        """Sign of self - other when it is the same for every N >= 1."""
        difference = self - other
        if not isinstance(difference, Dim):
            return (difference > 0) - (difference < 0)
        at_one = difference.a + difference.b
        if at_one > 0 and difference.b > 0:
            return 1
        if at_one < 0 and difference.b < 0:
            return -1
        raise UnsupportedError(f"the comparison {self} {what} {other} depends on the batch size")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Dim, int, np.integer)):
            return NotImplemented
        difference = self - (other if isinstance(other, Dim) else int(other))
        if not isinstance(difference, Dim):
            return difference == 0
        root, rest = divmod(-difference.a, difference.b)
        if rest or root < 1:
            return False
        raise UnsupportedError(f"the comparison {self} == {other} depends on the batch size")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __gt__(self, other: Dim | int) -> bool:
        return self._sign(other, ">") > 0

    def __ge__(self, other: Dim | int) -> bool:
        return self._sign(other, ">=") >= 0

    def __lt__(self, other: Dim | int) -> bool:
        return self._sign(other, "<") < 0

    def __le__(self, other: Dim | int) -> bool:
        return self._sign(other, "<=") <= 0


def _parts(value: Dim | int) -> tuple[int, int]:
    return (value.a, value.b) if isinstance(value, Dim) else (int(value), 0)


def linear(a: int, b: int) -> Dim | int:
    """a + b*N, a plain integer when b is 0."""
    return Dim(a, b) if b else a


def is_batch(dim: Dim | int) -> bool:
    """Whether ``dim`` is exactly N."""
    return isinstance(dim, Dim) and dim.a == 0 and dim.b == 1


def has_dims(array: np.ndarray) -> bool:
    """Whether an array holds a batch size that is not known."""
    return array.dtype == object and any(isinstance(v, Dim) for v in array.ravel())


def settle(array: np.ndarray) -> np.ndarray:
    """An object array without :class:`Dim` as plain int64, bool arrays as bool; others unchanged."""
    if array.dtype != object or has_dims(array):
        return array
    if array.size and all(isinstance(v, (bool, np.bool_)) for v in array.ravel()):
        return array.astype(np.bool_)
    return array.astype(np.int64)


def whole(array: np.ndarray) -> np.ndarray:
    """The array as objects: Python integers and :class:`Dim`."""
    if array.dtype == object:
        return array
    out = np.empty(array.shape, object)
    out[...] = array.astype(object)
    return out
