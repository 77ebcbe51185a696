"""Clean-up of a real program: constant factors and sums go into the weights before them, and what nothing reads goes away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .program import Program, RealNode, RealRegion, walk
from .registry import OPERATIONS


def fold(program: Program) -> Program:
    """``program`` with constant products and sums folded into the linear and conv nodes that alone feed them.

    A batch normalisation behind a convolution becomes its weights and bias. Values keep their names; a folded node disappears and
    the weighted node takes its name.
    """
    program = replace(program, nodes=_computed(program.nodes, {}))
    nodes = _folded(program.nodes, _constants(program.nodes), _readers(program))
    while (moved := _sunk(nodes, _readers(replace(program, nodes=nodes)))) is not None:
        nodes = moved
    nodes = _split_rows(nodes, _readers(replace(program, nodes=nodes)))
    out = replace(program, nodes=nodes)
    return replace(out, nodes=_alive(out.nodes, {o.value for o in out.outputs}))


def _computed(nodes: Sequence[RealNode], known: dict[str, np.ndarray]) -> list[RealNode]:
    """The nodes with what depends on constants alone computed; ``known`` are the constants so far, by name."""
    out = []
    for node in nodes:
        if node.op == "const":
            known[node.name] = node.attrs["data"]
        elif node.regions:
            regions = tuple(RealRegion(_computed(r.nodes, dict(known)), r.results) for r in node.regions)
            node = replace(node, regions=regions)
        elif node.inputs and all(i in known for i in node.inputs):
            result = OPERATIONS[node.op](node, *(known[i][None] for i in node.inputs))
            for value, array in zip(node.outputs, [result] if isinstance(result, np.ndarray) else result, strict=True):
                data = np.ascontiguousarray(array[0]) if array[0].ndim else array[0]
                known[value.name] = data
                out.append(RealNode("const", (), (value,), {"data": data, "kind": value.kind}, (), node.source))
            continue
        out.append(node)
    return out


def _constants(nodes: Sequence[RealNode]) -> dict[str, np.ndarray]:
    return {n.name: n.attrs["data"] for n in walk(nodes) if n.op == "const" and n.attrs["kind"] == "real"}


def _readers(program: Program) -> Counter[str]:
    out: Counter[str] = Counter(o.value for o in program.outputs)
    for node in program.walk():
        out.update(node.inputs)
        for region in node.regions:
            out.update(region.results)
    return out


def _folded(nodes: Sequence[RealNode], constants: dict[str, np.ndarray], readers: Counter[str]) -> list[RealNode]:
    out: list[RealNode] = []
    weighted: dict[str, int] = {}
    for node in nodes:
        if node.regions:
            regions = tuple(RealRegion(_folded(r.nodes, constants, readers), r.results) for r in node.regions)
            node = replace(node, regions=regions)
        merged = _merge(node, out, weighted, constants, readers)
        if merged is not None:
            place, new = merged
            out[place] = RealNode("const", (), (), {"data": np.zeros(0), "kind": "gone"})
            node = new
        if node.op in ("linear", "conv") and "grid" not in node.attrs:
            weighted[node.name] = len(out)
        out.append(node)
    return [n for n in out if n.attrs.get("kind") != "gone"]


def _merge(
    node: RealNode,
    out: list[RealNode],
    weighted: dict[str, int],
    constants: dict[str, np.ndarray],
    readers: Counter[str],
) -> tuple[int, RealNode] | None:
    """The weighted node with ``node`` folded in, and where the old one stands; None where that cannot be."""
    if node.op not in ("add", "sub", "mul"):
        return None
    for number, name in enumerate(node.inputs):
        other = node.inputs[1 - number]
        if name not in weighted or other not in constants or readers[name] != 1:
            continue
        if node.op == "sub" and number == 1:
            continue
        before = out[weighted[name]]
        rows = _per_row(before, constants[other])
        if rows is None or before.outputs[0].shape != node.outputs[0].shape:
            continue
        attrs = dict(before.attrs)
        bias = attrs.get("bias", np.zeros(len(attrs["weights"])))
        if node.op == "mul":
            attrs["weights"] = attrs["weights"] * rows.reshape(-1, *[1] * (attrs["weights"].ndim - 1))
            bias = bias * rows
        else:
            bias = bias + rows if node.op == "add" else bias - rows
        if bias.any() or "bias" in attrs:
            attrs["bias"] = bias
        return weighted[name], replace(before, outputs=node.outputs, attrs=attrs, source=before.source or node.source)
    return None


def _split_rows(nodes: Sequence[RealNode], readers: Counter[str]) -> list[RealNode]:
    """Linear nodes that are only cut along their outputs, one for every cut: gates of one matrix become matrices of their own.

    Each then has weights in a format of its own, and its sums need not be stored to be cut.
    """
    cuts: dict[str, list[RealNode]] = {}
    shapes = {v.name: v.shape for n in walk(nodes) for v in n.outputs}
    for node in walk(nodes):
        if node.op == "slice" and _cuts_last(node, shapes.get(node.inputs[0], ())):
            cuts.setdefault(node.inputs[0], []).append(node)
    whole = {
        n.name: n
        for n in walk(nodes)
        if n.op == "linear" and "grid" not in n.attrs and 0 < readers[n.name] == len(cuts.get(n.name, []))
    }
    return _cut_block(nodes, whole)


def _sunk(nodes: list[RealNode], readers: Counter[str]) -> list[RealNode] | None:
    """Cuts of a sum become sums of cuts, where the sum is only cut; None when there is no such sum."""
    shapes = {v.name: v.shape for n in walk(nodes) for v in n.outputs}
    sliced = Counter(n.inputs[0] for n in walk(nodes) if n.op == "slice" and _cuts_last(n, shapes.get(n.inputs[0], ())))
    sums = {
        n.name: n
        for n in walk(nodes)
        if n.op == "add"
        and 0 < readers[n.name] == sliced[n.name]
        and all(shapes.get(i) == n.outputs[0].shape for i in n.inputs)
    }
    return _sink_block(nodes, sums) if sums else None


def _sink_block(nodes: Sequence[RealNode], sums: dict[str, RealNode]) -> list[RealNode]:
    out: list[RealNode] = []
    for node in nodes:
        if node.name in sums and node.op == "add":
            continue
        if node.regions:
            node = replace(node, regions=tuple(RealRegion(_sink_block(r.nodes, sums), r.results) for r in node.regions))
        made = sums.get(node.inputs[0]) if node.op == "slice" else None
        if made is None:
            out.append(node)
            continue
        parts = []
        for side, name in zip(("left", "right"), made.inputs, strict=True):
            value = replace(node.outputs[0], name=f"{node.name}.{side}")
            out.append(replace(node, inputs=(name,), outputs=(value,)))
            parts.append(value.name)
        out.append(replace(made, inputs=tuple(parts), outputs=node.outputs))
    return out


def _cuts_last(node: RealNode, shape: tuple[int, ...]) -> bool:
    """Whether a slice of a value of ``shape`` keeps all axes but the last whole."""
    a, rank = node.attrs, len(shape)
    return rank > 0 and all(
        a["starts"][i] == 0 and a["steps"][i] == 1 and a["stops"][i] == shape[i] for i in range(rank - 1)
    )


def _cut_block(nodes: Sequence[RealNode], whole: dict[str, RealNode]) -> list[RealNode]:
    out = []
    for node in nodes:
        if node.regions:
            node = replace(node, regions=tuple(RealRegion(_cut_block(r.nodes, whole), r.results) for r in node.regions))
        made = whole.get(node.inputs[0]) if node.op == "slice" else None
        if made is not None:
            rows = slice(*(node.attrs[k][-1] for k in ("starts", "stops", "steps")))
            attrs = {"weights": made.attrs["weights"][rows]}
            if "bias" in made.attrs:
                attrs["bias"] = made.attrs["bias"][rows]
            node = replace(node, op="linear", inputs=made.inputs, attrs=attrs, source=made.source or node.source)
        out.append(node)
    return out


def _per_row(node: RealNode, data: np.ndarray) -> np.ndarray | None:
    """The constant as one number per output row (linear) or channel (conv); None when it differs elsewhere."""
    count = len(node.attrs["weights"])
    ndim = len(node.outputs[0].shape)
    if data.ndim > ndim:
        return None
    shape = (1,) * (ndim - data.ndim) + data.shape
    axis = ndim - 1 if node.op == "linear" else 0
    if any(d != 1 for i, d in enumerate(shape) if i != axis):
        return None
    return np.broadcast_to(data.reshape(-1), (count,)) if data.size in (1, count) else None


def _alive(nodes: Sequence[RealNode], used: set[str]) -> list[RealNode]:
    """Nodes whose values are read, loops' and branches' bodies included."""
    kept: list[RealNode] = []
    for node in reversed(nodes):
        if not any(v.name in used for v in node.outputs):
            continue
        if node.regions:
            regions = []
            for region in node.regions:
                inner = set(region.results)
                body = _alive(region.nodes, inner)
                used |= inner
                regions.append(RealRegion(body, region.results))
            node = replace(node, regions=tuple(regions))
        used.update(node.inputs)
        kept.append(node)
    return kept[::-1]
