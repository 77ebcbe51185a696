"""What is computed in which order: sums of currents joined, states that can be written in place, a schedule.

A state is written in place when the node that computes its next value runs after everything else that reads the old one.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Node

ENGINE = "the event-driven engine"


@dataclass(slots=True)
class Step:
    """A node to run; for an accumulated current, the terms that are added and the synapses that deliver into it."""

    node: Node
    reads: tuple[str, ...]
    terms: list[str] = field(default_factory=list)
    deliveries: list[Node] = field(default_factory=list)


def states_of(node: Node) -> list[tuple[str, str]]:
    """Pairs of (state read, next value written) of a node that may write in place."""
    i, o = node.inputs, [v.name for v in node.outputs]
    if node.op == "lif":
        return list(zip(i[1:], o[1:-1], strict=True))
    if node.op == "izhikevich":
        return list(zip(i[1:3], o[1:3], strict=True))
    if node.op == "bernoulli":
        return [(i[1], o[1])]
    if node.op == "alpha_neuron":
        return list(zip(i[1:4], o[1:4], strict=True))
    if node.op == "trace":
        return [(i[1], o[0])]
    if node.op == "lfsr":
        return [(i[0], o[0])]
    if node.op == "decide":
        return list(zip(i[1:], o, strict=True))
    return []


def plastic(node: Node) -> list[tuple[str, str]]:
    """Pairs of (state read, next value) of learning, which always writes in place: weights, eligibility."""
    if node.op != "stdp":
        return []
    pairs = [(node.inputs[0], node.outputs[0].name)]
    if node.attrs.get("eligibility"):
        pairs.append((node.inputs[-2], node.outputs[1].name))
    return pairs


def join_currents(graph: Graph, shown: Iterable[str]) -> list[Step]:
    """The nodes to run, with trees of additions over synaptic currents joined into one accumulation each."""
    values = graph.values()
    uses = Counter(i for n in graph.nodes for i in n.inputs)
    uses.update(shown)
    producer = {v.name: n for n in graph.nodes for v in n.outputs}
    reader = {i: n for n in graph.nodes for i in n.inputs}

    def delivers(node: Node) -> bool:
        return node.op == "synapses" or (
            node.op == "matvec" and values[node.inputs[0]].type.is_bit and len(node.outputs[0].shape) == 1
        )

    def absorbed(node: Node) -> bool:
        if not delivers(node) and not (node.op == "add" and any(n and absorbed(n) for n in below(node))):
            return False
        (value,) = node.outputs
        if uses[value.name] != 1 or value.name not in reader:
            return False
        other = reader[value.name]
        return other.op == "add" and other.outputs[0].shape == value.shape

    def below(node: Node) -> list[Node | None]:
        return [producer.get(name) for name in node.inputs]

    def collect(node: Node, step: Step) -> None:
        if delivers(node):
            step.deliveries.append(node)
            return
        for name in node.inputs:
            inner = producer.get(name)
            if inner is not None and absorbed(inner):
                collect(inner, step)
            else:
                step.terms.append(name)

    steps = []
    for node in graph.nodes:
        if node.op in ("state", "const", "update") or absorbed(node):
            continue
        step = Step(node, node.inputs)
        if node.op == "add" or delivers(node):
            collect(node, step)
            if step.deliveries:
                step.reads = (*step.terms, *(i for d in step.deliveries for i in d.inputs))
            else:
                step.terms = []
        steps.append(step)
    return steps


def schedule(graph: Graph, steps: list[Step]) -> tuple[list[Step], dict[str, str]]:
    """The steps in an order that allows writing in place, and the states written so: next value by state."""
    written = {n.inputs[0]: n.inputs[1] for n in graph.nodes if n.op == "update"}
    copied = set(written.values())
    learning = {s: v for step in steps for s, v in plastic(step.node)}
    for state, value in learning.items():
        if written.get(state) != value:
            raise UnsupportedError(
                f"state %{state} must be updated with what its learning gives for {ENGINE}; use the reference engine"
            )
    both = {s: v for step in steps for s, v in states_of(step.node) if written.get(s) == v and s not in copied}
    for inplace in ({**both, **learning}, learning):
        order = _order(steps, inplace)
        if order is not None:
            return order, inplace
    raise UnsupportedError(f"weights must be read before they learn for {ENGINE}; use the reference engine")


def _order(steps: list[Step], inplace: dict[str, str]) -> list[Step] | None:
    """Topological order with every reader of a state before the step that writes it in place; None when there is none."""
    makes = {v.name: k for k, step in enumerate(steps) for v in step.node.outputs}
    after: dict[int, set[int]] = defaultdict(set)
    waits = [0] * len(steps)

    def edge(a: int, b: int) -> None:
        if a != b and b not in after[a]:
            after[a].add(b)
            waits[b] += 1

    for k, step in enumerate(steps):
        for name in step.reads:
            if name in makes:
                edge(makes[name], k)
            if name in inplace:
                edge(k, makes[inplace[name]])
    ready = [k for k in range(len(steps)) if not waits[k]]
    heapq.heapify(ready)
    order = []
    while ready:
        k = heapq.heappop(ready)
        order.append(steps[k])
        for other in after[k]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, other)
    return order if len(order) == len(steps) else None
