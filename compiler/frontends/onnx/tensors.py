"""What a tensor of the source model is while it is being imported: a constant, or integers of the graph with a meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .dims import Dim, has_dims
from .floats import Step


@dataclass(frozen=True, slots=True)
class Const:
    """A constant, folded with numpy. Shape arithmetic may leave :class:`.dims.Dim` in it (then the array holds objects)."""

    array: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """Its element type in the source model."""
        return np.dtype(np.int64) if self.array.dtype == object else self.array.dtype

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def symbolic(self) -> bool:
        """Whether it depends on the batch size."""
        return has_dims(self.array)


@dataclass(frozen=True, slots=True)
class Sym:
    """A tensor computed from the inputs.

    The graph's value ``name`` holds integers q of per-sample shape ``shape``; the source tensor has element type ``dtype``, the
    batch axis inserted at ``batch`` (None: the model is one sample), and for float types the values ``steps(q)``.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    batch: int | None
    steps: tuple[Step, ...] = ()
    origin: str | None = None
    """The graph input whose elements these are, when nothing but moves lies between."""
    order_of: str | None = None
    """Set when a monotone function that has no exact integer form (Softmax) was dropped: only the order may be used."""
    order_axis: int | None = None
    """With ``order_of``: the per-sample axis along which alone the order holds (None: everywhere)."""
    data: np.ndarray | None = None
    """Its integers when they do not depend on the inputs (a constant repeated over the batch)."""

    @property
    def rank(self) -> int:
        """Number of axes of the source tensor."""
        return len(self.shape) + (self.batch is not None)

    @property
    def is_float(self) -> bool:
        """Whether the source tensor has a float type."""
        return self.dtype.kind == "f"

    def full_shape(self, batch_size: int | None) -> list[Dim | int]:
        """Shape of the source tensor, the batch axis as N unless its size is fixed."""
        dims: list[Dim | int] = list(self.shape)
        if self.batch is not None:
            dims.insert(self.batch, Dim(0, 1) if batch_size is None else batch_size)
        return dims

    def with_(self, **changes: Any) -> Sym:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A result that cannot be carried; using it raises the reason."""

    reason: str


Tensor = Const | Sym | Opaque
