"""Work on every step of a stacked output moves into its loop: it fills the time in which the loop waits for itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from neuroloom.compiler.ir import Graph, Node, Region, Value
from neuroloom.compiler.ir.graph import walk

ROW_WISE = frozenset({"matvec", "requantize", "table", "shift", "reshape"})
"""Operations of one input that treat every step alike."""


def sink_rows(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The graph with such work inside its loops, and for every new value the one outside whose range it has."""
    nodes, like = list(graph.nodes), {}
    uses = _uses(graph)
    changed = True
    while changed:
        changed = False
        for at, node in enumerate(nodes):
            if node.op != "scan":
                continue
            found = _user(nodes, at, uses)
            if found is None:
                continue
            place, number = found
            nodes[at], inner = _inside(node, nodes[place], number)
            like[inner] = nodes[place].outputs[0].name
            del nodes[place]
            changed = True
            break
    return replace(graph, nodes=nodes), like


def _uses(graph: Graph) -> Counter[str]:
    uses: Counter[str] = Counter(o.value for o in graph.outputs)
    for node in graph.walk():
        uses.update(node.inputs)
        uses.update(r for region in node.regions for r in region.results)
    return uses


def _user(nodes: list[Node], at: int, uses: Counter[str]) -> tuple[int, int] | None:
    """A node that can move into the loop, and which of the loop's outputs it reads."""
    scan = nodes[at]
    count = scan.attrs["count"]
    names = {v.name: n for n, v in enumerate(scan.outputs) if n >= scan.attrs["carried"]}
    for place in range(at + 1, len(nodes)):
        node = nodes[place]
        if node.op in ("exit_when", "when", "switch"):
            return None  # what stands behind may not be needed
        if node.op not in ROW_WISE or node.inputs[0] not in names or uses[node.inputs[0]] != 1:
            continue
        out = node.outputs[0]
        if len(out.shape) < 2 or out.shape[0] != count:
            continue
        if node.op == "matvec" and len(scan.outputs[names[node.inputs[0]]].shape) < 2:
            continue
        return place, names[node.inputs[0]]
    return None


def _inside(scan: Node, node: Node, number: int) -> tuple[Node, str]:
    (region,) = scan.regions
    taken = {v.name for n in walk(region.nodes) for v in n.outputs}
    outer = node.outputs[0]
    name = f"{outer.name}.step"
    while name in taken:
        name += "."
    attrs = {**node.attrs, "shape": outer.shape[1:]} if node.op == "reshape" else node.attrs
    inner = Node(
        node.op, (region.results[number],), (Value(name, outer.type, outer.shape[1:]),), attrs, (), node.source
    )
    results = (*region.results[:number], name, *region.results[number + 1 :])
    outputs = (*scan.outputs[:number], outer, *scan.outputs[number + 1 :])
    return replace(scan, outputs=outputs, regions=(Region([*region.nodes, inner], results),)), name
