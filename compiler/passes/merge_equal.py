"""Structural hashing."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.kernels import MERGE
from neuroloom.compiler.netlist.simplify import simplify

from .manager import Options, PassResult, register


@register("merge-equal", "optimise", order=30)
def run(graph: Graph, options: Options) -> PassResult:
    """Merge tables that compute the same function of the same signals, or its inverse, and equal thresholds."""
    if options.level == 0:
        return PassResult(graph, False)
    out = simplify(graph, options.keep, MERGE)
    return PassResult(out, not out.equals(graph), gains(graph, out))
