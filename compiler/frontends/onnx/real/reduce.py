"""Reductions of float models."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym

from .importer import binary, emit, function, operator, reshaped, result, sample_axis
from .masked import Masked, masked_maximum


def _axes(call: Call, x: Sym) -> list[int] | None:
    """The axes to reduce, from an input or an attribute; None: nothing is to be done."""
    axes = call.ints_either(1, "axes")
    if axes is None or (call.has(1) and not axes):
        if call.integer("noop_with_empty_axes", 0):
            return None
        axes = list(range(x.rank))
    out = [call.axis(int(a), x.rank) for a in axes]
    if len(set(out)) != len(out):
        call.bad(f"axes must differ, not {axes}")
    return out


def reduced(call: Call, x: Sym, axes: list[int], op: str, keep: bool, part: str = "") -> Sym:
    """``op`` over source axes."""
    inner = [a for a in (sample_axis(call, x, axis, "reducing along") for axis in axes) if a is not None]
    name = x.name
    if op != "sum" and any(x.shape[a] == 0 for a in inner):
        call.refuse("the result over no elements is not finite", "reduce an axis that is not empty")
    if inner:
        name = emit(call, op, [name], f"{part or 'reduced'}.flat" if keep else part, axes=tuple(inner))
    batch, gone = x.batch, set(axes)
    if keep:
        shape = tuple(1 if i in inner else d for i, d in enumerate(x.shape))
        name = reshaped(call, name, shape, part)
        return result(call, name, x.dtype, batch)
    if batch is not None:
        batch = None if batch in gone else batch - sum(a < batch for a in gone)
    return result(call, name, x.dtype, batch)


def _reduce(call: Call, op: str) -> Sym:
    hidden = call.inputs[0]
    masked = isinstance(hidden, Masked) and op == "reduce_max"
    x = hidden.x if isinstance(hidden, Masked) and masked else call.sym(0)
    axes = _axes(call, x)
    if isinstance(hidden, Masked) and masked:
        x = masked_maximum(call, hidden, axes or [])
    return x if axes is None else reduced(call, x, axes, op, bool(call.integer("keepdims", 1)))


operator("ReduceSum")(partial(_reduce, op="sum"))
operator("ReduceMean")(partial(_reduce, op="mean"))
operator("ReduceMax")(partial(_reduce, op="reduce_max"))
operator("ReduceMin")(partial(_reduce, op="reduce_min"))


def _of_function(call: Call, before: str | None, after: str | None) -> Sym:
    x = call.sym(0)
    axes = _axes(call, x)
    if before == "abs":
        x = binary(call, "max", x, binary(call, "sub", Const(np.zeros((), x.dtype)), x, "negated"), "abs")
    elif before:
        x = function(call, x, before, part=before)
    if axes is not None:
        x = reduced(call, x, axes, "sum", bool(call.integer("keepdims", 1)), "sum" if after else "")
    return function(call, x, after) if after else x


operator("ReduceL1")(partial(_of_function, before="abs", after=None))
operator("ReduceL2")(partial(_of_function, before="square", after="sqrt"))
operator("ReduceSumSquare")(partial(_of_function, before="square", after=None))


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call) -> Sym:
    """The mean or the largest of every channel."""
    x = call.sym(0)
    if x.rank < 3 or x.batch not in (0, None):
        call.bad("input must be [N, C, D_1, ..., D_n] with the batch axis first")
    op = "mean" if call.op == "GlobalAveragePool" else "reduce_max"
    return reduced(call, x, list(range(2, x.rank)), op, True)
