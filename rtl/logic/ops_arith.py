"""Exact arithmetic in hardware."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type
from neuroloom.compiler.ir.ops.arith import round_fraction

from .lower import Bits, aligned, along, component
from .netlist import ONE, Netlist, Word
from .ops_bits import tabulate
from .words import add, chain_delay, constant, extend, greater, mux, unsigned, weighted_sum

_MAX_PRODUCT = 36
"""Widest product built from logic or the chip's multipliers."""


def _sides(node: Node, inputs: Sequence[Bits]) -> list[list[Word]]:
    """Both inputs broadcast, in the result's width (two's complement)."""
    value = node.outputs[0]
    return [
        [extend(w, i.signed, value.type.width) for w in words]
        for i, words in zip(inputs, aligned(inputs, value), strict=True)
    ]


@component("add")
def add_(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """An adder per element."""
    width = node.outputs[0].type.width
    return [np.array([add(net, a, b, width=width) for a, b in zip(*_sides(node, inputs), strict=True)], np.int32)]


@component("sub")
def sub(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """a + ~b + 1 per element."""
    width = node.outputs[0].type.width
    out = []
    for a, b in zip(*_sides(node, inputs), strict=True):
        out.append(add(net, a, tuple(net.invert(bit) for bit in b), ONE, width=width))
    return [np.array(out, np.int32)]


@component("mul")
def mul(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A multiplier per element."""
    width = node.outputs[0].type.width
    if width > _MAX_PRODUCT:
        raise UnsupportedError(
            f"a product must have at most {_MAX_PRODUCT} bits in the logic engine, not {width}; narrow its inputs"
        )
    delay = chain_delay(width) + max(1, (width - 1).bit_length())
    columns = _sides(node, inputs)
    return [np.array([net.word("mul", (a, b), width, delay) for a, b in zip(*columns, strict=True)], np.int32)]


def _dot(net: Netlist, words: Sequence[Word], signed: bool, weights: Sequence[int], bias: int, width: int) -> Word:
    """bias + sum of weights times integers, modulo 2**width, as one weighted sum of their bits."""
    bits: list[int] = []
    scale: list[int] = []
    for word, weight in zip(words, weights, strict=True):
        for place, bit in enumerate(word):
            sign = -1 if signed and place == len(word) - 1 else 1
            bits.append(bit)
            scale.append(sign * weight << place)
    return weighted_sum(net, bits, scale, bias, width)


@component("sum")
def sum_(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A counter and adder tree per result."""
    x, axes = inputs[0], node.attrs["axes"]
    kept = [a for a in range(len(x.shape)) if a not in axes]
    moved = x.array.transpose(*kept, *axes, len(x.shape))
    rows = moved.reshape(int(np.prod([x.shape[a] for a in kept], dtype=np.int64)), -1, x.width)
    width = node.outputs[0].type.width
    return [
        np.array(
            [_dot(net, [tuple(w) for w in row], x.signed, [1] * len(row), 0, width) for row in rows.tolist()], np.int32
        )
    ]


@component("matvec")
def matvec(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """One weighted sum per result; meant for small matrices."""
    x, weights = inputs[0], node.attrs["weights"].tolist()
    bias = node.attrs.get("bias", np.zeros(len(weights), np.int64)).tolist()
    width = node.outputs[0].type.width
    out = []
    for row in along(x, len(x.shape) - 1):
        out.append([_dot(net, row, x.signed, w, b, width) for w, b in zip(weights, bias, strict=True)])
    return [np.array(out, np.int32)]


@component("requantize")
def requantize(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A table where the input is narrow; else a constant product, a rounding shift and a clamp (power-of-two divisors)."""
    x, a = inputs[0], node.attrs
    type_, factor = Type.parse(a["type"]), Fraction(a["factor"])
    if x.width <= 6:
        lo, hi = (-(1 << (x.width - 1)), (1 << (x.width - 1)) - 1) if x.signed else (0, (1 << x.width) - 1)

        def rounded(q: int) -> int:
            v = round_fraction(q * factor, a["rounding"])
            return min(max(v, type_.lo), type_.hi) if a["overflow"] == "saturate" else v

        return [np.array([tabulate(net, w, x.signed, rounded, lo, hi, type_.width) for w in x.words()], np.int32)]
    if factor.denominator & (factor.denominator - 1):
        raise UnsupportedError(
            f"requantize by {factor} of {x.width} bits has no spatial hardware; use a factor with a power-of-two divisor"
        )
    return [
        np.array(
            [_requantized(net, w, x.signed, factor, a["rounding"], a["overflow"], type_) for w in x.words()], np.int32
        )
    ]


def _requantized(
    net: Netlist, word: Word, signed: bool, factor: Fraction, rounding: str, overflow: str, type_: Type
) -> Word:
    p, drop = factor.numerator, factor.denominator.bit_length() - 1
    width = max(len(word) + abs(p).bit_length(), drop) + 2  # two's complement, with room for the rounding constant
    half = (1 << drop) >> 1
    offset = half if rounding == "half_up" else half - 1 if rounding == "half_even" and drop else 0
    product = _dot(net, [word], signed, [p], 0, width)
    if rounding == "half_even" and drop:
        total = add(net, add(net, product, constant(offset, width), product[drop], width=width), (), width=width)
    elif rounding == "toward_zero" and drop:
        negative = product[-1]
        total = add(net, product, (negative,) * drop, width=width)  # plus 2**drop - 1 when negative
    elif offset:
        total = add(net, product, constant(offset, width), width=width)
    else:
        total = product
    shifted = extend(total[drop:], True, max(width - drop, type_.width + 2))
    if overflow == "wrap":
        return shifted[: type_.width]
    size = len(shifted)
    key = unsigned(net, shifted, True)
    flip = 1 << (size - 1)
    above = greater(net, key, constant(type_.hi + flip, size))
    below = greater(net, constant(type_.lo + flip, size), key)
    low = constant(type_.lo, type_.width)
    return mux(net, above, constant(type_.hi, type_.width), mux(net, below, low, shifted[: type_.width]))
