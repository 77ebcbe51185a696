"""Operators that move elements without choosing among them, and shapes as data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.arguments import expanded, fill_value, spread
from neuroloom.compiler.frontends.onnx.common import common
from neuroloom.compiler.frontends.onnx.dims import Dim, is_batch, settle
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from neuroloom.compiler.ir import smallest_type


@operator("Shape", whole=True)
def shape(call: Call) -> Const:
    """The shape as data; the batch axis stays symbolic when its size is open."""
    dims = call.shape(call.tensor(0))
    part = dims[slice(*slice(call.integer("start", 0), call.value("end")).indices(len(dims)))]
    return Const(_as_const(part))


@operator("Size", whole=True)
def size(call: Call) -> Const:
    """The number of elements as data."""
    total = _product(call, call.shape(call.tensor(0)))
    return Const(settle(_object(total)))


def _as_const(dims: list[Any]) -> np.ndarray:
    out = np.empty(len(dims), object)
    out[:] = dims
    return settle(out)


def _object(value: Any) -> np.ndarray:
    out = np.empty((), object)
    out[()] = value
    return out


def _product(call: Call, dims: list[Any]) -> Any:
    total: Any = 1
    for d in dims:
        total = d * total if isinstance(d, Dim) else total * int(d)
    return total


@operator("Reshape")
def reshape(call: Call) -> Sym:
    """The same elements under another shape; the batch axis must stay an axis of its own."""
    x = call.sym(0)
    target = call.ints_either(1, "shape")
    if target is None:
        call.bad("the new shape must be given")
    return reshape_to(call, x, target, bool(call.integer("allowzero", 0)))


@operator("Flatten")
def flatten(call: Call) -> Sym:
    """Two axes: the product of those before ``axis`` and of the rest."""
    x = call.sym(0)
    dims = call.shape(x)
    axis = call.integer("axis", 1)
    if not -len(dims) <= axis <= len(dims):
        call.bad(f"axis must be in {-len(dims)}..{len(dims)}, not {axis}")
    axis += len(dims) * (axis < 0)
    return reshape_to(call, x, [_product(call, dims[:axis]), _product(call, dims[axis:])], True)


def reshape_to(call: Call, x: Sym, target: list[Any], allow_zero: bool) -> Sym:
    """Reshape to a target that may hold 0 (copy), -1 (the rest) and the batch size."""
    source = call.shape(x)
    wanted = [source[i] if d == 0 and not allow_zero and i < len(source) else d for i, d in enumerate(target)]
    total = _product(call, source)
    free = [i for i, d in enumerate(wanted) if not isinstance(d, Dim) and d == -1]
    if len(free) > 1 or any(not isinstance(d, Dim) and d < -1 for d in wanted):
        call.bad(f"the new shape must have at most one -1 and no other negative entry, not {target}")
    if free:
        rest = _product(call, [d for i, d in enumerate(wanted) if i != free[0]])
        wanted[free[0]] = _divide(call, total, rest, source, target)
    if not _same(_product(call, wanted), total):
        call.bad(f"the new shape {target} must hold as many elements as {source}")
    if x.batch is None:
        return build.reshaped(call, x, tuple(int(d) for d in wanted), None)
    at = _batch_place(call, x, source, wanted)
    sample = tuple(int(d) for i, d in enumerate(wanted) if i != at)
    return build.reshaped(call, x, sample, at)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Dim) or isinstance(b, Dim):
        return isinstance(a, Dim) and isinstance(b, Dim) and (a.a, a.b) == (b.a, b.b)
    return bool(a == b)


def _divide(call: Call, total: Any, rest: Any, source: list[Any], target: list[Any]) -> Any:
    symbolic = isinstance(total, Dim) or isinstance(rest, Dim)
    if not symbolic and (rest == 0 or total % rest):
        call.bad(f"the new shape {target} must hold as many elements as {source}")
    return total // rest


def _batch_place(call: Call, x: Sym, source: list[Any], wanted: list[Any]) -> int:
    """The axis of the new shape that is the batch axis: the same elements before it, and its own size."""
    assert x.batch is not None
    before = math.prod(source[: x.batch])
    fixed = call.importer.batch_size
    places = [
        at
        for at, d in enumerate(wanted)
        if (is_batch(d) if fixed is None else not isinstance(d, Dim) and d == fixed)
        and not any(isinstance(v, Dim) for v in wanted[:at])
        and math.prod(wanted[:at]) == before
    ]
    if not places:
        call.refuse(
            f"reshaping {source} to {wanted} would merge the batch axis with others",
            "keep the batch axis as an axis of its own",
        )
    return places[0]


@operator("Squeeze")
def squeeze(call: Call) -> Sym:
    """Remove axes of size one."""
    x = call.sym(0)
    axes = call.ints_either(1, "axes")
    if axes is None:
        if x.batch is not None:
            call.refuse("without axes, Squeeze would also remove a batch axis of one sample", "give the axes")
        axes = [i for i, d in enumerate(x.shape) if d == 1]
    gone = [call.sample_axis(x, int(a), "squeezing") for a in axes]
    for a in gone:
        if x.shape[a] != 1:
            call.bad(f"a squeezed axis must have size 1, not {x.shape[a]}")
    removed = {call.axis(int(a), x.rank) for a in axes}
    batch = None if x.batch is None else x.batch - sum(a < x.batch for a in removed)
    return build.reshaped(call, x, tuple(d for i, d in enumerate(x.shape) if i not in gone), batch)


@operator("Unsqueeze")
def unsqueeze(call: Call) -> Sym:
    """Insert axes of size one."""
    x = call.sym(0)
    axes = call.ints_either(1, "axes")
    if axes is None:
        call.bad("axes must be given")
    rank = x.rank + len(axes)
    places = {call.axis(int(a), rank) for a in axes}
    if len(places) != len(axes):
        call.bad(f"axes must differ, not {axes}")
    kept = iter(call.shape(x))
    dims = [1 if i in places else next(kept) for i in range(rank)]
    old = [i for i in range(rank) if i not in places]
    batch = None if x.batch is None else old[x.batch]
    return build.reshaped(call, x, tuple(int(d) for i, d in enumerate(dims) if i != batch), batch)


@operator("Transpose")
def transpose(call: Call) -> Sym:
    """Permute the axes; the batch axis may move too."""
    x = call.sym(0)
    perm = call.ints("perm") or list(range(x.rank))[::-1]
    if sorted(perm) != list(range(x.rank)):
        call.bad(f"perm must order the axes 0..{x.rank - 1}, not {perm}")
    batch = None if x.batch is None else perm.index(x.batch)
    inner = tuple(p - (x.batch is not None and p > x.batch) for p in perm if p != x.batch)
    if inner == tuple(range(len(inner))):
        return x.with_(batch=batch)
    name = call.importer.emit("transpose", [x.name], perm=inner)
    return build.move(call, x, name, batch, lambda a: a.transpose(inner))


@operator("Expand", whole=True)
def expand(call: Call) -> Tensor:
    """Repeat along axes of size one; a constant may be repeated over the batch."""
    target = call.const_ints(1, "shape")
    x = call.tensor(0)
    if isinstance(x, Const):
        return constant_over(call, x.array, target)
    shape_, batch = expanded(call, x, target)
    return build.broadcast_to(call, x, shape_, batch)


@operator("ConstantOfShape", whole=True)
def constant_of_shape(call: Call) -> Tensor:
    """A constant tensor; its shape may contain the batch size."""
    return constant_over(call, fill_value(call), call.const_ints(0, "shape"))


def constant_over(call: Call, array: np.ndarray, target: list[Any]) -> Tensor:
    """``array`` broadcast to a shape in which one entry may be the batch size."""
    data, batch = spread(call, array, target)
    return Const(data) if batch is None else constant_sym(call, data, batch)


def constant_sym(call: Call, data: np.ndarray, batch: int | None) -> Sym:
    """A constant as a value of the graph, repeated over the batch axis ``batch``."""
    names, make = common(call, [build.number_constant(call, data)])
    out = make(names[0], batch)
    return out.with_(data=data.astype(np.int64)) if data.dtype.kind != "f" else out


@operator("Concat")
def concat(call: Call) -> Sym:
    """Join tensors along an axis."""
    tensors = [call.tensor(i) for i in range(len(call.inputs))]
    first = next(t for t in tensors if isinstance(t, Sym))
    rank = first.rank
    if any(t.rank != rank for t in tensors):
        call.bad(f"inputs must have the same number of axes, not {[t.rank for t in tensors]}")
    axis = call.sample_axis(first, call.integer("axis"), "joining along")
    parts: list[Sym | np.ndarray] = []
    for t in tensors:
        if t.dtype != first.dtype:
            call.bad(f"inputs must have one element type, not {first.dtype} and {t.dtype}")
        if isinstance(t, Sym) and t.batch != first.batch:
            call.refuse("the inputs have their batch axis at different places", "transpose them alike")
        parts.append(t if isinstance(t, Sym) else build.sample_constant(call, t.array, rank, first.batch))
    for p in parts:
        if p.shape[:axis] + p.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :]:
            call.bad(
                f"shapes must agree outside axis {call.integer('axis')}, not {[list(q.shape) for q in parts]} per sample"
            )
    names, make = common(call, parts)
    return make(call.importer.emit("concat", same_type(call, names), axis=axis), first.batch)


def same_type(call: Call, names: list[str]) -> list[str]:
    """The values in one type that holds them all."""
    types = {call.importer.value(n).type for n in names}
    if len(types) == 1:
        return names
    ranges = [call.importer.range(n) for n in names]
    type_ = smallest_type((min(r[0] for r in ranges), max(r[1] for r in ranges)))
    return [build.widened(call, n, type_) for n in names]


def constant_like(call: Call, data: np.ndarray, like: Sym) -> Sym:
    """A per-sample constant as a tensor with the batch axis and, where it can be, the float meaning of ``like``."""
    build.number_constant(call, data)
    if data.dtype != like.dtype:
        call.bad(f"inputs must have one element type, not {like.dtype} and {data.dtype}")
    return constant_sym(call, data, like.batch)


@operator("Split")
def split(call: Call) -> list[Sym]:
    """Cut into consecutive parts along an axis."""
    x = call.sym(0)
    axis = call.sample_axis(x, call.integer("axis", 0), "splitting")
    length, count = x.shape[axis], len(call.node.output)
    sizes = call.ints_either(1, "split")
    if sizes is None:
        step = -(-length // max(call.integer("num_outputs", count), 1))
        sizes = [min(step, max(length - i * step, 0)) for i in range(count)]
    if len(sizes) != count or any(int(s) < 0 for s in sizes) or sum(sizes) != length:
        call.bad(f"split must be {count} sizes that add up to {length}, not {sizes}")
    out, start = [], 0
    for s in sizes:
        out.append(sliced(call, x, {axis: (start, start + int(s), 1)}))
        start += int(s)
    return out


def sliced(call: Call, x: Sym, cuts: dict[int, tuple[int, int, int]]) -> Sym:
    """Per-sample slices with positive steps: axis -> (start, stop, step)."""
    full = [cuts.get(i, (0, d, 1)) for i, d in enumerate(x.shape)]
    if all(cut == (0, d, 1) for cut, d in zip(full, x.shape, strict=True)):
        return x
    starts, stops, steps = (tuple(c[i] for c in full) for i in range(3))
    name = call.importer.emit("slice", [x.name], starts=starts, stops=stops, steps=steps)
    where = tuple(slice(*c) for c in full)
    return build.move(call, x, name, x.batch, lambda a: a[where]).with_(origin=None)


@operator("Slice")
def slice_(call: Call) -> Sym:
    """x[start:end:step] on some axes, negative steps included; the batch axis only as a whole."""
    x = call.sym(0)
    starts, ends = call.ints_either(1, "starts"), call.ints_either(2, "ends")
    if starts is None or ends is None:
        call.bad("starts and ends must be given")
    axes = call.ints_either(3, "axes")
    steps = call.ints_either(4, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        call.bad("starts, ends, axes and steps must have the same length")
    cuts: dict[int, slice] = {}
    for a, b, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = call.axis(int(axis), x.rank)
        if at == x.batch:
            n = call.importer.batch_size
            whole = a == 0 and step == 1 and (is_batch(b) or (not isinstance(b, Dim) and b >= (n or 1 << 31) - 1))
            if not whole or (n and not isinstance(b, Dim) and b < n):
                call.refuse("slicing the batch axis would choose samples", "slice other axes, or drop the node")
            continue
        if any(isinstance(v, Dim) for v in (a, b, step)):
            call.refuse("a slice must not depend on the batch size")
        if step == 0:
            call.bad("a step must not be 0")
        inner = at - (x.batch is not None and at > x.batch)
        cuts[inner] = slice(*_clamped(int(a), int(b), int(step), x.shape[inner]))
    if all(c.step > 0 for c in cuts.values()):
        return sliced(call, x, {axis: (c.start, max(c.start, c.stop), c.step) for axis, c in cuts.items()})
    where = tuple(cuts.get(i, slice(None)) for i in range(len(x.shape)))
    return build.gathered(call, x, build.flat_index(x)[where], x.batch)


def _clamped(start: int, end: int, step: int, size: int) -> tuple[int, int | None, int]:
    """ONNX's start and end as Python's slice bounds inside the axis."""
    a, b, s = slice(start, end, step).indices(size)
    if s > 0:
        return min(a, size), min(max(b, 0), size), s
    return a, (None if b < 0 else b), s


@operator("Tile")
def tile(call: Call) -> Sym:
    """Repeat the whole tensor along its axes."""
    x = call.sym(0)
    repeats = call.const_ints(1, "repeats")
    if len(repeats) != x.rank:
        call.bad(f"repeats must have {x.rank} entries, not {len(repeats)}")
    if x.batch is not None and repeats.pop(x.batch) != 1:
        call.refuse("repeating the batch axis would repeat samples")
    if any(isinstance(r, Dim) or r < 0 for r in repeats):
        call.bad(f"repeats must not be negative, not {repeats}")
    build.size_guard(call, [d * int(r) for d, r in zip(x.shape, repeats, strict=True)])
    if all(r == 1 for r in repeats):
        return x
    return build.gathered(call, x, np.tile(build.flat_index(x), [int(r) for r in repeats]), x.batch)
