"""One kernel maker per operation: it sees the node and the proven ranges once, and gives a function of arrays int64[N, ...].

Sums of products run in floating point where the proven range says that every partial sum is an integer that the format holds
exactly; elsewhere in 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Node, Range, Type
from neuroloom.compiler.ir.ops.arith import round_fraction

from .rounding import bounder, needs_wide, rounder

Array = np.ndarray
Kernel = Callable[..., "Array | list[Array]"]
Maker = Callable[[Node, "Facts"], Kernel]

KERNELS: dict[str, Maker] = {}
"""Operations that the engine has; control regions are its own."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known before any sample: proven ranges by value name."""

    ranges: Mapping[str, Range]

    def of(self, node: Node, number: int = 0) -> Range:
        """Range of an input."""
        return self.ranges[node.inputs[number]]


def kernel(*names: str) -> Callable[[Maker], Maker]:
    """Register the decorated maker."""

    def register(maker: Maker) -> Maker:
        KERNELS.update(dict.fromkeys(names, maker))
        return maker

    return register


def same_rank(*arrays: Array) -> list[Array]:
    """Axes of length one behind the samples, so that shapes broadcast and samples do not."""
    most = max(a.ndim for a in arrays)
    return [a if a.ndim == most else a.reshape(len(a), *(1,) * (most - a.ndim), *a.shape[1:]) for a in arrays]


def _pair(function: Callable[[Array, Array], Array]) -> Maker:
    return lambda node, facts: lambda a, b: function(*same_rank(a, b))


KERNELS.update(
    add=_pair(np.add),
    sub=_pair(np.subtract),
    mul=_pair(np.multiply),
    max=_pair(np.maximum),
    min=_pair(np.minimum),
)


@kernel("shift")
def _shift(node: Node, facts: Facts) -> Kernel:
    amount = node.attrs["amount"]
    return lambda x: x << amount


@kernel("sum")
def _sum(node: Node, facts: Facts) -> Kernel:
    axes = tuple(a + 1 for a in node.attrs["axes"])
    return lambda x: x.sum(axis=axes)


def exact_dtype(bound: int) -> type[Any]:
    """The fastest number format in which sums whose parts never exceed ``bound`` are exact."""
    return np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64


def product_bound(weights: Array, bounds: Range, bias: Array | None) -> int:
    """No partial sum of any row exceeds this."""
    rows = np.abs(weights.reshape(len(weights), -1).astype(object)).sum(axis=1)
    most = int(max(rows, default=0)) * max(abs(bounds[0]), abs(bounds[1]))
    return most + (int(np.abs(bias.astype(object)).max(initial=0)) if bias is not None else 0)


@kernel("matvec")
def _matvec(node: Node, facts: Facts) -> Kernel:
    weights, bias = node.attrs["weights"], node.attrs.get("bias")
    dtype = exact_dtype(product_bound(weights, facts.of(node), bias))
    columns = np.ascontiguousarray(weights.T.astype(dtype))
    added = None if bias is None else bias.astype(dtype)

    def run(x: Array) -> Array:
        flat = x.reshape(-1, x.shape[-1]).astype(dtype)
        out = flat @ columns
        if added is not None:
            out += added
        return out.reshape(*x.shape[:-1], -1).astype(np.int64)

    return run


@kernel("conv")
def _conv(node: Node, facts: Facts) -> Kernel:
    a = node.attrs
    weights, strides, pads, groups, bias = a["weights"], a["strides"], a["pads"], a["groups"], a.get("bias")
    n, kernels = len(strides), len(weights) // groups
    dtype = exact_dtype(product_bound(weights, facts.of(node), bias))
    columns = [
        np.ascontiguousarray(weights[g * kernels : (g + 1) * kernels].reshape(kernels, -1).T.astype(dtype))
        for g in range(groups)
    ]
    added = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64)
    places, size = node.outputs[0].shape[1:], weights.shape[2:]

    def run(x: Array) -> Array:
        channels = x.shape[1] // groups
        wide = np.pad(x.astype(dtype), [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
        view = np.lib.stride_tricks.sliding_window_view(wide, size, axis=tuple(range(2, 2 + n)))
        view = view[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
        out = np.empty((len(x), *places, len(weights)), np.int64)
        for g in range(groups):
            part = np.moveaxis(view[:, g * channels : (g + 1) * channels], 1, 1 + n)
            out[..., g * kernels : (g + 1) * kernels] = part.reshape(len(x), *places, -1) @ columns[g]
        return np.moveaxis(out + added, -1, 1)

    return run


@kernel("contract")
def _contract(node: Node, facts: Facts) -> Kernel:
    left, rest = node.attrs["equation"].split(",")
    right, out = rest.split("->")
    text = f"...{left},...{right}->...{out}"
    most = max(abs(x * y) for x in facts.of(node, 0) for y in facts.of(node, 1))

    def run(a: Array, b: Array) -> Array:
        sizes = dict(zip(left + right, (*a.shape[1:], *b.shape[1:]), strict=True))
        terms = math.prod(sizes[c] for c in sizes if c not in out)
        dtype = exact_dtype(most * max(terms, 1))
        return np.einsum(text, a.astype(dtype), b.astype(dtype), optimize=terms > 1).astype(np.int64)

    return run


@kernel("requantize")
def _requantize(node: Node, facts: Facts) -> Kernel:
    lift, bring = parts(node, facts)
    if bring is None:
        return lambda x: lift(x)
    return lambda x: bring(lift(x))


def parts(node: Node, facts: Facts) -> tuple[Callable[[Array], Array], Callable[[Array], Array] | None]:
    """The two halves of a requantize: rounding, and saturating or wrapping (None where nothing can be outside)."""
    factor, rounding, bounds = Fraction(node.attrs["factor"]), node.attrs["rounding"], facts.of(node)
    lift, type_ = rounder(bounds, factor, rounding), Type.parse(node.attrs["type"])
    ends = [round_fraction(end * factor, rounding) for end in bounds]
    bring = bounder(type_, (min(ends), max(ends)), node.attrs["overflow"])
    if bring is None and needs_wide(bounds, factor):
        return lift, lambda x: x.astype(np.int64)
    return lift, bring


@kernel("table")
def _table(node: Node, facts: Facts) -> Kernel:
    entries, lo = node.attrs["entries"].astype(np.int64), node.attrs["lo"]
    return lambda x: entries[x - lo]


@kernel("select")
def _select(node: Node, facts: Facts) -> Kernel:
    def run(cond: Array, a: Array, b: Array) -> Array:
        cond, a, b = same_rank(cond, a, b)
        return np.where(cond, a, b)

    return run


@kernel("delta")
def _delta(node: Node, facts: Facts) -> Kernel:
    threshold = node.attrs["threshold"]

    def run(x: Array, sent: Array) -> Array:
        return np.where(np.abs(x - sent) >= threshold, x, sent)

    return run


@kernel("relation")
def _relation(node: Node, facts: Facts) -> Kernel:
    compare = {"ge": np.greater_equal, "gt": np.greater, "eq": np.equal}[node.attrs["kind"]]
    return lambda a, b: compare(*same_rank(a, b)).astype(np.int64)


@kernel("compare")
def _compare(node: Node, facts: Facts) -> Kernel:
    indices, limits = node.attrs["indices"], node.attrs["thresholds"].astype(np.int64)
    shape = node.outputs[0].shape
    return lambda x: (x.reshape(len(x), -1)[:, indices] >= limits).astype(np.int64).reshape(len(x), *shape)


@kernel("bitwise")
def _bitwise(node: Node, facts: Facts) -> Kernel:
    kind, type_ = node.attrs["kind"], node.outputs[0].type
    if kind == "not":
        return lambda x: ~x if type_.signed else x ^ type_.hi
    function = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[kind]
    return lambda a, b: function(*same_rank(a, b))


@kernel("argmax")
def _argmax(node: Node, facts: Facts) -> Kernel:
    axis, last = node.attrs["axis"] + 1, node.attrs["last"]
    if last:
        return lambda x: x.shape[axis] - 1 - np.flip(x, axis).argmax(axis=axis)
    return lambda x: x.argmax(axis=axis)


@kernel("topk")
def _topk(node: Node, facts: Facts) -> Kernel:
    axis, k, largest = node.attrs["axis"] + 1, node.attrs["k"], node.attrs["largest"]

    def run(x: Array) -> list[Array]:
        if k == 1:
            index = np.expand_dims(x.argmax(axis=axis) if largest else x.argmin(axis=axis), axis)
        else:
            order = np.argsort(-x if largest else x, axis=axis, kind="stable")
            index = order.take(np.arange(k), axis=axis)
        return [np.take_along_axis(x, index, axis=axis), index]

    return run


@kernel("reshape")
def _reshape(node: Node, facts: Facts) -> Kernel:
    shape = node.attrs["shape"]
    return lambda x: x.reshape(len(x), *shape)


@kernel("transpose")
def _transpose(node: Node, facts: Facts) -> Kernel:
    order = (0, *(p + 1 for p in node.attrs["perm"]))
    return lambda x: x.transpose(order)


@kernel("concat")
def _concat(node: Node, facts: Facts) -> Kernel:
    axis = node.attrs["axis"] + 1
    return lambda *arrays: np.concatenate(arrays, axis=axis)


@kernel("slice")
def _slice(node: Node, facts: Facts) -> Kernel:
    a = node.attrs
    where = (slice(None), *(slice(*cut) for cut in zip(a["starts"], a["stops"], a["steps"], strict=True)))
    return lambda x: x[where]


@kernel("gather")
def _gather(node: Node, facts: Facts) -> Kernel:
    indices, axis = node.attrs["indices"], node.attrs["axis"] + 1
    return lambda x: x.take(indices, axis=axis)


@kernel("take")
def _take(node: Node, facts: Facts) -> Kernel:
    axis = node.attrs["axis"]

    def run(x: Array, index: Array) -> Array:
        front = np.moveaxis(x, axis + 1, 1)
        rows = np.arange(len(x)).reshape(-1, *(1,) * (index.ndim - 1))
        found = front[rows, index]  # [N, index axes, other axes]
        n = index.ndim - 1
        return np.moveaxis(found, tuple(range(1, n + 1)), tuple(range(axis + 1, axis + n + 1)))

    return run


@kernel("broadcast")
def _broadcast(node: Node, facts: Facts) -> Kernel:
    shape = node.attrs["shape"]

    def run(x: Array) -> Array:
        x = x.reshape(len(x), *(1,) * (len(shape) + 1 - x.ndim), *x.shape[1:])
        return np.broadcast_to(x, (len(x), *shape))

    return run
