"""Dead-gate removal."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.simplify import remove_dead_nodes, remove_dead_tables

from .manager import Options, PassResult, register


@register("remove-dead", "optimise", order=40)
def run(graph: Graph, options: Options) -> PassResult:
    """Drop tables, thresholds and whole nodes that nothing reads."""
    if options.level == 0:
        return PassResult(graph, False)
    out, nodes = graph, -1
    while len(out.nodes) != nodes:  # a dead node may be the last reader of tables, and they of other nodes
        nodes = len(out.nodes)
        out = remove_dead_tables(remove_dead_nodes(out, options.keep), options.keep)
    return PassResult(out, not out.equals(graph), gains(graph, out))
