"""The bit-level netlist that a graph is blasted into: three-input gates and counters over literals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .classes import ARITY_OF, CLASS_OF, FLIP_INPUTS, ORDER_OF
from .kinds import COUNTERS, INS, OUTS

FALSE, TRUE = 0, 1
"""Literals: 2 * wire + inverted. Wire 0 is constant 0."""


class Netlist:
    """Grows by whole arrays of cells. Wire numbers: 0 constant, then inputs, then the cells' outputs in order of creation."""

    def __init__(self, inputs: int) -> None:
        self.first = 1 + inputs
        self.count = self.first
        self._kinds: list[np.ndarray] = []
        self._fanins: list[np.ndarray] = []

    def input(self, numbers: np.ndarray) -> np.ndarray:
        """Literals of the inputs ``numbers``."""
        return (np.asarray(numbers, np.int64) + 1) << 1

    def gates(self, tables: np.ndarray | int, *fanins: np.ndarray) -> np.ndarray:
        """Add one gate per element of the broadcast literals (one to three arrays); returns the output literals.

        ``tables`` are bytes as in :mod:`.classes`, input 0 the least significant. Inverted and constant inputs and outputs
        are absorbed; a gate that is a constant or a wire is not added.
        """
        operands = np.broadcast_arrays(np.asarray(tables), *fanins)
        shape = operands[0].shape
        table = operands[0].astype(np.uint8).ravel()
        lits = np.zeros((table.size, 3), np.int64)
        for i, lit in enumerate(operands[1:]):
            lits[:, i] = lit.ravel()
        wires = lits >> 1
        table = FLIP_INPUTS[(lits & 1) @ np.array([1, 2, 4]), table]
        table = _fold_equal(table, wires)
        inverted = (table & 1).astype(np.int64)
        table = np.where(inverted == 1, ~table, table)
        arity = ARITY_OF[table]
        order = ORDER_OF[table].astype(np.int64)
        wires = np.take_along_axis(wires, order, axis=1)
        real = np.flatnonzero(arity >= 2)
        out = np.where(arity == 1, wires[:, 0], 0)
        out[real] = self.count + np.arange(len(real))
        self.count += len(real)
        self._kinds.append(CLASS_OF[table[real]].astype(np.uint8))
        self._fanins.append(wires[real][np.arange(3) < arity[real, None]].astype(np.int32))
        return ((out << 1) | inverted).reshape(shape)

    def counters(self, lits: np.ndarray) -> np.ndarray:
        """Count the ones among three or seven literals [M, 3 or 7] -> [M, 2 or 3], least significant bit first.

        In each row either all literals are inverted or none; so are the results.
        """
        kind = COUNTERS[lits.shape[1]]
        outs = int(OUTS[kind])
        out = self.count + np.arange(len(lits) * outs).reshape(-1, outs)
        self.count += out.size
        self._kinds.append(np.full(len(lits), kind, np.uint8))
        self._fanins.append((lits >> 1).astype(np.int32).ravel())
        return (out << 1) | (lits[:, :1] & 1)

    def cells(self) -> Cells:
        """Everything added so far."""
        kinds = np.concatenate([*self._kinds, np.zeros(0, np.uint8)])
        fanins = np.concatenate([*self._fanins, np.zeros(0, np.int32)])
        ins = np.append(0, np.cumsum(INS[kinds]))
        outs = self.first + np.append(0, np.cumsum(OUTS[kinds]))
        return Cells(kinds, fanins, ins, outs, self.first)


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells in order of creation, which is topological: cell c reads fanins[ins[c]:ins[c+1]], writes outs[c]..outs[c+1]-1.

    ``first`` is the first wire that a cell writes.
    """

    kinds: np.ndarray
    fanins: np.ndarray
    ins: np.ndarray
    outs: np.ndarray
    first: int


_KEEP_LOW = (0x55, 0x33, 0x0F)


def _cofactor(table: np.ndarray, i: int, value: int) -> np.ndarray:
    """f with input i fixed, as a table that no longer depends on it."""
    part = (table >> (value << i)) & _KEEP_LOW[i]
    return (part | (part << (1 << i))).astype(np.uint8)


def _fold_equal(table: np.ndarray, wires: np.ndarray) -> np.ndarray:
    """Remove the dependence on constant inputs and on inputs that repeat an earlier one."""
    for i in range(3):
        table = np.where(wires[:, i] == 0, _cofactor(table, i, 0), table)
        for j in range(i):
            same = (wires[:, i] == wires[:, j]) & (wires[:, i] != 0)
            if same.any():
                select = np.array([0xAA, 0xCC, 0xF0][j], np.uint8)
                both = (_cofactor(table, i, 1) & select) | (_cofactor(table, i, 0) & ~select)
                table = np.where(same, both, table)
    return table.astype(np.uint8)


# Signatures are given so that the compiled loops are loaded on import: the first network is prepared as fast as the next.


@njit("int32[::1](int32[::1], int64[::1], int64[::1], int64[::1])", cache=True, nogil=True)
def live_levels(fanins, ins, outs, roots):
    """Level of every cell (1 above its deepest input), 0 for cells that no root needs."""
    cells = len(ins) - 1
    needed = np.zeros(outs[cells], np.bool_)
    for r in roots:
        needed[r] = True
    for c in range(cells - 1, -1, -1):
        if needed[outs[c] : outs[c + 1]].any():
            needed[outs[c]] = True
            for i in range(ins[c], ins[c + 1]):
                needed[fanins[i]] = True
    depth = np.zeros(outs[cells], np.int32)
    level = np.zeros(cells, np.int32)
    for c in range(cells):
        if needed[outs[c]]:
            deepest = 0
            for i in range(ins[c], ins[c + 1]):
                deepest = max(deepest, depth[fanins[i]])
            level[c] = deepest + 1
            for w in range(outs[c], outs[c + 1]):
                depth[w] = deepest + 1
    return level


@njit("Tuple((int32[::1], int64))(int32[::1], int64[::1], int64[::1], int64[::1], int64[::1])", cache=True, nogil=True)
def allocate(fanins, ins, outs, order, roots):
    """Give every wire that is read a row of the machine's memory; the others get -1. Returns also the number of rows.

    Cells run in ``order``. A row is free again as soon as its wire was read for the last time, for the outputs of that very
    cell first: they then overwrite a line that is in the first-level cache. The constant has row 0 for ever, inputs that are
    read have a row from the beginning, ``roots`` until the end.
    """
    first, wires, never = outs[0], outs[len(outs) - 1], len(order)
    last = np.full(wires, -1, np.int32)
    for at in range(len(order)):
        for i in range(ins[order[at]], ins[order[at] + 1]):
            last[fanins[i]] = at
    for r in roots:
        last[r] = never
    last[0] = never
    row = np.full(wires, -1, np.int32)
    rows = 0
    for w in range(first):
        if last[w] >= 0:
            row[w] = rows
            rows += 1
    free = np.empty(wires, np.int32)
    spare = 0
    for at in range(len(order)):
        c = order[at]
        for i in range(ins[c], ins[c + 1]):
            w = fanins[i]
            if last[w] == at:
                last[w] = -1  # a cell may read a wire twice
                free[spare] = row[w]
                spare += 1
        for w in range(outs[c], outs[c + 1]):
            if spare:
                spare -= 1
                row[w] = free[spare]
            else:
                row[w] = rows
                rows += 1
        for w in range(outs[c], outs[c + 1]):
            if last[w] < 0:  # nothing reads it
                free[spare] = row[w]
                spare += 1
    return row, rows


@njit(
    "Tuple((uint32[::1], int64[::1]))(int32[::1], int64[::1], int64[::1], int64[::1], int32[::1], int64)",
    cache=True,
    nogil=True,
)
def encode_cells(fanins, ins, outs, order, row, scale):
    """Rows of the outputs, then of the inputs, of every cell in ``order``, times ``scale``; and where each cell begins."""
    size = 0
    for at in range(len(order)):
        c = order[at]
        size += outs[c + 1] - outs[c] + ins[c + 1] - ins[c]
    code = np.empty(size, np.uint32)
    begin = np.empty(len(order) + 1, np.int64)
    k = 0
    for at in range(len(order)):
        c = order[at]
        begin[at] = k
        for w in range(outs[c], outs[c + 1]):
            code[k] = row[w] * scale
            k += 1
        for i in range(ins[c], ins[c + 1]):
            code[k] = row[fanins[i]] * scale
            k += 1
    begin[len(order)] = k
    return code, begin
