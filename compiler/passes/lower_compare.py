"""Thresholds on bits become wires and constants."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.netlist.rewrite import WIRE, Rewriter

from .manager import Options, PassResult, register


def _lower(node: Node, rewriter: Rewriter) -> bool:
    if not rewriter.all_bits(node.inputs):
        return False
    limits = node.attrs["thresholds"]
    tables = np.where(limits <= 0, 0b11, np.where(limits == 1, WIRE, 0)).astype(np.uint64)
    rewriter.lut(node.inputs, node.attrs["indices"][:, None], tables, node.outputs[0], node.source)
    return True


@register("lower-compare", "canonicalise", order=50)
def run(graph: Graph, options: Options) -> PassResult:
    """Turn compare of bits into wires (x >= 1) and constants (any other threshold)."""
    return PassResult(*Rewriter(graph, options).run({"compare": _lower}))
