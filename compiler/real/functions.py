"""Functions of one real number: in float64 for calibration, and correctly rounded into tables of integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Range, Type

from .interval import Interval, Undecided, pi

MAX_BITS = 1 << 13
"""Most bits that rounding an entry may take; a transcendental value of a rational number is decided long before."""


@dataclass(frozen=True, slots=True)
class RealFunction:
    """A function f(x, parameters): ``real`` in float64 on arrays, ``exact`` on intervals.

    ``least`` is the smallest x that it is defined for; where ``open`` it is not defined there itself, and tables hold the limit
    ``limit`` (-1: towards minus infinity, 1: plus infinity) for what lies outside.
    """

    real: Callable[..., np.ndarray]
    exact: Callable[..., Interval]
    least: int | None = None
    open: bool = False
    limit: int = 0


FUNCTIONS: dict[str, RealFunction] = {}


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


def _tanh(x: Any) -> Any:
    return 1 - 2 / (1 + (x * 2).exp())


def _piecewise(x: Interval, negative: Callable[[], Interval], positive: Callable[[], Interval]) -> Interval:
    """One side's formula; both agree at 0."""
    if x.exact:
        return positive() if x.lo >= 0 else negative()
    return positive() if x.sign() >= 0 else negative()


def _step(x: Interval, rounding: Callable[[Fraction], int]) -> Interval:
    ends = {rounding(Fraction(end, 1 << x.bits)) for end in (x.lo, x.hi)}
    if len(ends) > 1:
        raise Undecided
    return Interval.of(ends.pop(), x.bits)


def _gelu_tanh(x: Interval) -> Interval:
    inner = (2 / pi(x.bits)).sqrt() * (x + x * x * x * Interval.of(Fraction(44715, 1000000), x.bits))
    return x * (1 + _tanh(inner)) / 2 if not x.is_number(0) else x


def _register(name: str, real: Callable[..., Any], exact: Callable[..., Interval], **options: Any) -> None:
    FUNCTIONS[name] = RealFunction(real, exact, **options)


def _stable_sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _mish(x: Interval) -> Interval:
    e = (1 + x.exp()) * (1 + x.exp())
    return x * (e - 1) / (e + 1)


_register("sigmoid", _stable_sigmoid, _sigmoid)
_register("tanh", np.tanh, _tanh)
_register("exp", np.exp, lambda x: x.exp())
_register("log", np.log, lambda x: x.ln(), least=0, open=True, limit=-1)
_register("sqrt", np.sqrt, lambda x: x.sqrt(), least=0)
_register("reciprocal", lambda x: 1 / x, lambda x: 1 / x)
_register("rsqrt", lambda x: 1 / np.sqrt(x), lambda x: 1 / x.sqrt(), least=0, open=True, limit=1)
_register("square", np.square, lambda x: x * x)
_register("erf", _erf, lambda x: x.erf())
_register(
    "gelu",
    lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    lambda x: x * (1 + (x / Interval.of(2, x.bits).sqrt()).erf()) / 2 if not x.is_number(0) else x,
)
_register("gelu_tanh", lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), _gelu_tanh)
_register("softplus", _softplus, lambda x: (1 + x.exp()).ln())
_register("softsign", lambda x: x / (1 + np.abs(x)), lambda x: _piecewise(x, lambda: x / (1 - x), lambda: x / (1 + x)))
_register("mish", lambda x: x * np.tanh(_softplus(x)), lambda x: _mish(x) if not x.is_number(0) else x)
_register("silu", lambda x, a: x * _stable_sigmoid(a * x), lambda x, a: x * _sigmoid(x * a))
_register("leaky_relu", lambda x, a: np.where(x < 0, a * x, x), lambda x, a: _piecewise(x, lambda: x * a, lambda: x))
_register(
    "thresholded_relu",
    lambda x, a: np.where(x > a, x, 0.0),
    lambda x, a: x if (x - a).sign() > 0 else Interval(0, 0, x.bits),
)
_register(
    "elu",
    lambda x, a: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
    lambda x, a: _piecewise(x, lambda: a * (x.exp() - 1), lambda: x),
)
_register(
    "selu",
    lambda x, a, g: g * np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
    lambda x, a, g: g * _piecewise(x, lambda: a * (x.exp() - 1), lambda: x),
)
_register(
    "celu",
    lambda x, a: np.maximum(x, 0) + np.minimum(0, a * np.expm1(np.minimum(x, 0) / a)),
    lambda x, a: _piecewise(x, lambda: a * ((x / a).exp() - 1), lambda: x),
)
_register("scaled_tanh", lambda x, a, b: a * np.tanh(b * x), lambda x, a, b: a * _tanh(x * b))
_register("hard_sigmoid", lambda x, a, b: np.clip(a * x + b, 0, 1), lambda x, a, b: (a * x + b).most(0).least(1))
_register(
    "hard_swish",
    lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    lambda x: x * ((x + 3) / 6).most(0).least(1),
)
_register("floor", np.floor, lambda x: _step(x, math.floor))
_register("ceil", np.ceil, lambda x: _step(x, math.ceil))
_register("round", np.rint, lambda x: _step(x, round))
_register("sign", np.sign, lambda x: Interval.of(x.sign(), x.bits))


GUARD = 2.0**-32
"""Largest error of float64, relative to the sizes of x and f(x), that a table may meet and still be right (any libm is a hundred
thousand times better). Entries that such an error could change are computed in intervals instead."""


def tabulate(
    name: str,
    params: Sequence[Fraction],
    bounds: Range,
    frac: int,
    out: Type,
    *,
    step: Fraction | None = None,
    unit: Fraction | None = None,
) -> np.ndarray:
    """The table of ``f(q * 2**-frac)`` for q in ``bounds``, in integers of ``out``: nearest, ties to even, saturated.

    ``step`` (in place of 2**-frac) and ``unit`` (the real value of one integer of ``out``) may be any rationals. Every entry is the
    correctly rounded one: float64 proposes, and whatever lies within :data:`GUARD` of a boundary (ties among them) is computed in
    intervals of growing precision until both ends round to the same integer. Returns int64[hi - lo + 1].
    """
    step = Fraction(2) ** -frac if step is None else step
    unit = Fraction(2) ** -out.frac if unit is None else unit
    return np.array(_tabulate(name, tuple(params), bounds, step, out, unit), np.int64)


@lru_cache(maxsize=256)
def _tabulate(
    name: str, params: tuple[Fraction, ...], bounds: Range, step: Fraction, out: Type, unit: Fraction
) -> tuple[int, ...]:
    q = np.arange(bounds[0], bounds[1] + 1)
    x = q * float(step)
    with np.errstate(all="ignore"):
        real = np.asarray(FUNCTIONS[name].real(x, *map(float, params)), np.float64)
        scaled = real / float(unit)
        doubt = GUARD * ((np.abs(x) + np.abs(real) + 1) / float(unit) + 256)
        sure = np.isfinite(scaled) & (np.abs(scaled - np.floor(scaled) - 0.5) > doubt) & (doubt < 0.25)
        near = np.clip(np.rint(scaled), out.lo, out.hi)
        beyond = np.isfinite(scaled) & (doubt < 0.25 * np.abs(scaled))
        over, under = beyond & (scaled > out.hi + 1 + 2 * doubt), beyond & (scaled < out.lo - 1 - 2 * doubt)
    if name in STEPS:
        sure = (np.abs(scaled) < 2.0**52) & _is_dyadic(step) & _is_dyadic(unit)
    entries = np.where(over, out.hi, np.where(under, out.lo, np.where(sure, near, 0))).astype(np.int64).tolist()
    for at in np.flatnonzero(~(sure | over | under)):
        entries[at] = entry(name, params, int(q[at]) * step, out, unit)
    return tuple(entries)


def _is_dyadic(value: Fraction) -> bool:
    """Whether a rational is a power of two, so that float64's products and quotients with it are exact."""
    parts = value.numerator, value.denominator
    return all(p & (p - 1) == 0 for p in parts)


STEPS = frozenset({"floor", "ceil", "round", "sign", "thresholded_relu"})
"""Functions that jump, and that float64 computes exactly from a number of so few bits; ties of coarser steps too."""


def entry(name: str, params: tuple[Fraction, ...], x: Fraction, out: Type, unit: Fraction | None = None) -> int:
    """f(x), correctly rounded to an integer of ``out`` of which each stands for ``unit`` (2**-frac when None)."""
    times = 1 / (Fraction(2) ** -out.frac if unit is None else unit)
    function = FUNCTIONS[name]
    if function.least is not None and (x < function.least or (function.open and x == function.least)):
        return {-1: out.lo, 0: 0, 1: out.hi}[function.limit]
    if name == "reciprocal" and x == 0:
        return out.hi  # the limit from above; a calibrated format reaches 0 only by rounding
    bits = 64
    while bits <= MAX_BITS:
        try:
            value = function.exact(Interval.of(x, bits), *(Interval.of(p, bits) for p in params))
            if out.frac < bits:
                return min(max(value.times(times).rounded(), out.lo), out.hi)
        except Undecided:
            pass
        bits *= 2
    raise GraphError(f"{name} of {x} lies within 2**-{MAX_BITS} of a rounding boundary")
