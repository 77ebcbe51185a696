"""What the parts of a network are made of: dataclasses that may hold arrays, and the rules of their fields."""

from __future__ import annotations

import dataclasses
from numbers import Real
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError


class Fields:
    """Equality of dataclasses that may hold arrays, and their fields that differ from the defaults."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            same(getattr(self, f.name), getattr(other, f.name))
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        )

    __hash__ = None  # type: ignore[assignment]

    def given(self) -> dict[str, Any]:
        """The fields that differ from their defaults, in order."""
        out = {}
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.default is dataclasses.MISSING or not same(value, f.default):
                out[f.name] = value
        return out


def same(a: Any, b: Any) -> bool:
    """Whether two fields are equal; arrays element by element."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, dict):
        return type(a) is type(b) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, Real) and isinstance(b, Real):
        return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
    return type(a) is type(b) and bool(a == b)


def need_choice(what: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise InputError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise InputError(f"{what} must be one of {', '.join(choices)}, not {value!r}")


def need_finite(what: str, value: Any) -> None:
    """Raise InputError when ``value`` (a number or an array) holds NaN or infinity, or no numbers at all."""
    array = np.asarray(value)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what} must be numbers, not {value!r}")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0] if array.ndim else array
        where = f" (at {int(np.flatnonzero(~np.isfinite(array.ravel()))[0])})" if array.ndim else ""
        raise InputError(f"{what} must be finite, not {bad}{where}")


def need_steps(what: str, value: Any) -> None:
    """Raise InputError unless ``value`` is an integer number of steps, at least 0."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise InputError(f"{what} must be a number of steps of at least 0, not {value!r}")


def need_seed(seed: Any) -> None:
    """Raise InputError unless ``seed`` is a state of the LFSR, 1..2**32 − 1."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 < seed < 1 << 32:
        raise InputError(f"seed must be in 1..{(1 << 32) - 1}, not {seed!r}")
