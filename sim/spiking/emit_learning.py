"""Instructions of traces, plasticity and the random register."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from . import codes, learning
from .emit_arith import ROUNDINGS
from .emit_spiking import _row
from .program import Compiler, emits

_KINDS = {"exponential": learning.EXPONENTIAL, "nearest": learning.NEAREST, "window": learning.WINDOW}


@emits("trace")
def trace(c: Compiler, node: Node) -> None:
    a, (spike, x) = node.attrs, node.inputs
    refs = c.ref(spike), c.ref(x), c.allocate(node.outputs[0].name)
    c.emit(codes.TRACE, c.values[x].size, *refs, _KINDS[a["kind"]], a.get("decay", 0), a["step"])


@emits("lfsr")
def lfsr(c: Compiler, node: Node) -> None:
    c.emit(codes.LFSR, c.ref(node.inputs[0]), c.allocate(node.outputs[0].name))


@emits("stdp")
def stdp(c: Compiler, node: Node) -> None:
    a = node.attrs
    weights, pre_spikes, post_spikes, x, y, *rest = node.inputs
    order = c.permutation[weights]
    kind, at, _ = c.stored[weights]
    pre, post = a["pre"].astype(np.int64)[order], a["post"].astype(np.int64)[order]
    given = {
        "pre_ring": _spikes(c, pre_spikes),
        "post_ring": _spikes(c, post_spikes),
        "x": c.ref(x),
        "y": c.ref(y),
        "weights": at,
        "synapses": len(order),
        "pre": c.memory.index(pre),
        "post": c.memory.index(post),
        "sources": c.values[pre_spikes].size,
        "targets": c.values[post_spikes].size,
        "kind": kind,
    }
    given["out_ends"], given["out_at"] = _lists(c, pre, given["sources"])
    given["in_ends"], given["in_at"] = _lists(c, post, given["targets"])
    if a.get("rounding", "floor") == "stochastic":
        given["lfsr"] = c.ref(rest.pop(0))
    if a.get("eligibility", False):
        given["e"] = c.stored[rest[0]][1]
        given["reward"] = c.ref(rest[1])
    if "enable" in a and not a["enable"].all():
        given["enable"] = c.memory.weights[0].add(len(order), a["enable"][order])
    given.update({k: a[k] for k in ("w_min", "w_max", "f")})
    given.update({k: int(a.get(k, 0)) for k in ("soft", "window", "pot", "dep", "g")})
    given.update(rounding=ROUNDINGS[a.get("rounding", "floor")], e_decay=a.get("e_decay", 256))
    c.emit(*_row(learning.STDP_COLUMNS, codes.STDP, given))


def _spikes(c: Compiler, name: str) -> int:
    """The ring whose slot of this step holds the spikes; a value that is a row of a history gets a ring of its own."""
    row = c.rows[name][0]
    return c.scan(row[1]) if row[0] == "now" else c.scan_copy(name)


def _lists(c: Compiler, of: np.ndarray, count: int) -> tuple[int, int]:
    """For every neuron the positions of its synapses: ends and lists."""
    ends = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))])
    return c.memory.index(ends), c.memory.index(np.argsort(of, kind="stable"))
