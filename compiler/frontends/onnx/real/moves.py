"""Moves that may involve constants, indices, and conversions between kinds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.arguments import expanded, fill_value, padded_index, spread
from neuroloom.compiler.frontends.onnx.ops.indexing import _checked
from neuroloom.compiler.frontends.onnx.ops.noop import _dtype
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor

from .importer import constant, emit, kind_of, operator, reshaped, result


def constant_over(call: Call, array: np.ndarray, target: list[Any]) -> Tensor:
    """``array`` broadcast to a shape in which one entry may be the batch size."""
    data, batch = spread(call, array, target)
    if batch is None:
        return Const(data)
    return result(call, constant(call, data, "value"), array.dtype, batch)


@operator("ConstantOfShape", whole=True)
def constant_of_shape(call: Call) -> Tensor:
    """A constant tensor; its shape may contain the batch size."""
    return constant_over(call, fill_value(call), call.const_ints(0, "shape"))


@operator("Expand", whole=True)
def expand(call: Call) -> Tensor:
    """Repeat along axes of size one; a constant may be repeated over the batch."""
    target = call.const_ints(1, "shape")
    x = call.tensor(0)
    if isinstance(x, Const):
        return constant_over(call, x.array, target)
    shape, batch = expanded(call, x, target)
    if shape == x.shape:
        return x.with_(batch=batch)
    return result(call, emit(call, "broadcast", [x.name], shape=shape), x.dtype, batch)


@operator("Concat")
def concat(call: Call) -> Sym:
    """Join tensors along an axis."""
    tensors = [call.tensor(i) for i in range(len(call.inputs))]
    first = next(t for t in tensors if isinstance(t, Sym) and (t.batch is not None or not call.importer.batch))
    if any(t.rank != first.rank for t in tensors):
        call.bad(f"inputs must have the same number of axes, not {[t.rank for t in tensors]}")
    axis = call.sample_axis(first, call.integer("axis"), "joining along")
    names = []
    for t in tensors:
        if isinstance(t, Sym) and t.batch != first.batch:
            call.refuse("the inputs have their batch axis at different places", "transpose them alike")
        if t.dtype.kind != first.dtype.kind:
            call.bad(f"inputs must have one element type, not {first.dtype} and {t.dtype}")
        data = t if isinstance(t, Sym) else build.sample_constant(call, t.array, first.rank, first.batch)
        names.append(data.name if isinstance(data, Sym) else constant(call, data))
        if data.shape[:axis] + data.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            call.bad(
                f"shapes must agree outside axis {call.integer('axis')}, not {list(data.shape)} and {list(first.shape)}"
            )
    return result(call, emit(call, "concat", names, axis=axis), first.dtype, first.batch)


@operator("Pad")
def pad(call: Call) -> Sym:
    """Grow (or crop) axes: a constant, the edge, a reflection, or wrapped around."""
    x = call.sym(0)
    index = padded_index(call, x)
    if call.has(2):
        fill = float(call.const(2, "the padding value").reshape(-1)[0])
    else:
        fill = float(call.real("value", 0.0)) if "value" in call.attributes else 0.0
    return result(call, gathered(call, x, index, fill), x.dtype, x.batch)


def gathered(call: Call, x: Sym, index: np.ndarray, fill: float = 0.0, part: str = "") -> str:
    """Elements of ``x`` by flat index, in the shape of ``index``; -1 reads the constant ``fill``."""
    build.size_guard(call, index.shape)
    size = math.prod(x.shape)
    flat = reshaped(call, x.name, (size,), f"{part}.flat" if part else "flat")
    if (index < 0).any():
        extra = constant(call, np.full(1, fill, np.float64 if x.is_float else np.int64), "fill")
        flat = emit(call, "concat", [flat, extra], f"{part}.filled" if part else "filled", axis=0)
        index = np.where(index < 0, size, index)
    return emit(call, "gather", [flat], part, indices=index.astype(np.int32), axis=0)


# ---- computed indices


def checked_index(call: Call, indices: Sym, size: int) -> str:
    """The index counted from 0; negative ones, which ONNX allows, count from the end."""
    lo, hi = call.importer.range(indices.name)
    if lo >= 0 and hi < size:
        return indices.name
    if lo < -size or hi >= size:
        call.refuse(
            f"the index is only known to lie in {lo}..{hi}, but must lie in {-size}..{size - 1}", "give bounds for it"
        )
    negative = emit(call, "relation", [constant(call, np.array(-1)), indices.name], "negative", kind="ge")
    wrapped = emit(call, "add", [indices.name, constant(call, np.array(size))], "from_end")
    safe = emit(call, "select", [negative, wrapped, indices.name], "index")
    limited = emit(call, "min", [safe, constant(call, np.array(size - 1))], "index.most")
    return emit(call, "max", [limited, constant(call, np.array(0))], "index.least")


@operator("Gather")
def gather(call: Call) -> Sym:
    """numpy.take with constant or computed indices, the latter into a constant or within a sample."""
    data, indices = call.tensor(0), call.tensor(1)
    rank = data.rank
    axis = call.axis(call.integer("axis", 0), rank)
    if isinstance(indices, Const):
        assert isinstance(data, Sym)
        if (
            axis == data.batch
            and call.importer.batch_size == 1
            and indices.array.ndim == 0
            and indices.array in (0, -1)
        ):
            return result(call, data.name, data.dtype, None)  # the only sample, without its axis
        inner = call.sample_axis(data, axis, "gathering along")
        index = _checked(call, indices.array, data.shape[inner])
        batch = data.batch if data.batch is None or axis > data.batch else data.batch + index.ndim - 1
        return result(call, emit(call, "gather", [data.name], indices=index, axis=inner), data.dtype, batch)
    if indices.is_float:
        call.bad(f"indices must be integers, not {indices.dtype}")
    if isinstance(data, Const):
        table = constant(call, data.array, "table")
        batch = None if indices.batch is None else axis + indices.batch
        name = emit(call, "take", [table, checked_index(call, indices, data.array.shape[axis])], axis=axis)
        return result(call, name, data.dtype, batch)
    if data.batch is not None and indices.batch is not None:
        call.refuse("indices per sample into a tensor per sample would pair all samples with all", "use GatherElements")
    inner = call.sample_axis(data, axis, "gathering along")
    name = emit(call, "take", [data.name, checked_index(call, indices, data.shape[inner])], axis=inner)
    batch = data.batch
    if batch is None and indices.batch is not None:
        batch = axis + indices.batch
    elif batch is not None and axis < batch:
        batch += len(indices.shape) - 1
    return result(call, name, data.dtype, batch)


@operator("GatherElements")
def gather_elements(call: Call) -> Sym:
    """out[i, j] = data[index[i, j], j] (along axis 0): one element of ``data`` for every index."""
    data, indices = call.tensor(0), call.tensor(1)
    whole = next(t for t in (data, indices) if isinstance(t, Sym))
    axis = call.sample_axis(whole, call.integer("axis", 0), "choosing along")
    if isinstance(indices, Const):
        assert isinstance(data, Sym)
        index = build.sample_constant(call, indices.array, whole.rank, whole.batch)
        places: list[np.ndarray] = list(np.indices(index.shape))
        places[axis] = _checked(call, index, data.shape[axis])
        flat = np.asarray(np.ravel_multi_index(tuple(places), data.shape))
        return result(call, gathered(call, data, flat), data.dtype, data.batch)
    if isinstance(data, Const):
        table = build.sample_constant(call, data.array, whole.rank, whole.batch)
        shape, source = table.shape, constant(call, table, "table")
    else:
        if data.batch != indices.batch:
            call.refuse("data and indices must have the batch axis at the same place")
        shape, source = data.shape, data.name
    stride = math.prod(shape[axis + 1 :])
    rest: list[np.ndarray] = list(np.indices(indices.shape))
    rest[axis] = np.zeros(indices.shape, np.int64)
    offset = np.asarray(np.ravel_multi_index(tuple(rest), shape))
    chosen = checked_index(call, indices, shape[axis])
    scaled = chosen if stride == 1 else emit(call, "mul", [chosen, constant(call, np.array(stride))], "scaled")
    if offset.any():
        scaled = _bounded(call, emit(call, "add", [scaled, constant(call, offset)], "address"), math.prod(shape))
    name = emit(call, "take", [reshaped(call, source, (math.prod(shape),), "flat"), scaled], axis=0)
    return result(call, name, data.dtype, whole.batch)


def _bounded(call: Call, name: str, size: int) -> str:
    """An address whose parts fit one by one; interval arithmetic may see a larger sum than occurs."""
    lo, hi = call.importer.range(name)
    if hi < size and lo >= 0:
        return name
    return emit(call, "min", [name, constant(call, np.array(size - 1))], "address.most")


@operator("GatherND")
def gather_nd(call: Call) -> Sym:
    """Tuples of indices into the leading axes: constant tuples, or computed ones into a constant (weights of experts)."""
    data, indices, dims = call.tensor(0), call.tensor(1), call.integer("batch_dims", 0)
    if isinstance(indices, Const):
        assert isinstance(data, Sym)
        index = indices.array.astype(np.int64)
        if data.batch is not None and data.batch < dims + index.shape[-1]:
            call.refuse("indices along the batch axis would mix samples", "gather along other axes")
        if dims:
            call.refuse("batch_dims with constant indices is not supported", "use GatherElements")
        depth = index.shape[-1]
        parts = tuple(_checked(call, index[..., i], data.shape[i]) for i in range(depth))
        flat = build.flat_index(data)[parts]
        batch = None if data.batch is None else data.batch - depth + index.ndim - 1
        return result(call, gathered(call, data, flat), data.dtype, batch)
    depth = indices.shape[-1] if indices.shape and indices.batch != indices.rank - 1 else 0
    if isinstance(data, Const) and dims == 0 and 1 <= depth <= data.array.ndim:
        shape = data.array.shape
        table = constant(call, data.array.reshape(math.prod(shape[:depth]), *shape[depth:]), "table")
    elif (
        isinstance(data, Sym) and data.batch == 0 and indices.batch == 0 and dims == 1 and 1 <= depth <= len(data.shape)
    ):
        shape = data.shape
        table = reshaped(call, data.name, (math.prod(shape[:depth]), *shape[depth:]), "table")
    else:
        call.refuse("computed index tuples are supported into constants, or within a sample with batch_dims 1")
    lead = indices.shape[:-1]
    address = ""
    for i in range(depth):
        cut = {"starts": (0,) * len(lead) + (i,), "stops": (*lead, i + 1), "steps": (1,) * (len(lead) + 1)}
        one = reshaped(call, emit(call, "slice", [indices.name], f"tuple{i}", **cut), lead, f"index{i}")
        one = checked_index(call, Sym(one, indices.dtype, lead, indices.batch), shape[i])
        stride = math.prod(shape[i + 1 : depth])
        term = one if stride == 1 else emit(call, "mul", [one, constant(call, np.array(stride))], f"scaled{i}")
        address = emit(call, "add", [address, term], f"address{i}") if address else term
    name = emit(call, "take", [table, address], axis=0)
    return result(call, name, data.dtype, indices.batch)


# ---- kinds


@operator("Cast")
def cast(call: Call) -> Sym:
    """Conversion to the element type ``to``."""
    return cast_to(call, call.sym(0), _dtype(call, call.integer("to")))


@operator("CastLike")
def cast_like(call: Call) -> Tensor:
    """Conversion to the element type of the second input."""
    x, like = call.tensor(0), call.tensor(1)
    return Const(x.array.astype(like.dtype)) if isinstance(x, Const) else cast_to(call, x, like.dtype)


def cast_to(call: Call, x: Sym, dtype: np.dtype) -> Sym:
    """To another kind: truth values and integers become numbers, numbers truth values; floats do not become integers."""
    old, new = kind_of(x.dtype), kind_of(dtype)
    if old == new:
        if new == "int":
            lo, hi = call.importer.range(x.name)
            if not np.iinfo(dtype).min <= lo <= hi <= np.iinfo(dtype).max:
                call.refuse(f"integers of {lo}..{hi} would wrap around in {dtype}")
        return x.with_(dtype=dtype)
    if new == "real":
        return result(call, emit(call, "number", [x.name]), dtype, x.batch)
    if new == "bit":
        zero = constant(call, np.zeros((), x.dtype))
        same = emit(call, "relation", [x.name, zero], "is_zero", kind="eq")
        return result(call, emit(call, "logic", [same], kind="not"), dtype, x.batch)
    if old == "bit":
        one, zero = (constant(call, np.array(v, np.int64)) for v in (1, 0))
        return result(call, emit(call, "select", [x.name, one, zero]), dtype, x.batch)
    call.refuse(
        f"a computed {x.dtype} becomes {dtype}, which depends on its last bits", "keep it in floats, or use ArgMax"
    )
