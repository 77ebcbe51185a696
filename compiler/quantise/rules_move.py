"""Lowering of moves, choices and truth values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.ir import smallest_type
from neuroloom.compiler.real.program import RealNode

from .lower import Lowering, lowering
from .rules_grid import aligned_steps, any_grid


@lowering("reshape", "transpose", "slice", "gather", "broadcast")
def move(low: Lowering, node: RealNode) -> None:
    """The same integers elsewhere; sums too wide to be stored are rounded to their format first."""
    attrs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in node.attrs.items()}
    if node.op == "gather":
        attrs["indices"] = np.asarray(attrs["indices"], np.int32)
    name = node.inputs[0]
    if low.values[name].kind != "real":
        low.define(node.name, low.emit(node.op, [low.integer(name)], node.name, **attrs))
        return
    raw = low.stored(name)
    low.define(node.name, low.emit(node.op, [raw.name], f"{node.name}.exact", **attrs), raw.factor, grid=raw.grid)


@lowering("concat")
def concat(low: Lowering, node: RealNode) -> None:
    """Parts of one format stay exact; others are rounded to the format of the whole."""
    if low.values[node.name].kind != "real":
        names = one_type(low, [low.integer(i) for i in node.inputs])
    elif any_grid(low, node.inputs):
        names, unit = aligned_steps(low, node.inputs)
        out = low.emit("concat", one_type(low, names), node.name, axis=node.attrs["axis"])
        low.define(node.name, out, unit, grid=True)
        return
    else:
        held = [low.stored(i) for i in node.inputs if not low.is_const(i)]
        types = {low.builder[raw.name].type for raw in held}
        if len(types) == 1 and len(held) == len(node.inputs):
            names = [raw.name for raw in held]
        else:
            target = low.format(node.name)
            names = [low.settle(i, target, "part") for i in node.inputs]
    low.define(node.name, low.emit("concat", names, node.name, axis=node.attrs["axis"]))


def one_type(low: Lowering, names: list[str]) -> list[str]:
    """Integers of the graph in one type that holds them all."""
    types = {low.builder[n].type for n in names}
    if len(types) == 1:
        return names
    ranges = [low.builder.ranges[n] for n in names]
    type_ = smallest_type((min(r[0] for r in ranges), max(r[1] for r in ranges)), low.builder[names[0]].type.frac)
    return [low.requantize(n, type_, Fraction(1), f"{n}.widened") for n in names]


@lowering("take")
def take(low: Lowering, node: RealNode) -> None:
    """Elements by a computed index."""
    name, index = node.inputs
    if low.values[name].kind != "real":
        low.define(
            node.name, low.emit("take", [low.integer(name), low.integer(index)], node.name, axis=node.attrs["axis"])
        )
        return
    if low.is_const(name):
        rules = low.rules(node.name)
        data = low.constant(name, rules.weight_bits if node.attrs.get("weights") else rules.bits)
        low.define(node.name, low.emit("take", [data, low.integer(index)], node.name, axis=node.attrs["axis"]))
        return
    raw = low.stored(name)
    out = low.emit("take", [raw.name, low.integer(index)], f"{node.name}.exact", axis=node.attrs["axis"])
    low.define(node.name, out, raw.factor, grid=raw.grid)


@lowering("relation")
def relation(low: Lowering, node: RealNode) -> None:
    """A comparison of exact values on a common binary point; of a sum and a word, of the sum as it is stored."""
    if low.values[node.inputs[0]].kind == "real" and any_grid(low, node.inputs):
        names, _ = aligned_steps(low, node.inputs)
    elif low.values[node.inputs[0]].kind == "real":
        computed = [n for n in node.inputs if not low.is_const(n)]
        wide = [low.factor(n) != low.raws[n].name for n in computed]
        # a sum beside a word that may have been chosen from it: both rounded alike, so that it is not less than itself
        names = low.compared(node.inputs) if any(wide) and not all(wide) else low.common(node.inputs)
    else:
        names = [low.integer(i) for i in node.inputs]
    low.define(node.name, low.emit("relation", names, node.name, kind=node.attrs["kind"]))


@lowering("logic")
def logic(low: Lowering, node: RealNode) -> None:
    """Truth values."""
    names = [low.integer(i) for i in node.inputs]
    low.define(node.name, low.emit("bitwise", names, node.name, kind=node.attrs["kind"]))


@lowering("select")
def select(low: Lowering, node: RealNode) -> None:
    """One of two values in one format: their own when it is the same, else that of the result."""
    cond, *sides = node.inputs
    if low.values[node.name].kind != "real":
        names = [low.integer(s) for s in sides]
        low.define(node.name, low.emit("select", [low.integer(cond), *names], node.name))
        return
    if any_grid(low, sides):
        names, unit = aligned_steps(low, sides)
        low.define(node.name, low.emit("select", [low.integer(cond), *names], node.name), unit, grid=True)
        return
    held = [low.stored(s) for s in sides if not low.is_const(s)]
    if len(held) == 2 and low.builder[held[0].name].type == low.builder[held[1].name].type:
        names = [raw.name for raw in held]
    else:
        target = low.format(node.name)
        names = [low.settle(s, target, "side") for s in sides]
    low.define(node.name, low.emit("select", [low.integer(cond), *names], node.name))


@lowering("argmax")
def argmax(low: Lowering, node: RealNode) -> None:
    """The order of the integers, rounded to their format where the sums are wider than what is stored."""
    name = node.inputs[0]
    x = low.stored(name).name if low.values[name].kind == "real" else low.integer(name)
    low.define(node.name, low.emit("argmax", [x], node.name, axis=node.attrs["axis"], last=bool(node.attrs["last"])))


@lowering("topk")
def topk(low: Lowering, node: RealNode) -> None:
    """The best values and their positions."""
    name = node.inputs[0]
    raw = low.stored(name) if low.values[name].kind == "real" else None
    x = raw.name if raw else low.integer(name)
    attrs = {k: node.attrs[k] for k in ("axis", "k", "largest")}
    values, index = low.builder.nodes("topk", [x], name=node.name, source=low.source, **attrs)
    low.define(node.outputs[0].name, values, raw.factor if raw else Fraction(1), grid=raw is not None and raw.grid)
    low.define(node.outputs[1].name, index)
