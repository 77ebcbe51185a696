"""Arg-max, top-k, and the monotone functions in front of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.arguments import best_count, kept
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Opaque, Sym, Tensor

INT64 = np.dtype(np.int64)


def _negated(call: Call, name: str) -> str:
    return call.importer.emit("sub", [build.constant_value(call, np.array(0)), name], "negated")


def _same_axis(call: Call, x: Sym, axis: int) -> None:
    """Softmax keeps the order only along the axis that it normalises."""
    if x.order_axis is not None and x.order_axis != axis:
        build.check_order_only(call, x)


def _arg(call: Call, least: bool) -> Sym:
    """Position of the largest (or least) element; of equals the first, or the last with select_last_index."""
    x = call.sym(0)
    axis = call.sample_axis(x, call.integer("axis", 0), "choosing along")
    _same_axis(call, x, axis)
    if x.shape[axis] < 1:
        call.bad("the axis must not be empty")
    name, _ = build.ordered(call, x)
    if least:
        name = _negated(call, name)
    keep, shape, batch = kept(call, x, axis)
    last = bool(call.integer("select_last_index", 0))
    if x.order_of:
        call.record(f"{x.order_of} in front was dropped, because only the order of its values is used")
    out = call.importer.emit("argmax", [name], "index" if keep else "", axis=axis, last=last)
    if keep:
        out = call.importer.emit("reshape", [out], shape=shape)
    return Sym(out, INT64, shape, batch)


operator("ArgMax")(partial(_arg, least=False))
operator("ArgMin")(partial(_arg, least=True))


@operator("TopK")
def top_k(call: Call) -> list[Tensor]:
    """The k largest (or smallest) along an axis, and their positions; of equals the lower position first."""
    x = call.sym(0)
    axis = call.sample_axis(x, call.integer("axis", -1), "choosing along")
    _same_axis(call, x, axis)
    k = best_count(call, x, axis)
    if x.order_of and k > 1:
        call.refuse(f"{x.order_of} in front rounds, so that equal values may change the order", "take TopK before it")
    name, order = build.ordered(call, x)
    largest = bool(call.integer("largest", 1))
    values, index = call.importer.emit_many("topk", [name], axis=axis, k=k, largest=largest)
    positions = Sym(index, INT64, call.importer.value(index).shape, x.batch)
    if x.order_of or order == 0:
        why = f"{call.where}: the values of TopK cannot be carried exactly; use only the indices"
        return [Opaque(why), positions]
    if order < 0:
        values = _negated(call, values)
    return [Sym(values, x.dtype, positions.shape, x.batch, x.steps), positions]


# Monotone functions that have no exact integer form: only the order of their values may be used, and only where that order
# cannot depend on how a runtime rounds: neighbouring values must differ by more than it can err.
_MARGIN = 64.0
"""How many units in the last place neighbouring results must differ."""

_MONOTONE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "Tanh": np.tanh,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Softplus": lambda v: np.logaddexp(0, v),
    "Softsign": lambda v: v / (1 + np.abs(v)),
}


def _values(call: Call, x: Sym) -> np.ndarray:
    """All float values that ``x`` can take, rising."""
    lo, hi = call.importer.range(x.name)
    if not floats.uniform(x.steps) or hi - lo >= build.MAX_TABLE:
        call.refuse(
            f"{call.op} of values with different or too many scales is not supported", "take the output before it"
        )
    return np.sort(floats.evaluate(x.steps, np.arange(lo, hi + 1)).astype(np.float64))


def _order_only(call: Call, results: np.ndarray, x: Sym) -> Sym:
    unit = np.spacing(np.abs(results).astype(x.dtype)).astype(np.float64)
    if not np.isfinite(results).all() or (np.diff(results) < _MARGIN * np.maximum(unit[1:], unit[:-1])).any():
        call.refuse(
            f"{call.op} has no exact integer form, and its rounding may merge different values, so not even its order is sure",
            "take the output before it",
        )
    return x.with_(order_of=call.where, origin=None)


def _monotone(call: Call) -> Sym:
    """A rising function whose result may only be used by ArgMax."""
    x = call.sym(0)
    build.check_order_only(call, x)
    values = np.unique(_values(call, x))
    with np.errstate(all="ignore"):
        return _order_only(call, _MONOTONE[call.op](values), x)


operator(*_MONOTONE)(_monotone)


@operator("Softmax", "LogSoftmax")
def softmax(call: Call) -> Sym:
    """Rising in each element; the largest stays the only largest as long as neighbouring inputs differ clearly."""
    x = call.sym(0)
    build.check_order_only(call, x)
    axis = call.sample_axis(x, call.integer("axis", -1 if call.version >= 13 else 1), "normalising along")
    if call.version < 13 and axis != len(x.shape) - 1:
        call.refuse(f"{call.op} of operator set {call.version} normalises several axes at once", "use the last axis")
    values = np.unique(_values(call, x))
    if len(values) > 1 and np.diff(values).min() < _MARGIN * np.spacing(np.float32(max(np.abs(values).max(), 1.0))):
        call.refuse(f"{call.op} may merge inputs that differ by {np.diff(values).min()}", "take the output before it")
    return x.with_(order_of=call.where, order_axis=axis, origin=None)
