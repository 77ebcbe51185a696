"""From an imported graph to the graph that is simulated, built and run."""

from __future__ import annotations

from collections.abc import Callable

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.passes.manager import Options, Pass, all_passes, run_passes

SPIKING_OPERATIONS = frozenset({"synapses", "lif", "izhikevich", "alpha_neuron", "bernoulli"})
"""A graph with one of these runs on a spiking core."""

SPIKING_PASSES = ("remove-dead",)
"""Passes over such a graph: the core takes whole rows of spikes, so moves of bits must not be broken into wires and gates."""


FIXED_POINT_PASSES = ("fold-products", "narrow-limits", "remove-unread", "sink-branches", "remove-dead")
"""Passes over a graph of fixed-point arithmetic: its engine takes whole sums and tables, so they must not be broken into gates."""


def is_fixed_point(graph: Graph) -> bool:
    """Whether a graph came from a float network by calibration, was asked for on the gated engine, or has operations that only that
    one has.
    """
    return bool({"fixed_point", "gated"} & graph.records.keys()) or any(
        node.op in ("scan", "contract") for node in graph.walk()
    )


def compile_graph(
    graph: Graph, options: Options | None = None, *, after: Callable[[Pass, Graph, bool], None] | None = None
) -> Graph:
    """Run every pass over ``graph`` and return the result; ``options`` carry the target's LUT size, kept values, level.

    ``after(pass, graph, changed)`` is called behind every pass. The passes' gains are in ``records["passes"]``, the options in
    ``records["options"]``. The input graph is not changed. Raises GraphError naming the pass that broke a rule.
    """
    options = options or Options()
    passes = None
    if any(node.op in SPIKING_OPERATIONS for node in graph.walk()):
        passes = [p for p in all_passes() if p.name in SPIKING_PASSES]
    elif is_fixed_point(graph):
        passes = [p for p in all_passes() if p.name in FIXED_POINT_PASSES]
    out = run_passes(graph, options, passes=passes, after=after)
    out.records["options"] = {"lut_size": options.lut_size, "keep": list(options.keep), "level": options.level}
    return out
