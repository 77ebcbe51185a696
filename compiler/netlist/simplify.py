"""Graph in, graph out: one sweep over the whole netlist, and the removal of what nothing reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.ir.graph import walk

from .flat import Netlist, flatten, settle_encoders, threshold_families
from .kernels import IMPLY, MERGE, mark, sweep
from .rebuild import merge_sums, rebuild, roots, settle_phases


def swept(graph: Graph, keep: Iterable[str], depth: int) -> tuple[Netlist, np.ndarray]:
    """The netlist after ``sweep`` to ``depth``, with its sums and phases settled, and the carriers (see ``settle_phases``)."""
    net = flatten(graph, keep)
    settle_encoders(net, merge=depth >= MERGE)
    none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    family, rank = threshold_families(net) if depth >= IMPLY else none
    sweep(net.fanin, net.count, net.table, net.gate, net.literal, depth, family, rank)
    merge_sums(net)
    return net, settle_phases(net)


def simplify(graph: Graph, keep: Iterable[str], depth: int) -> Graph:
    """Simplify all top-level logic to ``depth`` (FOLD, WIRES, MERGE or IMPLY)."""
    net, carrier = swept(graph, keep, depth)
    return rebuild(net, carrier)


def live_signals(net: Netlist, carrier: np.ndarray) -> np.ndarray:
    """bool[S]: the signals that something outside the netlist reads, directly or through gates."""
    live = np.zeros(net.size, bool)
    live[carrier[roots(net)]] = True
    mark(net.fanin, net.count, net.gate, live)
    return live


def remove_dead_tables(graph: Graph, keep: Iterable[str]) -> Graph:
    """Drop tables and thresholds that nothing reads."""
    net = flatten(graph, keep)
    merge_sums(net)
    carrier = settle_phases(net)
    return rebuild(net, carrier, live_signals(net, carrier))


def remove_dead_nodes(graph: Graph, keep: Iterable[str]) -> Graph:
    """Drop top-level nodes none of whose values is read; writes to state, and exits, always stay."""
    used = {o.value for o in graph.outputs} | set(keep)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if not (_acts(node) or any(v.name in used for v in node.outputs)):
            continue
        kept.append(node)
        for inner in walk([node]):
            used.update(inner.inputs)
            for region in inner.regions:
                used.update(region.results)
    return replace(graph.copy(), nodes=kept[::-1]) if len(kept) < len(graph.nodes) else graph


def _acts(node: Node) -> bool:
    return any(n.op in ("update", "exit_when", "state") for n in walk([node]))
