"""Constant folding in logic."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.kernels import FOLD
from neuroloom.compiler.netlist.simplify import simplify

from .manager import Options, PassResult, register


@register("fold-constants", "optimise", order=10)
def run(graph: Graph, options: Options) -> PassResult:
    """Fold constant bits, thresholds always or never met and inputs that do not matter into tables and sum biases."""
    if options.level == 0:
        return PassResult(graph, False)
    out = simplify(graph, options.keep, FOLD)
    return PassResult(out, not out.equals(graph), gains(graph, out, wires=True))
