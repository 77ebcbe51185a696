"""The netlist of a spatial pipeline before it is cut into stages: combinational cells over numbered one-bit nets.

Every integer of the graph is a row of bits, least significant first (the row of a signed integer ends in its sign), so
moving, slicing and splitting integers costs nothing. Bits 0 and 1 are the constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.schedule import FIRST_BIT, Cells

ZERO, ONE = 0, 1
"""The constant bits."""

Word = tuple[int, ...]
"""Bits of one integer, least significant first."""


@dataclass(frozen=True, slots=True)
class LutBlock:
    """Lookup tables that belong together: table m drives bit ``first + m`` from ``inputs[m]``, the first the address LSB."""

    label: str
    first: int
    tables: np.ndarray
    inputs: np.ndarray
    delay: np.ndarray


@dataclass(frozen=True, slots=True)
class WordCell:
    """A cell of many bits; ``kind`` is an entry of :data:`neuroloom.rtl.logic.verilog.TEXTS`, which defines it.

    Drives ``width`` bits from ``first`` on.
    """

    label: str
    kind: str
    operands: tuple[Word, ...]
    first: int
    width: int
    delay: int
    value: int | tuple[int, ...] = 0


class Netlist:
    """Collects cells in topological order.

    ``lut_size`` is the number of inputs of the target's lookup tables and ``interval`` the LUT levels between registers
    (0 unlimited); both only steer choices of structure and the delays, never a result. ``label`` names the part of the
    network that the cells added next belong to.
    """

    def __init__(self, lut_size: int = 4, interval: int = 0) -> None:
        self.lut_size = lut_size
        self.interval = interval
        self.label = ""
        self.parts: list[LutBlock | WordCell] = []
        self.bits = FIRST_BIT
        self._depth = np.zeros(1024, np.int32)
        self._made: dict[tuple[int, tuple[int, ...]], int] = {}

    def depth(self, bits: Sequence[int] | np.ndarray) -> int:
        """LUT levels from the inputs to the latest of ``bits``."""
        return int(self._depth[np.asarray(bits, np.int64)].max(initial=0))

    def _new(self, depth: np.ndarray) -> int:
        first, self.bits = self.bits, self.bits + len(depth)
        if self.bits > len(self._depth):
            self._depth = np.concatenate([self._depth, np.zeros(max(self.bits, 2 * len(self._depth)), np.int32)])
        self._depth[first : self.bits] = depth
        return first

    def inputs(self, count: int) -> np.ndarray:
        """New bits that no cell drives."""
        first = self._new(np.zeros(count, np.int32))
        return np.arange(first, first + count, dtype=np.int32)

    def luts(self, tables: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """Add lookup tables uint64[M] reading the bits int32[M, K]; returns the bits that they drive, int32[M]."""
        support = _support(tables, inputs)
        delay = np.where(support > 1, 1 + np.maximum(support - self.lut_size, 0), 0).astype(np.int32)
        depth = self._depth[inputs].max(axis=1, initial=0) + delay
        first = self._new(depth)
        self.parts.append(LutBlock(self.label, first, tables, inputs.astype(np.int32), delay))
        return np.arange(first, first + len(tables), dtype=np.int32)

    def lut(self, table: int, *inputs: int) -> int:
        """Add one lookup table, or find it: constants are folded, wires cost nothing, equal tables are made once."""
        kept = [int(b) for b in inputs]
        for k in reversed(range(len(kept))):
            size = len(kept)
            if kept[k] < FIRST_BIT:
                table, kept = _cofactor(table, k, size, kept[k]), kept[:k] + kept[k + 1 :]
            elif _cofactor(table, k, size, 0) == _cofactor(table, k, size, 1):
                table, kept = _cofactor(table, k, size, 0), kept[:k] + kept[k + 1 :]
        if not kept:
            return table & 1
        if len(kept) == 1 and table == 2:
            return kept[0]
        key = table, tuple(kept)
        if key not in self._made:
            out = int(self.luts(np.array([table], np.uint64), np.array([kept], np.int32))[0])
            self._made[key] = out
            if len(kept) == 1:  # the complement of the complement is the bit itself
                self._made[1, (out,)] = kept[0]
        return self._made[key]

    def invert(self, bit: int) -> int:
        """The complement; counted without delay, because the table that reads it absorbs it."""
        return self.lut(1, bit)

    def word(
        self, kind: str, operands: Sequence[Word], width: int, delay: int, value: int | tuple[int, ...] = 0
    ) -> Word:
        """Add a word cell; returns its bits."""
        start = max((self.depth(o) for o in operands if o), default=0)
        first = self._new(np.full(width, start + delay, np.int32))
        kept = tuple(tuple(int(b) for b in o) for o in operands)
        self.parts.append(WordCell(self.label, kind, kept, first, width, delay, value))
        return tuple(range(first, first + width))

    def cells(self, outputs: np.ndarray) -> Cells:
        """The cells as flat arrays for the scheduler; parts in order, the tables of a block one cell each."""
        bits, lengths, first, count, delay = [], [], [], [], []
        for part in self.parts:
            if isinstance(part, LutBlock):
                m, k = part.inputs.shape
                bits.append(part.inputs.reshape(-1))
                lengths.append(np.full(m, k))
                first.append(np.arange(part.first, part.first + m))
                count.append(np.ones(m, np.int64))
                delay.append(part.delay)
            else:
                operands = [b for o in part.operands for b in o]
                bits.append(np.array(operands, np.int32))
                lengths.append(np.array([len(operands)]))
                first.append(np.array([part.first]))
                count.append(np.array([part.width]))
                delay.append(np.array([part.delay]))
        joined = [
            np.concatenate([*p, np.zeros(0, np.int64)]).astype(np.int64) for p in (bits, lengths, first, count, delay)
        ]
        start = np.concatenate([[0], np.cumsum(joined[1])])
        return Cells(self.bits, start, joined[0], joined[2], joined[3], joined[4], np.asarray(outputs, np.int64))


def _cofactor(table: int, k: int, size: int, value: int) -> int:
    """The table of ``size`` inputs with input k fixed, over the remaining inputs."""
    out = 0
    for address in range(1 << (size - 1)):
        low, high = address & ((1 << k) - 1), address >> k
        full = low | value << k | high << (k + 1)
        out |= (table >> full & 1) << address
    return out


_HALF = [0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0xFFFFFFFF]


def _support(tables: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """How many inputs each table depends on, constants not counted."""
    size = inputs.shape[1]
    support = np.zeros(len(tables), np.int32)
    mask = np.uint64((1 << (1 << size)) - 1)
    for k in range(size):
        half = np.uint64(_HALF[k]) & mask
        differs = ((tables ^ (tables >> np.uint64(1 << k))) & half) != 0
        support += differs & (inputs[:, k] >= FIRST_BIT)
    return support
