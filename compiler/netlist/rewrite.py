"""Node-by-node rewriting of a graph: what the canonicalising passes share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node, Region, Type, Value, ranges
from neuroloom.compiler.ir.types import Range

from .narrow import narrow

WIRE = 0b10
"""Table of a one-input lut that passes its input on."""

INVERT = 0b01
"""Table of a one-input lut that negates its input."""


class Rewriter:
    """Walks a graph in program order and lets lowerings replace nodes; the new nodes go to ``emit``.

    A lowering gets the node and the rewriter and returns True after having emitted something that defines the node's outputs
    under their names, or False to leave the node as it is. ``options`` are the pass options, for lowerings that ask.
    """

    def __init__(self, graph: Graph, options: Any = None) -> None:
        self.graph = graph
        self.options = options
        self.values = graph.values()
        self.producers = {v.name: n for n in graph.walk() for v in n.outputs}
        self._out: list[Node] = []
        self._bits: dict[str, str] = {}

    @cached_property
    def ranges(self) -> dict[str, Range]:
        """Proven bounds of the values of the graph as it was."""
        return ranges(self.graph)

    def run(self, lowerings: Mapping[str, Callable[[Node, Rewriter], bool]]) -> tuple[Graph, bool]:
        """Apply ``lowerings`` (operation → lowering) everywhere, regions included; returns the graph and whether it changed."""
        self._changed = False
        nodes = self._block(self.graph.nodes, lowerings)
        if not self._changed:
            return self.graph, False
        return narrow(replace(self.graph.copy(), nodes=nodes), self.graph), True

    def _block(self, nodes: Sequence[Node], lowerings: Mapping[str, Callable[[Node, Rewriter], bool]]) -> list[Node]:
        outer, memo = self._out, dict(self._bits)
        self._out = out = []
        for node in nodes:
            lowering = lowerings.get(node.op)
            if lowering is not None and lowering(node, self):
                self._changed = True
                continue
            if node.regions:
                regions = tuple(Region(self._block(r.nodes, lowerings), r.results) for r in node.regions)
                node = replace(node, regions=regions)
            out.append(node)
        self._out, self._bits = outer, memo
        return out

    def constant(self, name: str) -> np.ndarray | None:
        """The integers of value ``name`` when it is a ``const``, else None."""
        node = self.producers.get(name)
        return node.attrs["data"].astype(np.int64) if node is not None and node.op == "const" else None

    def all_bits(self, names: Sequence[str]) -> bool:
        """Whether every value named is of type bit."""
        return all(self.values[n].type.is_bit for n in names)

    def emit(self, op: str, inputs: Sequence[str], attrs: dict[str, Any], out: Value, source: str) -> str:
        """Append a node with the one output ``out``; returns the output's name."""
        for array in attrs.values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        node = Node(op, tuple(inputs), (out,), attrs, (), source)
        self._out.append(node)
        self.values[out.name] = out
        self.producers[out.name] = node
        return out.name

    def fresh(self, hint: str, type_: Type, shape: tuple[int, ...]) -> Value:
        """A new value whose name is close to ``hint`` and not in use."""
        name, count = hint, 0
        while name in self.values:
            count += 1
            name = f"{hint}.{count}"
        return Value(name, type_, shape)

    def lut(self, inputs: Sequence[str], indices: np.ndarray, table: int | np.ndarray, out: Value, source: str) -> str:
        """Append a lut: ``indices`` [..., K] into the concatenated inputs, ``table`` one for all or one each."""
        indices = np.ascontiguousarray(indices.reshape(-1, indices.shape[-1]), np.int32)
        if isinstance(table, np.ndarray):
            tables = np.ascontiguousarray(table.reshape(-1), np.uint64)
        else:
            tables = np.full(len(indices), table, np.uint64)
        attrs: dict[str, Any] = {"indices": indices, "tables": tables}
        if out.shape != (len(indices),):
            attrs["shape"] = out.shape
        return self.emit("lut", inputs, attrs, out, source)

    def wires(self, inputs: Sequence[str], indices: np.ndarray, out: Value, source: str) -> str:
        """Append a lut of wires: element i of ``out`` is element ``indices``.flat[i] of the concatenated inputs."""
        return self.lut(inputs, indices.reshape(-1, 1), WIRE, out, source)

    def bits(self, name: str, source: str) -> str:
        """A value bit[..., W] with the bits of value ``name``; moves are crossed, ``unbits`` undone, results shared."""
        known = self._bits.get(name)
        if known is None:
            known = self._bits[name] = self._make_bits(name, source)
        return known

    def _make_bits(self, name: str, source: str) -> str:
        value, node = self.values[name], self.producers.get(name)
        out = self.fresh(f"{name}.bits", BIT, (*value.shape, value.type.width))
        if value.type.is_bit:
            return self.wires([name], np.arange(value.size), out, source)
        if node is not None and node.op == "unbits":
            return node.inputs[0]
        if node is not None and node.op == "const":
            data = (node.attrs["data"].astype(np.int64)[..., None] >> np.arange(value.type.width)) & 1
            return self.emit("const", [], {"data": data, "type": str(BIT)}, out, source)
        if node is not None and node.op in MOVES:
            inputs = [self.bits(i, source) for i in node.inputs]
            out = self.fresh(f"{name}.bits", BIT, (*value.shape, value.type.width))
            elements = move_indices(node, [self.values[i] for i in node.inputs])
            return self.wires(inputs, elements[..., None] * value.type.width + np.arange(value.type.width), out, source)
        return self.emit("bits", [name], {}, out, source)


MOVES: dict[str, Callable[[dict[str, Any], list[np.ndarray]], np.ndarray]] = {
    "reshape": lambda a, x: x[0].reshape(a["shape"]),
    "transpose": lambda a, x: x[0].transpose(a["perm"]),
    "concat": lambda a, x: np.concatenate(x, axis=a["axis"]),
    "slice": lambda a, x: x[0][tuple(slice(*s) for s in zip(a["starts"], a["stops"], a["steps"], strict=True))],
    "gather": lambda a, x: np.take(x[0], a["indices"], axis=a["axis"]),
    "broadcast": lambda a, x: np.broadcast_to(x[0], a["shape"]),
}
"""Operations that only move elements, as functions of their attributes and their inputs."""


def element_numbers(values: Sequence[Value]) -> list[np.ndarray]:
    """For each value the positions of its elements in the flat concatenation of all of them, in the value's shape."""
    out, start = [], 0
    for value in values:
        out.append(np.arange(start, start + value.size).reshape(value.shape))
        start += value.size
    return out


def move_indices(node: Node, values: Sequence[Value]) -> np.ndarray:
    """Where each element of a move's output comes from, as a position in the flat concatenation of its inputs."""
    return MOVES[node.op](node.attrs, element_numbers(values))
