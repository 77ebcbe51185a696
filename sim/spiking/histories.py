"""Spike histories, recognised: which bit values are rows of spikes of this step or of steps before.

A history is a state bit[D, n] (or bit[n]) that every step takes the spikes of the step as its first row and moves the others
down. The engine keeps its events in a ring instead of moving bits.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.ir import Graph, Node, Value

Row = tuple[str, str, int]
"""("now", value, 0): the bits of a value [n]; ("state", state, r): row r of a state; ("zero", "", 0): no spikes."""


@dataclass(frozen=True, slots=True)
class History:
    """A recognised history: its state, the value whose spikes it takes, and how many steps it keeps."""

    state: Node
    spikes: str
    depth: int


def find_rows(graph: Graph, owned: Container[str] = ()) -> tuple[dict[str, tuple[Row, ...]], dict[str, History]]:
    """The rows of every bit value [n] or [R, n] that is made of rows, and the recognised histories by state name.

    States in ``owned`` (counters of one bit, say) are no histories.
    """
    written = {n.inputs[0]: n.inputs[1] for n in graph.nodes if n.op == "update"}
    candidates = {n.name: n for n in graph.states if _may_hold(n.outputs[0]) and n.name not in owned}
    while True:
        rows = _rows(graph, candidates)
        good = {name: h for name, n in candidates.items() if (h := _history(n, rows.get(written.get(name, ""))))}
        good = _agreeing(good)
        if len(good) == len(candidates):
            return rows, good
        candidates = {name: candidates[name] for name in good}


def _may_hold(value: Value) -> bool:
    return value.type.is_bit and len(value.shape) in (1, 2) and value.size > 0


def _history(state: Node, rows: Sequence[Row] | None) -> History | None:
    depth = state.outputs[0].shape[0] if len(state.outputs[0].shape) == 2 else 1
    if rows is None or len(rows) != depth or rows[0][0] != "now":
        return None
    if list(rows[1:]) != [("state", state.name, r) for r in range(depth - 1)]:
        return None
    return History(state, rows[0][1], depth)


def _agreeing(histories: dict[str, History]) -> dict[str, History]:
    """Histories of the same spikes share a ring, so the deepest decides and the others must begin as it does."""
    best: dict[str, History] = {}
    for h in histories.values():
        if h.spikes not in best or h.depth > best[h.spikes].depth:
            best[h.spikes] = h
    out = {}
    for name, h in histories.items():
        deep = best[h.spikes].state
        width = h.state.attrs["init"].shape[-1]
        mine, theirs = h.state.attrs["init"].reshape(-1, width), deep.attrs["init"].reshape(-1, width)
        if h.state.attrs["lifetime"] == deep.attrs["lifetime"] and np.array_equal(mine, theirs[: len(mine)]):
            out[name] = h
    return out


def _rows(graph: Graph, candidates: dict[str, Node]) -> dict[str, tuple[Row, ...]]:
    rows: dict[str, tuple[Row, ...]] = {}
    values = graph.values()

    def known(value: Value, found: tuple[Row, ...] | None) -> None:
        if value.type.is_bit and found is not None:
            rows[value.name] = found
        elif value.type.is_bit and len(value.shape) == 1:
            rows[value.name] = (("now", value.name, 0),)

    for item in graph.inputs:
        known(item.value, None)
    for node in graph.nodes:
        for value in node.outputs:
            known(value, _node_rows(node, rows, values, candidates) if _may_hold(value) else None)
    return rows


def _node_rows(
    node: Node, rows: dict[str, tuple[Row, ...]], values: dict[str, Value], candidates: dict[str, Node]
) -> tuple[Row, ...] | None:
    shape = node.outputs[0].shape
    if node.op == "state":
        count = shape[0] if len(shape) == 2 else 1
        return tuple(("state", node.name, r) for r in range(count)) if node.name in candidates else None
    if node.op == "const":
        return (("zero", "", 0),) * shape[0] if len(shape) == 2 and not node.attrs["data"].any() else None
    if not all(i in rows for i in node.inputs) or not node.inputs:
        return None
    before = values[node.inputs[0]].shape
    given = rows[node.inputs[0]]
    if node.op == "reshape" and shape[-1] == before[-1]:
        return given
    if node.op == "concat" and len(shape) == 2 and node.attrs["axis"] == 0:
        return tuple(r for i in node.inputs for r in rows[i])
    if node.op == "slice" and len(before) == 2:
        (start, first), (stop, last), (step, stride) = (node.attrs[k] for k in ("starts", "stops", "steps"))
        whole = (first, last, stride) == (0, before[1], 1)
        return tuple(given[start:stop:step]) if whole and shape[0] else None
    if node.op == "gather" and len(before) == 2 and node.attrs["axis"] == 0 and len(shape) == 2:
        return tuple(given[int(i)] for i in node.attrs["indices"])
    return None
