"""Limits move behind the rounding, which never changes an order: requantize(max(x, c)) is max(requantize(x), requantize(c)).

A ReLU in front of a requantize compares sums of full width; behind it, words, and where the limit is an end of the type (an
unsigned type's 0) saturation does it alone.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from neuroloom.compiler.ir import Graph, Node, Type, Value
from neuroloom.compiler.ir.graph import Region
from neuroloom.compiler.ir.ops.arith import round_fraction

from .manager import Options, PassResult, register
from .names import Names


@register("narrow-limits", "optimise", order=20)
def run(graph: Graph, options: Options) -> PassResult:
    """Move constant limits (ReLU, clip) behind the requantize that reads them."""
    if options.level == 0:
        return PassResult(graph, False)
    out = graph.copy()
    narrowing = _Narrowing(out)
    out.nodes = narrowing.block(out.nodes, {})
    return PassResult(out if narrowing.count else graph, bool(narrowing.count), {})


class _Narrowing(Names):
    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.count = 0

    def block(self, nodes: list[Node], outer: dict[str, Node]) -> list[Node]:
        """A list of nodes; ``outer`` are the makers of values that it may read from outside."""
        makers = dict(outer)
        out: list[Node] = []
        for node in nodes:
            if node.regions:
                regions = tuple(Region(self.block(r.nodes, makers), r.results) for r in node.regions)
                node = replace(node, regions=regions)
            while node.op == "requantize":
                moved = self.moved(node, makers)
                if moved is None:
                    break
                self.count += 1
                *before, node = moved
                for extra in before:  # the requantize itself may have another limit in front of it
                    out += self.block([extra], makers)
                    makers.update((v.name, extra) for v in extra.outputs)
            out.append(node)
            makers.update((v.name, node) for v in node.outputs)
        return out

    def moved(self, node: Node, makers: dict[str, Node]) -> list[Node] | None:
        """The requantize with the limit in front of it behind it, or gone; None when there is no such limit."""
        limit = makers.get(node.inputs[0])
        factor, type_ = Fraction(node.attrs["factor"]), Type.parse(node.attrs["type"])
        if limit is None or limit.op not in ("max", "min") or node.attrs["overflow"] != "saturate" or factor <= 0:
            return None
        if type_.width > limit.outputs[0].type.width:
            return None  # it widens: in front of it the limit compares fewer bits
        for x, constant in (limit.inputs, limit.inputs[::-1]):
            maker = makers.get(constant)
            if maker is None or maker.op != "const" or self.values[x].shape != node.outputs[0].shape:
                continue
            ends = [
                self.fit(int(q), factor, node.attrs["rounding"], type_) for q in np.asarray(maker.attrs["data"]).flat
            ]
            if not ends:
                continue
            if set(ends) == {type_.lo if limit.op == "max" else type_.hi}:
                return [replace(node, inputs=(x,))]
            rounded = self.new(f"{node.name}.unlimited", Value("", type_, node.outputs[0].shape))
            bound = self.new(f"{node.name}.limit", Value("", type_, self.values[constant].shape))
            data = np.array(ends, np.int64).reshape(self.values[constant].shape)
            return [
                replace(node, inputs=(x,), outputs=(rounded,)),
                Node("const", (), (bound,), {"data": data, "type": str(type_)}, (), node.source),
                replace(node, op=limit.op, inputs=(rounded.name, bound.name), attrs={}),
            ]
        return None

    @staticmethod
    def fit(q: int, factor: Fraction, rounding: str, type_: Type) -> int:
        return min(max(round_fraction(q * factor, rounding), type_.lo), type_.hi)
