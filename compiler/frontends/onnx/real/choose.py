"""Arg-max, top-k, comparisons and logic of float models."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.arguments import best_count, kept
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor

from .importer import emit, importer_of, operator, reshaped, result, value_of
from .masked import Masked, masked_arg_max, masked_top_k

INT64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)


def _arg(call: Call, least: bool) -> Sym:
    """Position of the largest (or least) element; of equals the first, or the last with select_last_index.

    Of a softmax along the same axis it is that of its input, whose order it keeps.
    """
    hidden = call.inputs[0]
    if isinstance(hidden, Masked) and not least:
        return masked_arg_max(call, hidden)
    x = call.sym(0)
    axis = call.sample_axis(x, call.integer("axis", 0), "choosing along")
    name = x.name
    ordered = importer_of(call).ordered
    while name in ordered and ordered[name][1] == axis:
        name = ordered[name][0]
    if least:
        zero = call.importer.builder.const(
            np.zeros(()), kind="real" if x.is_float else "int", name=f"{call.source}.zero"
        )
        name = emit(call, "sub", [zero, name], "negated")
    keep, shape, batch = kept(call, x, axis)
    last = bool(call.integer("select_last_index", 0))
    out = emit(call, "argmax", [name], "index" if keep else "", axis=axis, last=last)
    out = reshaped(call, out, shape, "")
    return result(call, out, INT64, batch)


operator("ArgMax")(partial(_arg, least=False))
operator("ArgMin")(partial(_arg, least=True))


@operator("TopK")
def top_k(call: Call) -> list[Tensor]:
    """The k largest (or smallest) along an axis, and their positions."""
    hidden = call.inputs[0]
    if isinstance(hidden, Masked):
        return masked_top_k(call, hidden)
    x = call.sym(0)
    axis = call.sample_axis(x, call.integer("axis", -1), "choosing along")
    k = best_count(call, x, axis)
    largest = bool(call.integer("largest", 1))
    values, index = call.importer.emit_many("topk", [x.name], axis=axis, k=k, largest=largest)
    return [result(call, values, x.dtype, x.batch), result(call, index, INT64, x.batch)]


def _compare(call: Call, kind: str, swap: bool = False) -> Sym:
    tensors = [call.tensor(1), call.tensor(0)] if swap else [call.tensor(0), call.tensor(1)]
    _, batch, operands = build.align(call, tensors)
    names = [value_of(call, o) for o in operands]
    if {t.dtype.kind for t in tensors} == {"b"}:
        differs = emit(call, "logic", names, "differs", kind="xor")
        return result(call, emit(call, "logic", [differs], kind="not"), BOOL, batch)
    return result(call, emit(call, "relation", names, kind=kind), BOOL, batch)


operator("Greater")(partial(_compare, kind="gt"))
operator("GreaterOrEqual")(partial(_compare, kind="ge"))
operator("Less")(partial(_compare, kind="gt", swap=True))
operator("LessOrEqual")(partial(_compare, kind="ge", swap=True))
operator("Equal")(partial(_compare, kind="eq"))


def _logic(call: Call, kind: str) -> Sym:
    tensors: list[Const | Sym] = [call.tensor(i) for i in range(len(call.inputs))]
    _, batch, operands = build.align(call, tensors)
    names = [value_of(call, o) for o in operands]
    return result(call, emit(call, "logic", names, kind=kind), BOOL, batch)


for _op in ("And", "Or", "Xor", "Not"):
    operator(_op)(partial(_logic, kind=_op.lower()))
