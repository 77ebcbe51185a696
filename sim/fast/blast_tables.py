"""Lookup tables of any size, from three-input gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir import Node

from .blast import Context, blaster, extend, flat
from .classes import MUX
from .netlist import FALSE, TRUE, Netlist
from .pairs import pairs


def tables(net: Netlist, table: np.ndarray, lits: np.ndarray) -> np.ndarray:
    """Lookup tables uint64[M] over literals [M, K], K <= 6."""
    k = lits.shape[1]
    if k <= 3:
        grown = table.copy()
        for i in range(k, 3):
            grown |= grown << np.uint64(1 << i)
        return net.gates(grown.astype(np.uint8), *lits.T)
    table, lits = _best_input_last(table, lits)
    half = np.uint64(1 << (k - 1))
    mask = np.uint64((1 << (1 << (k - 1))) - 1)
    low, high = table & mask, table >> half
    opposite = high == low ^ mask  # f = low xor top: the second cofactor costs nothing
    simple = opposite | (high == 0) | (high == mask) | (high == low)
    out = np.empty(len(table), np.int64)
    hard = np.flatnonzero(~simple)
    if k == 4 and len(hard):
        hard = _by_pairs(net, table, lits, hard, out)
    rest = np.append(np.flatnonzero(simple), hard)
    first = tables(net, low[rest], lits[rest, :-1])
    second = np.where(high[rest] == 0, FALSE, np.where(high[rest] == mask, TRUE, first ^ opposite[rest]))
    second[len(rest) - len(hard) :] = tables(net, high[hard], lits[hard, :-1])
    out[rest] = net.gates(MUX, first, second, lits[rest, -1])
    return out


def _by_pairs(net: Netlist, table: np.ndarray, lits: np.ndarray, which: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Enter those of ``which`` that two gates compute into ``out``; returns the others."""
    by = pairs()
    two = which[by.found[table[which]]]
    a, b, c, d, x = np.take_along_axis(lits[two], by.wiring[table[two]], axis=1).T
    out[two] = net.gates(by.outer[table[two]], net.gates(by.inner[table[two]], a, b, c), d, x)
    return which[~by.found[table[which]]]


def _swap_last(table: np.ndarray, i: int, k: int) -> np.ndarray:
    """Tables with inputs i and k-1 exchanged."""
    out = np.zeros_like(table)
    for address in range(1 << k):
        bit_i, bit_k = address >> i & 1, address >> (k - 1) & 1
        other = address & ~((1 << i) | (1 << (k - 1))) | bit_k << i | bit_i << (k - 1)
        out |= ((table >> np.uint64(address)) & np.uint64(1)) << np.uint64(other)
    return out


def _best_input_last(table: np.ndarray, lits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute each table so that the cofactors on its last input are the simplest pair."""
    k = lits.shape[1]
    half, mask = np.uint64(1 << (k - 1)), np.uint64((1 << (1 << (k - 1))) - 1)
    unique, back = np.unique(table, return_inverse=True)
    best = np.full(len(unique), 99)
    choice = np.zeros(len(unique), np.int64)
    swapped = np.zeros((k, len(unique)), np.uint64)
    for i in range(k):
        swapped[i] = _swap_last(unique, i, k)
        low, high = swapped[i] & mask, swapped[i] >> half
        constants = ((low == 0) | (low == mask)).astype(int) + ((high == 0) | (high == mask))
        cost = np.where(low == high, 0, np.where((low == high ^ mask), 1, 2 - constants))
        better = cost < best
        best[better], choice[better] = cost[better], i
    choice = choice[back]
    out = swapped[choice, back]
    lits = lits.copy()
    rows = np.arange(len(lits))
    chosen = lits[rows, choice]
    lits[rows, choice] = lits[:, k - 1]
    lits[:, k - 1] = chosen
    return out, lits


@blaster("lut")
def lut(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    x = np.append(flat(inputs), FALSE)  # index -1 reads the 0 at the end
    lits = x[node.attrs["indices"]]
    return tables(c.net, node.attrs["tables"], lits).reshape(*node.outputs[0].shape, 1)


@blaster("lookup")
def lookup(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    indices, entries, bits = node.attrs["indices"], node.attrs["tables"].astype(np.int64), node.attrs["input_bits"]
    type_ = c.types(node)[0]
    x = extend(inputs[0], type_.signed, max(bits, type_.width))[..., :bits].reshape(-1, bits)
    address = x[indices].reshape(len(indices), -1)
    width = node.outputs[0].type.width
    planes = [_mux_tree(c.net, entries >> j & 1, address) for j in range(width)]
    return np.stack(planes, axis=-1).reshape(*node.outputs[0].shape, width)


def _mux_tree(net: Netlist, entries: np.ndarray, address: np.ndarray) -> np.ndarray:
    """One bit per row: entries[row, address[row]], by 6-input tables and multiplexers above them."""
    low = min(address.shape[1], 6)
    words = (entries.reshape(len(entries), -1, 1 << low).astype(np.uint64) << np.arange(1 << low, dtype=np.uint64)).sum(
        axis=2, dtype=np.uint64
    )
    count = words.shape[1]
    lits = np.repeat(address[:, None, :low], count, axis=1).reshape(-1, low)
    level = tables(net, words.reshape(-1), lits).reshape(len(entries), count)
    for i in range(low, address.shape[1]):
        level = net.gates(
            MUX, level[:, 0::2], level[:, 1::2], np.broadcast_to(address[:, i : i + 1], level[:, 0::2].shape)
        )
    return level[:, 0]


@blaster("table")
def table(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_, entries = c.types(node)[0], node.attrs["entries"].astype(np.int64)
    codes = np.arange(1 << type_.width)
    values = np.where(codes > type_.hi, codes - (1 << type_.width), codes)
    by_code = entries[np.clip(values - node.attrs["lo"], 0, len(entries) - 1)]
    address = inputs[0].reshape(-1, type_.width)
    width = node.outputs[0].type.width
    planes = [
        _mux_tree(c.net, np.broadcast_to(by_code >> j & 1, (len(address), len(codes))), address) for j in range(width)
    ]
    return np.stack(planes, axis=-1).reshape(*node.outputs[0].shape, width)
