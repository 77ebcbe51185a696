"""Fewer gates for the same wires: equal gates become one, and gates with one reader become part of it where inputs allow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit

from .classes import ARITY_OF, CLASS_OF, CLASSES, ORDER_OF
from .kinds import INS
from .netlist import Cells, live_levels

_TABLES = np.array(CLASSES, np.uint8)


def _swapped(table: int, i: int, j: int) -> int:
    return sum((table >> a & 1) << (a & ~(1 << i | 1 << j) | (a >> i & 1) << j | (a >> j & 1) << i) for a in range(8))


_SYMMETRIC = np.array([[_swapped(t, i, j) == t for i, j in ((0, 1), (1, 2), (0, 2))] for t in CLASSES], np.bool_)
"""Per class: whether inputs 0 and 1, 1 and 2, 0 and 2 may be exchanged."""


def reduce_cells(cells: Cells, roots: np.ndarray) -> tuple[Cells, np.ndarray]:
    """The smaller netlist, and for every wire the one that carries it now; ``roots`` are wires that must stay."""
    fanins = cells.fanins.copy()
    stands_for = _merge(cells.kinds, fanins, cells.ins, cells.outs)
    level = live_levels(fanins, cells.ins, cells.outs, stands_for[roots])
    kinds, fanins = _absorb(cells.kinds, fanins, cells.ins, cells.outs, level, stands_for[roots])
    ins = np.append(0, np.cumsum(INS[kinds]))
    return replace(cells, kinds=kinds, fanins=fanins, ins=ins), stands_for


@njit("int64[::1](uint8[::1], int32[::1], int64[::1], int64[::1])", cache=True, nogil=True)
def _merge(kinds, fanins, ins, outs):
    """For every wire the first one with the same gate and inputs; ``fanins`` are rewritten to these."""
    cells = len(kinds)
    wire = np.arange(outs[cells])
    size = 16
    while size < 2 * cells:
        size *= 2
    slots = np.full(size, -1, np.int32)
    for c in range(cells):
        at, count = ins[c], ins[c + 1] - ins[c]
        for i in range(at, at + count):
            fanins[i] = wire[fanins[i]]
        if outs[c + 1] - outs[c] > 1:
            continue
        for _ in range(2):  # two rounds of exchanges sort three inputs
            for pair in range(3 if count == 3 else 1):
                i, j = at + (pair == 1), at + 1 + (pair >= 1)
                if _SYMMETRIC[kinds[c], pair] and fanins[i] > fanins[j]:
                    fanins[i], fanins[j] = fanins[j], fanins[i]
        mixed = np.uint64(kinds[c])
        for i in range(at, at + count):
            mixed = (mixed ^ np.uint64(fanins[i])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        slot = np.int64(mixed & np.uint64(size - 1))
        while slots[slot] >= 0:
            d = slots[slot]
            if kinds[d] == kinds[c] and np.array_equal(fanins[ins[d] : ins[d + 1]], fanins[at : at + count]):
                wire[outs[c]] = outs[d]
                break
            slot = (slot + 1) & (size - 1)
        else:
            slots[slot] = c
    return wire


@njit(
    "Tuple((uint8[::1], int32[::1]))(uint8[::1], int32[::1], int64[::1], int64[::1], int32[::1], int64[::1])",
    cache=True,
    nogil=True,
)
def _absorb(kinds, fanins, ins, outs, level, roots):
    """Kinds and fan-ins after gates with a single reader were made part of it; cells of level 0 do not count as readers."""
    cells = len(kinds)
    first, wires = outs[0], outs[cells]
    readers = np.zeros(wires, np.int32)
    maker = np.full(wires, -1, np.int32)
    for r in roots:
        readers[r] = 2
    for c in range(cells):
        if outs[c + 1] - outs[c] == 1:
            maker[outs[c]] = c
        if level[c]:
            for i in range(ins[c], ins[c + 1]):
                readers[fanins[i]] += 1
    kinds = kinds.copy()
    inputs = np.zeros((cells, 3), np.int32)
    support = np.zeros(8, np.int32)
    for c in range(cells):
        if outs[c + 1] - outs[c] > 1 or not level[c]:
            continue
        for i in range(INS[kinds[c]]):
            inputs[c, i] = fanins[ins[c] + i]
        i = 0
        while i < INS[kinds[c]]:
            w = inputs[c, i]
            i += 1
            if w < first or readers[w] != 1 or maker[w] < 0:
                continue
            h = maker[w]
            own, its = INS[kinds[c]], INS[kinds[h]]
            count = 0
            for k in range(own + its):
                x = inputs[c, k] if k < own else inputs[h, k - own]
                if x != w and not (support[:count] == x).any():
                    support[count] = x
                    count += 1
            if count > 3:
                continue
            table = 0
            for address in range(8):
                inner = outer = 0
                for k in range(its):
                    for s in range(count):
                        if support[s] == inputs[h, k]:
                            inner |= (address >> s & 1) << k
                value = _TABLES[kinds[h]] >> inner & 1
                for k in range(own):
                    bit = value
                    for s in range(count):
                        if support[s] == inputs[c, k]:
                            bit = address >> s & 1
                    outer |= bit << k
                table |= (_TABLES[kinds[c]] >> outer & 1) << address
            if ARITY_OF[table] < 2:
                continue
            readers[w] = 0
            for k in range(own):
                readers[inputs[c, k]] -= 1
            for k in range(its):
                readers[inputs[h, k]] -= 1
            kinds[c] = CLASS_OF[table]
            for k in range(INS[kinds[c]]):
                inputs[c, k] = support[ORDER_OF[table, k]]
                readers[inputs[c, k]] += 1
            i = 0
    size = 0
    for c in range(cells):
        size += INS[kinds[c]]
    packed = np.empty(size, np.int32)
    at = 0
    for c in range(cells):
        for i in range(INS[kinds[c]]):
            gate = outs[c + 1] - outs[c] == 1 and level[c] > 0
            packed[at] = inputs[c, i] if gate else fanins[ins[c] + i]
            at += 1
    return kinds, packed
