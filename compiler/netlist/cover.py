"""Cover a netlist's gates with lookup tables of a given size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import Graph

from .cuts import cover_tables, enumerate_cuts, select_cuts
from .flat import Netlist
from .kernels import IMPLY
from .rebuild import rebuild, roots
from .simplify import live_signals, remove_dead_tables, simplify, swept

LIMITS = (5, 8)
"""Cuts kept per gate: for up to 4 inputs or many gates, and otherwise; 8 instead of 5 saves 0.01 % of LUT4, 0.6 % of LUT6."""

MANY = 300_000
"""Gates from which fewer cuts are kept, for speed."""

ENUMERATIONS = 2
"""How often cuts are enumerated; from the second on with the cover before as the estimate of what is read how often."""

ROUNDS = 1
"""Rounds of exact area after each enumeration."""


def cover(graph: Graph, keep: Iterable[str], lut_size: int) -> Graph:
    """Replace tables by fewer ones of up to ``lut_size`` inputs; the graph itself when that does not make them fewer.

    Tables must have at most ``lut_size`` inputs already; raises GraphError otherwise.
    """
    keep = tuple(keep)
    net, carrier = swept(graph, keep, IMPLY)
    widest = int(net.count.max(initial=0))
    if widest > lut_size:
        raise GraphError(f"tables must have at most {lut_size} inputs before covering, not {widest}; split them first")
    live = live_signals(net, carrier) & net.gate
    root = np.zeros(net.size, bool)
    root[carrier[roots(net)]] = True
    chosen = _chosen(net, live, root, lut_size)
    if int(chosen.sum()) >= int(live.sum()):
        return graph
    # thresholds that only covered gates read stay until the dead are removed
    done = rebuild(net, carrier, chosen | ~net.gate)
    return remove_dead_tables(simplify(done, keep, IMPLY), keep)


def _chosen(net: Netlist, live: np.ndarray, root: np.ndarray, k: int) -> np.ndarray:
    """Rewrite ``net`` so that the gates in the returned bool[S] form the cover."""
    size = net.size
    refs = np.bincount(net.fanin[live][np.arange(net.fanin.shape[1]) < net.count[live][:, None]], minlength=size)
    refs = (refs + root).astype(np.float32)
    limit = LIMITS[k > 4 and int(live.sum()) < MANY]
    cuts = np.zeros((size, limit, k), np.int32)
    sizes, number = np.zeros((size, limit), np.int8), np.zeros(size, np.int8)
    costs = np.zeros((size, limit), np.float32)
    best, reads = np.zeros(size, np.int8), np.zeros(size, np.int32)
    for _ in range(ENUMERATIONS):
        enumerate_cuts(net.fanin, net.count, live, refs, k, limit, cuts, sizes, costs, number)
        best[:] = 0
        select_cuts(live, root, cuts, sizes, number, best, reads, ROUNDS)
        refs = ((2 * reads + refs) / 3).astype(np.float32)
    chosen = live & (reads > 0)
    fanin = np.zeros((size, max(k, net.fanin.shape[1])), np.int32)
    count, table = net.count.copy(), net.table.copy()
    cover_tables(net.fanin, net.count, net.table, chosen, cuts, sizes, best, fanin, count, table)
    net.fanin, net.count, net.table = fanin, count, table
    return chosen
