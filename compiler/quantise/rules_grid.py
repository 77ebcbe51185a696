"""Lowering of networks that are quantised already: integers with exact rational steps, rounded only where the model says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Affine, smallest_type
from neuroloom.compiler.real.functions import tabulate
from neuroloom.compiler.real.program import RealNode, RealValue

from .lower import Lowering, Raw, lowering
from .rules_delta import handed_on

MAX_TABLE_BITS = 16
"""Widest integer that a function between two quantisations may be tabulated over."""


def any_grid(low: Lowering, names: Sequence[str]) -> bool:
    """Whether an operand is integers with an exact step, so that the result must stay exact."""
    return any(not low.is_const(n) and low.raws[n].grid for n in names)


def step_of(low: Lowering, raw: Raw) -> Fraction:
    """The real value of one integer step."""
    return raw.factor / Fraction(2) ** low.builder[raw.name].type.frac


def exact_constant(data: np.ndarray) -> tuple[np.ndarray, Fraction]:
    """Floats as integers times one step, exactly; a step of 0 when all are 0."""
    values = [Fraction(float(v)) for v in data.reshape(-1)]
    step = common_step([abs(v) for v in values if v])
    ints = [int(v / step) if step else 0 for v in values]
    return np.array(ints, object).reshape(data.shape), step


def common_step(steps: Sequence[Fraction]) -> Fraction:
    """The largest rational of which all ``steps`` are multiples; 0 of none."""
    if not steps:
        return Fraction(0)
    bottom = math.lcm(*(s.denominator for s in steps))
    return Fraction(math.gcd(*(int(s * bottom) for s in steps)), bottom)


def operand(low: Lowering, name: str) -> tuple[str, Fraction]:
    """A graph value of plain integers and its step."""
    if low.is_const(name):
        ints, step = exact_constant(low.consts[name])
        return place(low, ints, name), step or Fraction(1)
    raw = low.raws[name]
    step, value = step_of(low, raw), raw.name
    if low.builder[value].type.frac:
        value = low.requantize(value, smallest_type(low.builder.ranges[value]), Fraction(1), f"{name}.integers")
    return value, step


def place(low: Lowering, ints: np.ndarray, name: str) -> str:
    """Exact integers as a constant of the graph; refused when they do not fit."""
    ints = np.asarray(ints, object)  # numpy unpacks a tensor without axes
    bounds = (int(min(ints.reshape(-1))), int(max(ints.reshape(-1)))) if ints.size else (0, 0)
    type_ = smallest_type(bounds)
    return low.builder.const(ints.astype(np.int64), type_, name=name, source=low.source)


def aligned_steps(low: Lowering, names: Sequence[str]) -> tuple[list[str], Fraction]:
    """Operands as integers of one common step, exactly."""
    parts: list[tuple[str, np.ndarray | str, Fraction]] = []
    for name in names:
        if low.is_const(name):
            parts.append((name, *exact_constant(low.consts[name])))
        else:
            parts.append((name, *operand(low, name)))
    unit = common_step([step for _, _, step in parts if step]) or Fraction(1)
    out = []
    for name, value, step in parts:
        times = int(step / unit)
        if not isinstance(value, str):
            out.append(place(low, value * times, name))
        elif times == 1:
            out.append(value)
        else:
            lo, hi = low.builder.ranges[value]
            type_ = smallest_type((lo * times, hi * times))
            out.append(low.requantize(value, type_, Fraction(times), f"{name}.scaled"))
    return out, unit


def weighted(low: Lowering, node: RealNode) -> None:
    """Integer weights on integers: exact sums; scales per output are brought to one step by exact factors."""
    ints, scales = node.attrs["grid"]
    x, step = operand(low, node.inputs[0])
    if node.op == "linear":
        x = handed_on(low, node, x, step)
    attrs: dict[str, Any] = {k: v for k, v in node.attrs.items() if k in ("strides", "pads", "groups")}
    narrow = np.int8 if np.abs(ints).max(initial=0) < 128 else np.int32
    unit = common_step(list(scales))
    several = len(set(scales)) > 1
    bias = node.attrs.get("exact_bias")
    counts = _counts(bias, step, scales * len(ints) if len(scales) == 1 else scales) if bias else None
    if counts is not None:
        attrs["bias"] = counts
    op = "conv" if node.op == "conv" else "matvec"
    out = low.emit(op, [x], f"{node.name}.sum", weights=ints.astype(narrow), weight_frac=0, **attrs)
    shape = (len(ints), *[1] * (ints.ndim - 2)) if node.op == "conv" else (len(ints),)
    decided = _decided(low, node, bias, step, scales) if bias and counts is None else None
    if decided is not None:
        out, step = _add_decided(low, node, out, decided, shape), step / (1 << decided[1])
        bias = None
    if several:
        times = np.array([int(s / unit) for s in scales], object).reshape(shape)
        out = low.emit("mul", [out, place(low, times, f"{node.name}.scales")], f"{node.name}.scaled")
    low.define(node.name, out, step * unit, grid=True)
    if bias and counts is None:
        offset = np.array([float(b) for b in bias]).reshape(shape)
        if any(Fraction(float(v)) != b for v, b in zip(offset.reshape(-1), bias, strict=True)):
            raise UnsupportedError(f"{node.where()}: its bias has more digits than can be carried exactly")
        name = f"{node.name}.bias"
        low.consts[name] = offset
        low.values[name] = RealValue(name, offset.shape)
        names, unit = aligned_steps(low, [node.name, name])
        low.define(node.name, low.emit("add", names, f"{node.name}.biased"), unit, grid=True)


def _counts(bias: Sequence[Fraction], step: Fraction, scales: Sequence[Fraction]) -> np.ndarray | None:
    """The bias in units of the products, where it is whole numbers of them; None where it is not.

    A bias whose stored scale is the float32 nearest to the product of the two other scales counts in that product: it is what
    the model's integers mean (QLinearConv says so), and the products need no common step of 70 bits.
    """
    rows = [b / (step * s) for b, s in zip(bias, scales, strict=True)]
    near = [round(r) for r in rows]
    if any(abs(r - n) > abs(n) * Fraction(1, 1 << 22) or abs(n) >= 1 << 40 for r, n in zip(rows, near, strict=True)):
        return None
    return np.array(near, np.int64)


FINER = (4, 8, 12, 16)
"""Fraction bits of a product's step that a real bias is tried with."""


def _decided(
    low: Lowering, node: RealNode, bias: Sequence[Fraction], step: Fraction, scales: Sequence[Fraction]
) -> tuple[np.ndarray, int] | None:
    """A bias in 2**-k of a product's step that gives the same integers as the exact one at the quantisation behind; and k.

    The sums are integers, so the exact bias and a nearby one differ only where a boundary of the quantisation lies between them.
    For every output and every boundary this is compared in rationals; None where no k is fine enough, or what follows is more
    than monotone (Relu, pooling by the maximum, moves).
    """
    after = _quantised_behind(low, node.name)
    if after is None:
        return None
    a = after.attrs
    unit = Fraction(a["scale"])
    halves = [Fraction(2 * m + 1, 2) for m in range(a["lo"] - a["zero"] - 1, a["hi"] - a["zero"] + 1)]
    rows = [
        (b / (step * s), unit / (step * s))
        for b, s in zip(bias, list(scales) * (len(bias) // len(scales)), strict=True)
    ]
    for bits in FINER:
        near = [round(b * (1 << bits)) for b, _ in rows]
        if all(_same_side(b, Fraction(n, 1 << bits), ratio, halves) for (b, ratio), n in zip(rows, near, strict=True)):
            return np.array(near, object), bits
    return None


def _same_side(exact: Fraction, near: Fraction, ratio: Fraction, halves: Sequence[Fraction]) -> bool:
    """Whether every integer sum plus either bias lies on the same side of every boundary, and none on it."""
    if exact == near:
        return True
    for half in halves:
        a, b = half * ratio - exact, half * ratio - near
        if a.denominator == 1 or b.denominator == 1 or math.floor(a) != math.floor(b):
            return False
    return True


def _quantised_behind(low: Lowering, name: str) -> RealNode | None:
    """The quantisation to nearest that alone reads a value, with nothing but monotone steps between; else None."""
    while True:
        readers = [n for n in low.program.walk() if name in n.inputs]
        shown = any(o.value == name for o in low.program.outputs)
        kept = any(name in r.results for n in low.program.walk() for r in n.regions)
        if len(readers) != 1 or shown or kept:
            return None
        (node,) = readers
        if node.op == "quantize":
            return node if node.attrs["rounding"] == "half_even" else None
        relu = node.op == "max" and all(i == name or (low.is_const(i) and not low.consts[i].any()) for i in node.inputs)
        if not relu and node.op not in ("reshape", "transpose", "gather", "slice", "reduce_max"):
            return None
        name = node.name


def _add_decided(
    low: Lowering, node: RealNode, out: str, decided: tuple[np.ndarray, int], shape: tuple[int, ...]
) -> str:
    """The sums with a bias of finer step."""
    counts, bits = decided
    finer = low.emit("shift", [out], f"{node.name}.finer", amount=bits)
    offset = place(low, counts.reshape(shape), f"{node.name}.bias")
    return low.emit("add", [finer, offset], f"{node.name}.biased")


def function(low: Lowering, node: RealNode, out_step: Fraction, bounds: tuple[int, int]) -> str:
    """A table from integers to integers of step ``out_step``, every entry correctly rounded and saturated to ``bounds``."""
    x, step = operand(low, node.inputs[0])
    lo, hi = low.builder.ranges[x]
    if hi - lo >= 1 << MAX_TABLE_BITS:
        raise UnsupportedError(
            f"{node.where()}: {node.attrs['function']} of integers in {lo}..{hi} would need a table of {hi - lo + 1} entries; "
            "quantise its input"
        )
    params = tuple(Fraction(float(p)) for p in node.attrs.get("params", ()))
    type_ = smallest_type(bounds)
    entries = tabulate(node.attrs["function"], params, (lo, hi), 0, type_, step=step, unit=out_step)
    entries = np.clip(entries, *bounds)
    return low.emit("table", [x], node.name, entries=entries, lo=lo, type=str(type_))


def reader(low: Lowering, name: str) -> RealNode | None:
    """The one node that reads a value, when it quantises it and nothing else does."""
    readers = [n for n in low.program.walk() if name in n.inputs]
    shown = any(o.value == name for o in low.program.outputs)
    kept = any(name in r.results for n in low.program.walk() for r in n.regions)
    if len(readers) != 1 or shown or kept or readers[0].op != "quantize":
        return None
    return readers[0]


def border(low: Lowering, value: RealValue) -> bool:
    """A real input that is only quantised is taken as those integers, without their zero point; whether it was.

    (With the zero point, halves would be rounded to the other side where it is odd.)
    """
    readers = [n for n in low.program.walk() if value.name in n.inputs]
    rules = {(n.attrs.get("scale"), n.attrs.get("zero"), n.attrs.get("lo"), n.attrs.get("hi")) for n in readers}
    plain = all(n.op == "quantize" and n.attrs["rounding"] == "half_even" for n in readers)
    if not readers or not plain or len(rules) != 1 or any(o.value == value.name for o in low.program.outputs):
        return False
    a = readers[0].attrs
    bounds = a["lo"] - a["zero"], a["hi"] - a["zero"]
    type_, step = smallest_type(bounds), Fraction(a["scale"])
    narrow = None if type_.range == bounds else bounds
    name = low.builder.input(value.name, type_, value.shape, affine=Affine.of(step), bounds=narrow)
    low.define(value.name, name, step, grid=True)
    return True


@lowering("quantize")
def quantize(low: Lowering, node: RealNode) -> None:
    """One requantize from whatever the exact value is to the model's own integers."""
    name, a = node.inputs[0], node.attrs
    zero, bounds = a["zero"], (a["lo"] - a["zero"], a["hi"] - a["zero"])
    raw = low.raws[name]
    factor, value = step_of(low, raw) / Fraction(a["scale"]), raw.name
    lo, hi = low.builder.ranges[value]
    if factor != 1 or lo < bounds[0] or hi > bounds[1]:
        type_ = smallest_type(bounds)
        value = low.emit(
            "requantize",
            [value],
            f"{node.name}.centred" if zero else node.name,
            type=str(type_),
            factor=str(factor),
            rounding=a["rounding"],
            overflow="saturate",
        )
        for op, limit, inside in (("max", bounds[0], type_.lo), ("min", bounds[1], type_.hi)):
            if limit != inside:
                edge = low.builder.const(np.array(limit), name=f"{node.name}.{op}", source=low.source)
                value = low.emit(op, [value, edge], f"{node.name}.limited")
    elif low.builder[value].type.frac:
        value = low.requantize(value, smallest_type((lo, hi)), Fraction(1), f"{node.name}.integers")
    low.centred[node.name] = (value, zero)
    if zero:
        offset = low.builder.const(np.array(zero), name=f"{node.name}.zero", source=low.source)
        value = low.emit("add", [value, offset], node.name)
    low.define(node.name, value)


@lowering("dequantize")
def dequantize(low: Lowering, node: RealNode) -> None:
    """The integers less their zero point, with the model's scale as their step."""
    name, zero = node.inputs[0], node.attrs["zero"]
    held = low.centred.get(name)
    if held is not None and held[1] == zero:
        value = held[0]
    else:
        value = low.integer(name)
        if zero:
            offset = low.builder.const(np.array(zero), name=f"{node.name}.zero", source=low.source)
            value = low.emit("sub", [value, offset], f"{node.name}.centred")
    low.define(node.name, value, Fraction(node.attrs["scale"]), grid=True)
