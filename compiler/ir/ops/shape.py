"""Operations that move integers without changing them, and the split of an integer into its bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import BIT, Type

from .registry import Operands, Result, need_indices, op


def broadcast_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Numpy's broadcast of the shapes; raises GraphError when they do not agree."""
    try:
        return tuple(int(s) for s in np.broadcast_shapes(*shapes))
    except ValueError:
        raise GraphError(f"shapes must broadcast, not {' and '.join(str(list(s)) for s in shapes)}") from None


def need_axis(axis: int, ndim: int) -> int:
    """Check 0 <= axis < ndim and return it; axes count without the batch axis."""
    if not 0 <= axis < ndim:
        raise GraphError(f"axis must be in 0..{ndim - 1}, not {axis}")
    return axis


def _same_type(o: Operands) -> Type:
    types = {v.type for v in o.values}
    if len(types) > 1:
        raise GraphError(f"inputs must have one type, not {' and '.join(sorted(map(str, types)))}")
    return o.values[0].type


def _moved(o: Operands, shape: tuple[int, ...]) -> list[Result]:
    type_ = _same_type(o)
    bounds = min(r[0] for r in o.ranges), max(r[1] for r in o.ranges)
    return [Result(shape, bounds, type_.frac, type_)]


@op("reshape", attrs={"shape": "tuple"})
def reshape(o: Operands) -> list[Result]:
    """The same elements in row-major order under the shape ``shape``."""
    shape = o.attr("shape")
    if int(np.prod(shape, dtype=np.int64)) != o.values[0].size:
        raise GraphError(f"shape {list(shape)} must hold {o.values[0].size} elements")
    return _moved(o, shape)


@op("transpose", attrs={"perm": "tuple"})
def transpose(o: Operands) -> list[Result]:
    """Axis i of the output is axis ``perm[i]`` of the input."""
    shape, perm = o.values[0].shape, o.attr("perm")
    if sorted(perm) != list(range(len(shape))):
        raise GraphError(f"perm must order the axes 0..{len(shape) - 1}, not {list(perm)}")
    return _moved(o, tuple(shape[p] for p in perm))


@op("concat", arity=(1, None), attrs={"axis": "int"})
def concat(o: Operands) -> list[Result]:
    """The inputs one behind the other along ``axis``; all of one type."""
    shapes = [v.shape for v in o.values]
    axis = need_axis(o.attr("axis"), len(shapes[0]))
    rest = {s[:axis] + s[axis + 1 :] for s in shapes}
    if len(rest) > 1 or len({len(s) for s in shapes}) > 1:
        raise GraphError(f"shapes must agree outside axis {axis}, not {' and '.join(str(list(s)) for s in shapes)}")
    total = sum(s[axis] for s in shapes)
    return _moved(o, shapes[0][:axis] + (total,) + shapes[0][axis + 1 :])


@op("slice", attrs={"starts": "tuple", "stops": "tuple", "steps": "tuple"})
def slice_(o: Operands) -> list[Result]:
    """Python's x[start:stop:step] on every axis, steps positive, bounds inside the shape."""
    shape = o.values[0].shape
    starts, stops, steps = o.attr("starts"), o.attr("stops"), o.attr("steps")
    if not len(starts) == len(stops) == len(steps) == len(shape):
        raise GraphError(f"starts, stops and steps must have {len(shape)} entries")
    out = []
    for size, a, b, s in zip(shape, starts, stops, steps, strict=True):
        if not (0 <= a <= b <= size and s > 0):
            raise GraphError(f"slice must have 0 <= start <= stop <= {size} and step > 0, not {a}:{b}:{s}")
        out.append((b - a + s - 1) // s)
    return _moved(o, tuple(out))


@op("gather", attrs={"indices": "tensor", "axis": "int"})
def gather(o: Operands) -> list[Result]:
    """numpy.take(x, indices, axis): ``indices`` are constants of any shape, which replaces the axis."""
    shape, indices = o.values[0].shape, o.attr("indices")
    axis = need_axis(o.attr("axis"), len(shape))
    need_indices(indices, shape[axis])
    return _moved(o, shape[:axis] + tuple(indices.shape) + shape[axis + 1 :])


@op("take", arity=2, attrs={"axis": "int"})
def take(o: Operands) -> list[Result]:
    """numpy.take(x, index, axis) with a computed ``index`` (second input), whose proven range must lie inside the axis."""
    shape, index = o.values[0].shape, o.values[1]
    axis = need_axis(o.attr("axis"), len(shape))
    lo, hi = o.ranges[1]
    if lo < 0 or hi >= shape[axis] or index.type.frac:
        raise GraphError(f"index %{index.name} must be proven in 0..{shape[axis] - 1}, not {lo}..{hi}")
    x = o.values[0]
    return [Result(shape[:axis] + index.shape + shape[axis + 1 :], o.ranges[0], x.type.frac, x.type)]


@op("broadcast", attrs={"shape": "tuple"})
def broadcast(o: Operands) -> list[Result]:
    """numpy.broadcast_to(x, shape)."""
    shape = o.attr("shape")
    if broadcast_shape([o.values[0].shape, shape]) != shape:
        raise GraphError(f"shape {list(o.values[0].shape)} must broadcast to {list(shape)}")
    return _moved(o, shape)


@op("bits")
def bits(o: Operands) -> list[Result]:
    """The two's-complement bits of every element on a new last axis, least significant first."""
    return [Result((*o.values[0].shape, o.values[0].type.width), (0, 1), 0, BIT)]


@op("unbits", attrs={"type": "str"})
def unbits(o: Operands) -> list[Result]:
    """Inverse of ``bits``: the last axis holds ``type``'s bits, least significant first."""
    type_, shape = Type.parse(o.attr("type")), o.values[0].shape
    if not o.values[0].type.is_bit or not shape or shape[-1] != type_.width:
        raise GraphError(f"input must be bit[...,{type_.width}] for type {type_}, not {o.values[0]}")
    return [Result(shape[:-1], type_.range, type_.frac, type_)]
