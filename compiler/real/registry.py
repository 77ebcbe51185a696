"""The registry of a real program's operations: shapes and kinds by rule, values in float64 by numpy.

A rule gives (shape, kind, bounds) per output. A function gets the node and its inputs [N, *shape] (N samples) and returns its
outputs; reals are float64, integers and bits int64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.ops.shape import broadcast_shape
from neuroloom.compiler.ir.types import Range

from .program import RealNode, RealValue

Outcome = tuple[tuple[int, ...], str, Range | None]
"""Shape, kind and (integers, bits) proven bounds of a result."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a rule sees: the node, its input values, and the values that its regions yield."""

    node: RealNode
    values: tuple[RealValue, ...]
    inside: tuple[tuple[RealValue, ...], ...] = ()

    @property
    def attrs(self) -> dict[str, Any]:
        """The node's attributes."""
        return self.node.attrs

    def kind(self, first: int = 0) -> str:
        """The one kind of the inputs from number ``first`` on."""
        kinds = {v.kind for v in self.values[first:]}
        if len(kinds) != 1:
            raise GraphError(f"inputs of {self.node.op} must be of one kind, not {' and '.join(sorted(kinds))}")
        return kinds.pop()

    def shape(self) -> tuple[int, ...]:
        """The broadcast shape of the inputs."""
        return broadcast_shape([v.shape for v in self.values])

    def hull(self, first: int = 0) -> Range | None:
        """Bounds that hold the inputs from number ``first`` on; None for reals."""
        return union([v.bounds for v in self.values[first:]])


def union(bounds: Sequence[Range | None]) -> Range | None:
    """The bounds that hold all of ``bounds``."""
    known = [b for b in bounds if b is not None]
    return (min(b[0] for b in known), max(b[1] for b in known)) if known else None


Rule = Callable[[Seen], list[Outcome]]
Function = Callable[..., "np.ndarray | list[np.ndarray]"]
RULES: dict[str, Rule] = {}
OPERATIONS: dict[str, Function] = {}
"""The meaning of every operation but the control regions, which :mod:`.evaluate` runs itself."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def meaning(name: str) -> Callable[[Function], Function]:
    """Register the decorated function as the meaning of operation ``name``."""

    def register(function: Function) -> Function:
        OPERATIONS[name] = function
        return function

    return register


def infer(node: RealNode, values: Sequence[RealValue], inside: Sequence[Sequence[RealValue]] = ()) -> list[Outcome]:
    """Shapes, kinds and bounds of a node's outputs; raises GraphError where its operands do not fit."""
    return RULES[node.op](Seen(node, tuple(values), tuple(tuple(r) for r in inside)))


def aligned(*arrays: np.ndarray) -> list[np.ndarray]:
    """Insert axes behind the batch axis so that numpy broadcasts the shapes and not the batch."""
    ndim = max(a.ndim for a in arrays)
    return [a.reshape(len(a), *[1] * (ndim - a.ndim), *a.shape[1:]) for a in arrays]
