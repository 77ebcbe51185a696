"""Covering into the target's lookup tables."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.cover import cover
from neuroloom.compiler.netlist.gains import gains

from .manager import Options, PassResult, register


@register("cover-luts", "optimise", requires="no table wider than the target's", order=60)
def run(graph: Graph, options: Options) -> PassResult:
    """Cover tables with as few lookup tables of the target's size as found; never more than before."""
    if options.level == 0:
        return PassResult(graph, False)
    out = cover(graph, options.keep, options.lut_size)
    return PassResult(out, not out.equals(graph), gains(graph, out))
