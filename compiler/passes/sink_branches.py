"""Work that only one side of a choice reads moves into that side, so that simulator and hardware leave it out when it is not taken.

A choice is a ``select`` by one bit, a product with one bit (a skip gate: y = x + g * F(x)), or one entry of a ``concat`` taken by a
computed index (experts under top-1 routing). What reads state or writes it stays where it is: a state's update must happen in every
step unless the update itself is selected (then the choice is its last operation, and the new value is what is left out).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.ir import Graph, Node, Value
from neuroloom.compiler.ir.graph import Region, walk

from .manager import Options, PassResult, register
from .names import Names

ALWAYS = "always_runs"
"""Key of the graph's records with sentences about work that could be skipped but for the state that it updates."""

WORTH = 64
"""Operations that a side must save at least: entering and leaving a branch takes a few cycles of its own."""

STAYS = frozenset({"const", "state", "update", "exit_when", "carried", "scanned", "step", "lfsr", "trace"})
"""Operations that no branch takes in: constants are free, the others belong to a step as a whole."""


@dataclass(frozen=True)
class Choice:
    """A node that needs only one of its ``sides`` (a value's name, or None for zeros), as ``selector`` says."""

    op: str
    selector: str
    sides: tuple[str | None, ...]


Finder = Callable[[Node, dict[str, Value], dict[str, Node]], Choice | None]


def _select(node: Node, values: dict[str, Value], makers: dict[str, Node]) -> Choice | None:
    condition, a, b = node.inputs
    return Choice("when", condition, (a, b)) if values[condition].size == 1 and a != b else None


def _product(node: Node, values: dict[str, Value], makers: dict[str, Node]) -> Choice | None:
    for gate, other in (node.inputs, node.inputs[::-1]):
        if values[gate].type.is_bit and values[gate].size == 1 and gate != other:
            return Choice("when", gate, (other, None))
    return None


def _taken(node: Node, values: dict[str, Value], makers: dict[str, Node]) -> Choice | None:
    """One of the arrays that a ``concat`` puts side by side, each of extent 1 along the axis."""
    stack, index = node.inputs
    maker, axis = makers.get(stack), node.attrs["axis"]
    if values[index].size != 1 or maker is None or maker.op != "concat" or maker.attrs["axis"] != axis:
        return None
    if any(values[part].shape[axis] != 1 for part in maker.inputs) or len({*maker.inputs}) < max(2, len(maker.inputs)):
        return None
    return Choice("switch", index, maker.inputs)


FINDERS: dict[str, Finder] = {"select": _select, "mul": _product, "take": _taken}
"""Operation → how a choice is recognised in it."""


@register("sink-branches", "optimise", order=30)
def run(graph: Graph, options: Options) -> PassResult:
    """Move work that only one side of a choice needs into a branch, so that it is skipped otherwise."""
    if options.level == 0:
        return PassResult(graph, False)
    out = graph.copy()
    sinking = _Sinking(out, frozenset([*options.keep, *(o.value for o in out.outputs)]))
    out.nodes = sinking.block(out.nodes, ())
    if sinking.remarks:
        out.records[ALWAYS] = sinking.remarks
    gains = {name: [0, saved] for name, saved in sinking.found.items()}
    return PassResult(out, bool(gains or sinking.remarks), gains)


class _Sinking(Names):
    def __init__(self, graph: Graph, fixed: frozenset[str]) -> None:
        super().__init__(graph)
        self.fixed = fixed
        self.found: dict[str, int] = {}
        self.remarks: list[str] = []

    def block(self, nodes: list[Node], results: tuple[str, ...]) -> list[Node]:
        """A list of nodes with its choices made into branches, the last ones first, as they take in the most."""
        position = len(nodes) - 1
        while position >= 0:
            finder = FINDERS.get(nodes[position].op)
            if finder is not None:
                nodes, position = self.choice(nodes, position, finder, results)
            position -= 1
        return [
            replace(n, regions=tuple(Region(self.block(r.nodes, r.results), r.results) for r in n.regions))
            if n.regions
            else n
            for n in nodes
        ]

    def choice(self, nodes: list[Node], at: int, finder: Finder, results: tuple[str, ...]) -> tuple[list[Node], int]:
        """Replace the node at ``at`` if that saves enough; returns the nodes and where the replaced one stands."""
        node = nodes[at]
        makers = {v.name: n for n in nodes[:at] for v in n.outputs}
        found = finder(node, self.values, makers)
        if found is None:
            return nodes, at
        readers = _readers(nodes, results, self.fixed)
        start = {id(node)}
        if found.op == "switch":
            stack = makers[node.inputs[0]]
            if any(reader is not node for reader in readers[stack.outputs[0].name]):
                return nodes, at
            start.add(id(stack))
        cones = [_cone(nodes[:at], side, found, start, readers, self.fixed) for side in found.sides]
        # What two sides share belongs to neither.
        saved = [sum(self.work(n) for n in cone) for cone in cones]
        if max(saved) < WORTH:
            self.remark(node, found, nodes[:at], start, readers)
            return nodes, at
        self.found[node.outputs[0].name] = max(saved)
        regions = tuple(self.side(node, side, cone) for side, cone in zip(found.sides, cones, strict=True))
        branch = Node(found.op, (found.selector,), node.outputs, {}, regions, node.source)
        gone = {id(n) for cone in cones for n in cone} | (start - {id(node)})
        before = [n for n in nodes[:at] if id(n) not in gone]
        return [*before, branch, *nodes[at + 1 :]], len(before)

    def remark(
        self,
        node: Node,
        found: Choice,
        before: list[Node],
        start: set[int],
        readers: dict[str, list[Node | None]],
    ) -> None:
        """Say why a side runs in every step, where that is because of state."""
        updates = {id(n): n for n in _flat(readers) if n.op == "update"}
        for side in found.sides:
            free = {name: [r for r in of if r is None or id(r) not in updates] for name, of in readers.items()}
            cone = _cone(before, side, found, start, free, self.fixed)
            if sum(self.work(n) for n in cone) < WORTH:
                continue
            made = {v.name for n in cone for v in n.outputs}
            states = sorted({n.inputs[0] for n in updates.values() if n.inputs[1] in made})
            self.remarks.append(
                f"{node.source or node.name}: the side %{side} runs in every step although only its choice is read, because it "
                f"updates the state {', '.join(f'%{name}' for name in states)}; select the update itself to have it skipped"
            )

    def side(self, node: Node, side: str | None, cone: list[Node]) -> Region:
        """A region that computes one side, in the type and shape of the choice."""
        out = node.outputs[0]
        inside, result = list(cone), side
        if result is None:
            closed, zeros = self.new(f"{out.name}.closed", out), np.zeros(out.shape, np.int64)
            attrs = {"data": zeros, "type": str(out.type)}
            return Region([Node("const", (), (closed,), attrs, (), node.source)], (closed.name,))
        value = self.values[result]
        if value.type != out.type:
            attrs = {"type": str(out.type), "factor": "1", "rounding": "floor", "overflow": "saturate"}
            typed = self.new(f"{out.name}.typed", Value("", out.type, value.shape))
            inside.append(Node("requantize", (result,), (typed,), attrs, (), node.source))
            result = typed.name
        if value.shape != out.shape:
            op = "reshape" if value.size == out.size else "broadcast"
            shaped = self.new(f"{out.name}.shaped", out)
            inside.append(Node(op, (result,), (shaped,), {"shape": out.shape}, (), node.source))
            result = shaped.name
        return Region(inside, (result,))

    def work(self, node: Node) -> int:
        """Multiply-accumulates of a node, or elements where it has none, those of its regions times their steps included."""
        inner = sum(self.work(n) for r in node.regions for n in r.nodes) * int(node.attrs.get("count", 1))
        size = sum(v.size for v in node.outputs)
        if node.op in ("matvec", "conv"):
            weights = node.attrs["weights"]
            return size * (weights.size // weights.shape[0])
        if node.op == "contract":
            return max(size, *(self.values[i].size for i in node.inputs))
        return inner + size


def _readers(nodes: list[Node], results: tuple[str, ...], fixed: frozenset[str]) -> dict[str, list[Node | None]]:
    """Nodes of the list that read each value (None: someone else), those whose regions do as well."""
    out: dict[str, list[Node | None]] = {}
    for name in (*results, *fixed):
        out.setdefault(name, []).append(None)
    for node in nodes:
        for name in _reads(node):
            out.setdefault(name, []).append(node)
    return out


def _flat(readers: dict[str, list[Node | None]]) -> Iterator[Node]:
    for nodes in readers.values():
        yield from (n for n in nodes if n is not None)


def _reads(node: Node) -> Iterator[str]:
    yield from node.inputs
    for region in node.regions:
        yield from region.results
        for inner in walk(region.nodes):
            yield from inner.inputs
            for deeper in inner.regions:
                yield from deeper.results


def _cone(
    nodes: list[Node],
    side: str | None,
    found: Choice,
    start: set[int],
    readers: dict[str, list[Node | None]],
    fixed: frozenset[str],
) -> list[Node]:
    """Nodes that are needed for ``side`` alone, in order."""
    if side is None or side == found.selector:
        return []
    needed_anyway = {found.selector, *found.sides} - {side}
    inside = set(start)
    wanted = {side}
    cone: list[Node] = []
    for node in reversed(nodes):
        names = [v.name for v in node.outputs]
        if not names or not wanted.intersection(names) or node.op in STAYS or _writes(node):
            continue
        if needed_anyway.intersection(names) or fixed.intersection(names):
            continue
        if any(r is None or id(r) not in inside for name in names for r in readers.get(name, [])):
            continue
        inside.add(id(node))
        cone.append(node)
        wanted.update(_reads(node))
    return cone[::-1]


def _writes(node: Node) -> bool:
    """Whether a node's regions write state."""
    return any(n.op in ("update", "exit_when") for region in node.regions for n in walk(region.nodes))
