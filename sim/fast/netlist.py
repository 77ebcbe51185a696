"""The bit-level netlist that a graph is blasted into: three-input gates over literals."""

from __future__ import annotations

import numpy as np
from numba import njit

from .classes import ARITY_OF, CLASS_OF, FLIP_INPUTS, ORDER_OF

FALSE, TRUE = 0, 1
"""Literals: 2 * wire + inverted. Wire 0 is constant 0."""


class Netlist:
    """Grows by whole arrays of gates. Wire numbers: 0 constant, then inputs, then gates in order of creation."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.count = 1 + inputs
        self._classes: list[np.ndarray] = []
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
        wires[:, 1] = np.where(arity >= 2, wires[:, 1], 0)
        wires[:, 2] = np.where(arity >= 3, wires[:, 2], 0)
        real = np.flatnonzero(arity >= 2)
        out = np.where(arity == 1, wires[:, 0], 0)
        out[real] = self.count + np.arange(len(real))
        self.count += len(real)
        self._classes.append(CLASS_OF[table[real]].astype(np.uint8))
        self._fanins.append(wires[real].astype(np.int32))
        return ((out << 1) | inverted).reshape(shape)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Classes uint8[G] and fan-in wires int32[G, 3] of all gates."""
        if not self._classes:
            return np.zeros(0, np.uint8), np.zeros((0, 3), np.int32)
        return np.concatenate(self._classes), np.concatenate(self._fanins)


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


@njit(cache=True, nogil=True)
def live_levels(fanins, first, roots):
    """Level of every gate (1 above its deepest input), 0 for gates that no root needs."""
    count = fanins.shape[0]
    needed = np.zeros(first + count, np.bool_)
    for r in roots:
        needed[r] = True
    for g in range(count - 1, -1, -1):
        if needed[first + g]:
            for i in range(3):
                needed[fanins[g, i]] = True
    depth = np.zeros(first + count, np.int32)
    for g in range(count):
        if needed[first + g]:
            deepest = 0
            for i in range(3):
                deepest = max(deepest, depth[fanins[g, i]])
            depth[first + g] = deepest + 1
    return depth[first:]


@njit(cache=True, nogil=True)
def allocate(fanins, starts, first, roots):
    """Give every wire a row of the machine's memory, reusing rows of dead wires from the next level on.

    Gates must be in order of execution; ``starts`` are the first gates of each level, then the count. Inputs and the
    constant have rows 0..first-1 for ever. Returns the row per wire and the number of rows.
    """
    count = fanins.shape[0]
    levels = starts.shape[0] - 1
    last = np.zeros(first + count, np.int32)
    for level in range(levels):
        for g in range(starts[level], starts[level + 1]):
            for i in range(3):
                last[fanins[g, i]] = level
    for r in roots:
        last[r] = levels
    head = np.full(levels + 1, -1, np.int32)
    link = np.full(first + count, -1, np.int32)
    for g in range(count):
        wire = first + g
        link[wire] = head[last[wire]]
        head[last[wire]] = wire
    row = np.zeros(first + count, np.int32)
    for w in range(first):
        row[w] = w
    free = np.empty(count, np.int32)
    spare = 0
    rows = first
    for level in range(levels):
        for g in range(starts[level], starts[level + 1]):
            if spare:
                spare -= 1
                row[first + g] = free[spare]
            else:
                row[first + g] = rows
                rows += 1
        wire = head[level]
        while wire >= 0:
            free[spare] = row[wire]
            spare += 1
            wire = link[wire]
    return row, rows
