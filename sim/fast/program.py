"""Compiles a graph to a program of the virtual machine: blast, drop dead gates, sort by level and class, allocate rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Input, Type

from .blast import Context, blast
from .netlist import FALSE, TRUE, Netlist, allocate, live_levels


@dataclass(frozen=True, slots=True)
class Encoder:
    """How one graph input enters the machine: planes of comparisons of x - lo with one threshold per element.

    ``wide`` inputs (more than 256 values) compare bit by bit instead: plane p is bit p of x - lo.
    """

    name: str
    lo: int
    wide: bool
    thresholds: np.ndarray
    """uint8[P, F], F the elements, at least 64; comparisons x - lo >= threshold."""
    rows: np.ndarray
    """int32[P, F]: memory row of each comparison, -1 unused."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """One graph output (or probe): memory rows and inversions of the bits of every element."""

    name: str
    shape: tuple[int, ...]
    signed: bool
    rows: np.ndarray
    """int32[elements, width]."""
    inverted: np.ndarray
    """bool[elements, width]."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled program; ``gates`` counts its three-input instructions per sample."""

    encoders: tuple[Encoder, ...]
    decoders: tuple[Decoder, ...]
    kinds: np.ndarray
    starts: np.ndarray
    dst: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    memory_rows: int

    @property
    def gates(self) -> int:
        """Instructions per block of samples."""
        return len(self.dst)


def compile_program(graph: Graph, probes: tuple[str, ...] = ()) -> Program:
    """Compile a framed, stateless graph; raises UnsupportedError naming what the engine has no gates for."""
    if graph.clocked or graph.states:
        raise UnsupportedError("the bit-packed engine runs framed graphs without state; use the reference engine")
    planes = [_Planes(item, graph) for item in graph.inputs]
    net = Netlist(sum(p.count for p in planes))
    context = Context(net, graph.values())
    lits: dict[str, np.ndarray] = {}
    start = 0
    for plane in planes:
        lits.update(plane.literals(net, start))
        start += plane.count
    for node in graph.nodes:
        if all(v.name in lits for v in node.outputs):
            continue  # a comparison of an input, done by the encoder
        outputs = blast(context, node, [lits[i] for i in node.inputs])
        lits.update((v.name, o) for v, o in zip(node.outputs, outputs, strict=True))
    shown = [(o.name, lits[o.value], context.values[o.value]) for o in graph.outputs]
    shown += [(name, lits[name], context.values[name]) for name in probes]
    roots = np.unique(np.concatenate([x.ravel() for _, x, _ in shown]) >> 1).astype(np.int64)
    classes, fanins = net.arrays()
    first = 1 + net.inputs
    level = live_levels(fanins, first, roots)
    keep = np.flatnonzero(level > 0)
    order = keep[np.lexsort((classes[keep], level[keep]))]
    number = np.zeros(first + len(classes), np.int64)
    number[:first] = np.arange(first)
    number[first + order] = first + np.arange(len(order))
    fanins, classes, level = number[fanins[order]].astype(np.int32), classes[order], level[order]
    depth = int(level[-1]) if len(level) else 0
    starts = np.searchsorted(level, np.arange(1, depth + 2)).astype(np.int64)
    row, rows = allocate(fanins, starts, first, number[roots])
    key = level.astype(np.int64) * 256 + classes
    runs = np.flatnonzero(np.diff(key, prepend=-1))
    decoders = []
    for name, x, value in shown:
        flat = x.reshape(-1, value.type.width)
        decoders.append(Decoder(name, value.shape, value.type.signed, row[number[flat >> 1]], (flat & 1) == 1))
    encoders = tuple(p.encoder(row) for p in planes)
    dst = row[first:].astype(np.int32)
    a, b, c = (row[fanins[:, i]].astype(np.int32) for i in range(3))
    return Program(
        encoders, tuple(decoders), classes[runs], np.append(runs, len(dst)).astype(np.int64), dst, a, b, c, int(rows)
    )


class _Planes:
    """Assigns machine inputs to one graph input: comparisons where only comparisons read it, else its bits."""

    def __init__(self, item: Input, graph: Graph) -> None:
        self.item = item
        self.lo, self.hi = item.range
        self.type = item.value.type
        self.size = item.value.size
        self.padded = max(self.size, 64)
        self.wide = self.hi - self.lo > 255
        self.first = 0
        readers = [n for n in graph.walk() if item.name in n.inputs]
        shown = any(o.value == item.name for o in graph.outputs)
        self.compares = [n for n in readers if n.op == "compare"]
        self.whole = self.wide or shown or len(self.compares) < len(readers) or not readers
        self.thresholds, self.elements, self.plane = self._plan()
        self.count = len(self.elements)

    def _plan(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every distinct (element, threshold) comparison: thresholds, elements and plane numbers."""
        if self.wide:
            width = (self.hi - self.lo).bit_length()
            element = np.tile(np.arange(self.size), width)
            return np.zeros(len(element), np.int64), element, np.repeat(np.arange(width), self.size)
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
            element, threshold = np.unique(np.stack([element[real], threshold[real]]), axis=1)
        counts = np.bincount(element, minlength=self.size)
        plane = np.arange(len(element)) - np.repeat(np.cumsum(counts) - counts, counts)
        return threshold, element, plane

    def literals(self, net: Netlist, first: int) -> dict[str, np.ndarray]:
        """Literals of the input's own bits (when something needs them) and of its comparisons."""
        self.first = first
        lits = net.input(first + np.arange(self.count))
        if self.wide:
            offset = lits.reshape(-1, self.size).T
            return {self.item.name: _add_constant(net, offset, self.lo, self.type)}
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
        from .classes import XOR2

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

    def encoder(self, row: np.ndarray) -> Encoder:
        """The encoder with the memory rows of the comparisons."""
        planes = int(self.plane.max(initial=-1)) + 1
        thresholds = np.full((planes, self.padded), 1 if self.wide else 255, np.uint8)
        rows = np.full((planes, self.padded), -1, np.int32)
        if not self.wide:
            thresholds[self.plane, self.elements] = self.thresholds
        rows[self.plane, self.elements] = row[1 + self.first + np.arange(self.count)]
        return Encoder(self.item.name, self.lo, self.wide, thresholds, rows)


def _add_constant(net: Netlist, bits: np.ndarray, lo: int, type_: Type) -> np.ndarray:
    """Literals of x from those of x - lo."""
    from .blast import add_bits, constant, extend

    wide = extend(bits, False, type_.width)
    if lo == 0:
        return wide
    return add_bits(net, wide, np.broadcast_to(constant(lo, type_.width), wide.shape))
