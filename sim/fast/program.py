"""Compiles a graph to a program of the virtual machine: blast, drop dead cells, sort by level and kind, allocate rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Value

from . import blast_arith, blast_shape, blast_tables, sums  # noqa: F401  (importing fills the registry)
from .blast import Context, blast
from .netlist import Netlist, allocate, encode_cells, live_levels
from .planes import Encoder, Planes, encoder
from .reduce import reduce_cells
from .vm import ROW_BYTES


@dataclass(frozen=True, slots=True)
class Decoder:
    """How the outputs (and probes) leave the machine.

    Elements of all outputs, one after the other, are packed into words of up to 64 bits: ``bit_rows`` uint32[Q, 64] are the
    memory rows (byte offsets) of their bits, ``inverted`` uint64[Q] the bits to invert; element e is ``width[e]`` bits of
    word ``word[e]`` from bit ``shift[e]``, two's complement where ``signed[e]``.
    """

    outputs: tuple[tuple[str, tuple[int, ...], int], ...]
    """Name, shape and first element of each."""
    bit_rows: np.ndarray
    inverted: np.ndarray
    word: np.ndarray
    shift: np.ndarray
    width: np.ndarray
    signed: np.ndarray

    @property
    def elements(self) -> int:
        """Integers per sample, of all outputs together."""
        return len(self.word)


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled program: run r executes instruction ``kinds[r]`` on the rows ``code[starts[r]:starts[r+1]]``."""

    encoder: Encoder
    decoder: Decoder
    kinds: np.ndarray
    starts: np.ndarray
    code: np.ndarray
    memory_rows: int
    gates: int
    """Instructions per block of samples."""


def compile_program(graph: Graph, probes: tuple[str, ...] = ()) -> Program:
    """Compile a framed, stateless graph; raises UnsupportedError naming what the engine has no gates for."""
    if graph.clocked or graph.states:
        raise UnsupportedError("the bit-packed engine runs framed graphs without state; use the reference engine")
    planes: list[Planes] = []
    for item in graph.inputs:
        planes.append(Planes(item, graph, sum(p.width for p in planes)))
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
    shown = [(o.name, context.values[o.value], lits[o.value]) for o in graph.outputs]
    shown += [(name, context.values[name], lits[name]) for name in probes]
    roots = np.unique(np.concatenate([x.ravel() for _, _, x in shown]) >> 1).astype(np.int64)

    cells, stands_for = reduce_cells(net.cells(), roots)
    roots = stands_for[roots]
    level = live_levels(cells.fanins, cells.ins, cells.outs, roots)
    keep = np.flatnonzero(level)
    key = level[keep].astype(np.int64) * 256 + cells.kinds[keep]
    order = keep[np.argsort(key, kind="stable")]
    key.sort()
    row, rows = allocate(cells.fanins, cells.ins, cells.outs, order, roots)
    row = row[stands_for]
    if rows >= 1 << 26:
        raise UnsupportedError(f"the bit-packed engine holds 2**26 wires at once, not {rows}; use the reference engine")
    code, begin = encode_cells(cells.fanins, cells.ins, cells.outs, order, row, ROW_BYTES)
    runs = np.flatnonzero(np.diff(key, prepend=-1))
    offsets = row.astype(np.int64) * ROW_BYTES
    return Program(
        encoder(planes, row, int(rows), ROW_BYTES),
        _decoder(shown, offsets),
        cells.kinds[order[runs]],
        begin[np.append(runs, len(order))],
        code,
        int(rows) + 1,
        len(order),
    )


def _decoder(shown: Sequence[tuple[str, Value, np.ndarray]], offsets: np.ndarray) -> Decoder:
    """Pack the elements of the outputs into words, in order, as many as fit."""
    outputs, bits, words, shifts, widths, signs = [], [np.zeros(0, np.int64)], [], [], [], []
    word, used, first = 0, 0, 0
    for name, value, lits in shown:
        width = value.type.width
        outputs.append((name, value.shape, first))
        first += value.size
        for element in lits.reshape(-1, width):
            if used + width > 64:
                word, used = word + 1, 0
            words.append(word)
            shifts.append(used)
            bits.append(np.stack([np.full(width, 64 * word) + used + np.arange(width), element]))
            used += width
        widths.append(np.full(value.size, width))
        signs.append(np.full(value.size, value.type.signed))
    at, literals = np.concatenate(bits[1:], axis=1) if len(bits) > 1 else np.zeros((2, 0), np.int64)
    rows = np.zeros(64 * (word + 1), np.uint32)
    inverted = np.zeros(64 * (word + 1), np.uint64)
    rows[at] = offsets[literals >> 1]
    inverted[at] = literals & 1
    return Decoder(
        tuple(outputs),
        rows.reshape(-1, 64),
        (inverted.reshape(-1, 64) << np.arange(64, dtype=np.uint64)).sum(axis=1, dtype=np.uint64),
        np.array(words, np.int64),
        np.array(shifts, np.int64),
        np.concatenate([*widths, np.zeros(0, np.int64)]).astype(np.int64),
        np.concatenate([*signs, np.zeros(0, bool)]).astype(bool),
    )
