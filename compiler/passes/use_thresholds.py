"""Thermometer codes never show a high threshold met and a lower one not."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.kernels import IMPLY
from neuroloom.compiler.netlist.simplify import simplify

from .manager import Options, PassResult, register


@register("use-thresholds", "optimise", order=35)
def run(graph: Graph, options: Options) -> PassResult:
    """Drop table inputs that matter only where a threshold is met and a lower one on the same integer is not."""
    if options.level == 0:
        return PassResult(graph, False)
    out = simplify(graph, options.keep, IMPLY)
    return PassResult(out, not out.equals(graph), gains(graph, out))
