"""Nodes that nothing reads, inside of branches and loops as well, and results of branches and loops that nothing takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.ir.graph import Region, walk

from .manager import Options, PassResult, register

EFFECTS = frozenset({"update", "exit_when"})
"""Operations that matter without being read."""


@register("remove-unread", "optimise", order=25)
def run(graph: Graph, options: Options) -> PassResult:
    """Drop nodes, results of branches and sequences of loops that nothing reads."""
    if options.level == 0:
        return PassResult(graph, False)
    out = graph.copy()
    before = sum(1 for _ in graph.walk())
    live = {*options.keep, *(o.value for o in out.outputs)}
    kept = set(options.keep)
    out.nodes = _block(out.nodes, live, kept)
    changed = not out.equals(graph)
    gains = {"nodes": [before, sum(1 for _ in out.walk())]} if changed else {}
    return PassResult(out if changed else graph, changed, gains)


def _block(nodes: Sequence[Node], live: set[str], kept: set[str]) -> list[Node]:
    """The nodes that are needed for ``live``, which grows by all that they read."""
    out = []
    for node in reversed(nodes):
        effects = any(n.op in EFFECTS for n in walk([node]))
        names = {v.name for n in walk([node]) for v in n.outputs}
        if not effects and not live.intersection(v.name for v in node.outputs) and not kept.intersection(names):
            continue
        if node.op == "scan":
            node = _loop(node, live, kept)
        elif node.regions:
            node = _branches(node, live, kept)
        live.update(node.inputs)
        out.append(node)
    return out[::-1]


def _branches(node: Node, live: set[str], kept: set[str]) -> Node:
    """Branches with the results that something takes (one at least, as a node is known by its first)."""
    taken = [n for n, v in enumerate(node.outputs) if v.name in live] or ([0] if node.outputs else [])
    regions = []
    for region in node.regions:
        results = tuple(region.results[n] for n in taken)
        inner = set(results)
        body = _block(region.nodes, inner, kept)
        live.update(inner)
        regions.append(Region(body, results))
    return replace(node, outputs=tuple(node.outputs[n] for n in taken), regions=tuple(regions))


def _loop(node: Node, live: set[str], kept: set[str]) -> Node:
    """A loop with the stacks that something takes and the sequences that something reads."""
    carried, reverse = node.attrs["carried"], node.attrs["reverse"]
    sequences = len(node.inputs) - carried
    stacks = [n for n in range(len(node.outputs) - carried) if node.outputs[carried + n].name in live]
    if not stacks and not carried:
        stacks = [0]
    (region,) = node.regions
    results = (*region.results[:carried], *(region.results[carried + n] for n in stacks))
    inner = set(results)
    body = _block(region.nodes, inner, kept)
    live.update(inner)
    read = sorted({n.attrs["index"] for n in body if n.op == "scanned"})
    place = {old: new for new, old in enumerate(read)}
    body = [replace(n, attrs={**n.attrs, "index": place[n.attrs["index"]]}) if n.op == "scanned" else n for n in body]
    return replace(
        node,
        inputs=(*node.inputs[:carried], *(node.inputs[carried + n] for n in read)),
        outputs=(*node.outputs[:carried], *(node.outputs[carried + n] for n in stacks)),
        attrs={
            **node.attrs,
            "reverse": (*(reverse[n] for n in read), *(reverse[sequences + n] for n in stacks)),
        },
        regions=(Region(body, results),),
    )
