"""Loops that do not need each other run as one: while one waits for its own result, the other's sums keep the lanes busy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neuroloom.compiler.ir import Graph, Node, Region
from neuroloom.compiler.ir.graph import walk


def fuse_scans(graph: Graph) -> Graph:
    """The graph with independent loops of equal length at its top level fused; names of values stay."""
    nodes = list(graph.nodes)
    at = 0
    while at < len(nodes):
        if nodes[at].op == "scan":
            partner = _partner(nodes, at)
            if partner is not None:
                nodes = _fused(nodes, at, partner)
                continue  # perhaps there is a third
        at += 1
    return replace(graph, nodes=nodes)


def _reads(node: Node) -> set[str]:
    inside = {name for region in node.regions for n in walk(region.nodes) for name in n.inputs}
    return {*node.inputs, *inside, *(r for region in node.regions for r in region.results)}


def _partner(nodes: list[Node], at: int) -> int | None:
    """The next loop of as many rounds that does not need this one; None when there is none before an exit or an update."""
    tainted = {v.name for v in nodes[at].outputs}
    for number in range(at + 1, len(nodes)):
        node = nodes[number]
        if node.op in ("exit_when", "update"):
            return None
        if _reads(node) & tainted:
            tainted |= {v.name for v in node.outputs}
        elif node.op == "scan" and node.attrs["count"] == nodes[at].attrs["count"]:
            return number
    return None


def _fused(nodes: list[Node], at: int, partner: int) -> list[Node]:
    first, second = nodes[at], nodes[partner]
    tainted = {v.name for v in first.outputs}
    before, after = [], []
    for node in nodes[at + 1 : partner]:
        if _reads(node) & tainted:
            tainted |= {v.name for v in node.outputs}
            after.append(node)
        else:
            before.append(node)
    a, b = first.attrs["carried"], second.attrs["carried"]
    sequences = len(first.inputs) - a
    (one,), (two,) = first.regions, second.regions
    moved = []
    for node in two.nodes:
        if node.op in ("carried", "scanned"):
            shift = a if node.op == "carried" else sequences
            node = replace(node, attrs={**node.attrs, "index": node.attrs["index"] + shift})
        moved.append(node)

    def mixed(x: tuple[Any, ...], y: tuple[Any, ...], p: int, q: int) -> tuple[Any, ...]:
        return (*x[:p], *y[:q], *x[p:], *y[q:])

    reverse = mixed(first.attrs["reverse"], second.attrs["reverse"], sequences, len(second.inputs) - b)
    whole = Node(
        "scan",
        mixed(first.inputs, second.inputs, a, b),
        mixed(first.outputs, second.outputs, a, b),
        {**first.attrs, "carried": a + b, "reverse": reverse},
        (Region([*one.nodes, *moved], mixed(one.results, two.results, a, b)),),
        first.source,
    )
    return [*nodes[:at], *before, whole, *after, *nodes[partner + 1 :]]
