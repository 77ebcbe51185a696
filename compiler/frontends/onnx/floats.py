"""Float tensors of the source model, carried as integers: value = steps(q), evaluated exactly as the source does.

A step is one float operation with a constant. Its result is what IEEE arithmetic of the source's type gives, rounding
included, so a decision (threshold, arg-max) is taken on the same floats as in any conforming runtime. All steps are monotone
in q, element by element, which is what lets thresholds be found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

MANTISSA = {"float16": 11, "float32": 24, "float64": 53}
"""Integers up to 2**bits in magnitude are exact in each type."""
_SMALLEST = {"float16": -24, "float32": -149, "float64": -1074}
_LARGEST = {"float16": 15, "float32": 127, "float64": 1023}


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One float operation on the value so far: ``cast`` | ``add`` | ``sub`` | ``rsub`` (c - v) | ``mul`` | ``div`` | ``table``.

    ``const`` broadcasts against the per-sample shape (a 0-d array when it is the same for all elements); for ``table`` it holds
    the values for q = ``lo``, ``lo`` + 1, ... and ``affine`` their exact meaning (scale, offset).
    """

    kind: str
    dtype: np.dtype
    const: np.ndarray | None = None
    lo: int = 0
    affine: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))

    @property
    def uniform(self) -> bool:
        """Whether it is the same for all elements."""
        return self.kind in ("cast", "table") or self.const is None or self.const.ndim == 0

    def same(self, other: Step) -> bool:
        """Whether both do the same."""
        if (self.kind, self.dtype, self.lo) != (other.kind, other.dtype, other.lo):
            return False
        a, b = self.const, other.const
        if a is None or b is None:
            return a is b
        return a is b or (a.shape == b.shape and bool((a == b).all()))


Steps = tuple[Step, ...]

_APPLY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "rsub": lambda v, c: np.subtract(c, v),
    "mul": np.multiply,
    "div": np.divide,
}


def constant_step(kind: str, const: np.ndarray, dtype: np.dtype) -> Step:
    """A step with a constant; one that is the same everywhere becomes a scalar."""
    const = np.asarray(const, dtype)
    if const.size and const.ndim and (const == const.flat[0]).all():
        const = const.reshape(-1)[0].reshape(())
    return Step(kind, np.dtype(dtype), const)


def cast_step(dtype: np.dtype) -> Step:
    """Conversion to a float type, round to nearest, ties to even."""
    return Step("cast", np.dtype(dtype))


def evaluate(steps: Steps, q: np.ndarray) -> np.ndarray:
    """The float values of integers ``q``, which broadcast against the per-sample shape."""
    value = np.asarray(q)
    with np.errstate(all="ignore"):
        for step in steps:
            if step.kind == "cast":
                value = value.astype(step.dtype)
            elif step.kind == "table":
                assert step.const is not None
                value = step.const[value - step.lo]
            else:
                assert step.const is not None
                value = _APPLY[step.kind](value, step.const).astype(step.dtype, copy=False)
    return value


def uniform(steps: Steps) -> bool:
    """Whether all elements have the same meaning."""
    return all(step.uniform for step in steps)


def same_steps(a: Steps, b: Steps) -> bool:
    """Whether two chains compute the same function."""
    return len(a) == len(b) and all(x.same(y) for x, y in zip(a, b, strict=True))


def direction(steps: Steps) -> np.ndarray:
    """+1 where the value never falls with q, -1 where it never rises; 0-d or broadcasting against the shape."""
    sign = np.array(1)
    for step in steps:
        if step.kind == "rsub":
            sign = -sign
        elif step.kind in ("mul", "div"):
            assert step.const is not None
            sign = sign * np.where(np.signbit(step.const), -1, 1)
        elif step.kind == "table":
            assert step.const is not None
            sign = sign * (1 if step.const[-1] >= step.const[0] else -1)
    return sign


def moved(steps: Steps, shape: tuple[int, ...], move: Callable[[np.ndarray], np.ndarray]) -> Steps:
    """The chain after ``move`` has rearranged elements of a tensor of ``shape``."""
    out = []
    for step in steps:
        if not step.uniform:
            assert step.const is not None
            step = constant_step(step.kind, move(np.broadcast_to(step.const, shape)), step.dtype)
        out.append(step)
    return tuple(out)


def first_reaching(
    steps: Steps, sign: np.ndarray, target: np.ndarray, bounds: tuple[int, int], strict: bool
) -> np.ndarray:
    """Smallest q in lo..hi+1 from which ``sign * value(q)`` >= (or > when ``strict``) ``sign * target``, by bisection."""
    shape = np.broadcast_shapes(sign.shape, target.shape, *(s.const.shape for s in steps if not s.uniform))  # type: ignore[union-attr]
    sign, target = np.broadcast_to(sign, shape), np.broadcast_to(target, shape)
    lo = np.full(shape, bounds[0], np.int64)
    hi = np.full(shape, bounds[1] + 1, np.int64)
    while (lo < hi).any():
        middle = lo + ((hi - lo) >> 1)
        value = evaluate(steps, np.minimum(middle, bounds[1]))
        up = value > target if strict else value >= target
        down = value < target if strict else value <= target
        reached = np.where(sign > 0, up, down)
        hi = np.where(reached & (lo < hi), middle, hi)
        lo = np.where(~reached & (lo < hi), middle + 1, lo)
    return lo


def fraction(value: float | np.floating) -> Fraction:
    """The exact rational of a float."""
    return Fraction(float(value))


def _fractions(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, object)
    flat = out.reshape(-1)
    for i, v in enumerate(array.reshape(-1)):
        flat[i] = fraction(v)
    return out


def affine(steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Exact scale and offset of the chain without rounding: object arrays of Fractions, 0-d or broadcasting."""
    return _walk(steps, None)[0]


def exact(steps: Steps, bounds: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and offset when no step rounds for any q in ``bounds``: then value = scale * q + offset exactly; else None."""
    result, ok = _walk(steps, bounds)
    return result if ok else None


def _walk(steps: Steps, bounds: tuple[int, int] | None) -> tuple[tuple[np.ndarray, np.ndarray], bool]:
    scale, offset = np.array(Fraction(1), object), np.array(Fraction(0), object)
    ok = True
    for step in steps:
        if step.kind == "table":
            scale, offset = np.array(step.affine[0], object), np.array(step.affine[1], object)
        elif step.kind != "cast":
            assert step.const is not None
            c = _fractions(step.const)
            if step.kind == "add":
                offset = np.asarray(offset + c, object)
            elif step.kind == "sub":
                offset = np.asarray(offset - c, object)
            elif step.kind == "rsub":
                scale, offset = np.asarray(-scale, object), np.asarray(c - offset, object)
            elif step.kind == "mul":
                scale, offset = np.asarray(scale * c, object), np.asarray(offset * c, object)
            else:
                scale, offset = np.asarray(scale / c, object), np.asarray(offset / c, object)
        if bounds is not None and ok:
            ok = _representable(scale, offset, bounds, step.dtype)
    return (scale, offset), ok


def _representable(scale: np.ndarray, offset: np.ndarray, bounds: tuple[int, int], dtype: np.dtype) -> bool:
    """Whether every scale * q + offset is a number of the float type."""
    scales, offsets = np.broadcast_arrays(scale, offset)
    pairs = set(zip(scales.reshape(-1).tolist(), offsets.reshape(-1).tolist(), strict=True))
    return all(_fits(s, o, bounds, dtype) for s, o in pairs)


def _fits(scale: Fraction, offset: Fraction, bounds: tuple[int, int], dtype: np.dtype) -> bool:
    step = rational_gcd([scale, offset])
    if step == 0:
        return True
    return grid_fits(step, max(abs(scale * q + offset) for q in bounds), dtype)


def grid_fits(step: Fraction, largest: Fraction, dtype: np.dtype) -> bool:
    """Whether all multiples of ``step`` up to ``largest`` in magnitude are numbers of the float type."""
    if step.denominator & (step.denominator - 1):
        return False
    twos = (step.numerator & -step.numerator).bit_length() - step.denominator.bit_length()
    unit = Fraction(2) ** twos  # the largest power of two that divides the step
    name = np.dtype(dtype).name
    return (
        twos >= _SMALLEST[name]
        and largest / unit <= 1 << MANTISSA[name]
        and largest < Fraction(2) ** (_LARGEST[name] + 1)
    )


def rational_gcd(values: Sequence[Fraction]) -> Fraction:
    """The largest rational of which all ``values`` are integer multiples; 0 when all are 0."""
    numerator, denominator = 0, 1
    for v in values:
        common = denominator * v.denominator // gcd(denominator, v.denominator)
        numerator = gcd(numerator * (common // denominator), v.numerator * (common // v.denominator))
        denominator = common
    return Fraction(numerator, denominator)


def strictly_monotone(steps: Steps, bounds: tuple[int, int], limit: int = 1 << 22) -> bool | None:
    """Whether different q always have different values, for a uniform chain; None when the range is too long to try."""
    if bounds[1] - bounds[0] >= limit:
        found = exact(steps, bounds)
        return None if found is None else bool(found[0].item() != 0)
    values = evaluate(steps, np.arange(bounds[0], bounds[1] + 1))
    return bool((np.diff(values) != 0).all())


def round_table(scale: Fraction, offset: Fraction, bounds: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Correctly rounded float values of scale * q + offset for every q in ``bounds``."""
    lo, hi = bounds
    if _fits(scale, offset, bounds, np.dtype(np.float64)):  # then float64 is exact and rounds once
        return (np.arange(lo, hi + 1) * float(scale) + float(offset)).astype(dtype)
    below = scale.denominator * offset.denominator // gcd(scale.denominator, offset.denominator)
    factor, add = int(scale * below), int(offset * below)
    limit = 1 << (53 if np.dtype(dtype) == np.float64 else 24)
    if below <= limit and max(abs(factor * q + add) for q in bounds) <= limit:
        # both numbers have at most 24 bits, so that rounding the quotient first to 53 and then to 24 bits or fewer is right
        return ((np.arange(lo, hi + 1) * factor + add) / below).astype(dtype)
    return np.array([_round(scale * q + offset, np.dtype(dtype)) for q in range(lo, hi + 1)], dtype)


def _round(value: Fraction, dtype: np.dtype) -> np.floating:
    """Nearest number of the float type, ties to even, without double rounding."""
    if dtype == np.float64:
        return np.float64(value.numerator / value.denominator)
    near = dtype.type(value.numerator / value.denominator)
    around = [np.nextafter(near, dtype.type(-np.inf)), near, np.nextafter(near, dtype.type(np.inf))]
    best = min(around, key=lambda v: (abs(fraction(v) - value), int(v.view(f"u{dtype.itemsize}")) & 1))
    return best
