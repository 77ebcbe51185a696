"""Operations between bits become tables: bitwise, choices, comparisons, products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node
from neuroloom.compiler.netlist.rewrite import INVERT, Rewriter, element_numbers

from .manager import Options, PassResult, register

TABLES = {
    "and": 0b1000,
    "or": 0b1110,
    "xor": 0b0110,
    "ge": 0b1011,
    "gt": 0b0010,
    "eq": 0b1001,
    "mul": 0b1000,
    "max": 0b1110,
    "min": 0b1000,
    "select": 0b11011000,
}
"""Truth tables of the operations on bits, first operand as address LSB; select is (condition, then, else)."""

AND_NOT = 0b0010
"""Table of input 0 and not input 1."""


def _gate(node: Node, rewriter: Rewriter) -> bool:
    """A table over the operands, broadcast; only where operands and result are all bits."""
    out = node.outputs[0]
    if not out.type.is_bit or not rewriter.all_bits(node.inputs):
        return False
    kind = str(node.attrs.get("kind", node.op))
    table = INVERT if kind == "not" else TABLES[kind]
    numbers = element_numbers([rewriter.values[i] for i in node.inputs])
    rewriter.lut(node.inputs, np.stack(np.broadcast_arrays(*numbers), axis=-1), table, out, node.source)
    return True


def _sub(node: Node, rewriter: Rewriter) -> bool:
    """1 - x of a bit is its inverse."""
    out, ones = node.outputs[0], rewriter.constant(node.inputs[0])
    if ones is None or not (ones == 1).all() or not out.type.is_bit or not rewriter.all_bits(node.inputs):
        return False
    numbers = np.broadcast_to(element_numbers([rewriter.values[node.inputs[1]]])[0], out.shape)
    rewriter.lut(node.inputs[1:], numbers[..., None], INVERT, out, node.source)
    return True


def _table(node: Node, rewriter: Rewriter) -> bool:
    """A tabulated function from bit to bit."""
    out = node.outputs[0]
    if not out.type.is_bit or not rewriter.all_bits(node.inputs):
        return False
    entries, lo = node.attrs["entries"], node.attrs["lo"]
    table = sum(int(entries[x - lo]) << x for x in (0, 1) if 0 <= x - lo < len(entries))
    rewriter.lut(node.inputs, np.arange(out.size)[:, None], table, out, node.source)
    return True


def _relation(node: Node, rewriter: Rewriter) -> bool:
    """Of bits: a table. Of anything with a constant: compare."""
    if rewriter.all_bits(node.inputs):
        return _gate(node, rewriter)
    kind, out = node.attrs["kind"], node.outputs[0]
    left, right = (rewriter.constant(i) for i in node.inputs)
    if left is None and right is None:
        return False
    flipped = right is None
    constant, x = (left, node.inputs[1]) if flipped else (right, node.inputs[0])
    numbers = np.broadcast_to(element_numbers([rewriter.values[x]])[0], out.shape)
    limits = np.broadcast_to(constant, out.shape)  # type: ignore[arg-type]

    def at_least(limit: np.ndarray, value: object) -> str:
        attrs: dict = {
            "indices": numbers.reshape(-1).astype(np.int32),
            "thresholds": limit.reshape(-1).astype(np.int64),
        }
        if len(out.shape) != 1:
            attrs["shape"] = out.shape
        return rewriter.emit("compare", [x], attrs, value, node.source)  # type: ignore[arg-type]

    every = np.arange(out.size)
    if kind == "eq":
        ge = at_least(limits, rewriter.fresh(f"{out.name}.ge", BIT, out.shape))
        gt = at_least(limits + 1, rewriter.fresh(f"{out.name}.gt", BIT, out.shape))
        rewriter.lut([ge, gt], np.stack([every, every + out.size], axis=-1), AND_NOT, out, node.source)
        return True
    # x >= c and x > c directly; c >= x is not (x >= c + 1), c > x is not (x >= c)
    limits = limits + 1 if (kind == "gt") != flipped else limits
    if not flipped:
        at_least(limits, out)
    else:
        above = at_least(limits, rewriter.fresh(f"{out.name}.above", BIT, out.shape))
        rewriter.lut([above], every[:, None], INVERT, out, node.source)
    return True


LOWERINGS: dict[str, Callable[[Node, Rewriter], bool]] = {
    "bitwise": _gate,
    "select": _gate,
    "mul": _gate,
    "max": _gate,
    "min": _gate,
    "sub": _sub,
    "table": _table,
    "relation": _relation,
}


@register("lower-gates", "canonicalise", order=40)
def run(graph: Graph, options: Options) -> PassResult:
    """Turn bitwise, select, relation, mul, max, min and 1 - x of bits into tables, comparisons with constants into compare."""
    return PassResult(*Rewriter(graph, options).run(LOWERINGS))
