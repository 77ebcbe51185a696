"""Sliding windows over channels-last images, and trees of OR and AND over groups of bits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir.ops.logic import conv_shape

from .registry import Call
from .tensors import Sym


def geometry(call: Call, spatial: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """kernel_shape, strides and pads of a windowed operator, checked against the image's spatial axes."""
    n = len(spatial)
    kernel = call.ints("kernel_shape")
    if kernel is None:
        call.bad("attribute 'kernel_shape' must be given")
    strides = call.ints("strides") or [1] * n
    pads = call.ints("pads") or [0] * (2 * n)
    if len(kernel) != n or len(strides) != n or len(pads) != 2 * n:
        call.bad(
            f"kernel_shape, strides and pads must have {n}, {n} and {2 * n} entries for an image with {n} spatial axes, "
            f"not {len(kernel)}, {len(strides)} and {len(pads)}"
        )
    if min(kernel) < 1 or min(strides) < 1 or min(pads) < 0:
        call.bad(f"kernel_shape and strides must be at least 1 and pads at least 0, not {kernel}, {strides} and {pads}")
    return tuple(kernel), tuple(strides), tuple(pads)


def window_pixels(
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Flat pixel of every window: int64[O_1, ..., O_n, prod(kernel)], -1 in the padding; row-major everywhere."""
    n = len(spatial)
    steps = dilations or (1,) * n
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, steps, strict=True))
    out = conv_shape(spatial, extent, strides, pads)
    flat = np.zeros((*out, math.prod(kernel)), np.int64)
    inside = np.ones(flat.shape, bool)
    offsets = np.indices(kernel).reshape(n, -1) * np.array(steps).reshape(n, 1)
    for axis in range(n):
        corner = np.arange(out[axis]) * strides[axis] - pads[axis]
        place = corner.reshape(-1, *[1] * (n - axis)) + offsets[axis]
        inside &= (place >= 0) & (place < spatial[axis])
        flat = flat * spatial[axis] + place
    return np.where(inside, flat, -1)


def bit_tree(call: Call, x: Sym, groups: np.ndarray, kind: str) -> str:
    """``or`` or ``and`` of bits: one result per row of flat indices ``groups`` [M, n]; -1 reads 0. Returns a value bit[M]."""
    name = x.name
    while True:
        count, n = groups.shape
        k = min(n, 6)
        last = n <= k
        rows = -(-n // k)
        if rows * k > n:  # repeat an input: x OR x = x AND x = x
            groups = np.concatenate([groups, np.repeat(groups[:, -1:], rows * k - n, axis=1)], axis=1)
        table = (1 << (1 << k)) - 2 if kind == "or" else 1 << ((1 << k) - 1)
        name = call.importer.emit(
            "lut",
            [name],
            "" if last else kind,
            indices=groups.reshape(-1, k).astype(np.int32),
            tables=np.full(count * rows, table, np.uint64),
        )
        if last:
            return name
        groups = np.arange(count * rows).reshape(count, rows)


def extreme(call: Call, x: Sym, index: np.ndarray, kind: str, shape: Sequence[int]) -> str:
    """Greatest (``max``) or least (``min``) integer of each row of flat indices [M, n], in ``shape``."""
    emit = call.importer.emit
    size = math.prod(x.shape)
    if call.importer.value(x.name).type.is_bit:
        name = bit_tree(call, x, index, "or" if kind == "max" else "and")
    else:
        flat = x.name if len(x.shape) == 1 else emit("reshape", [x.name], "flat", shape=(size,))
        name = emit("gather", [flat], "windows", indices=index.astype(np.int32), axis=0)
        rows, n = index.shape
        while n > 1:
            half = n // 2
            parts = [
                emit("slice", [name], "part", starts=(0, a), stops=(rows, b), steps=(1, 1))
                for a, b in ((0, half), (half, 2 * half))
            ]
            best = emit(kind, parts, kind)
            if n % 2:
                rest = emit("slice", [name], "part", starts=(0, n - 1), stops=(rows, n), steps=(1, 1))
                best = emit("concat", [_typed(call, best, rest), _typed(call, rest, best)], "joined", axis=1)
            name, n = best, half + n % 2
    if call.importer.value(name).shape != tuple(shape):
        name = emit("reshape", [name], shape=tuple(shape))
    return name


def _typed(call: Call, name: str, other: str) -> str:
    """``name`` in a type that also holds ``other`` (concatenation needs one type)."""
    from neuroloom.compiler.ir import smallest_type

    from .build import widened

    a, b = call.importer.range(name), call.importer.range(other)
    return widened(call, name, smallest_type((min(a[0], b[0]), max(a[1], b[1]))))
