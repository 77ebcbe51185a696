"""Spiking networks, as :mod:`neuroloom.compiler.ir.ops.spiking` defines them: the same lines, the same names."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .fixed import rnd, sat, winner_takes_all
from .table import function


@function("synapses")
def synapses(node: Node, history: np.ndarray, *plastic: np.ndarray) -> np.ndarray:
    pre, post, delay = node.attrs["pre"], node.attrs["post"], node.attrs["delay"]
    out = np.zeros((len(history), node.attrs["n_post"]), np.int64)
    for sample, row in enumerate(out):
        weights = plastic[0][sample] if plastic else node.attrs["weights"]
        spiking = np.flatnonzero(history[sample][delay, pre])
        np.add.at(row, post[spiking], weights[spiking].astype(np.int64))
    return out


@function("lif")
def lif(node: Node, current: np.ndarray, v: np.ndarray, *states: np.ndarray) -> list[np.ndarray]:
    get, t = node.attr, node.outputs[1].type
    mode, subtract, resets = get("reset_mode"), get("reset") == "subtract", get("reset") in ("zero", "value")
    v_reset, rounding, zero = get("v_reset", 0), get("rounding", "floor"), np.zeros_like(v)
    following = iter(states)
    i = next(following) if get("alpha") is not None else None
    r = next(following) if get("refractory", 0) else None
    a = next(following) if get("adapt_decay") is not None else None

    def mul(x: np.ndarray, factor: int) -> np.ndarray:
        return rnd(x * factor, 16, rounding)

    def above(x: np.ndarray) -> np.ndarray:
        return x > theta if get("strict") else x >= theta

    theta = zero + get("threshold") if a is None else sat(get("threshold") + a, t)  # line 1
    c = sat(current + get("bias", 0), t)
    new_i = None if i is None else sat(mul(i, get("alpha")) + c, t)
    if i is not None and new_i is not None:
        c = i if get("old_current") else new_i
    reset = (mode != "immediate") & above(v)  # 4
    x = np.where(reset & (resets and mode in ("delayed", "undelayed")), v_reset, v)
    if get("leak") == "multiplicative":
        x = mul(x, get("beta"))
    elif get("leak") == "subtractive":
        x = x - np.clip(x, -get("decay"), get("decay"))
    x = sat(x + c, t)  # 7
    x = sat(x + get("drive", 0), t)
    if subtract:
        x = np.where(reset, sat(x - theta, t), x)
    elif resets and mode in ("delayed_new", "undelayed_new"):
        x = np.where(reset, v_reset, x)
    counting = zero > 0 if r is None else r > 0
    spike = (above(x) & ~counting).astype(np.int64)  # 9
    if get("wta"):
        spike = winner_takes_all(spike, sat(x - theta, t))
    fires = spike == 1
    new_v = x  # 10
    if mode == "immediate":
        new_v = np.where(fires & resets, v_reset, np.where(fires & subtract, sat(x - theta, t), x))
    elif mode in ("undelayed", "undelayed_new"):
        once, undo = fires & ~reset, reset & ~fires
        if resets:
            new_v = np.where(once, v_reset, np.where(undo, sat(sat(x + x, t) - v_reset, t), x))
        elif subtract:
            new_v = np.where(once, sat(x - theta, t), np.where(undo, sat(x + theta, t), x))
    held = v
    if get("refractory_v") is not None:
        held = zero + get("refractory_v")
    elif mode in ("delayed", "delayed_new"):
        held = np.where(reset & resets, v_reset, np.where(reset & subtract, sat(v - theta, t), v))
    holds = counting & (not get("integrates"))
    new_v = np.where(holds, held, new_v)
    outputs: list[np.ndarray] = [spike, new_v]
    if new_i is not None:
        outputs.append(new_i)
    if r is not None:
        outputs.append(np.where(fires, get("refractory"), np.maximum(r - 1, 0)))  # 11
    if a is not None:
        outputs.append(sat(mul(a, get("adapt_decay")) + spike * get("adapt_step", 0), t))
    tested = get("record") == "tested"
    return [*outputs, np.where(holds, new_v, x) if tested else new_v]


@function("decide")
def decide(
    node: Node,
    spikes: np.ndarray,
    counts: np.ndarray,
    done: np.ndarray,
    winner: np.ndarray,
    at: np.ndarray,
    now: np.ndarray,
) -> list[np.ndarray]:
    get = node.attr
    counts = np.minimum(counts + spikes, node.outputs[0].type.hi)
    leader = counts.argmax(axis=1)
    most = counts.max(axis=1)
    if get("mode") == "margin":
        others = np.where(np.arange(counts.shape[1]) == leader[:, None], 0, counts)
        sure = most - others.max(axis=1) >= get("margin")
    else:
        table = get("table").astype(np.int64)
        behind = np.minimum(most[:, None] - counts, len(table) - 1)
        sure = table[behind].sum(axis=1) <= get("limit")
    first = sure & (done == 0)
    return [
        counts,
        done | sure,
        np.where(done == 1, winner, leader),
        np.where(first, now, at),
        np.minimum(now + 1, node.outputs[4].type.hi),
    ]
