"""Adders, comparisons, rounding."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type

from .blast import Context, blaster, common_width, constant, extend, wide
from .classes import AND2, MAJ3, MUX, XOR2, XOR3
from .netlist import FALSE, TRUE, Netlist


def add_bits(net: Netlist, a: np.ndarray, b: np.ndarray, carry: int = FALSE) -> np.ndarray:
    """a + b + carry modulo 2**width."""
    c: np.ndarray = np.asarray(carry)
    out = []
    for i in range(a.shape[-1]):
        x, y = a[..., i], b[..., i]
        out.append(net.gates(XOR3, x, y, np.broadcast_to(c, x.shape)))
        if i + 1 < a.shape[-1]:
            c = net.gates(MAJ3, x, y, np.broadcast_to(c, x.shape))
    return np.stack(out, axis=-1)


def less(net: Netlist, a: np.ndarray, b: np.ndarray, *, or_equal: bool) -> np.ndarray:
    """a < b (or a <= b) of two's-complement numbers of equal width: the borrow of a - b."""
    x, y = a.copy(), b.copy()
    x[..., -1] ^= 1  # offset binary turns the signed order into the unsigned one
    y[..., -1] ^= 1
    borrow = np.full(x.shape[:-1], TRUE if or_equal else FALSE, np.int64)
    for i in range(x.shape[-1]):
        borrow = net.gates(MAJ3, x[..., i] ^ 1, y[..., i], borrow)
    return borrow


def mux(net: Netlist, cond: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """cond ? yes : no over literals of equal shape; cond without the bit axis."""
    return net.gates(MUX, no, yes, np.broadcast_to(cond[..., None], yes.shape))


@blaster("compare")
def compare(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_ = c.types(node)[0]
    x = inputs[0].reshape(-1, type_.width)[node.attrs["indices"]]
    thresholds = node.attrs["thresholds"].astype(np.int64)
    width = type_.width + 1
    limit = constant(np.clip(thresholds, type_.lo, type_.hi), width)
    result = less(c.net, limit, extend(x, type_.signed, width), or_equal=True)
    result = np.where(thresholds <= type_.lo, TRUE, np.where(thresholds > type_.hi, FALSE, result))
    return result.reshape(*node.outputs[0].shape, 1)


@blaster("add")
def add(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = wide(c, node, inputs, node.outputs[0].type.width)
    return add_bits(c.net, a, b)


@blaster("sub")
def sub(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = wide(c, node, inputs, node.outputs[0].type.width)
    return add_bits(c.net, a, b ^ 1, TRUE)


@blaster("shift")
def shift(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    zeros = np.full((*inputs[0].shape[:-1], node.attrs["amount"]), FALSE, np.int64)
    return extend(np.concatenate([zeros, inputs[0]], axis=-1), c.types(node)[0].signed, node.outputs[0].type.width)


@blaster("sum")
def sum_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    axes, x = node.attrs["axes"], inputs[0]
    width = node.outputs[0].type.width
    terms = extend(np.moveaxis(x, axes, range(len(axes))), c.types(node)[0].signed, width)
    terms = terms.reshape(-1, *terms.shape[len(axes) :])
    while len(terms) > 1:
        half = len(terms) // 2
        terms = np.concatenate([add_bits(c.net, terms[:half], terms[half : 2 * half]), terms[2 * half :]])
    return terms[0]


@blaster("max")
def max_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = wide(c, node, inputs, common_width(c, node))
    return mux(c.net, less(c.net, a, b, or_equal=False), b, a)


@blaster("min")
def min_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = wide(c, node, inputs, common_width(c, node))
    return mux(c.net, less(c.net, a, b, or_equal=False), a, b)


@blaster("relation")
def relation(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = wide(c, node, inputs, common_width(c, node))
    kind = node.attrs["kind"]
    if kind == "eq":
        same = np.full(a.shape[:-1], TRUE, np.int64)
        for i in range(a.shape[-1]):
            same = c.net.gates(AND2, same, c.net.gates(XOR2, a[..., i], b[..., i]) ^ 1)
        return same[..., None]
    return less(c.net, b, a, or_equal=kind == "ge")[..., None]


@blaster("select")
def select(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    width = common_width(c, node, slice(1, None))
    cond, yes, no = wide(c, node, inputs, width)
    return mux(c.net, cond[..., 0], yes, no)


@blaster("argmax")
def argmax(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_ = c.types(node)[0]
    best = extend(np.moveaxis(inputs[0], node.attrs["axis"], 0), type_.signed, type_.width + 1)
    shape = (len(best), *best.shape[1:-1])
    width = node.outputs[0].type.width
    index = constant(np.broadcast_to(np.arange(len(best)).reshape(-1, *[1] * (len(shape) - 1)), shape), width)
    while len(best) > 1:  # neighbours play, so the left one always has the lower index
        pairs = len(best) // 2 * 2
        left, right = best[0:pairs:2], best[1:pairs:2]
        wins = less(c.net, left, right, or_equal=node.attrs["last"])
        winner = mux(c.net, wins, right, left)
        place = mux(c.net, wins, index[1:pairs:2], index[0:pairs:2])
        best, index = np.concatenate([winner, best[pairs:]]), np.concatenate([place, index[pairs:]])
    return index[0]


@blaster("requantize")
def requantize(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    factor, rounding = Fraction(node.attrs["factor"]), node.attrs["rounding"]
    down = factor.denominator.bit_length() - 1
    up = abs(factor.numerator).bit_length() - 1
    if factor != Fraction(1 << up, 1 << down):
        raise UnsupportedError(
            f"{node.where()}: the bit-packed engine has powers of two only, not {factor}; use the reference engine"
        )
    source, type_ = c.types(node)[0], Type.parse(node.attrs["type"])
    x = extend(inputs[0], source.signed, max(source.width, down) + 2)
    x = np.concatenate([np.full((*x.shape[:-1], up), FALSE, np.int64), x], axis=-1)
    if down:
        x = _round(c.net, x, down, rounding)
    return _bound(c.net, x, type_, node.attrs["overflow"])


def _round(net: Netlist, x: np.ndarray, down: int, rounding: str) -> np.ndarray:
    """x / 2**down of two's-complement literals, rounded: add what rounding adds, then floor."""
    sign, odd = x[..., -1], x[..., down]
    half = constant((1 << (down - 1)), x.shape[-1])
    addend = np.broadcast_to(np.full(x.shape[-1], FALSE, np.int64), x.shape).copy()
    if rounding == "half_up":
        addend = np.broadcast_to(half, x.shape)
    elif rounding == "half_even":  # half - 1 + (is the floor odd)
        addend = add_bits(
            net,
            np.broadcast_to(constant(((1 << (down - 1)) - 1), x.shape[-1]), x.shape).copy(),
            np.concatenate([odd[..., None], addend[..., 1:]], axis=-1),
        )
    elif rounding == "toward_zero":  # a negative number gets 2**down - 1
        addend[..., :down] = sign[..., None]
    return add_bits(net, x, addend)[..., down:]


def _bound(net: Netlist, x: np.ndarray, type_: Type, overflow: str) -> np.ndarray:
    """Saturate or wrap two's-complement literals to ``type_``."""
    width = max(x.shape[-1], type_.width + 2)
    x = extend(x, True, width)
    if overflow == "saturate":
        for limit, above in ((type_.hi, True), (type_.lo, False)):
            bound = np.broadcast_to(constant((limit), width), x.shape)
            beyond = less(net, bound, x, or_equal=False) if above else less(net, x, bound, or_equal=False)
            x = mux(net, beyond, bound, x)
    return x[..., : type_.width]
