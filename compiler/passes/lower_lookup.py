"""Multi-bit tables become bits, one-bit tables and multiplexers."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node, Value
from neuroloom.compiler.ir.ops.logic import MAX_LUT_INPUTS
from neuroloom.compiler.netlist.rewrite import Rewriter

from .manager import Options, PassResult, register

MAX_TABLES = 4_000_000
"""A lookup that would need more tables than this stays a lookup: no supported device holds a tenth of them."""

MULTIPLEXER = 0b11001010
"""Table of out = input 2 ? input 1 : input 0."""


def pack_tables(entries: np.ndarray) -> np.ndarray:
    """Truth tables uint64[...] from their rows of 2**K bits [..., 2**K], K <= 6, entry 0 in bit 0."""
    places = np.uint64(1) << np.arange(entries.shape[-1], dtype=np.uint64)
    return (entries.astype(np.uint64) * places).sum(axis=-1, dtype=np.uint64)


def table_count(address_bits: int, outputs: int) -> int:
    """How many one-bit tables a lookup of ``outputs`` output bits in all becomes."""
    halves = max(address_bits - MAX_LUT_INPUTS, 0)
    return outputs * ((2 << halves) - 1)


def _lower(node: Node, rewriter: Rewriter) -> bool:
    a, out = node.attrs, node.outputs[0]
    indices, tables, field = a["indices"].astype(np.int64), a["tables"], a["input_bits"]
    count, k = indices.shape
    address, width = k * field, out.type.width
    if count == 0 or table_count(address, count * width) > MAX_TABLES:
        return False
    x = rewriter.values[node.inputs[0]]
    if x.type.is_bit:
        below, have = node.inputs[0], 1
    else:
        below, have = rewriter.bits(node.inputs[0], node.source), x.type.width
    lane = np.arange(field)
    read = np.where(lane < have, indices[..., None] * have + lane, -1).reshape(count, address)
    bits = out if out.type.is_bit else rewriter.fresh(f"{out.name}.bits", BIT, (*out.shape, width))
    _tables(node, rewriter, below, read, tables, bits)
    if bits is not out:
        rewriter.emit("unbits", [bits.name], {"type": str(out.type)}, out, node.source)
    return True


def _tables(node: Node, rewriter: Rewriter, x: str, read: np.ndarray, tables: np.ndarray, out: Value) -> None:
    """Emit the tables of every output bit ([count, width] of them) and the multiplexers that join their halves."""
    width = node.outputs[0].type.width
    count, address = read.shape
    low = min(address, MAX_LUT_INPUTS)
    parts = 1 << (address - low)
    entries = (tables.astype(np.int64)[:, None, :] >> np.arange(width)[:, None]) & 1
    packed = pack_tables(entries.reshape(count, width, parts, 1 << low))
    shape = (*out.shape, parts)
    value = out if parts == 1 else rewriter.fresh(f"{out.name}.part", BIT, shape)
    rows = np.broadcast_to(read[:, None, None, :low], (count, width, parts, low))
    below = rewriter.lut([x], rows, packed, value, node.source)
    bit, size = low, rewriter.values[x].size
    while parts > 1:
        parts //= 2
        value = out if parts == 1 else rewriter.fresh(f"{out.name}.part", BIT, (*out.shape, parts))
        halves = size + np.arange(count * width * parts * 2).reshape(count, width, parts, 2)
        choose = np.broadcast_to(read[:, None, None, bit : bit + 1], (count, width, parts, 1))
        below = rewriter.lut([x, below], np.concatenate([halves, choose], axis=-1), MULTIPLEXER, value, node.source)
        bit += 1


@register("lower-lookup", "canonicalise", order=20)
def run(graph: Graph, options: Options) -> PassResult:
    """Turn multi-bit lookups into one-bit tables of up to 6 inputs and multiplexers, between bits and unbits."""
    return PassResult(*Rewriter(graph, options).run({"lookup": _lower}))
