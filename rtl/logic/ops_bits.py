"""One-bit operations in hardware: lookup tables, encoders, group sums, bitwise logic, small tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node

from .lower import Bits, aligned, component
from .netlist import ZERO, Netlist, Word
from .words import at_least, weighted_sum

MAX_TABLE_BITS = 12
"""Widest address of a table built from logic."""


def _flat(inputs: Sequence[Bits]) -> np.ndarray:
    return np.concatenate([i.array.reshape(-1) for i in inputs])


@component("lut")
def lut(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """One table per output bit."""
    x = np.append(_flat(inputs), ZERO)  # index -1 reads this 0
    return [net.luts(node.attrs["tables"], x[node.attrs["indices"]])]


@component("compare")
def compare(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """One comparison with a constant per output bit; equal ones are made once."""
    words, signed = inputs[0].words(), inputs[0].signed
    made: dict[tuple[Word, int], int] = {}
    out = []
    for index, threshold in zip(node.attrs["indices"].tolist(), node.attrs["thresholds"].tolist(), strict=True):
        key = (words[index], threshold)
        if key not in made:
            made[key] = at_least(net, *_trimmed(words[index], signed), threshold)
        out.append(made[key])
    return [np.array(out, np.int32)]


def _trimmed(word: Word, signed: bool) -> tuple[Word, bool]:
    """The same integer without constant leading zeros."""
    while len(word) > 1 and word[-1] == ZERO:
        word, signed = word[:-1], False
    return word, signed


@component("group_sum")
def group_sum(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A tree of counters and adders per group."""
    x, a = _flat(inputs), node.attrs
    offsets, indices = a["offsets"].tolist(), a["indices"]
    weights = a.get("weights", np.ones(len(indices), np.int64))
    bias = a.get("bias", np.zeros(len(offsets) - 1, np.int64)).tolist()
    width = node.outputs[0].type.width
    label, out = net.label, []
    for g, (start, stop) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        net.label = f"{label} group {g}"
        bits, scale = x[indices[start:stop]].tolist(), weights[start:stop].tolist()
        out.append(weighted_sum(net, bits, scale, bias[g], width))
    return [np.array(out, np.int32)]


@component("bitwise")
def bitwise(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """One table per bit."""
    table = {"and": 0x8, "or": 0xE, "xor": 0x6, "not": 0x1}[node.attrs["kind"]]
    columns = aligned(inputs, node.outputs[0])
    return [
        np.array([[net.lut(table, *bits) for bits in zip(*words, strict=True)] for words in zip(*columns, strict=True)])
    ]


@component("table")
def table(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A tabulated function per element: lookup tables up to 6 address bits, a case statement beyond."""
    type_ = node.outputs[0].type
    lo, entries = node.attrs["lo"], node.attrs["entries"].tolist()
    words = [_trimmed(w, inputs[0].signed) for w in inputs[0].words()]
    return [
        np.array(
            [tabulate(net, w, s, lambda q: entries[q - lo], lo, lo + len(entries) - 1, type_.width) for w, s in words]
        )
    ]


def tabulate(net: Netlist, word: Word, signed: bool, function, lo: int, hi: int, width: int) -> Word:  # type: ignore[no-untyped-def]
    """function(word) as ``width`` bits, for integers in lo..hi; anything beyond never occurs."""
    size = len(word)
    if size > MAX_TABLE_BITS:
        raise UnsupportedError(
            f"a table in logic must have at most {MAX_TABLE_BITS} address bits, not {size}; narrow its input first"
        )
    values = []
    for address in range(1 << size):
        q = address - (1 << size) if signed and address >> (size - 1) else address
        values.append(function(q) & ((1 << width) - 1) if lo <= q <= hi else 0)
    if size <= 6:
        tables = [sum((v >> b & 1) << i for i, v in enumerate(values)) for b in range(width)]
        return tuple(net.lut(t, *word) for t in tables)
    return net.word("rom", (word,), width, 1 + max(0, size - net.lut_size), tuple(values))
