"""What a tensor of a traced forward pass stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Expr:
    """A value per sample and step: ``op`` of ``args``, of ``shape`` without the batch axis.

    Leaves: ``input`` (name, index array into the sample), ``spikes``, ``membrane`` and ``current`` (layer, call number),
    ``constant`` (numbers). Inner: ``module`` (the torch module), ``sum``, ``scale`` (numbers), ``reshape``, ``matrix``
    (weight, bias), ``avgpool``, ``maxpool`` (window), ``opaque`` (a function that is not carried).
    """

    op: str
    shape: Shape
    args: tuple[Expr, ...] = ()
    data: Any = None
    label: str = ""

    def leaves(self) -> list[Expr]:
        """All leaves under this expression."""
        out, stack = [], [self]
        while stack:
            item = stack.pop()
            stack += item.args
            if not item.args:
                out.append(item)
        return out


@dataclass
class Raw:
    """A tensor that only moves elements of an input: ``index`` are flat places in the sample, in the tensor's own shape."""

    name: str
    index: np.ndarray


@dataclass
class Steps:
    """A tensor stacked from one expression per step along ``axis``."""

    items: list[Any]
    axis: int


@dataclass
class Call:
    """One call of a neuron module: its drive, and its initial membrane in the first call (None: zero)."""

    drive: Expr
    v_init: np.ndarray | None = None


@dataclass
class Neuron:
    """A neuron module with its calls in order."""

    name: str
    path: str
    module: Any
    calls: list[Call] = field(default_factory=list)


def same(a: Expr, b: Expr, at: int, reference: int) -> bool:
    """Whether expression ``a`` of call ``at`` is expression ``b`` of call ``reference``, each seen from its own step.

    In the first steps what was not computed yet is zero, as spikes of earlier steps are.
    """
    if b.op in ("spikes", "membrane") and b.data[1] - reference + at < 0:
        return a.op == "constant" and not np.any(a.data)
    if a.op != b.op or a.shape != b.shape or len(a.args) != len(b.args):
        return False
    if a.op in ("spikes", "membrane"):
        return a.data[0] == b.data[0] and at - a.data[1] == reference - b.data[1]
    if a.op == "input":
        return a.data[0] == b.data[0]  # the places are compared with the steps
    if a.op == "module" or a.op == "opaque":
        if a.data is not b.data:
            return False
    elif isinstance(a.data, np.ndarray) or isinstance(b.data, np.ndarray):
        if not np.array_equal(a.data, b.data):
            return False
    elif a.data != b.data:
        return False
    return all(same(x, y, at, reference) for x, y in zip(a.args, b.args, strict=True))
