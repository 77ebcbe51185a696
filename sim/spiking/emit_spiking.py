"""Instructions of synapses, neurons and the early decision."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node

from . import codes, learning, neurons
from .emit_arith import ROUNDINGS, binary, operand
from .memory import WORDS, kind_of, weight_kind
from .plan import ENGINE, Step, plastic
from .program import Compiler, emits


def accumulate(c: Compiler, step: Step) -> None:
    """One accumulator for a sum of currents: plain terms and biases first, then every delivery adds into it."""
    (out,) = step.node.outputs
    terms = [operand(c, name, out.shape) for name in step.terms]
    for node in step.deliveries:
        bias = node.attrs.get("bias")
        if bias is not None and bias.any():
            terms.append((c.memory.value(kind_of((int(bias.min()), int(bias.max()))), out.size, bias), 0))
    final = c.allocate(out.name)
    dst = final if final & 3 else c.memory.value(WORDS, out.size)  # a sum proven to be 0 or 1 is a bit
    if not terms:
        c.emit(codes.FILL, dst, 0, out.size)
    elif len(terms) == 1 and not terms[0][1]:
        c.emit(codes.COPY, dst, terms[0][0], out.size)
    else:
        first = terms[0]
        for term in terms[1:] or [(c.memory.value(kind_of((0, 0)), 1), 1)]:
            binary(c, codes.ADD, dst, first, term, out.size)
            first = dst, 0
    for node in step.deliveries:
        _deliver(c, node, dst)
    if dst != final:
        c.emit(codes.COPY, final, dst, out.size)


@emits("synapses")
def synapses(c: Compiler, node: Node) -> None:
    accumulate(c, Step(node, node.inputs, deliveries=[node]))


def _deliver(c: Compiler, node: Node, dst: int) -> None:
    """Deliveries of a node's synapses, one per delay, sorted by source and target."""
    if node.op == "matvec":
        matrix = node.attrs["weights"]
        post, pre = np.nonzero(matrix)
        weights, delay = matrix[post, pre], np.zeros(len(pre), np.int64)
    else:
        pre, post, delay = (node.attrs[k].astype(np.int64) for k in ("pre", "post", "delay"))
        weights = _fixed(c, node)
    c.synapses += len(pre)
    sources = c.values[node.inputs[0]].shape[-1]
    order = synapse_order(pre, post, delay)
    if weights is None:
        kind, at, _ = c.stored[node.inputs[1]]
    else:
        kind = weight_kind((int(weights.min()), int(weights.max())) if weights.size else (0, 0))
        at = c.memory.weights[kind].add(len(weights), weights[order])
    pre, post, delay = pre[order], post[order], delay[order]
    steps, starts = np.unique(delay, return_index=True)
    for d, first, last in zip(steps, starts, np.append(starts, len(order))[1:], strict=True):
        found = _events(c, node.inputs[0], int(d), sources)
        if found is None:
            continue
        ends = np.concatenate([[0], np.cumsum(np.bincount(pre[first:last], minlength=sources))])
        targets = post[first:last]
        together = pre[first + 1 : last] == pre[first : last - 1]
        consecutive = bool((np.diff(targets)[together] == 1).all()) and len(targets) >= 8 * max(
            1, len(np.unique(pre[first:last]))
        )
        c.emit(
            codes.DELIVER,
            dst,
            *found,
            kind,
            at + int(first),
            c.memory.index(targets),
            c.memory.index(ends),
            sources,
            len(targets),
            int(consecutive),
        )


def synapse_order(pre: np.ndarray, post: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """By delay, then source, then target."""
    if not len(pre):
        return np.zeros(0, np.int64)
    pre, post, delay = (x.astype(np.int64) for x in (pre, post, delay))
    key = (delay * (int(pre.max()) + 1) + pre) * (int(post.max()) + 1) + post
    return np.arange(len(key)) if (np.diff(key) >= 0).all() else np.argsort(key, kind="stable")


def _fixed(c: Compiler, node: Node) -> np.ndarray | None:
    """Weights that never change; None for those of a state."""
    if len(node.inputs) == 1:
        return node.attrs["weights"]
    name = node.inputs[1]
    if name in c.stored:
        return None
    producer = c.nodes.get(name)
    if producer is not None and producer.op == "const":
        return producer.attrs["data"]
    raise UnsupportedError(f"{node.where()}: {ENGINE} has weights that are fixed or a state; use the reference engine")


def _events(c: Compiler, history: str, delay: int, sources: int) -> tuple[int, int] | None:
    """Ring and lag of the spikes ``delay`` rows down; None when there are never any."""
    if history in c.rows:
        row = c.rows[history][delay]
        return None if row[0] == "zero" else c.events_of(row)
    key = f"{history}[{delay}]"  # a name no value can have
    if key not in c.ring_of:
        c.ring_of[key] = c.memory.ring(1, sources)
        ref = c.memory.value(0, sources)
        c.emit(codes.COPY, ref, c.ref(history) + (delay * sources << 2), sources)
        c.emit(codes.SCAN, c.ring_of[key], ref >> 5, sources)
    return c.ring_of[key], 0


def store_weights(c: Compiler, name: str) -> None:
    """Give a state of weights (or eligibility) its place, in the order in which its synapses deliver."""
    node = c.state_nodes[name]
    (value,), init = node.outputs, node.attrs["init"]
    order = _order_of(c, name, value.size)
    kind = weight_kind(value.type.range)
    content = init.reshape(-1)[order]
    memory = c.memory.weights[kind]
    at = memory.add(value.size, content)
    c.permutation[name] = order
    c.stored[name] = kind, at, c.memory.index(order)
    if node.attrs["lifetime"] == "sample":
        c.resets.append([codes.SET_WEIGHTS, kind, at, memory.add(value.size, content), value.size])


def _order_of(c: Compiler, name: str, size: int) -> np.ndarray:
    users = [n for n in c.graph.nodes if n.op == "synapses" and n.inputs[1:] == (name,)]
    orders = [synapse_order(n.attrs["pre"], n.attrs["post"], n.attrs["delay"]) for n in users]
    for node in c.graph.nodes:
        pairs = plastic(node)
        if len(pairs) == 2 and pairs[1][0] == name:
            orders.append(c.permutation[pairs[0][0]])
    if any((o != orders[0]).any() for o in orders):
        raise UnsupportedError(f"weights %{name} must serve one projection for {ENGINE}; use the reference engine")
    return orders[0] if orders else np.arange(size)


def _row(columns: list[str], op: int, given: dict[str, int]) -> list[int]:
    """An instruction from named operands; absent references are NONE, other absent operands 0."""
    absent = {"i", "r", "a", "i_out", "r_out", "a_out", "recorded", "lfsr", "e", "reward", "enable"}
    row = [given.get(name, codes.NONE if name in absent else 0) for name in columns]
    row[0] = op
    if len(given.keys() - set(columns)):
        raise KeyError(str(given.keys() - set(columns)))
    return row


_LEAKS = {"none": neurons.NONE_LEAK, "multiplicative": neurons.MULTIPLICATIVE, "subtractive": neurons.SUBTRACTIVE}
_RESETS = {"zero": neurons.TO_VALUE, "value": neurons.TO_VALUE, "subtract": neurons.SUBTRACT, "none": neurons.NO_RESET}
_MODES = {
    "immediate": neurons.IMMEDIATE,
    "delayed": neurons.DELAYED,
    "delayed_new": neurons.DELAYED_NEW,
    "undelayed": neurons.UNDELAYED,
    "undelayed_new": neurons.UNDELAYED_NEW,
}


def _outputs(c: Compiler, node: Node, names: list[str], given: dict[str, int]) -> None:
    """Places of all outputs but the last, which is the recorded membrane: v' itself when nothing else was asked for."""
    for name, value in zip(names, node.outputs, strict=False):
        given[name] = c.allocate(value.name)
    recorded = node.outputs[-1].name
    if node.attrs.get("record", "stored") == "stored":
        c.refs[recorded] = given["v_out"]
    else:
        given["recorded"] = c.allocate(recorded)


@emits("lif")
def lif(c: Compiler, node: Node) -> None:
    a, t, n = node.attrs, c.values[node.inputs[1]].type, c.values[node.inputs[1]].size
    states = ["v", *["i"] * ("alpha" in a), *["r"] * bool(a.get("refractory", 0)), *["a"] * ("adapt_decay" in a)]
    given = {"n": n, "lo": t.lo, "hi": t.hi, "current": c.ref(node.inputs[0])}
    given.update((name, c.ref(i)) for name, i in zip(states, node.inputs[1:], strict=True))
    _outputs(c, node, ["spike", *(f"{s}_out" for s in states)], given)
    for name in ("threshold", "bias", "drive"):
        given[name], given[f"{name}_c"] = c.constant(a.get(name, np.zeros(1, np.int64)), n)
    given.update(
        has_drive=int("drive" in a),
        leak=_LEAKS[a["leak"]],
        beta=a.get("beta", 0),
        decay=a.get("decay", 0),
        has_alpha=int("alpha" in a),
        alpha=a.get("alpha", 0),
        old=int(a.get("old_current", False)),
        strict=int(a["strict"]),
        reset=_RESETS[a["reset"]],
        v_reset=a.get("v_reset", 0),
        mode=_MODES[a["reset_mode"]],
        refractory=a.get("refractory", 0),
        counting=_counting(a),
        rv=a.get("refractory_v", 0),
        adapt_decay=a.get("adapt_decay", 0),
        adapt_step=a.get("adapt_step", 0),
        wta=int(a.get("wta", False)),
        rounding=ROUNDINGS[a.get("rounding", "floor")],
        tested=int(a.get("record", "stored") == "tested"),
    )
    c.emit(*_row(neurons.LIF_COLUMNS, codes.LIF_32 if _is_narrow(given, t.width) else codes.LIF, given))


def _is_narrow(given: dict[str, int], width: int) -> bool:
    """Whether the 32-bit kernel has the options and finds everything in int32."""
    refs = [given[k] for k in _NARROW if given.get(k, codes.NONE) >= 0]
    plain = given["mode"] == neurons.IMMEDIATE and not given["wta"] and "recorded" not in given
    return plain and width <= codes.NARROW_STATE and all(ref & 3 == WORDS for ref in refs)


_NARROW = "current v i r a v_out i_out r_out a_out threshold bias drive".split()


def _counting(attrs: dict[str, Any]) -> int:
    """What the membrane does while the refractory counter runs."""
    if attrs.get("integrates", False):
        return neurons.INTEGRATES
    return neurons.TO_RV if "refractory_v" in attrs else neurons.HOLD


@emits("izhikevich")
def izhikevich(c: Compiler, node: Node) -> None:
    a, t, n = node.attrs, c.values[node.inputs[1]].type, c.values[node.inputs[1]].size
    given = {"n": n, "lo": t.lo, "hi": t.hi}
    given.update((name, c.ref(i)) for name, i in zip(("current", "v", "u"), node.inputs, strict=True))
    _outputs(c, node, ["spike", "v_out", "u_out"], given)
    given["bias"], given["bias_c"] = c.constant(a.get("bias", np.zeros(1, np.int64)), n)
    given.update({k: a[k] for k in "abcd"}, peak=a.get("peak", 7680), substeps=a.get("substeps", 1))
    given["rounding"] = ROUNDINGS[a.get("rounding", "half_up")]
    c.emit(*_row(neurons.IZHIKEVICH_COLUMNS, codes.IZHIKEVICH, given))


@emits("alpha_neuron")
def alpha_neuron(c: Compiler, node: Node) -> None:
    a, t, n = node.attrs, c.values[node.inputs[1]].type, c.values[node.inputs[1]].size
    given = {"n": n, "lo": t.lo, "hi": t.hi}
    given.update((name, c.ref(i)) for name, i in zip(("current", "v", "e", "h"), node.inputs, strict=True))
    _outputs(c, node, ["spike", "v_out", "e_out", "h_out"], given)
    for name in ("threshold", "bias"):
        given[name], given[f"{name}_c"] = c.constant(a.get(name, np.zeros(1, np.int64)), n)
    given.update({k: a[k] for k in ("alpha", "beta", "gain", "gain_bits")}, reset=_RESETS[a["reset"]])
    given.update(wta=int(a.get("wta", False)), rounding=ROUNDINGS[a.get("rounding", "floor")])
    c.emit(*_row(neurons.ALPHA_COLUMNS, codes.ALPHA, given))


@emits("bernoulli")
def bernoulli(c: Compiler, node: Node) -> None:
    t, n = c.values[node.inputs[1]].type, c.values[node.inputs[1]].size
    given = {"n": n, "lo": t.lo, "hi": t.hi}
    given.update((name, c.ref(i)) for name, i in zip(("current", "x"), node.inputs, strict=True))
    _outputs(c, node, ["spike", "v_out"], given)
    given["bias"], given["bias_c"] = c.constant(node.attrs.get("bias", np.zeros(1, np.int64)), n)
    c.emit(*_row(neurons.BERNOULLI_COLUMNS, codes.BERNOULLI, given))


@emits("decide")
def decide(c: Compiler, node: Node) -> None:
    a = node.attrs
    names = ("spikes", "counts", "done", "winner", "at", "now")
    given = {name: c.ref(i) for name, i in zip(names, node.inputs, strict=True)}
    given.update((f"{name}_out", c.allocate(v.name)) for name, v in zip(names[1:], node.outputs, strict=True))
    table = a.get("table", np.zeros(1, np.int64))
    given.update(
        n=c.values[node.inputs[0]].size,
        confidence=int(a["mode"] == "confidence"),
        margin=a.get("margin", 0),
        table=c.memory.index(table),
        length=len(table),
        limit=a.get("limit", 0),
        count_max=c.values[node.inputs[1]].type.hi,
        now_max=c.values[node.inputs[5]].type.hi,
    )
    c.emit(*_row(learning.DECIDE_COLUMNS, codes.DECIDE, given))


__all__ = ["accumulate", "store_weights"]
