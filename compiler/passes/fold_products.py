"""A matrix product of an input that is proven to be one number is a constant.

A recurrent layer without an input of its own (the generator of an auto-encoder, say) is exported with a sequence of zeros: its
products with weights are the same in every step, and so is what is left of them, the bias.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from neuroloom.compiler.ir import Graph, Node, ranges
from neuroloom.compiler.ir.graph import Region

from .manager import Options, PassResult, register


@register("fold-products", "optimise", order=15)
def run(graph: Graph, options: Options) -> PassResult:
    """Replace matrix products of inputs that are proven constant by their value."""
    if options.level == 0:
        return PassResult(graph, False)
    known = {name: lo for name, (lo, hi) in ranges(graph).items() if lo == hi}
    out = graph.copy()
    out.nodes, count = _block(out.nodes, known)
    return PassResult(out if count else graph, bool(count), {"nodes": [count, 0]} if count else {})


def _block(nodes: list[Node], known: dict[str, int]) -> tuple[list[Node], int]:
    out, count = [], 0
    for node in nodes:
        if node.regions:
            bodies = [_block(region.nodes, known) for region in node.regions]
            regions = tuple(Region(body, r.results) for (body, _), r in zip(bodies, node.regions, strict=True))
            node, count = replace(node, regions=regions), count + sum(found for _, found in bodies)
        if node.op == "matvec" and node.inputs[0] in known:
            node, count = _constant(node, known[node.inputs[0]]), count + 1
        out.append(node)
    return out, count


def _constant(node: Node, x: int) -> Node:
    """The product's value as a constant of the same name, type and shape."""
    value = node.outputs[0]
    total = node.attrs["weights"].astype(np.int64).sum(axis=1) * x
    bias = node.attrs.get("bias")
    data = np.broadcast_to(total if bias is None else total + bias.astype(np.int64), value.shape)
    return replace(node, op="const", inputs=(), attrs={"data": np.ascontiguousarray(data), "type": str(value.type)})
