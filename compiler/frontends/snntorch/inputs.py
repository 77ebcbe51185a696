"""Which axis of a sample is time: found from the elements that each step reads."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.spiking.maps import LinearMap, make

from .values import Expr


class Places:
    """Batch, time and feature axes of every input, from the places that the traced steps read.

    ``roots`` are (expression, step). The time axis is the one whose place is constant inside a step and differs between steps;
    the batch axis is the first other one; the rest are the features of one step.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], roots: list[tuple[Expr, int]]) -> None:
        self.sizes = shapes
        self.time: dict[str, int | None] = {}
        reads: dict[str, list[tuple[np.ndarray, int]]] = {}
        for root, step in roots:
            for leaf in root.leaves():
                if leaf.op == "input":
                    reads.setdefault(leaf.data[0], []).append((leaf.data[1], step))
        for name, items in reads.items():
            self.time[name] = self._time_axis(name, items)

    def _time_axis(self, name: str, items: list[tuple[np.ndarray, int]]) -> int | None:
        shape = self.sizes[name]
        fixed: set[int] | None = None
        for index, _ in items:
            where = np.unravel_index(index.ravel(), shape)
            here = {a for a, places in enumerate(where) if shape[a] > 1 and (places == places[0]).all()}
            fixed = here if fixed is None else fixed & here
        axes = sorted(fixed or ())
        if len(axes) > 1:
            raise UnsupportedError(
                f"input {name!r} is read at one place of the axes {axes}, so it is unclear which is time; give a sample "
                "without the others"
            )
        if axes:
            return axes[0]
        dims = {index.ndim for index, _ in items}
        if dims == {len(shape) - 1} and 1 in shape:  # one step: an axis of length 1 was taken away
            return shape.index(1)
        return None

    def used(self) -> list[str]:
        """Inputs that a neuron reads."""
        return list(self.time)

    def shape(self, name: str) -> tuple[int, ...]:
        """Features of one step."""
        rest = [n for axis, n in enumerate(self.sizes[name]) if axis != self.time[name]]
        return tuple(rest[1:]) or (1,)

    def map(self, name: str, index: np.ndarray, step: int, where: str) -> LinearMap:
        """Which features the elements of ``index`` [batch, ...] are. Raises UnsupportedError when they are of another step."""
        shape, time = self.sizes[name], self.time[name]
        axes = [a for a in range(len(shape)) if a != time]
        if not axes:
            raise InputError(f"input {name!r} must have a batch axis, not the shape {list(shape)}")
        batch, features = axes[0], axes[1:]
        sample = np.unravel_index(index[0].ravel(), shape)
        if (sample[batch] != 0).any():
            raise UnsupportedError(f"{where} mixes samples of the input {name!r}; axis {batch} must be the batch")
        if time is not None and (sample[time] != step).any():
            raise UnsupportedError(f"{where} reads input {name!r} of step {sample[time][0]} in step {step}")
        size = int(np.prod([shape[a] for a in features], dtype=np.int64))
        flat = np.zeros(len(sample[0]), np.int64)
        for a in features:
            flat = flat * shape[a] + sample[a]
        return make(len(flat), size, np.arange(len(flat)), flat, np.ones(len(flat)))
