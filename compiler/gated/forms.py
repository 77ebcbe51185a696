"""Sums that are not computed yet: what add, sub, mul, shift, matvec and sum build, and a requantize or a store ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.ir.types import Range

from .isa import Rounding
from .locate import Loc


@dataclass(frozen=True)
class Mat:
    """``coef * (weights x + bias)``: ``x`` [..., K], ``weights`` int[O, K], ``bias`` int[O]; the result is [..., O]."""

    x: Loc
    weights: np.ndarray
    bias: np.ndarray
    coef: int = 1


@dataclass(frozen=True)
class Prod:
    """``coef * a * b``, element by element; with ``reduced`` both have one axis more, the last, which is summed over."""

    a: Loc
    b: Loc
    coef: int = 1
    reduced: bool = False


@dataclass(frozen=True)
class Lin:
    """``coef * a``; with ``reduced`` summed over the last axis."""

    a: Loc
    coef: int = 1
    reduced: bool = False


@dataclass(frozen=True)
class Const:
    """Fixed integers of the result's shape, or one for all."""

    data: np.ndarray
    coef: int = 1

    def values(self) -> np.ndarray:
        """The integers, exact at any size."""
        out = np.empty(self.data.shape, object)
        out[...] = self.data.astype(object) * self.coef
        return out


Term = Mat | Prod | Lin | Const


@dataclass(frozen=True)
class Form:
    """A sum of terms: a wide integer of every element, not stored yet."""

    terms: tuple[Term, ...]
    shape: tuple[int, ...]
    bounds: Range
    source: str = ""

    def scaled(self, factor: int) -> tuple[Term, ...]:
        """The terms, multiplied."""
        return tuple(replace(t, coef=t.coef * factor) for t in self.terms)

    def locs(self) -> Iterable[Loc]:
        """Every stored value that the sum reads."""
        for term in self.terms:
            if isinstance(term, Mat):
                yield term.x
            elif isinstance(term, Prod):
                yield term.a
                yield term.b
            elif isinstance(term, Lin):
                yield term.a


@dataclass(frozen=True)
class Spec:
    """How a sum leaves through the ports: shifted right, rounded, fitted into ``width`` bits, looked up at ``tbase``."""

    shift: int
    rounding: Rounding
    wrap: bool
    width: int
    signed: bool
    table: bool = False
    tbase: int = 0

    def fields(self) -> dict[str, int]:
        """The fields of a VEC or DRAIN that say how a row leaves."""
        return {
            "shift": self.shift,
            "rounding": int(self.rounding),
            "wrap": int(self.wrap),
            "width": self.width,
            "signed": int(self.signed),
            "table": int(self.table),
            "tbase": self.tbase,
        }


@dataclass(frozen=True)
class Clipped:
    """max(sum, 0), not computed yet; ``bounds`` are the result's."""

    form: Form
    bounds: Range


@dataclass(frozen=True)
class Emitted:
    """A sum and how it leaves, not computed yet; ``bounds`` are the result's."""

    form: Form
    spec: Spec
    bounds: Range
