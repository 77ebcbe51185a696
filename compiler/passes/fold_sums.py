"""Constants added to group sums go into their bias, and sums of sums become one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.ir.graph import walk

from .manager import Options, PassResult, register


def _readers(graph: Graph, keep: tuple[str, ...]) -> Counter[str]:
    """How often each value is read; an output or a kept name counts as a reader."""
    out: Counter[str] = Counter([*(o.value for o in graph.outputs), *keep])
    for node in walk(graph.nodes):
        out.update(node.inputs)
        for region in node.regions:
            out.update(region.results)
    return out


def _parts(node: Node) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts per group, weights and bias of a group sum."""
    a = node.attrs
    weights = a.get("weights", np.ones(len(a["indices"]), np.int64)).astype(np.int64)
    bias = a.get("bias", np.zeros(len(a["offsets"]) - 1, np.int64)).astype(np.int64)
    return np.diff(a["offsets"]), weights, bias


def _with_constant(node: Node, total: Node, constant: np.ndarray, sign: int) -> Node:
    """The sum ``sign * total + constant`` under the name of ``node``."""
    _, weights, bias = _parts(total)
    bias = sign * bias + np.broadcast_to(constant, node.outputs[0].shape).reshape(-1)
    attrs: dict[str, Any] = {**total.attrs, "bias": bias, "weights": sign * weights}
    if sign == 1 and "weights" not in total.attrs:
        del attrs["weights"]
    return replace(node, op="group_sum", inputs=total.inputs, attrs=attrs)


def _joined(node: Node, a: Node, b: Node, sizes: dict[str, int], sign: int) -> Node:
    """The sum ``a + sign * b``, group by group, under the name of ``node``."""
    (na, wa, ba), (nb, wb, bb) = _parts(a), _parts(b)
    start = sum(sizes[i] for i in a.inputs)
    groups = np.concatenate([np.repeat(np.arange(len(na)), na), np.repeat(np.arange(len(nb)), nb)])
    order = np.argsort(groups, kind="stable")
    attrs: dict[str, Any] = {
        "offsets": np.concatenate([[0], np.cumsum(na + nb)]).astype(np.int64),
        "indices": np.concatenate([a.attrs["indices"], b.attrs["indices"] + start])[order].astype(np.int32),
        "weights": np.concatenate([wa, sign * wb])[order],
        "bias": ba + sign * bb,
    }
    if len(node.outputs[0].shape) != 1:
        attrs["shape"] = node.outputs[0].shape
    return replace(node, op="group_sum", inputs=(*a.inputs, *b.inputs), attrs=attrs)


@register("fold-sums", "optimise", order=5)
def run(graph: Graph, options: Options) -> PassResult:
    """Fold constants added to or subtracted from group sums into their bias, and join sums of two group sums."""
    if options.level == 0:
        return PassResult(graph, False)
    readers = _readers(graph, options.keep)
    values = graph.values()
    sizes = {n: v.size for n, v in values.items()}
    made = {n.name: n for n in graph.nodes if n.op in ("const", "group_sum")}
    nodes: list[Node] = []
    gone: set[str] = set()
    for node in graph.nodes:
        if node.op in ("add", "sub"):
            sides = [made.get(i) for i in node.inputs]
            shape = node.outputs[0].shape
            sums = [
                s is not None and s.op == "group_sum" and readers[s.name] == 1 and s.outputs[0].shape == shape
                for s in sides
            ]
            constants = [s.attrs["data"].astype(np.int64) if s is not None and s.op == "const" else None for s in sides]
            sign = -1 if node.op == "sub" else 1
            new = None
            if sums[0] and constants[1] is not None:
                new = _with_constant(node, sides[0], sign * constants[1], 1)  # type: ignore[arg-type]
            elif sums[1] and constants[0] is not None:
                new = _with_constant(node, sides[1], constants[0], sign)  # type: ignore[arg-type]
            elif all(sums) and node.inputs[0] != node.inputs[1]:
                new = _joined(node, sides[0], sides[1], sizes, sign)  # type: ignore[arg-type]
            if new is not None:
                gone.update(i for i, s in zip(node.inputs, sums, strict=True) if s)
                node = made[new.name] = new
        nodes.append(node)
    if not gone:
        return PassResult(graph, False)
    nodes = [n for n in nodes if not (n.op == "group_sum" and n.name in gone)]
    return PassResult(replace(graph.copy(), nodes=nodes), True, {"sums folded": [len(gone), 0]})
