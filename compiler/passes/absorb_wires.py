"""Wire and inverter absorption."""

from __future__ import annotations

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.netlist.gains import gains
from neuroloom.compiler.netlist.kernels import WIRES
from neuroloom.compiler.netlist.simplify import simplify

from .manager import Options, PassResult, register


@register("absorb-wires", "optimise", order=20)
def run(graph: Graph, options: Options) -> PassResult:
    """Let readers of wires and inverters read through them; the reported tables include wires."""
    if options.level == 0:
        return PassResult(graph, False)
    out = simplify(graph, options.keep, WIRES)
    return PassResult(out, not out.equals(graph), gains(graph, out, wires=True))
