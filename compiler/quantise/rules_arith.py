"""Lowering of arithmetic: weights, sums, products, functions."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Type, smallest_type
from neuroloom.compiler.real.functions import FUNCTIONS, tabulate
from neuroloom.compiler.real.program import RealNode

from .added import finest_product
from .config import Rules
from .formats import choose, integers, table_input, weight_point
from .lower import MAX_RAW, Lowering, lowering
from .observe import merged
from .rules_delta import handed_on
from .rules_grid import aligned_steps, any_grid, operand, reader, weighted
from .rules_grid import function as grid_function


def narrowest(data: np.ndarray) -> np.ndarray:
    """The same integers in the narrowest signed numpy type, as weights are stored."""
    for dtype in (np.int8, np.int16, np.int32):
        if not data.size or (np.iinfo(dtype).min <= data.min() and data.max() <= np.iinfo(dtype).max):
            return data.astype(dtype)
    return data


@lowering("linear", "conv")
def weights(low: Lowering, node: RealNode) -> None:
    """matvec or conv: the input as a factor, weights in their format(s), the bias with the products' fraction bits."""
    if "grid" in node.attrs and any_grid(low, node.inputs):
        weighted(low, node)
        return
    rules = low.rules(node.name)
    real, bias = node.attrs["weights"], node.attrs.get("bias")
    x = low.factor(node.inputs[0])
    frac = low.builder[x].type.frac
    if node.op == "linear":
        x = handed_on(low, node, x, Fraction(2) ** -frac)
    spatial = real.ndim - 2 if node.op == "conv" else 0
    shared = {k: v for k, v in node.attrs.items() if k in ("strides", "pads", "groups")}
    if rules.product is not None:
        rounded_products(low, node, x, rules)
        return
    per_channel = rules.weights == "per_channel" and rules.weight_type is None
    if rules.weight_type is not None:
        points = np.array([rules.weight_type.frac])
        least, most = rules.weight_type.range
    else:
        points = weight_point(real, rules, 0 if per_channel else None)
        finest_sum = finest_product(low, node)
        if finest_sum is not None:
            points = np.minimum(points, finest_sum - frac)
        least, most = -(1 << (rules.weight_bits - 1)), (1 << (rules.weight_bits - 1)) - 1
    finest = int(points.max())
    lifts = finest - points
    if (
        per_channel and int(lifts.max()) > 12
    ):  # a channel of almost zeros must not make the sums wider than they are worth
        points = np.maximum(points.min() + 12, 0) * 0 + np.minimum(points, points.min() + 12)
        finest = int(points.max())
        lifts = finest - points
    rows = np.stack(
        [np.clip(integers(r, int(f)), least, most) for r, f in zip(real, np.resize(points, len(real)), strict=True)]
    )
    attrs: dict[str, Any] = {"weights": narrowest(rows), "weight_frac": finest, **shared}
    several = bool((lifts != lifts[0]).any())
    if bias is not None and not several:
        attrs["bias"] = integers(bias, frac + finest)
    op = "conv" if node.op == "conv" else "matvec"
    out = low.emit(op, [x], f"{node.name}.sum", **attrs)
    if several:
        shape = (-1, *[1] * spatial)
        data = (1 << lifts).astype(np.int64).reshape(shape)
        out = low.emit(
            "mul", [out, low.builder.const(data, name=f"{node.name}.lifts", source=low.source)], f"{node.name}.lifted"
        )
        if bias is not None:
            data = integers(bias, frac + finest).reshape(shape)
            added = low.builder.const(data, _type(data, frac + finest), name=f"{node.name}.bias", source=low.source)
            out = low.emit("add", [out, added], f"{node.name}.biased")
    low.define(node.name, out)


def _type(data: np.ndarray, frac: int) -> Type:
    return smallest_type((int(data.min()), int(data.max())), frac)


def rounded_products(low: Lowering, node: RealNode, x: str, rules: Rules) -> None:
    """A matrix product whose every product is rounded to the configured type before it is added."""
    if node.op != "linear" or rules.product is None:
        raise UnsupportedError(f"{node.where()}: product can be set for matrix products only, not for {node.op}")
    real = node.attrs["weights"]
    frac = rules.weight_type.frac if rules.weight_type else int(weight_point(real, rules)[0])
    type_ = rules.weight_type or Type(rules.weight_bits, True, frac)
    weight = low.const(integers(real, frac), type_, f"{node.name}.weights")
    value = low.builder[x]
    column = low.emit("reshape", [x], f"{node.name}.row", shape=(*value.shape[:-1], 1, value.shape[-1]))
    products = low.emit("mul", [column, weight], f"{node.name}.products")
    factor = Fraction(2) ** (rules.product.frac - low.builder[products].type.frac)
    rounded = low.requantize(products, rules.product, factor, f"{node.name}.rounded", rules)
    out = low.emit("sum", [rounded], f"{node.name}.sum", axes=(len(value.shape),))
    if "bias" in node.attrs:
        data = integers(node.attrs["bias"], rules.product.frac)
        bias = low.builder.const(data, _type(data, rules.product.frac), name=f"{node.name}.bias", source=low.source)
        out = low.emit("add", [out, bias], f"{node.name}.biased")
    low.define(node.name, out)


@lowering("add", "sub", "max", "min")
def aligned(low: Lowering, node: RealNode) -> None:
    """Exact on a common binary point (of sums too wide to be stored, the larger of the rounded ones); integers directly."""
    if low.values[node.name].kind == "int":
        low.define(node.name, low.emit(node.op, [low.integer(i) for i in node.inputs], node.name))
        return
    if any_grid(low, node.inputs):
        names, unit = aligned_steps(low, node.inputs)
        low.define(node.name, low.emit(node.op, names, f"{node.name}.exact"), unit, grid=True)
        return
    names = low.common(node.inputs) if node.op in ("add", "sub") else low.compared(node.inputs)
    low.define(node.name, low.emit(node.op, names, f"{node.name}.exact"))


@lowering("mul")
def product(low: Lowering, node: RealNode) -> None:
    """Exact product of two factors; a constant power of two only moves the binary point."""
    if low.values[node.name].kind == "int":
        low.define(node.name, low.emit("mul", [low.integer(i) for i in node.inputs], node.name))
        return
    if any_grid(low, node.inputs):
        exact_product(low, node, {})
        return
    for number, name in enumerate(node.inputs):
        if low.is_const(name) and low.values[name].size == 1:
            power = _power_of_two(float(low.consts[name].reshape(-1)[0]))
            other = node.inputs[1 - number]
            if power is not None and not low.is_const(other) and low.values[other].shape == low.values[node.name].shape:
                low.define(node.name, moved_point(low, low.exact(other), power, f"{node.name}.exact"))
                return
    low.define(node.name, low.emit("mul", [low.factor(i) for i in node.inputs], f"{node.name}.exact"))


def exact_product(low: Lowering, node: RealNode, attrs: dict[str, Any]) -> None:
    """A product or contraction of integers with exact steps."""
    (a, step), (b, other) = (operand(low, i) for i in node.inputs)
    low.define(node.name, low.emit(node.op, [a, b], f"{node.name}.exact", **attrs), step * other, grid=True)


def _power_of_two(value: float) -> int | None:
    mantissa, exponent = math.frexp(value)
    return exponent - 1 if mantissa == 0.5 else None


def moved_point(low: Lowering, graph_value: str, power: int, name: str) -> str:
    """The value times 2**power: the same integers with another binary point."""
    old = low.builder[graph_value].type
    return low.requantize(graph_value, replace(old, frac=old.frac - power), Fraction(1), name)


@lowering("contract")
def contract(low: Lowering, node: RealNode) -> None:
    """Exact sums of products of two factors."""
    if any_grid(low, node.inputs):
        exact_product(low, node, {"equation": node.attrs["equation"]})
        return
    inputs = [low.factor(i) for i in node.inputs]
    low.define(node.name, low.emit("contract", inputs, f"{node.name}.exact", equation=node.attrs["equation"]))


@lowering("sum", "mean")
def total(low: Lowering, node: RealNode) -> None:
    """Exact sum; a mean carries the division along, to be done where it is rounded."""
    name, axes = node.inputs[0], tuple(node.attrs["axes"])
    if low.values[name].kind == "int":
        low.define(node.name, low.emit("sum", [low.integer(name)], node.name, axes=axes))
        return
    count = math.prod(low.values[name].shape[a] for a in axes)
    if any_grid(low, [name]):
        x, step = operand(low, name)
        step = step / count if node.op == "mean" else step
        low.define(node.name, low.emit("sum", [x], f"{node.name}.sum", axes=axes), step, grid=True)
        return
    even = node.op == "sum" or count & (count - 1) == 0
    x = low.settle(name) if low.is_const(name) else low.exact(name) if even else low.factor(name)
    if low.builder[x].type.width + count.bit_length() > MAX_RAW:
        x = low.settle(name)
    out = low.emit("sum", [x], f"{node.name}.sum", axes=axes)
    if node.op == "sum":
        low.define(node.name, out)
    elif count & (count - 1) == 0:
        low.define(node.name, moved_point(low, out, -(count.bit_length() - 1), f"{node.name}.exact"))
    else:
        low.define(node.name, out, Fraction(1, count))


@lowering("reduce_max", "reduce_min")
def extreme(low: Lowering, node: RealNode) -> None:
    """The first of the top-k with k = 1, axis by axis; exact."""
    name = node.inputs[0]
    real, raw = low.values[name].kind == "real", low.raw(name)
    x = raw.name if raw.grid else low.factor(name) if real else low.integer(name)
    for axis in sorted(node.attrs["axes"], reverse=True):
        largest = node.op == "reduce_max"
        out = low.builder.nodes(
            "topk", [x], name=f"{node.name}.best", source=low.source, axis=axis, k=1, largest=largest
        )[0]
        shape = low.builder[out].shape
        x = low.emit("reshape", [out], f"{node.name}.exact", shape=shape[:axis] + shape[axis + 1 :])
    low.define(node.name, x, raw.factor if raw.grid else Fraction(1), grid=raw.grid)


@lowering("function")
def function(low: Lowering, node: RealNode) -> None:
    """A table: the address in a calibrated format of table_bits, every entry correctly rounded to the output's format."""
    name, kind = node.inputs[0], node.attrs["function"]
    if any_grid(low, [name]):
        after = reader(low, node.name)
        if after is not None and after.attrs["rounding"] == "half_even":
            a = after.attrs
            step, ends = Fraction(a["scale"]), (a["lo"] - a["zero"], a["hi"] - a["zero"])
        else:
            out = low.format(node.name)
            step, ends = Fraction(2) ** -out.frac, out.range
        low.define(node.name, grid_function(low, node, step, ends), step, grid=True)
        return
    params = tuple(Fraction(float(p)) for p in node.attrs.get("params", ()))
    rules, alike = low.rules(node.name), _alike(low, node)
    if node.name not in low.formats:
        low.formats[node.name] = rules.type or choose(merged([low.seen(n.name) for n in alike]), rules.bits, rules)
    out, raw = low.formats[node.name], low.raws[name]
    here = low.builder[raw.name].type
    if raw.factor == 1 and here.width <= rules.table_bits:
        address = raw.name
    else:
        seen, least = merged([low.seen(n.inputs[0]) for n in alike]), FUNCTIONS[kind].least
        if least is not None and seen.lo < least:
            raise UnsupportedError(f"{node.where()}: {kind} must be of numbers of at least {least}, not {seen.lo:.6g}")
        address = low.settle(name, table_input(seen, kind, out, rules), "address")
    type_ = low.builder[address].type
    entries = tabulate(kind, params, type_.range, type_.frac, out)
    low.define(node.name, low.emit("table", [address], node.name, entries=entries, lo=type_.lo, type=str(out)))


def _alike(low: Lowering, node: RealNode) -> list[RealNode]:
    """The nodes of the same source with the same function and rules, this one among them: gates of a cell share one table."""
    key = (node.source, node.attrs["function"], node.attrs.get("params", ()))
    rules = low.rules(node.name)
    found = [
        n
        for n in low.program.walk()
        if n.op == "function"
        and (n.source, n.attrs["function"], n.attrs.get("params", ())) == key
        and low.rules(n.name) == rules
        and not low.is_const(n.inputs[0])
        and n.name in low.observed
        and n.inputs[0] in low.observed
    ]
    mine = any(n is node for n in found)
    return found if node.source and rules.type is None and mine else [node]


@lowering("number")
def number(low: Lowering, node: RealNode) -> None:
    """Integers and bits are reals already."""
    low.define(node.name, low.integer(node.inputs[0]))
