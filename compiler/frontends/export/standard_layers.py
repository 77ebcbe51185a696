"""Layers that are standard ONNX operators: shapes, element-wise logic, casts, arg-max."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .checks import dtype_name, onnx_type, require
from .model_under_way import ModelUnderWay, Value


class StandardLayers(ModelUnderWay):
    """Standard operators by their per-sample view (no batch axis); see :class:`LogicModelWriter`."""

    def argmax(self, x: Value, name: str | None = None) -> Value:
        """Add the position of the largest value of the last axis, the first of equals: ``[.., G] -> int64 [..]``."""
        name = self._layer_name(name, "argmax")
        return self._standard("ArgMax", [x], x.shape[:-1], "int64", name=name, axis=-1, keepdims=0, select_last_index=0)

    def reshape(self, x: Value, shape: Sequence[int], name: str | None = None) -> Value:
        """Give the samples another ``shape`` (no batch axis; one entry may be -1)."""
        name = self._layer_name(name, "reshape")
        dims = [int(d) for d in shape]
        size = math.prod(x.shape)
        if dims.count(-1) == 1:
            rest = -math.prod(dims)
            if rest and size % rest == 0:
                dims[dims.index(-1)] = size // rest
        require(
            math.prod(dims) == size and all(d > 0 for d in dims),
            f"layer '{name}': shape must hold {size} elements like {list(x.shape)}, not {list(shape)}",
        )
        target = self._constant(f"{name}.shape", np.array([0, *dims], dtype=np.int64))
        return self._standard("Reshape", [x, target], tuple(dims), x.dtype, name=name)

    def flatten(self, x: Value, name: str | None = None) -> Value:
        """Flatten each sample, row-major."""
        name = self._layer_name(name, "flatten")
        return self._standard("Flatten", [x], (math.prod(x.shape),), x.dtype, name=name, axis=1)

    def transpose(self, x: Value, axes: Sequence[int], name: str | None = None) -> Value:
        """Permute the per-sample axes: axis ``i`` of the result is axis ``axes[i]`` of ``x``."""
        name = self._layer_name(name, "transpose")
        order = [int(a) for a in axes]
        require(
            sorted(order) == list(range(len(x.shape))),
            f"layer '{name}': axes must be a permutation of 0..{len(x.shape) - 1}, not {order}",
        )
        shape = tuple(x.shape[a] for a in order)
        return self._standard("Transpose", [x], shape, x.dtype, name=name, perm=[0, *(a + 1 for a in order)])

    def concat(self, values: Sequence[Value], axis: int = -1, name: str | None = None) -> Value:
        """Join values along a per-sample ``axis``."""
        name = self._layer_name(name, "concat")
        require(bool(values), f"layer '{name}': concat must get at least one value")
        first = values[0]
        rank = len(first.shape)
        require(-rank <= axis < rank, f"layer '{name}': axis must be in [{-rank}, {rank}), not {axis}")
        at = axis % rank
        for value in values[1:]:
            fits = len(value.shape) == rank and all(
                a == b for i, (a, b) in enumerate(zip(value.shape, first.shape, strict=True)) if i != at
            )
            require(
                fits and value.dtype == first.dtype,
                f"layer '{name}': '{value.name}' {value.dtype}{list(value.shape)} must match "
                f"'{first.name}' {first.dtype}{list(first.shape)} in all but axis {at}",
            )
        shape = (*first.shape[:at], sum(v.shape[at] for v in values), *first.shape[at + 1 :])
        return self._standard("Concat", list(values), shape, first.dtype, name=name, axis=at + 1)

    def logical_or(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a OR b``, element by element, of two bool values of one shape."""
        return self._binary("Or", a, b, name)

    def logical_and(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a AND b``, element by element, of two bool values of one shape."""
        return self._binary("And", a, b, name)

    def logical_xor(self, a: Value, b: Value, name: str | None = None) -> Value:
        """Add ``a XOR b``, element by element, of two bool values of one shape."""
        return self._binary("Xor", a, b, name)

    def logical_not(self, x: Value, name: str | None = None) -> Value:
        """Add ``NOT x`` of a bool value."""
        name = self._layer_name(name, "not")
        require(x.dtype == "bool", f"layer '{name}': the input must be bool, not {x.dtype}")
        return self._standard("Not", [x], x.shape, "bool", name=name)

    def cast(self, x: Value, dtype: str, name: str | None = None) -> Value:
        """Convert to another element type."""
        name = self._layer_name(name, "cast")
        to = dtype_name(dtype, f"layer '{name}'")
        return self._standard("Cast", [x], x.shape, to, name=name, to=onnx_type(to))

    def standard(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        shape: Sequence[int],
        dtype: str,
        name: str | None = None,
        **attributes: Any,
    ) -> Value:
        """Add any standard operator; ``shape`` and ``dtype`` of the result are the caller's word."""
        return self._standard(op_type, inputs, shape, dtype, name=self._layer_name(name, op_type.lower()), **attributes)

    def _binary(self, op_type: str, a: Value, b: Value, name: str | None) -> Value:
        name = self._layer_name(name, op_type.lower())
        require(
            a.dtype == b.dtype == "bool" and a.shape == b.shape,
            f"layer '{name}': both inputs must be bool of one shape, not {a.dtype}{list(a.shape)} "
            f"and {b.dtype}{list(b.shape)}",
        )
        return self._standard(op_type, [a, b], a.shape, "bool", name=name)
