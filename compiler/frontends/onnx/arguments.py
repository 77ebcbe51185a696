"""What operators' arguments mean before either importer emits anything: shapes over the batch, padding, top-k, kept axes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.dims import Dim, is_batch
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Sym


def fill_value(call: Call) -> np.ndarray:
    """ConstantOfShape's one element, float32 zero unless given."""
    value = call.value("value")
    return np.zeros((1,), np.float32) if value is None else np.asarray(value).reshape(1)


def spread(call: Call, array: np.ndarray, target: list[Any]) -> tuple[np.ndarray, int | None]:
    """``array`` broadcast to a shape in which one entry may be the batch size: the data of one sample, and the batch axis."""
    places = [i for i, d in enumerate(target) if isinstance(d, Dim)]
    if any(not isinstance(d, Dim) and d < 0 for d in target):
        call.bad(f"a shape must not have negative entries, not {target}")
    if len(places) > 1 or any(not is_batch(target[i]) for i in places):
        call.refuse(f"a constant of shape {target} has more than one batch axis")
    dims = [1 if isinstance(d, Dim) else int(d) for d in target]
    shape = build.broadcast_shape(call, [array.shape, tuple(dims)])
    data = np.broadcast_to(array, shape)
    if not places:
        return np.ascontiguousarray(data), None
    at = places[0] + len(shape) - len(target)
    return np.asarray(data.take(0, axis=at)), at


def expanded(call: Call, x: Sym, target: list[Any]) -> tuple[tuple[int, ...], int | None]:
    """Expand's resulting shape of one sample, and its batch axis."""
    rank = max(x.rank, len(target))
    batch = None if x.batch is None else x.batch + rank - x.rank
    dims = [1] * (rank - len(target)) + target
    if batch is not None:
        d = dims.pop(batch)
        if not (is_batch(d) or d == 1 or d == call.importer.batch_size):
            call.refuse(f"expanding the batch axis to {d} would repeat samples")
    if any(isinstance(d, Dim) for d in dims):
        call.refuse(f"expanding to {target} would make a second axis of the batch's size")
    return build.broadcast_shape(call, [x.shape, tuple(int(d) for d in dims)]), batch


def padded_index(call: Call, x: Sym) -> np.ndarray:
    """Pad as flat positions in one sample of ``x``; -1 is the filling value. Negative pads crop."""
    pads, mode = call.ints_either(1, "pads"), call.text("mode", "constant")
    if pads is None or any(not isinstance(p, int) for p in pads):
        call.refuse("pads must be constant integers")
    axes = call.const_ints(3, "axes") if call.has(3) else list(range(x.rank))
    if len(pads) != 2 * len(axes):
        call.bad(f"pads must have {2 * len(axes)} entries, not {len(pads)}")
    widths = {call.axis(int(a), x.rank): (pads[i], pads[len(axes) + i]) for i, a in enumerate(axes)}
    if x.batch is not None and widths.pop(x.batch, (0, 0)) != (0, 0):
        call.refuse("padding the batch axis would add samples")
    inner = {a - (x.batch is not None and a > x.batch): w for a, w in widths.items()}
    both = [inner.get(i, (0, 0)) for i in range(len(x.shape))]
    build.size_guard(call, [d + max(a, 0) + max(b, 0) for d, (a, b) in zip(x.shape, both, strict=True)])
    crop = tuple(slice(max(-a, 0), d - max(-b, 0)) for d, (a, b) in zip(x.shape, both, strict=True))
    index = build.flat_index(x)[crop]
    grow = [(max(a, 0), max(b, 0)) for a, b in both]
    if mode == "constant":
        return np.pad(index, grow, constant_values=-1)
    if mode not in ("edge", "reflect", "wrap"):
        call.bad(f"mode must be constant, edge, reflect or wrap, not {mode!r}")
    try:
        return np.pad(index, grow, mode=cast(Any, mode))
    except ValueError as e:
        call.bad(f"pads do not fit: {e}")


def best_count(call: Call, x: Sym, axis: int) -> int:
    """TopK's k, within the axis ``axis`` of one sample."""
    given = call.const_ints(1, "k") if call.has(1) else [call.integer("k")]
    if len(given) != 1 or not 1 <= int(given[0]) <= x.shape[axis]:
        call.bad(f"k must be one integer in 1..{x.shape[axis]}, not {given}")
    if not call.integer("sorted", 1):
        call.record("the k results are given best first, although the model does not ask for an order")
    return int(given[0])


def kept(call: Call, x: Sym, axis: int) -> tuple[bool, tuple[int, ...], int | None]:
    """ArgMax: whether the axis stays with length 1, the shape of one sample behind it, and the batch axis."""
    keep = bool(call.integer("keepdims", 1))
    shape = x.shape[:axis] + ((1,) if keep else ()) + x.shape[axis + 1 :]
    gone = call.axis(call.integer("axis", 0), x.rank)
    return keep, shape, x.batch if keep or x.batch is None else x.batch - (gone < x.batch)
