"""Split tables that are wider than the target's into cofactors and a multiplexer (Shannon's expansion)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node, Value

from .kernels import split_tables

MULTIPLEXER = 0b11001010
"""Table of out = input 2 ? input 1 : input 0."""


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
