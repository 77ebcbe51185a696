"""Exact integer arithmetic. Nothing here loses a bit except ``requantize``."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Range, Type, smallest_type

from .logic import conv_shape
from .registry import Operands, Result, op
from .shape import broadcast_shape, need_axis

ROUNDINGS = ("floor", "half_up", "half_even", "toward_zero")
"""How ``requantize`` rounds q * factor to an integer; half_up is floor(v + 1/2)."""

OVERFLOWS = ("saturate", "wrap")
"""What ``requantize`` does with an integer outside its type."""


def _same_frac(o: Operands) -> int:
    fracs = {v.type.frac for v in o.values}
    if len(fracs) > 1:
        raise GraphError(f"inputs must have the same fraction bits, not {' and '.join(str(v.type) for v in o.values)}")
    return fracs.pop()


def _shape(o: Operands) -> tuple[int, ...]:
    return broadcast_shape([v.shape for v in o.values])


@op("add", arity=2)
def add(o: Operands) -> list[Result]:
    """a + b, broadcast; the result type holds every sum."""
    (alo, ahi), (blo, bhi) = o.ranges
    return [Result(_shape(o), (alo + blo, ahi + bhi), _same_frac(o))]


@op("sub", arity=2)
def sub(o: Operands) -> list[Result]:
    """a - b, broadcast; the result type holds every difference."""
    (alo, ahi), (blo, bhi) = o.ranges
    return [Result(_shape(o), (alo - bhi, ahi - blo), _same_frac(o))]


@op("mul", arity=2)
def mul(o: Operands) -> list[Result]:
    """a * b, broadcast; fraction bits add."""
    corners = [x * y for x in o.ranges[0] for y in o.ranges[1]]
    return [Result(_shape(o), (min(corners), max(corners)), sum(v.type.frac for v in o.values))]


@op("max", arity=2)
def max_(o: Operands) -> list[Result]:
    """The larger of a and b, broadcast."""
    (alo, ahi), (blo, bhi) = o.ranges
    return [Result(_shape(o), (max(alo, blo), max(ahi, bhi)), _same_frac(o))]


@op("min", arity=2)
def min_(o: Operands) -> list[Result]:
    """The smaller of a and b, broadcast."""
    (alo, ahi), (blo, bhi) = o.ranges
    return [Result(_shape(o), (min(alo, blo), min(ahi, bhi)), _same_frac(o))]


@op("shift", attrs={"amount": "int"})
def shift(o: Operands) -> list[Result]:
    """q * 2**amount, amount >= 0, fraction bits unchanged; shifting right is a requantize."""
    amount = o.attr("amount")
    if not 0 <= amount < 63:
        raise GraphError(f"amount must be in 0..62, not {amount}; use requantize to shift right")
    lo, hi = o.ranges[0]
    return [Result(o.values[0].shape, (lo << amount, hi << amount), o.values[0].type.frac)]


@op("sum", attrs={"axes": "tuple"})
def sum_(o: Operands) -> list[Result]:
    """Sum over ``axes`` (which disappear)."""
    shape, axes = o.values[0].shape, o.attr("axes")
    if len(set(axes)) != len(axes):
        raise GraphError(f"axes must differ, not {list(axes)}")
    for axis in axes:
        need_axis(axis, len(shape))
    count = int(np.prod([shape[a] for a in axes], dtype=np.int64))
    lo, hi = o.ranges[0]
    kept = tuple(s for a, s in enumerate(shape) if a not in axes)
    return [Result(kept, (lo * count, hi * count), o.values[0].type.frac)]


def _row_bounds(weights: np.ndarray, bias: np.ndarray, bounds: Range) -> Range:
    """Least and greatest of bias[o] + sum_i weights[o,i] * x_i over every x_i in ``bounds``, per-row signs considered."""
    lo, hi = bounds
    positive = np.maximum(weights, 0).astype(object).sum(axis=1)
    negative = np.minimum(weights, 0).astype(object).sum(axis=1)
    lows = positive * lo + negative * hi + bias.astype(object)
    highs = positive * hi + negative * lo + bias.astype(object)
    return int(min(lows)), int(max(highs))


def _weights(o: Operands, dims: int) -> tuple[np.ndarray, np.ndarray]:
    weights = o.tensor("weights", dims)
    bias = o.node.attrs.get("bias")
    if bias is None:
        return weights, np.zeros(weights.shape[0], np.int64)
    if not isinstance(bias, np.ndarray) or bias.shape != (weights.shape[0],):
        raise GraphError(f"bias must be one integer per output, {weights.shape[0]}")
    return weights, bias


@op("matvec", attrs={"weights": "tensor", "bias": "tensor?", "weight_frac": "int"})
def matvec(o: Operands) -> list[Result]:
    """out[..., o] = bias[o] + sum_i weights[o,i] * x[..., i]: ``weights`` int[O,I] with ``weight_frac`` fraction bits.

    Fraction bits add; ``bias`` int64[O] has the result's fraction bits.
    """
    x = o.values[0]
    weights, bias = _weights(o, 2)
    if not x.shape or x.shape[-1] != weights.shape[1] or not weights.size:
        raise GraphError(f"last axis must be {weights.shape[1]} for weights {list(weights.shape)}, not {list(x.shape)}")
    frac = x.type.frac + o.attr("weight_frac")
    return [Result((*x.shape[:-1], weights.shape[0]), _row_bounds(weights, bias, o.ranges[0]), frac)]


@op(
    "conv",
    attrs={
        "weights": "tensor",
        "bias": "tensor?",
        "weight_frac": "int",
        "strides": "tuple",
        "pads": "tuple",
        "groups": "int",
    },
)
def conv(o: Operands) -> list[Result]:
    """Convolution (cross-correlation), channels first: x int[C,D1..Dn], ``weights`` int[O,C/groups,K1..Kn], zero padding.

    ``pads`` are the begins of all axes, then the ends. Fraction bits add as in ``matvec``.
    """
    x = o.values[0]
    n = len(x.shape) - 1
    weights, bias = _weights(o, n + 2)
    groups, strides, pads = o.attr("groups"), o.attr("strides"), o.attr("pads")
    if groups < 1 or weights.shape[1] * groups != x.shape[0] or weights.shape[0] % groups:
        raise GraphError(f"weights {list(weights.shape)} in {groups} groups must match {x.shape[0]} channels")
    if len(strides) != n or len(pads) != 2 * n:
        raise GraphError(f"strides and pads must have {n} and {2 * n} entries")
    spatial = conv_shape(x.shape[1:], weights.shape[2:], strides, pads)
    bounds = o.ranges[0]
    if any(pads):
        bounds = min(bounds[0], 0), max(bounds[1], 0)
    flat = weights.reshape(weights.shape[0], -1)
    return [Result((weights.shape[0], *spatial), _row_bounds(flat, bias, bounds), x.type.frac + o.attr("weight_frac"))]


def round_fraction(value: Fraction, rounding: str) -> int:
    """Round an exact rational as ``requantize`` does."""
    if rounding == "floor":
        return value.__floor__()
    if rounding == "half_up":
        return (value + Fraction(1, 2)).__floor__()
    if rounding == "half_even":
        return round(value)
    return int(value)


@op("requantize", attrs={"type": "str", "factor": "str", "rounding": "str", "overflow": "str"})
def requantize(o: Operands) -> list[Result]:
    """Round q * factor to an integer of ``type``: the one place where information is lost.

    ``factor`` is an exact rational as text ("1", "3/8", "1/4096"); ``rounding`` floor, half_up (floor(v + 1/2)),
    half_even or toward_zero; ``overflow`` saturate to the type's ends, or wrap modulo 2**width.
    """
    type_ = Type.parse(o.attr("type"))
    rounding, overflow = o.attr("rounding"), o.attr("overflow")
    if rounding not in ROUNDINGS:
        raise GraphError(f"rounding must be one of {', '.join(ROUNDINGS)}, not {rounding!r}")
    if overflow not in OVERFLOWS:
        raise GraphError(f"overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}")
    try:
        factor = Fraction(o.attr("factor"))
    except (ValueError, ZeroDivisionError):
        raise GraphError(f"factor must be a rational like 3/8, not {o.attr('factor')!r}") from None
    ends = sorted(round_fraction(q * factor, rounding) for q in o.ranges[0])
    widest = max(abs(q) * max(abs(factor.numerator), factor.denominator) for q in o.ranges[0])
    if overflow == "saturate":
        bounds = min(max(ends[0], type_.lo), type_.hi), min(max(ends[1], type_.lo), type_.hi)
    else:
        bounds = (ends[0], ends[1]) if type_.holds((ends[0], ends[1])) else type_.range
    if widest >= 1 << 1000:
        raise GraphError("factor must have fewer than 1000 bits")
    smallest_type(bounds)
    return [Result(o.values[0].shape, bounds, type_.frac, type_)]
