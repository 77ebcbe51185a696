"""Gathering, padding, pooling, and moves that are tables of indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.arguments import padded_index
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Opaque, Sym, Tensor
from neuroloom.compiler.frontends.onnx.windows import extreme, window_pixels
from neuroloom.compiler.ir import smallest_type


def _checked(call: Call, indices: np.ndarray, size: int) -> np.ndarray:
    """Constant indices counted from 0; negative ones count from the end."""
    if indices.dtype == object or indices.dtype.kind not in "ui":
        call.bad(f"indices must be integers, not {indices.dtype}")
    indices = indices.astype(np.int64)
    bad = (indices < -size) | (indices >= size)
    if bad.any():
        at = [int(i) for i in np.argwhere(bad)[0]]
        call.bad(f"index {int(indices[tuple(at)])} at {at} must be in {-size}..{size - 1}")
    return np.where(indices < 0, indices + size, indices)


@operator("Gather")
def gather(call: Call) -> Sym:
    """numpy.take: constant indices into a computed tensor, or computed indices into a constant or a single sample."""
    data, indices = call.tensor(0), call.tensor(1)
    if isinstance(indices, Sym):
        return _computed(call, data, indices)
    assert isinstance(data, Sym)
    axis = call.sample_axis(data, call.integer("axis", 0), "gathering along")
    index = _checked(call, call.const(1, "indices"), data.shape[axis])
    at = call.axis(call.integer("axis", 0), data.rank)
    batch = data.batch if data.batch is None or at > data.batch else data.batch + index.ndim - 1
    name = call.importer.emit("gather", [data.name], indices=index.astype(np.int32), axis=axis)
    return build.move(call, data, name, batch, lambda a: np.take(a, index, axis)).with_(origin=None)


def _computed(call: Call, data: Const | Sym, indices: Sym) -> Sym:
    build.need_integers(call, indices, "indices")
    axis = call.axis(call.integer("axis", 0), data.rank)
    if isinstance(data, Sym):
        if data.batch is not None:
            call.refuse("computed indices into a computed tensor would mix samples", "use GatherElements")
        index = _bounded(call, indices, data.shape[axis])
        build.check_order_only(call, data)
        if not floats.uniform(data.steps):
            call.refuse("the float elements to choose from have different scales", "use one scale for all elements")
        name = call.importer.emit("take", [data.name, index], axis=axis)
        return data.with_(name=name, shape=call.importer.value(name).shape, origin=None, data=None)
    if axis:
        call.refuse("computed indices into a constant are supported along axis 0 only", "transpose the constant")
    return _looked_up(call, data.array, indices)


def _looked_up(call: Call, array: np.ndarray, indices: Sym) -> Sym:
    """Rows of a constant by computed index: a table, or a take when rows have several elements."""
    build.number_constant(call, array)
    index = _bounded(call, indices, array.shape[0])
    if array.ndim > 1 and indices.batch:
        call.refuse("computed indices into a constant with several axes need the batch axis first")
    steps: floats.Steps = ()
    entries = array.astype(np.int64) if array.dtype.kind != "f" else build.integer_values(call, array)
    if array.dtype.kind == "f":
        if not (entries == array).all():
            call.refuse("a float table indexed by computed indices must hold integers only", "use an integer table")
        steps = (floats.cast_step(array.dtype),)
    if array.ndim == 1:
        type_ = smallest_type((int(entries.min()), int(entries.max())))
        name = call.importer.emit("table", [index], entries=entries, lo=0, type=str(type_))
    else:
        name = call.importer.emit("take", [build.constant_value(call, entries), index], axis=0)
    return Sym(name, array.dtype, call.importer.value(name).shape, indices.batch, steps)


def _bounded(call: Call, indices: Sym, size: int) -> str:
    """The indices, limited to the axis where they are not proven inside; outside it the source has no result anyway."""
    lo, hi = call.importer.range(indices.name)
    name = indices.name
    if lo < 0:
        call.refuse(f"computed indices in {lo}..{hi} may count from the end", "make them unsigned")
    if hi >= size:
        name = call.importer.emit("min", [name, build.constant_value(call, np.array(size - 1))], "limited")
        call.record(f"computed indices are limited to {size - 1}; the source fails on larger ones")
    return name


@operator("GatherElements")
def gather_elements(call: Call) -> Sym:
    """out[i][j] = data[index[i][j]][j] (axis 0): constant indices, or computed ones along the only axis of a sample."""
    data, indices = call.sym(0), call.tensor(1)
    axis = call.sample_axis(data, call.integer("axis", 0), "gathering along")
    if indices.rank != data.rank:
        call.bad(f"indices must have {data.rank} axes like the data, not {indices.rank}")
    if isinstance(indices, Sym) and indices.data is None:
        if len(data.shape) != 1 or data.batch != indices.batch:
            call.refuse("computed indices are supported for one axis per sample only")
        build.check_order_only(call, data)
        if not floats.uniform(data.steps):
            call.refuse("the float elements to choose from have different scales", "use one scale for all elements")
        name = call.importer.emit("take", [data.name, _bounded(call, indices, data.shape[0])], axis=0)
        return data.with_(name=name, shape=indices.shape, origin=None, data=None)
    if isinstance(indices, Sym):
        assert indices.data is not None
        index = indices.data
    else:
        index = build.sample_constant(call, indices.array, data.rank, data.batch)
        if data.batch is not None and call.importer.batch_size != indices.array.shape[data.batch]:
            call.refuse("constant indices have a batch axis of one, so only the first sample would be gathered")
    index = _checked(call, index, data.shape[axis])
    if any(a > b for i, (a, b) in enumerate(zip(index.shape, data.shape, strict=True)) if i != axis):
        call.bad(f"indices must not be larger than the data outside axis {axis}")
    where: list[Any] = list(np.indices(index.shape))
    where[axis] = index
    return build.gathered(call, data, build.flat_index(data)[tuple(where)], data.batch)


@operator("GatherND")
def gather_nd(call: Call) -> Sym:
    """Elements or slices by index tuples over the first axes: constant tuples, or computed ones into a constant."""
    data, array, dims = call.tensor(0), call.tensor(1), call.integer("batch_dims", 0)
    if isinstance(array, Sym) and array.data is None:
        return _computed_tuples(call, data, array, dims)
    assert isinstance(data, Sym)
    index = array.data if isinstance(array, Sym) else array.array
    assert index is not None
    batch: int | None
    if isinstance(array, Sym) and array.batch is not None:
        if dims != 1 or data.batch != 0 or array.batch != 0:
            call.refuse("indices repeated over the batch need batch_dims = 1 and the batch axis first")
        dims, batch, lead = 0, 0, 0
    else:
        depth = index.shape[-1] if index.ndim else 0
        batch, lead = data.batch, dims + depth
        if batch is not None and batch < lead:
            call.refuse(
                "indices along the batch axis would mix samples", "give batch_dims and indices repeated over the batch"
            )
    if data.shape[:dims] != index.shape[:dims]:
        call.bad(
            f"the first {dims} axes of data and indices must agree, not {list(data.shape)} and {list(index.shape)}"
        )
    depth = index.shape[-1] if index.ndim else 0
    if not 1 <= depth <= len(data.shape) - dims:
        call.bad(f"index tuples must have 1 to {len(data.shape) - dims} entries, not {depth}")
    parts = tuple(_checked(call, index[..., i], data.shape[dims + i]) for i in range(depth))
    if batch is not None and lead:
        batch += index.ndim - 1 - lead + dims
    if depth == 1 and not dims:
        name = call.importer.emit("gather", [data.name], indices=parts[0].astype(np.int32), axis=0)
        return build.move(call, data, name, batch, lambda a: np.take(a, parts[0], 0)).with_(origin=None)
    shared = np.indices(index.shape[:-1], sparse=True)[:dims]
    return build.gathered(call, data, build.flat_index(data)[(*shared, *parts)], batch)


def _computed_tuples(call: Call, data: Const | Sym, tuples: Sym, dims: int) -> Sym:
    """Look computed index tuples up in a constant, flattened to one axis."""
    depth = tuples.shape[-1] if tuples.shape and tuples.batch != tuples.rank - 1 else 0
    if not isinstance(data, Const) or dims or data.array.ndim != depth or tuples.is_float:
        call.refuse(
            "computed index tuples are supported for all axes of a constant only", "use Gather or GatherElements"
        )
    lo, hi = call.importer.range(tuples.name)
    if lo < 0:
        call.refuse(f"computed indices in {lo}..{hi} may count from the end", "make them unsigned")
    strides = np.array([math.prod(data.array.shape[i + 1 :]) for i in range(depth)], np.int64)
    scaled = call.importer.emit("mul", [tuples.name, build.constant_value(call, strides, part="strides")], "scaled")
    flat = call.importer.emit("sum", [scaled], "address", axes=(len(tuples.shape) - 1,))
    address = Sym(flat, np.dtype(np.int64), tuples.shape[:-1], tuples.batch)
    return _looked_up(call, data.array.reshape(-1), address)


@operator("Pad")
def pad(call: Call) -> Sym:
    """Grow (or crop) axes: a constant, the edge, a reflection, or wrapped around."""
    x = call.sym(0)
    index = padded_index(call, x)
    fill = _fill(call, x) if (index < 0).any() else None
    return build.gathered(call, x, index, x.batch, fill)


def _fill(call: Call, x: Sym) -> int:
    """The integer that stands for the padding value."""
    value = call.const(2, "the padding value").reshape(-1)[:1] if call.has(2) else np.array([call.real("value", 0.0)])
    value = build.number_constant(call, value.astype(x.dtype)) if value.size else np.zeros(1, x.dtype)
    return _integer_of(call, x, value)


def _zero(call: Call, x: Sym) -> int:
    return _integer_of(call, x, np.zeros(1, x.dtype))


def _integer_of(call: Call, x: Sym, value: np.ndarray) -> int:
    """The integer q of ``x`` that means ``value``."""
    if not x.is_float:
        return int(value[0])
    build.check_order_only(call, x)
    if not floats.uniform(x.steps):
        call.refuse("padding elements of different scales is not supported", "pad before scaling")
    lo, hi = call.importer.range(x.name)
    bounds = (lo, hi) if any(s.kind == "table" for s in x.steps) else (min(lo, -(1 << 24)), max(hi, 1 << 24))
    q = int(np.clip(floats.first_reaching(x.steps, floats.direction(x.steps), value[0], bounds, False), *bounds))
    if floats.evaluate(x.steps, np.array(q)) != value[0]:
        call.refuse(f"the filling value {value[0]} is not one of the values that the input's integers stand for")
    return q


Four = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def pool_geometry(call: Call, spatial: tuple[int, ...]) -> Four:
    """kernel_shape, strides, pads and dilations of a pooling operator, auto_pad and ceil_mode written out as pads."""
    n = len(spatial)
    kernel = call.ints("kernel_shape") or []
    strides, pads = call.ints("strides") or [1] * n, call.ints("pads") or [0] * (2 * n)
    dilations, auto = call.ints("dilations") or [1] * n, call.text("auto_pad", "NOTSET")
    entries = [len(kernel), len(strides), len(pads), len(dilations)]
    if entries != [n, n, 2 * n, n] or min([*kernel, *strides, *dilations]) < 1 or min(pads) < 0:
        call.bad(
            f"kernel_shape, strides, pads and dilations must have {n}, {n}, {2 * n} and {n} entries, not {entries}"
        )
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-d // s) - 1) * s + e - d, 0) for d, s, e in zip(spatial, strides, extent, strict=True)]
        low = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
        pads = [*low, *(t - a for t, a in zip(total, low, strict=True))]
    elif auto == "VALID":
        pads = [0] * (2 * n)
    elif auto != "NOTSET":
        call.bad(f"auto_pad must be NOTSET, SAME_UPPER, SAME_LOWER or VALID, not {auto!r}")
    if any(p >= e for p, e in zip(pads, [*extent, *extent], strict=True)):
        call.bad(f"pads must be smaller than the window {extent}, not {pads}")
    if call.integer("ceil_mode", 0):
        for i, (d, e, s) in enumerate(zip(spatial, extent, strides, strict=True)):
            count = -(-(d + pads[i] + pads[n + i] - e) // s) + 1
            count -= (count - 1) * s >= d + pads[i]  # a window must start inside the image or its left padding
            pads[n + i] = max((count - 1) * s + e - d - pads[i], 0)
    return tuple(kernel), tuple(strides), tuple(pads), tuple(dilations)


@operator("MaxPool")
def max_pool(call: Call) -> list[Tensor]:
    """The largest element of every window, channels first; OR on bits."""
    x = call.sym(0)
    build.check_order_only(call, x)
    if x.batch not in (0, None) or x.rank < 3 or (x.batch is None and x.shape[0] != 1):
        call.bad("input must be [N, C, D_1, ..., D_n] with the batch axis first")
    inner = x.shape if x.batch is not None else x.shape[1:]
    channels, spatial = inner[0], inner[1:]
    kernel, strides, pads, dilations = pool_geometry(call, spatial)
    if x.is_float and not floats.uniform(x.steps):
        call.refuse("pooling elements of different scales is not supported", "pool before scaling")
    falling = x.is_float and int(floats.direction(x.steps)) < 0
    pixels = window_pixels(spatial, kernel, strides, pads, dilations)
    if (pixels.max(axis=-1) < 0).any():
        call.refuse("a window lies in the padding alone, where the source gives its lowest number", "pad less")
    inside = np.where(pixels < 0, pixels.max(axis=-1, keepdims=True), pixels)  # padding never wins
    size = math.prod(spatial)
    index = np.arange(channels).reshape(-1, *[1] * inside.ndim) * size + inside
    build.size_guard(call, index.shape)
    shape = (*(() if x.batch is not None else (1,)), channels, *inside.shape[:-1])
    name = extreme(call, x, index.reshape(-1, index.shape[-1]), "min" if falling else "max", shape)
    result = Sym(name, x.dtype, shape, x.batch, x.steps)
    return [result, Opaque(f"{call.where}: the indices of MaxPool are not supported; use its first output only")]


def _blocks(call: Call) -> tuple[Sym, tuple[int, int, int], int]:
    x, block = call.sym(0), call.integer("blocksize")
    inner = x.shape if x.batch is not None else x.shape[1:]
    if x.batch not in (0, None) or len(inner) != 3 or block < 1:
        call.bad("input must be [N, C, H, W] with the batch axis first, and blocksize at least 1")
    return x, inner, block


@operator("DepthToSpace")
def depth_to_space(call: Call) -> Sym:
    """Channels into blocks of pixels, DCR or CRD."""
    x, (c, h, w), b = _blocks(call)
    if c % (b * b):
        call.bad(f"blocksize {b} squared must divide the {c} channels")
    index = np.arange(c * h * w)
    if call.text("mode", "DCR") == "DCR":
        index = index.reshape(b, b, c // (b * b), h, w).transpose(2, 3, 0, 4, 1)
    else:
        index = index.reshape(c // (b * b), b, b, h, w).transpose(0, 3, 1, 4, 2)
    return _each_image(call, x, index.reshape(c // (b * b), h * b, w * b))


@operator("SpaceToDepth")
def space_to_depth(call: Call) -> Sym:
    """Blocks of pixels into channels."""
    x, (c, h, w), b = _blocks(call)
    if h % b or w % b:
        call.bad(f"blocksize {b} must divide the image of {h} x {w}")
    order = (2, 4, 0, 1, 3) if call.text("mode", "DCR") == "DCR" else (0, 2, 4, 1, 3)
    index = np.arange(c * h * w).reshape(c, h // b, b, w // b, b).transpose(order)
    return _each_image(call, x, index.reshape(c * b * b, h // b, w // b))


def _each_image(call: Call, x: Sym, index: np.ndarray) -> Sym:
    """Move the elements of one image, or of each image of a model that is a single sample."""
    if x.batch is None:
        index = np.arange(x.shape[0]).reshape(-1, 1, 1, 1) * index.size + index
    return build.gathered(call, x, index, x.batch)


@operator("Trilu")
def trilu(call: Call) -> Sym:
    """The upper or lower triangle of the last two axes; the rest is 0."""
    x = call.sym(0)
    k = call.const_ints(1, "k")[0] if call.has(1) else 0
    if len(x.shape) < 2 or (x.batch is not None and x.batch >= x.rank - 2):
        call.bad("input must have two axes behind the batch axis")
    keep = (
        np.triu(np.ones(x.shape[-2:], bool), k) if call.integer("upper", 1) else np.tril(np.ones(x.shape[-2:], bool), k)
    )
    index = np.where(keep, build.flat_index(x), -1)
    return build.gathered(call, x, index, x.batch, _zero(call, x) if (index < 0).any() else None)


@operator("Compress")
def compress(call: Call) -> Sym:
    """The elements along an axis where a constant condition is true."""
    x, keep = call.sym(0), call.const(1, "the condition").astype(bool)
    if "axis" not in call.attributes:
        if x.batch is not None:
            call.refuse("without an axis, Compress would mix samples", "give the axis")
        index = build.flat_index(x).reshape(-1)[: keep.size]
        return build.gathered(call, x, index[keep[: index.size]], None)
    axis = call.sample_axis(x, call.integer("axis"), "choosing along")
    if keep.size > x.shape[axis]:
        call.bad(f"the condition must have at most {x.shape[axis]} entries, not {keep.size}")
    where = np.flatnonzero(keep).astype(np.int32)
    name = call.importer.emit("gather", [x.name], indices=where, axis=axis)
    return build.move(call, x, name, x.batch, lambda a: np.take(a, where, axis)).with_(origin=None)
