"""Keep declared types and proven ranges where a rewritten graph can no longer prove them by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import Graph, Node, Region, Value, ranges
from neuroloom.compiler.ir.ops import infer
from neuroloom.compiler.ir.ops.registry import Result
from neuroloom.compiler.ir.types import Range, smallest_type
from neuroloom.compiler.ir.verify import result_type


def narrow(graph: Graph, before: Graph) -> Graph:
    """Return ``graph``, a rewritten ``before``, such that every value of both has the type it had.

    Splitting a table into bits forgets which combinations of bits occur, so a sum of it may be provable for a wider range only,
    although the integers are the same. There the node gets a wider type and a wrapping requantize, which costs nothing in
    hardware, brings the old one back; an operation that needs a proven bound of its operand gets it through min and max with
    the bounds proven before.
    """
    return replace(graph.copy(), nodes=_Narrow(graph, before).block(graph.nodes))


class _Narrow:
    def __init__(self, graph: Graph, before: Graph) -> None:
        self.known = ranges(before)
        self.values = {i.name: i.value for i in graph.inputs}
        self.ranges = {i.name: i.range for i in graph.inputs}
        self.taken = set(graph.values())

    def fresh(self, stem: str) -> str:
        name, number = stem, 0
        while name in self.taken:
            number += 1
            name = f"{stem}.{number}"
        self.taken.add(name)
        return name

    def block(self, nodes: Sequence[Node]) -> list[Node]:
        out: list[Node] = []
        for node in nodes:
            regions = tuple(Region(self.block(r.nodes), r.results) for r in node.regions)
            if regions:
                node = replace(node, regions=regions)
            try:
                results = self.infer(node)
            except GraphError:
                node = replace(node, inputs=tuple(self.bounded(i, out) for i in node.inputs))
                results = self.infer(node)
            self.append(node, results, out)
        return out

    def infer(self, node: Node) -> list[Result]:
        inside = [[(self.values[r], self.ranges[r]) for r in region.results] for region in node.regions]
        return infer(node, [self.values[i] for i in node.inputs], [self.ranges[i] for i in node.inputs], inside)

    def append(self, node: Node, results: Sequence[Result], out: list[Node]) -> None:
        outputs, wraps = [], []
        for value, result in zip(node.outputs, results, strict=True):
            if value.type.holds(result.range):
                outputs.append(value)
                self.define(value, result.range)
                continue
            wide = Value(self.fresh(f"{value.name}.wide"), result_type(result), value.shape)
            outputs.append(wide)
            self.define(wide, result.range)
            attrs = {"type": str(value.type), "factor": "1", "rounding": "floor", "overflow": "wrap"}
            wraps.append(Node("requantize", (wide.name,), (value,), dict(attrs), (), node.source))
            self.define(value, value.type.range)
        out += [replace(node, outputs=tuple(outputs)), *wraps] if wraps else [node]

    def define(self, value: Value, bounds: Range) -> None:
        self.values[value.name], self.ranges[value.name] = value, bounds

    def bounded(self, name: str, out: list[Node]) -> str:
        """``name``, or the same integers with the range proven before made visible."""
        (lo, hi), frac = self.ranges[name], self.values[name].type.frac
        least, most = self.known.get(name, (lo, hi))
        for op, limit, binds in (("min", most, most < hi), ("max", least, least > lo)):
            if binds:
                bound = Value(self.fresh(f"{name}.bound"), smallest_type((limit, limit), frac), ())
                attrs = {"data": np.array(limit, np.int64), "type": str(bound.type)}
                out.append(Node("const", (), (bound,), attrs))
                self.define(bound, (limit, limit))
                node = Node(op, (name, bound.name), ())
                (result,) = self.infer(node)
                value = Value(self.fresh(f"{name}.bounded"), result_type(result), self.values[name].shape)
                out.append(replace(node, outputs=(value,)))
                self.define(value, result.range)
                name = value.name
        return name
