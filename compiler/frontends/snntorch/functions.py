"""The torch functions that may stand between modules, by name: sums, factors, reshapes, stacks of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .values import Expr, Raw, Steps

if TYPE_CHECKING:
    from .trace import Trace

DECISIONS = frozenset(("__bool__", "item", "tolist", "__float__", "__int__", "__index__", "nonzero"))
"""Functions whose use on a traced tensor lets numbers decide what the network is."""

NEW = frozenset(("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "new_zeros", "new_ones", "new_full",
                 "size", "dim", "numel", "__len__", "__get__", "is_floating_point", "stride"))  # fmt: skip
"""Functions whose result does not depend on the numbers of their argument."""

MOVES = frozenset(("__getitem__", "unbind", "reshape", "view", "flatten", "permute", "transpose", "swapaxes", "movedim", "squeeze",
                   "unsqueeze", "contiguous", "clone", "detach", "to", "float", "select", "t", "chunk", "split", "view_as",
                   "moveaxis", "double"))  # fmt: skip
"""Functions that only move the elements of an input."""

SAME = frozenset(
    ("contiguous", "clone", "detach", "to", "float", "requires_grad_", "dropout", "feature_dropout", "double")
)
SHAPES = frozenset(("reshape", "view", "flatten", "squeeze", "unsqueeze", "view_as"))

Handler = Callable[["Trace", Any, Any, list[Any]], list[Any] | None]
"""(trace, args, kwargs, outputs) → what each output stands for; None: not carried."""


def _same(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any]:
    return [trace.get(args[0])]


def _reshaped(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    """A reshape that leaves the batch axis in front."""
    value, out = trace.get(args[0]), outs[0]
    if not isinstance(value, Expr) or out.ndim < 2 or out.shape[0] != args[0].shape[0]:
        return None
    return [Expr("reshape", tuple(out.shape[1:]), (value,))]


def _sum(sign: float, swap: bool = False) -> Handler:
    def handler(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
        left, right = (args[1], args[0]) if swap else (args[0], args[1])
        scale = kwargs.get("alpha", 1)
        first, other = _operand(trace, left, outs[0]), _operand(trace, right, outs[0])
        if first is None or other is None:
            return None
        shape = tuple(outs[0].shape[1:])
        factor = sign * scale
        second = Expr("scale", shape, (other,), np.asarray(factor, np.float64)) if factor != 1 else other
        return [Expr("sum", shape, (first, second))]

    return handler


def _operand(trace: Trace, value: Any, out: Any) -> Expr | None:
    """One side of a sum as an expression of the result's shape; numbers and constant tensors spread out."""
    import torch

    shape = tuple(out.shape[1:])
    if isinstance(value, (int, float)):
        return Expr("constant", shape, data=np.full(shape, float(value)))
    if not isinstance(value, torch.Tensor) or out.ndim < 2:
        return None
    known = trace.get(value)
    if known is None:
        return trace.expr(value.expand(out.shape), "sum")
    if tuple(value.shape) != tuple(out.shape) or isinstance(known, Steps):
        return None
    return trace.expr(value, "sum")


def _product(divide: bool = False) -> Handler:
    def handler(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
        import torch

        left, right = args[0], args[1]
        if trace.get(left) is None:
            if divide:
                return None
            left, right = right, left
        if isinstance(right, torch.Tensor):
            if trace.get(right) is not None:
                return None
            if right.ndim:
                factor = right.detach().expand(outs[0].shape).cpu().numpy().astype(np.float64)
                if not (factor == factor[:1]).all():
                    return None
                factor = factor[0]
            else:
                factor = np.asarray(right.item(), np.float64)
        else:
            factor = np.asarray(right, np.float64)
        if tuple(left.shape) != tuple(outs[0].shape) or outs[0].ndim < 2 or isinstance(trace.get(left), Steps):
            return None
        return [
            Expr("scale", tuple(outs[0].shape[1:]), (trace.expr(left, "product"),), 1 / factor if divide else factor)
        ]

    return handler


def _stack(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    items = [trace.get(t) for t in args[0]]
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if not all(isinstance(i, Expr) for i in items):
        return None
    return [Steps(items, axis % outs[0].ndim)]


def _item(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    value, key = trace.get(args[0]), args[1]
    keys = key if isinstance(key, tuple) else (key,)
    if isinstance(value, Steps) and len(keys) == value.axis + 1:
        *lead, last = keys
        if isinstance(last, int) and all(k == slice(None) for k in lead):
            return [value.items[last]]
    return None


def _unbind(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    value = trace.get(args[0])
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if isinstance(value, Steps) and axis % args[0].ndim == value.axis:
        return list(value.items)
    return None


def _maxpool(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    from .layers import pool_window

    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("ceil_mode") or given.get("return_indices"):
        return None
    window = pool_window(given["kernel_size"], given.get("stride"), given.get("padding", 0), given.get("dilation", 1))
    return [
        Expr("maxpool", tuple(outs[0].shape[1:]), (trace.expr(given["input"], "max pooling"),), window, "max pooling")
    ]


def _avgpool(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    from .layers import pool_window

    names = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("ceil_mode"):
        return None
    window = pool_window(given["kernel_size"], given.get("stride"), given.get("padding", 0), 1)
    data = (window, given.get("count_include_pad", True), given.get("divisor_override") or 0)
    return [
        Expr("avgpool", tuple(outs[0].shape[1:]), (trace.expr(given["input"], "mean pooling"),), data, "mean pooling")
    ]


def _linear(trace: Trace, args: Any, kwargs: Any, outs: list[Any]) -> list[Any] | None:
    x, weight = args[0], kwargs.get("weight", args[1] if len(args) > 1 else None)
    bias = kwargs.get("bias", args[2] if len(args) > 2 else None)
    if outs[0].ndim != 2 or trace.get(weight) is not None:
        return None
    shape = tuple(outs[0].shape[1:])
    data = (weight.detach().double().cpu().numpy(), None if bias is None else bias.detach().double().cpu().numpy())
    return [Expr("matrix", shape, (trace.expr(x, "linear"),), _Pair(*data), "linear")]


class _Pair(tuple):
    """Weight and bias, equal when their numbers are."""

    def __new__(cls, weight: np.ndarray, bias: np.ndarray | None) -> _Pair:
        return super().__new__(cls, (weight, bias))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pair) and all(
            (a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in zip(self, other, strict=True)
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


FUNCTIONS: dict[str, Handler] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(SHAPES, _reshaped),
    **dict.fromkeys(("add", "__add__", "__radd__", "add_", "__iadd__"), _sum(1.0)),
    **dict.fromkeys(("sub", "__sub__", "sub_", "__isub__"), _sum(-1.0)),
    **dict.fromkeys(("rsub", "__rsub__"), _sum(-1.0, swap=True)),
    **dict.fromkeys(("mul", "__mul__", "__rmul__", "mul_", "__imul__", "multiply"), _product()),
    **dict.fromkeys(("div", "__truediv__", "true_divide", "__div__"), _product(divide=True)),
    "stack": _stack,
    "__getitem__": _item,
    "unbind": _unbind,
    "max_pool2d": _maxpool,
    "max_pool1d": _maxpool,
    "_max_pool2d": _maxpool,
    "_max_pool1d": _maxpool,
    "avg_pool2d": _avgpool,
    "avg_pool1d": _avgpool,
    "linear": _linear,
}
"""Carried functions; any other makes its result ``opaque``, which may be returned but not drive a neuron."""

__all__ = ["DECISIONS", "FUNCTIONS", "MOVES", "NEW", "Raw"]
