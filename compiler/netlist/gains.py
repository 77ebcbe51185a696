"""How many tables each source layer has: what passes report."""

from __future__ import annotations

from collections import Counter

import numpy as np
from neuroloom.compiler.ir import Graph

from .rewrite import WIRE


def table_counts(graph: Graph, *, wires: bool = False) -> dict[str, int]:
    """Tables per source layer of every lut node, in order; constants never count, wires only with ``wires``.

    A layer's name is its ``source``, or the value's name; a node with ``layers`` counts per entry of ``records["layers"]``.
    """
    out: Counter[str] = Counter()
    for node in graph.walk():
        if node.op != "lut":
            continue
        connected = (node.attrs["indices"] >= 0).sum(axis=1)
        counted = connected > 0
        if not wires:
            counted &= ~((connected == 1) & (node.attrs["tables"] == WIRE))
        layers = node.attrs.get("layers")
        if layers is None:
            out[node.source or node.name] += int(counted.sum())
            continue
        names = graph.records["layers"]
        for number, count in zip(*np.unique(layers[counted], return_counts=True), strict=True):
            out[names[int(number)]] += int(count)
    return dict(out)


def gains(before: Graph, after: Graph, *, wires: bool = False) -> dict[str, list[int]]:
    """Layer → [tables before, tables after], for the layers that had any and changed."""
    old, new = table_counts(before, wires=wires), table_counts(after, wires=wires)
    return {k: [n, new.get(k, 0)] for k, n in old.items() if n != new.get(k, 0)}
