"""How graph inputs enter the machine: as comparisons of bytes with thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.ir import Graph, Input, Type

from .blast import constant, extend
from .blast_arith import add_bits
from .classes import XOR2
from .netlist import FALSE, TRUE, Netlist

TILE = 64
"""Bytes compared at once; samples have at least so many."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Comparisons of the bytes of a sample: byte f of plane p is compared with ``thresholds[p, f]`` (byte >= threshold).

    ``inputs`` say what the bytes are; there are F >= 64 of them. ``rows`` uint32[P, F] are the memory rows (byte offsets) of
    the comparisons, those that nothing needs having a row of their own; ``tile_planes`` says how many planes each 64 bytes need.
    """

    inputs: tuple[Bytes, ...]
    thresholds: np.ndarray
    rows: np.ndarray
    tile_planes: np.ndarray

    def bytes_of(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The bytes uint8[n, F] of samples given as one integer array [n, elements] per input; no copy where it is that."""
        count, width = len(arrays[0]), self.rows.shape[1]
        x = arrays[0]
        plain = len(arrays) == 1 and self.inputs[0].plain and x.dtype == np.uint8
        if plain and x.shape[1] == width and x.flags.c_contiguous:
            return x
        out = np.zeros((count, width), np.uint8)
        for item, x in zip(self.inputs, arrays, strict=True):
            offset = x if item.plain else x.astype(np.int64) - item.lo
            for bit in range(item.bits or 1):
                at = item.start + bit * item.size
                out[:, at : at + item.size] = offset >> bit & 1 if item.bits else offset
        return out


@dataclass(frozen=True, slots=True)
class Bytes:
    """One graph input's share of the bytes: x - lo, or, with more than 256 values possible, its ``bits`` bits, one by one."""

    lo: int
    bits: int
    size: int
    start: int

    @property
    def plain(self) -> bool:
        """Whether the bytes are the input's integers."""
        return not self.bits and self.lo == 0


class Planes:
    """The machine inputs of one graph input: comparisons where only comparisons read it, else enough for its bits."""

    def __init__(self, item: Input, graph: Graph, start: int) -> None:
        self.item = item
        self.lo, self.hi = item.range
        self.type = item.value.type
        self.size = item.value.size
        self.wide = self.hi - self.lo > 255
        self.bytes = Bytes(self.lo, (self.hi - self.lo).bit_length() if self.wide else 0, self.size, start)
        self.width = self.size * max(self.bytes.bits, 1)
        self.first = 0
        readers = [n for n in graph.walk() if item.name in n.inputs]
        shown = any(o.value == item.name for o in graph.outputs)
        self.compares = [n for n in readers if n.op == "compare"]
        self.whole = self.wide or shown or len(self.compares) < len(readers) or not readers
        self.thresholds, self.elements, self.plane = self._plan()
        self.count = len(self.elements)

    def _plan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every distinct (byte, threshold) comparison: thresholds, bytes and plane numbers."""
        if self.wide:
            return np.ones(self.width, np.int64), np.arange(self.width), np.zeros(self.width, np.int64)
        span = self.hi - self.lo
        if self.whole:
            element = np.repeat(np.arange(self.size), span)
            threshold = np.tile(np.arange(1, span + 1), self.size)
        else:
            pairs = [
                np.stack([n.attrs["indices"].astype(np.int64), n.attrs["thresholds"] - self.lo]) for n in self.compares
            ]
            element, threshold = np.concatenate(pairs, axis=1)
            real = (threshold >= 1) & (threshold <= span)
            key = np.unique(element[real] * 256 + threshold[real])
            element, threshold = key >> 8, key & 255
        counts = np.bincount(element, minlength=self.size)
        plane = np.arange(len(element)) - np.repeat(np.cumsum(counts) - counts, counts)
        return threshold, element, plane

    def literals(self, net: Netlist, first: int) -> dict[str, np.ndarray]:
        """Literals of the input's own bits (when something needs them) and of its comparisons."""
        self.first = first
        lits = net.input(first + np.arange(self.count))
        if self.wide:
            offset = lits.reshape(-1, self.size).T
            bits = _add_constant(net, offset, self.lo, self.type)
            return {self.item.name: bits.reshape(*self.item.value.shape, self.type.width)}
        out = {}
        lookup = np.full((self.size, self.hi - self.lo + 2), FALSE, np.int64)
        lookup[:, 0] = TRUE
        lookup[self.elements, self.thresholds] = lits
        for node in self.compares:
            at = np.clip(node.attrs["thresholds"] - self.lo, 0, self.hi - self.lo + 1)
            found = lookup[node.attrs["indices"], at]
            out[node.name] = found.reshape(*node.outputs[0].shape, 1)
        if self.whole:
            out[self.item.name] = self._bits_from_thermometer(net, lookup[:, :-1])
        return out

    def _bits_from_thermometer(self, net: Netlist, code: np.ndarray) -> np.ndarray:
        """Binary literals [*shape, width] from x - lo >= t for every t: bit j is the parity of its change points."""
        width = self.type.width
        values = np.arange(self.lo, self.hi + 1)
        planes = []
        for j in range(width):
            bit = values >> j & 1
            changes = np.flatnonzero(np.diff(bit)) + 1
            acc = np.full(self.size, int(bit[0]), np.int64)
            terms = [code[:, t] for t in changes]
            while len(terms) > 1:
                pairs = zip(terms[0::2], terms[1::2], strict=False)
                terms = [net.gates(XOR2, x, y) for x, y in pairs] + (terms[-1:] if len(terms) % 2 else [])
            planes.append(net.gates(XOR2, acc, terms[0]) if terms else acc)
        return np.stack(planes, axis=-1).reshape(*self.item.value.shape, width)


def encoder(planes: Sequence[Planes], row: np.ndarray, spare: int, scale: int) -> Encoder:
    """The encoder of all inputs, given the memory row per wire, -1 for what nothing reads, which goes to row ``spare``."""
    width = max(sum(p.width for p in planes), TILE)
    depth = max((int(p.plane.max(initial=-1)) + 1 for p in planes), default=0)
    thresholds = np.full((depth, width), 255, np.uint8)
    rows = np.full((depth, width), spare, np.int64)
    needed = np.zeros(width, np.int64)
    for p in planes:
        mine = row[1 + p.first + np.arange(p.count)]
        used = np.flatnonzero(mine >= 0)
        at, plane = p.bytes.start + p.elements[used], p.plane[used]
        thresholds[plane, at] = p.thresholds[used]
        rows[plane, at] = mine[used]
        np.maximum.at(needed, at, plane + 1)
    starts = [min(f, width - TILE) for f in range(0, width, TILE)]
    tile_planes = np.array([needed[f : f + TILE].max() for f in starts], np.int64)
    return Encoder(tuple(p.bytes for p in planes), thresholds, (rows * scale).astype(np.uint32), tile_planes)


def _add_constant(net: Netlist, bits: np.ndarray, lo: int, type_: Type) -> np.ndarray:
    """Literals of x from those of x - lo."""
    wide = extend(bits, False, type_.width)
    if lo == 0:
        return wide
    return add_bits(net, wide, np.broadcast_to(constant(lo, type_.width), wide.shape))
