"""Facts about a graph that several commands print: sizes, levels, gains per pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph, Node, Value, ranges, smallest_type
from neuroloom.compiler.netlist.levels import levels


def node_luts(node: Node) -> int:
    """Lookup tables that a node holds (a convolution's shared kernels counted once per position)."""
    if node.op == "lut":
        return len(node.attrs["tables"])
    if node.op == "lut_conv":
        positions = int(np.prod(node.outputs[0].shape[:-1]))
        return positions * node.attrs["tables"].size
    return 0


def node_bits(node: Node) -> int:
    """Bits of constant data in a node: truth tables, weights, thresholds' values."""
    if node.op == "lut":
        return len(node.attrs["tables"]) << node.attrs["indices"].shape[1]
    if node.op in ("table", "const"):
        entries = node.attrs["entries" if node.op == "table" else "data"]
        return int(entries.size) * node.outputs[0].type.width
    bits = sum(
        v.size * v.dtype.itemsize * 8 for k, v in node.attrs.items() if isinstance(v, np.ndarray) and k != "weights"
    )
    weights = node.attrs.get("weights")
    if weights is not None:
        bounds = (int(weights.min()), int(weights.max())) if weights.size else (0, 0)
        bits += int(weights.size) * smallest_type(bounds).width
    return bits


@dataclass(frozen=True)
class ValueRow:
    """A value as tables show it: name, operation (or "input"), type with shape, proven range, sizes of its node."""

    value: str
    operation: str
    type: str
    lo: int
    hi: int
    luts: int
    bits: int
    source: str


def value_rows(graph: Graph) -> list[ValueRow]:
    """The inputs, then every node's values, those of control regions included."""
    bounds = ranges(graph)
    rows = [
        ValueRow(item.name, "input", _type(item.value), *bounds[item.name], 0, 0, item.source) for item in graph.inputs
    ]
    for node in graph.walk():
        luts, bits = node_luts(node), node_bits(node)
        rows += [ValueRow(v.name, node.op, _type(v), *bounds[v.name], luts, bits, node.source) for v in node.outputs]
    return rows


def graph_facts(graph: Graph) -> dict[str, Any]:
    """Totals of a graph, JSON-able."""
    nodes = list(graph.walk())
    return {
        "name": graph.name,
        "clocked": graph.clocked,
        "inputs": {i.name: _type(i.value) for i in graph.inputs},
        "outputs": {o.name: _shown(graph, o.value) for o in graph.outputs},
        "nodes": len(nodes),
        "luts": sum(node_luts(n) for n in nodes),
        "levels": max((int(depth.max(initial=0)) for depth in levels(graph).values()), default=0),
        "comparisons": sum(n.outputs[0].size for n in nodes if n.op == "compare"),
        "summed_bits": sum(len(n.attrs["indices"]) for n in nodes if n.op == "group_sum"),
        "constant_bits": sum(node_bits(n) for n in nodes),
        "state_bits": sum(n.outputs[0].size * n.outputs[0].type.width for n in graph.states),
    }


def _shown(graph: Graph, name: str) -> str:
    return _type(graph.values()[name])


def _type(value: Value) -> str:
    return f"{value.type}{list(value.shape)}"


def layer_gains(graph: Graph) -> list[dict[str, Any]]:
    """Gates before and after, summed over layers, for every pass that changed something."""
    rows = []
    for item in graph.records.get("passes", []):
        gains = {k: v for k, v in item.get("gains", {}).items() if isinstance(v, list) and len(v) == 2}
        if item.get("changed") and gains:
            before, after = (sum(v[i] for v in gains.values()) for i in (0, 1))
            rows.append({"pass": item["pass"], "before": before, "after": after, "layers": gains})
    return rows
