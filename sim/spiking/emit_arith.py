"""Instructions of exact arithmetic, comparisons and choices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type

from . import codes
from .memory import kind_of
from .plan import ENGINE
from .program import Compiler, emits

ROUNDINGS = {
    "floor": codes.FLOOR,
    "half_up": codes.HALF_UP,
    "toward_zero": codes.TOWARD_ZERO,
    "half_even": codes.HALF_EVEN,
    "stochastic": codes.STOCHASTIC,
}


def operand(c: Compiler, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """The reference of a value as an operand of ``shape``, and 1 when it is one element for all."""
    value, ref = c.values[name], c.ref(name)
    size = int(np.prod(shape, dtype=np.int64))
    if value.size == size:
        return ref, 0
    if value.size == 1:
        return ref, 1
    index = np.broadcast_to(np.arange(value.size).reshape(value.shape), shape)
    wide = c.memory.value(ref & 3, size)
    c.emit(codes.GATHER, wide, ref, size, c.memory.index(index))
    return wide, 0


def binary(c: Compiler, kind: int, dst: int, a: tuple[int, int], b: tuple[int, int], n: int) -> None:
    """dst = a kind b over n elements."""
    c.emit(codes.BINARY, dst, a[0], b[0], n, kind, a[1], b[1])


_BINARY = {"add": codes.ADD, "sub": codes.SUB, "mul": codes.MUL, "max": codes.MAX, "min": codes.MIN}
_RELATION = {"ge": codes.GE, "gt": codes.GT, "eq": codes.EQ}


@emits(*_BINARY)
def arithmetic(c: Compiler, node: Node) -> None:
    _two(c, node, _BINARY[node.op])


@emits("relation")
def relation(c: Compiler, node: Node) -> None:
    _two(c, node, _RELATION[node.attrs["kind"]])


def _two(c: Compiler, node: Node, kind: int) -> None:
    (out,) = node.outputs
    a, b = (operand(c, name, out.shape) for name in node.inputs)
    binary(c, kind, c.allocate(out.name), a, b, out.size)


@emits("select")
def select(c: Compiler, node: Node) -> None:
    (out,) = node.outputs
    (cond, k1), (a, k2), (b, k3) = (operand(c, name, out.shape) for name in node.inputs)
    c.emit(codes.SELECT, c.allocate(out.name), cond, a, b, out.size, k1, k2, k3)


@emits("shift")
def shift(c: Compiler, node: Node) -> None:
    (out,) = node.outputs
    c.emit(codes.SHIFT, c.allocate(out.name), c.ref(node.inputs[0]), out.size, node.attrs["amount"])


@emits("requantize")
def requantize(c: Compiler, node: Node) -> None:
    (out,), a = node.outputs, node.attrs
    factor, type_ = Fraction(a["factor"]), Type.parse(a["type"])
    p, q = factor.numerator, factor.denominator
    widest = max(abs(x) for x in c.bounds[node.inputs[0]]) * abs(p)
    if 2 * widest + 2 * q >= 1 << 62:
        raise UnsupportedError(f"{node.where()}: {ENGINE} has products of at most 61 bits; use the reference engine")
    src, dst = c.ref(node.inputs[0]), c.allocate(out.name)
    wrap = int(a["overflow"] == "wrap")
    c.emit(codes.REQUANTIZE, dst, src, out.size, p, q, ROUNDINGS[a["rounding"]], wrap, type_.lo, type_.hi)


@emits("compare")
def compare(c: Compiler, node: Node) -> None:
    (out,) = node.outputs
    ref, n = c.ref(node.inputs[0]), out.size
    picked = c.memory.value(ref & 3, n)
    c.emit(codes.GATHER, picked, ref, n, c.memory.index(node.attrs["indices"]))
    thresholds = node.attrs["thresholds"]
    bounds = int(thresholds.min()), int(thresholds.max())
    limits = c.memory.value(kind_of(bounds), n, thresholds)
    binary(c, codes.GE, c.allocate(out.name), (picked, 0), (limits, 0), n)


def _last_axes(c: Compiler, node: Node, axes: tuple[int, ...]) -> tuple[int, int, int]:
    """The input with ``axes`` moved to the end: reference, rows, length of a row."""
    value, ref = c.values[node.inputs[0]], c.ref(node.inputs[0])
    kept = [k for k in range(len(value.shape)) if k not in axes]
    length = int(np.prod([value.shape[k] for k in axes], dtype=np.int64))
    index = np.arange(value.size).reshape(value.shape).transpose([*kept, *axes]).reshape(-1)
    if (index != np.arange(value.size)).any():
        moved = c.memory.value(ref & 3, value.size)
        c.emit(codes.GATHER, moved, ref, value.size, c.memory.index(index))
        ref = moved
    return ref, node.outputs[0].size, length


@emits("sum")
def sum_(c: Compiler, node: Node) -> None:
    ref, rows, length = _last_axes(c, node, node.attrs["axes"])
    c.emit(codes.SUM, c.allocate(node.outputs[0].name), ref, rows, length)


@emits("argmax")
def argmax(c: Compiler, node: Node) -> None:
    ref, rows, length = _last_axes(c, node, (node.attrs["axis"],))
    c.emit(codes.ARGMAX, c.allocate(node.outputs[0].name), ref, rows, length, int(node.attrs["last"]))


@emits("matvec")
def matvec(c: Compiler, node: Node) -> None:
    weights, bias = node.attrs["weights"], node.attrs.get("bias")
    if weights.size and not -(1 << 31) <= int(weights.min()) <= int(weights.max()) < 1 << 31:
        raise UnsupportedError(f"{node.where()}: {ENGINE} has weights of at most 32 bits; use the reference engine")
    outs, ins = weights.shape
    (out,) = node.outputs
    src, at = c.ref(node.inputs[0]), c.memory.weights[2].add(weights.size, weights)
    added = codes.NONE
    if bias is not None:
        added = c.memory.value(kind_of((int(bias.min()), int(bias.max()))), outs, bias)
    c.emit(codes.MATVEC, c.allocate(out.name), src, out.size // outs, outs, ins, at, added)
