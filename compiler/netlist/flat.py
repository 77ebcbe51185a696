"""A graph's logic as one flat netlist: a signal per bit, numbered in program order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.ir import Graph, Node, Value, ranges
from neuroloom.compiler.ir.graph import walk


@dataclass(slots=True)
class Sum:
    """A ``group_sum``: entry j adds weights[j] * literals[j] to group groups[j]; sorted by group, then literal."""

    groups: np.ndarray
    literals: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


@dataclass(slots=True)
class Netlist:
    """The top-level logic of ``graph``.

    Signal 0 is constant 0; value number v of ``values`` owns the signals base[v] .. base[v+1]-1, in row-major order.
    ``gate`` bool[S] says which signals are tables (of ``lut`` and constant bits): inputs ``fanin`` int32[S,K], of which
    ``count`` int8[S] are in use, and ``table`` uint64[S]. All other signals are leaves. ``literal`` int32[S] is what a signal
    equals (2 * signal + inverted). ``whole`` names the values that must exist as they are. ``flipped`` bool[S] marks gates that
    now compute the inverse of what they did. ``sums`` are the group sums, by node name.
    """

    graph: Graph
    values: list[Value]
    makers: list[Node | None]
    index: dict[str, int]
    base: np.ndarray
    fanin: np.ndarray
    count: np.ndarray
    table: np.ndarray
    gate: np.ndarray
    literal: np.ndarray
    whole: set[str]
    flipped: np.ndarray
    sums: dict[str, Sum] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of signals."""
        return len(self.count)

    def span(self, name: str) -> slice:
        """The signals of value ``name``."""
        v = self.index[name]
        return slice(int(self.base[v]), int(self.base[v + 1]))

    def signals(self, names: Iterable[str]) -> np.ndarray:
        """Signals of the flat concatenation of the values, and at its end signal 0, which index -1 reads."""
        parts = [np.arange(s.start, s.stop, dtype=np.int32) for s in map(self.span, names)]
        return np.concatenate([*parts, np.zeros(1, np.int32)])


def whole_values(graph: Graph, keep: Iterable[str]) -> set[str]:
    """Names of values that something other than a top-level lut or group_sum reads, or that must keep their name."""
    out = {o.value for o in graph.outputs} | set(keep)
    for node in graph.nodes:
        if node.op not in ("lut", "group_sum"):
            out.update(node.inputs)
        for region in node.regions:
            out.update(region.results)
            for inner in walk(region.nodes):
                out.update(inner.inputs)
                for deeper in inner.regions:
                    out.update(deeper.results)
    return out


def flatten(graph: Graph, keep: Iterable[str] = ()) -> Netlist:
    """Return the netlist of the graph's top-level logic; ``keep`` names values that must survive whole."""
    values = [i.value for i in graph.inputs if i.value.type.is_bit]
    makers: list[Node | None] = [None] * len(values)
    for node in graph.nodes:
        for value in node.outputs:
            if value.type.is_bit:
                values.append(value)
                makers.append(node)
    base = np.concatenate([[1], 1 + np.cumsum([v.size for v in values], dtype=np.int64)]).astype(np.int64)
    size = int(base[-1])
    width = max([n.attrs["indices"].shape[1] for n in graph.nodes if n.op == "lut"], default=1)
    net = Netlist(
        graph,
        values,
        makers,
        {v.name: i for i, v in enumerate(values)},
        base,
        np.zeros((size, max(width, 1)), np.int32),
        np.zeros(size, np.int8),
        np.zeros(size, np.uint64),
        np.zeros(size, bool),
        np.arange(size, dtype=np.int32) * 2,
        whole_values(graph, keep),
        np.zeros(size, bool),
    )
    for value, maker in zip(values, makers, strict=True):
        if maker is not None and maker.op == "lut":
            _add_lut(net, value, maker)
        elif maker is not None and maker.op == "const":
            span = net.span(value.name)
            net.gate[span] = True
            net.table[span] = maker.attrs["data"].reshape(-1)
    for node in graph.nodes:
        if node.op == "group_sum":
            net.sums[node.name] = _read_sum(net, node)
    return net


def _add_lut(net: Netlist, value: Value, node: Node) -> None:
    span, indices = net.span(value.name), node.attrs["indices"]
    k = indices.shape[1]
    net.fanin[span, :k] = net.signals(node.inputs)[indices]  # -1 reads the last, signal 0
    net.count[span] = k
    net.table[span] = node.attrs["tables"]
    net.gate[span] = True


def _read_sum(net: Netlist, node: Node) -> Sum:
    offsets, indices = node.attrs["offsets"], node.attrs["indices"]
    groups = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    weights = node.attrs.get("weights")
    bias = node.attrs.get("bias")
    return Sum(
        groups,
        net.signals(node.inputs)[indices] * 2,
        np.ones(len(indices), np.int64) if weights is None else weights.astype(np.int64),
        np.zeros(len(offsets) - 1, np.int64) if bias is None else bias.astype(np.int64),
    )


def settle_encoders(net: Netlist, *, merge: bool) -> None:
    """Set the literals of thresholds that are always or never met, and, with ``merge``, of thresholds that occur twice.

    Whole values keep their elements; they may still serve as the one that others equal.
    """
    nodes = [n for n in net.makers if n is not None and n.op == "compare"]
    if not nodes:
        return
    bounds = ranges(net.graph)
    first: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for node in nodes:
        span, limits = net.span(node.name), node.attrs["thresholds"]
        lo, hi = bounds[node.inputs[0]]
        literals = net.literal[span]
        literals[limits <= lo] = 1
        literals[limits > hi] = 0
        if not merge:
            continue
        mine = np.stack([node.attrs["indices"].astype(np.int64), limits.astype(np.int64)], axis=1)
        keys, signals = first.get(node.inputs[0], (np.zeros((0, 2), np.int64), np.zeros(0, np.int64)))
        keys = np.concatenate([keys, mine])
        signals = np.concatenate([signals, np.arange(span.start, span.stop)])
        unique, at, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        first[node.inputs[0]] = unique, signals[at]
        own = 2 * signals[at[inverse.reshape(-1)[-len(mine) :]]]
        literals[:] = np.where(literals > 1, own, literals)


def threshold_families(net: Netlist) -> tuple[np.ndarray, np.ndarray]:
    """Which signals are thresholds on the same integer: ``family`` int32[S], 0 for none, and ``rank`` int64[S], the threshold."""
    family, rank = np.zeros(net.size, np.int32), np.zeros(net.size, np.int64)
    starts: dict[str, int] = {}
    total = 1
    sizes = {name: value.size for name, value in net.graph.values().items()}
    for node in net.makers:
        if node is None or node.op != "compare":
            continue
        (source,) = node.inputs
        if source not in starts:
            starts[source] = total
            total += sizes[source]
        family[net.span(node.name)] = starts[source] + node.attrs["indices"]
        rank[net.span(node.name)] = node.attrs["thresholds"]
    return family, rank
