"""What the integers at a graph's border mean outside: real = scale * q + offset, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError, InputError

from .types import Range

Rational = Fraction | int


@dataclass(frozen=True, slots=True)
class Affine:
    """real = scale * q + offset with exact rationals, one pair for the tensor or one per index of ``axis``.

    A zero point z of the quantisation literature is ``offset = -scale * z``; keeping the offset also carries rules whose
    zero falls between two integers (a GroupSum's beta).
    """

    scale: tuple[Fraction, ...] = (Fraction(1),)
    offset: tuple[Fraction, ...] = (Fraction(0),)
    axis: int | None = None

    @classmethod
    def of(
        cls,
        scale: Rational | Sequence[Rational] = 1,
        offset: Rational | Sequence[Rational] = 0,
        axis: int | None = None,
    ) -> Affine:
        """Build from numbers or sequences of numbers (sequences need ``axis``, without the batch axis)."""
        scales = tuple(Fraction(s) for s in scale) if isinstance(scale, Sequence) else (Fraction(scale),)
        offsets = tuple(Fraction(o) for o in offset) if isinstance(offset, Sequence) else (Fraction(offset),)
        count = max(len(scales), len(offsets))
        if len(scales) == 1:
            scales *= count
        if len(offsets) == 1:
            offsets *= count
        if len(scales) != len(offsets):
            raise GraphError(f"affine rule must have as many scales as offsets, not {len(scales)} and {len(offsets)}")
        if axis is None and count > 1:
            raise GraphError("affine rule with several scales must name its axis")
        if any(s == 0 for s in scales):
            raise GraphError("affine scale must not be 0")
        return cls(scales, offsets, axis)

    @property
    def is_identity(self) -> bool:
        """Whether outside values are the integers themselves."""
        return all(s == 1 for s in self.scale) and all(o == 0 for o in self.offset)

    def _per_element(self, values: tuple[Fraction, ...], ndim: int) -> np.ndarray:
        array = np.array([float(v) for v in values])
        if self.axis is None:
            return array[0]
        shape = [1] * (ndim + 1)
        shape[self.axis + 1] = len(values)
        return array.reshape(shape)

    def quantize(self, x: np.ndarray, bounds: Range, what: str = "input") -> np.ndarray:
        """Turn real numbers x[N, ...] into int64 of the same shape: round half to even, saturate to ``bounds``.

        Raises InputError on NaN.
        """
        if np.isnan(x).any():
            raise InputError(f"{what} must not contain NaN; sample {int(np.argwhere(np.isnan(x))[0][0])} does")
        ndim = x.ndim - 1
        real = np.asarray(x, np.float64)
        q = np.rint((real - self._per_element(self.offset, ndim)) / self._per_element(self.scale, ndim))
        return np.clip(q, *bounds).astype(np.int64)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """Turn integers q[N, ...] into float64 of the same shape."""
        ndim = q.ndim - 1
        return q * self._per_element(self.scale, ndim) + self._per_element(self.offset, ndim)

    def to_json(self) -> dict[str, Any]:
        """Plain form for the file's text: rationals as strings."""

        def short(values: tuple[Fraction, ...]) -> str | list[str]:
            return str(values[0]) if self.axis is None else [str(v) for v in values]

        out: dict[str, Any] = {"scale": short(self.scale), "offset": short(self.offset)}
        if self.axis is not None:
            out["axis"] = self.axis
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Affine:
        """Inverse of :meth:`to_json`; raises GraphError when malformed."""

        def read(value: Any) -> Fraction | list[Fraction]:
            if isinstance(value, list):
                return [Fraction(str(v)) for v in value]
            return Fraction(str(value))

        try:
            axis = data.get("axis")
            return cls.of(read(data["scale"]), read(data["offset"]), None if axis is None else int(axis))
        except (KeyError, ValueError, TypeError, AttributeError, ZeroDivisionError) as e:
            raise GraphError(f"affine rule must be scale, offset and an optional axis, not {data!r}") from e


IDENTITY = Affine()
