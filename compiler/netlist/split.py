"""Split tables that are wider than the target's into cofactors and a multiplexer (Shannon's expansion)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node, Value
from numba import njit

from .tables import KEEP, cofactor, depends, replicate, swap

MULTIPLEXER = 0b11001010
"""Table of out = input 2 ? input 1 : input 0."""


@njit
def _cost(table, k):
    """Estimated lookup tables of k inputs for a replicated table."""
    support = 0
    for v in range(6):
        support += depends(table, v)
    return 0 if support <= 1 else 1 if support <= k else (2 << (support - k)) - 1


@njit(cache=True)
def split_tables(tables, counts, k):
    """For tables uint64[M] of counts[M] > k inputs: the input to split at, int64[M], and both cofactors without it, uint64[M,2].

    The input is the one whose cofactors need the fewest tables, the last of equals (the latest signal, so that depth stays low).
    """
    where = np.zeros(len(tables), np.int64)
    halves = np.zeros((len(tables), 2), np.uint64)
    for m in range(len(tables)):
        n = int(counts[m])
        t = replicate(tables[m], n)
        least = 1 << 40
        for v in range(n):
            low, high = cofactor(t, v, False), cofactor(t, v, True)
            cost = _cost(low, k)
            if high != low and high != ~low:
                cost += _cost(high, k)
            if cost <= least:
                where[m], least = v, cost
        for half in range(2):
            part = cofactor(t, where[m], half == 1)
            for v in range(where[m], n - 1):
                part = swap(part, v)
            halves[m, half] = part & KEEP[n - 1]
    return where, halves


def split_wide(graph: Graph, lut_size: int) -> Graph:
    """Replace every top-level table of more than ``lut_size`` inputs (at least 3, or nothing is split) by smaller ones.

    Connected inputs must stand in front, as the simplifying passes leave them. The graph itself when there is nothing to do.
    """
    taken = set(graph.values())
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op == "lut" and node.attrs["indices"].shape[1] > lut_size:
            nodes += _split(node, lut_size, {n: v for n, v in graph.values().items() if n in node.inputs}, taken)
        else:
            nodes.append(node)
    return replace(graph.copy(), nodes=nodes) if len(nodes) > len(graph.nodes) else graph


def _split(node: Node, k: int, values: dict[str, Value], taken: set[str]) -> list[Node]:
    indices, tables = node.attrs["indices"], node.attrs["tables"]
    counts = (indices >= 0).sum(axis=1)
    wide = np.flatnonzero(counts > k)
    if not len(wide):
        return [replace(node, attrs={**node.attrs, "indices": indices[:, : max(k, 1)]})]
    where, halves = split_tables(tables[wide], counts[wide], k)
    width = indices.shape[1] - 1
    column = np.arange(width)
    rest = np.take_along_axis(indices[wide], column + (column >= where[:, None]), axis=1)
    part = Value(_fresh(node.name, taken), BIT, (2 * len(wide),))
    attrs: dict[str, Any] = {"indices": np.repeat(rest, 2, axis=0), "tables": halves.reshape(-1)}
    if "layers" in node.attrs:
        attrs["layers"] = np.repeat(node.attrs["layers"][wide], 2)
    below = _split(replace(node, outputs=(part,), attrs=attrs), k, values, taken)
    start = sum(values[i].size for i in node.inputs)
    joined = np.full((len(indices), k), -1, np.int32)
    joined[:] = indices[:, :k]
    joined[wide] = -1
    joined[wide, 0] = start + 2 * np.arange(len(wide))
    joined[wide, 1] = start + 2 * np.arange(len(wide)) + 1
    joined[wide, 2] = indices[wide, where]
    packed = tables.copy()
    packed[wide] = MULTIPLEXER
    attrs = {**node.attrs, "indices": joined, "tables": packed}
    return [*below, replace(node, inputs=(*node.inputs, part.name), attrs=attrs)]


def _fresh(name: str, taken: set[str]) -> str:
    stem, number = f"{name}.part", 0
    new = stem
    while new in taken:
        number += 1
        new = f"{stem}.{number}"
    taken.add(new)
    return new
