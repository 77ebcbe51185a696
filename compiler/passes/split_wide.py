"""Tables wider than the target's are split."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.kernels import IMPLY
from neuroloom.compiler.netlist.simplify import remove_dead_tables, simplify
from neuroloom.compiler.netlist.split import split_wide

from .manager import Options, PassResult, register


@register("split-wide", "optimise", requires="simplified tables (merge-equal)", order=50)
def run(graph: Graph, options: Options) -> PassResult:
    """Split tables with more inputs than the target's into cofactors and multiplexers."""
    if options.level == 0:
        return PassResult(graph, False)
    out = split_wide(graph, options.lut_size)
    if out is graph:
        return PassResult(graph, False)
    out = remove_dead_tables(simplify(out, options.keep, IMPLY), options.keep)
    return PassResult(out, True, gains(graph, out))
