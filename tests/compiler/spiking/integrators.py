"""One population of integrators behind inputs, for the mapper's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Builder, Graph, Type


def network(
    weights: np.ndarray,
    *,
    delay: int | np.ndarray = 0,
    pre: np.ndarray | None = None,
    post: np.ndarray | None = None,
    bits: int = 24,
    shape: tuple[int, int] | None = None,
    learn: dict[str, Any] | None = None,
    **lif: Any,
) -> Graph:
    """Inputs → one population of integrators that never reset; synapses of a matrix, or of lists."""
    weights = np.asarray(weights)
    if pre is None or post is None:
        shape = weights.shape[0], weights.shape[1]
        pre, post = (v.reshape(-1) for v in np.indices(shape))
        weights = weights.reshape(-1)
    assert shape is not None
    b = Builder("net", clocked=True)
    n = shape[1]
    spikes = b.input("in", BIT, (shape[0],))
    delays = np.broadcast_to(np.asarray(delay), (len(pre),))
    rows = int(delays.max(initial=0))
    row = b.node("reshape", [spikes], shape=(1, shape[0]))
    history = row
    if rows:
        state = b.state(np.zeros((rows, shape[0]), np.int64), BIT, "sample", name="in.history")
        history = b.node("concat", [row, state], axis=0)
        kept = b.node("slice", [history], starts=(0, 0), stops=(rows, shape[0]), steps=(1, 1))
        b.update(state, kept)
    inputs, fixed = [history], weights
    if learn is not None:
        inputs.append(b.state(weights, learn.pop("type", Type(8, True)), "persistent", name="w.weights"))
        fixed = None
    current = b.node(
        "synapses", inputs, name="w.current", pre=pre, post=post, delay=np.array(delays), n_post=n, weights=fixed
    )
    v = b.state(np.zeros(n, np.int64), Type(bits, True), "sample", name="p.v")
    attrs = {"threshold": np.full(n, 5), "leak": "none", "strict": False, "reset": "none", "reset_mode": "immediate"}
    outputs = b.nodes("lif", [current, v], name="p.spikes", **(attrs | lif))
    b.update(v, outputs[1])
    if learn is not None:
        traces = []
        for side, size, value in (("x", shape[0], spikes), ("y", n, outputs[0])):
            t = b.state(np.zeros(size, np.int64), Type(16), "sample", name=f"p.{side}")
            b.update(t, b.node("trace", [value, t], kind="window", step=3))
            traces.append(t)
        inputs = [inputs[1], spikes, outputs[0], *traces]
        if learn.get("eligibility"):
            e = b.state(np.zeros(len(pre), np.int64), Type(8, True), "sample", name="w.eligibility")
            inputs += [e, b.input("reward", Type(8, True), ())]
        rule = {"w_min": -50, "w_max": 50, "f": 0, "window": True, "pot": 3, "dep": 2} | learn
        new = b.nodes("stdp", inputs, name="w.next", pre=pre, post=post, **rule)
        b.update("w.weights", new[0])
        if learn.get("eligibility"):
            b.update("w.eligibility", new[1])
    b.output("p.spikes", outputs[0])
    b.output("p.v", outputs[2])
    return b.finish()
