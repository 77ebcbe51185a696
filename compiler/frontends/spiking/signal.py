"""What flows between the nodes of an imported network: sums of linear maps of spikes and inputs, plus a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError

from .maps import LinearMap, compose, identity, limit

SPIKES, INPUT, MEMBRANE = "spikes", "input", "membrane"
"""What a term of a signal starts from: a layer's spikes, a graph input, or a layer's graded membrane."""

Origin = tuple[str, str]
"""(kind, name) of where a term starts."""


@dataclass(frozen=True)
class Signal:
    """A signal of ``shape`` (no batch): ``sum over terms of map(origin) + bias``; bias float64 [size], C order."""

    shape: tuple[int, ...]
    terms: dict[Origin, LinearMap]
    bias: np.ndarray

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def plain(self) -> bool:
        """Whether every element is one element of one origin, unchanged and at the same step."""
        maps = list(self.terms.values())
        if len(maps) != 1 or self.bias.any():
            return False
        only = maps[0]
        return (
            only.size == self.size
            and bool((only.value == 1).all() and (only.delay == 0).all())
            and len(np.unique(only.row)) == self.size
        )

    def reshaped(self, shape: tuple[int, ...], where: str) -> Signal:
        """The same elements in another shape. Raises InputError when the sizes differ."""
        if int(np.prod(shape, dtype=np.int64)) != self.size:
            raise InputError(f"{where}: shape must keep {self.size} elements, not {list(shape)}")
        return replace(self, shape=tuple(int(n) for n in shape))

    def mapped(self, linear: LinearMap, shape: tuple[int, ...], where: str, bias: np.ndarray | None = None) -> Signal:
        """``linear`` of this signal, plus ``bias``. Raises InputError when the sizes do not fit."""
        if linear.cols != self.size:
            raise InputError(f"{where}: input must have {linear.cols} elements, not {self.size}")
        late = linear.delay > 0
        if late.any() and self.bias.any():
            raise UnsupportedError(
                f"{where}: a delayed constant starts later than the network; move the delay in front of the bias"
            )
        constant = np.bincount(linear.row, linear.value * self.bias[linear.col], linear.rows)
        return Signal(
            shape,
            {origin: compose(linear, old, where) for origin, old in self.terms.items()},
            constant if bias is None else constant + bias,
        )

    def scaled(self, factor: np.ndarray | float) -> Signal:
        """Every element times a number, or times one per element."""
        gain = np.broadcast_to(np.asarray(factor, np.float64).reshape(-1), (self.size,))
        return replace(self, terms={k: m.scaled(gain) for k, m in self.terms.items()}, bias=self.bias * gain)

    def shifted(self, constant: np.ndarray | float) -> Signal:
        """Every element plus a number, or plus one per element."""
        return replace(self, bias=self.bias + np.asarray(constant, np.float64).reshape(-1))

    def delayed(self, steps: np.ndarray | int, where: str) -> Signal:
        """Every element later by ``steps`` (one number, or one per element)."""
        late = np.broadcast_to(np.asarray(steps, np.int64).reshape(-1), (self.size,))
        if (self.bias[late > 0] != 0).any():
            raise UnsupportedError(
                f"{where}: a delayed constant starts later than the network; move the delay in front of the bias"
            )
        return replace(self, terms={k: m.delayed(late) for k, m in self.terms.items()})

    def plus(self, other: Signal, where: str) -> Signal:
        """The sum of two signals of one shape. Raises InputError when the shapes differ."""
        if self.shape != other.shape:
            raise InputError(f"{where}: shapes of a sum must agree, not {list(self.shape)} and {list(other.shape)}")
        terms = dict(self.terms)
        for origin, linear in other.terms.items():
            terms[origin] = terms[origin].plus(linear) if origin in terms else linear
        return Signal(self.shape, terms, self.bias + other.bias)


def of(kind: str, name: str, shape: tuple[int, ...]) -> Signal:
    """The signal that is an input, a layer's spikes or its membrane itself. Raises UnsupportedError when it is too large."""
    size = math.prod(int(n) for n in shape)
    limit(size, f"{kind} of {name!r}")
    return Signal(tuple(int(n) for n in shape), {(kind, name): identity(size)}, np.zeros(size))


def constant(shape: tuple[int, ...], values: np.ndarray | float = 0.0) -> Signal:
    """A signal that is the same numbers in every step."""
    size = int(np.prod(shape, dtype=np.int64))
    return Signal(tuple(int(n) for n in shape), {}, np.broadcast_to(np.asarray(values, np.float64).ravel(), (size,)))
