"""Learning, as :mod:`neuroloom.compiler.ir.ops.plasticity` defines it."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node
from neuroloom.compiler.ir.ops.plasticity import ELIGIBILITY, LFSR_POLYNOMIAL, TRACE_MAX

from .fixed import sat
from .table import function


@function("trace")
def trace(node: Node, spike: np.ndarray, x: np.ndarray) -> np.ndarray:
    kind, step = node.attrs["kind"], node.attrs["step"]
    if kind == "window":
        return np.where(spike == 1, step, np.maximum(x - 1, 0))
    raised = np.minimum(x + step * spike, TRACE_MAX) if kind == "exponential" else np.where(spike == 1, step, x)
    return raised * node.attrs["decay"] >> 16


@function("lfsr")
def lfsr(node: Node, x: np.ndarray) -> np.ndarray:
    return x >> 1 ^ np.where(x & 1, LFSR_POLYNOMIAL, 0)


def noise(half: np.ndarray, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """16 random bits of every synapse, from 16 bits of the register: u(L) of the definition. [N, n_syn]."""
    v = (half[:, None] + 40503 * pre & 0xFFFF) ^ (27469 * post & 0xFFFF)
    v = v ^ v << 7 & 0xFFFF
    v = v ^ v >> 9
    return v ^ v << 8 & 0xFFFF


@function("stdp")
def stdp(
    node: Node,
    w: np.ndarray,
    spikes_in: np.ndarray,
    spikes_out: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *rest: np.ndarray,
) -> list[np.ndarray]:
    get = node.attr
    pre, post = get("pre").astype(np.int64), get("post").astype(np.int64)
    f, g, w_min, w_max = get("f"), get("g", 0), get("w_min"), get("w_max")
    rounding = get("rounding", "floor")
    following = iter(rest)
    random = next(following) if rounding == "stochastic" else None
    e, reward = (next(following), next(following)) if get("eligibility") else (None, None)

    def fraction(bits: int, shift: int) -> np.ndarray | int:
        """What is added before a shift right by ``bits``; ``shift`` selects the half of the register."""
        if random is not None:
            return noise(random >> shift & 0xFFFF, pre, post) & (1 << bits) - 1
        return 1 << bits - 1 if rounding == "half_up" and bits else 0

    def delta(t: np.ndarray, amount: int, distance: np.ndarray, shift: int) -> np.ndarray:
        size = np.where(t > 0, amount, 0) if get("window") else t
        if get("soft"):
            size = size * np.maximum(distance, 0)
        return size + fraction(f, shift) >> f

    def clamp(weight: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(weight, w_min), w_max)

    enabled = get("enable", np.ones(len(pre), np.int8)) == 1
    before = (spikes_in[:, pre] == 1) & enabled
    after = (spikes_out[:, post] == 1) & enabled
    if e is None or reward is None:
        down = delta(y[:, post], get("dep", 0), w - w_min, 0)
        w = np.where(before, clamp(w - down), w)
        up = delta(x[:, pre], get("pot", 0), w_max - w, 16)
        return [np.where(after, clamp(w + up), w)]
    down = delta(y[:, post], get("dep", 0), w - w_min, 0)
    up = delta(x[:, pre], get("pot", 0), w_max - w, 16)
    new_e = np.sign(e) * (np.abs(e) * get("e_decay", 256) >> 8)
    new_e = np.where(before, sat(new_e - down, ELIGIBILITY), new_e)
    new_e = np.where(after, sat(new_e + up, ELIGIBILITY), new_e)
    new_e = np.where(enabled, new_e, e)
    change = reward[:, None] * new_e + fraction(g, 16) >> g
    rewarded = (reward[:, None] != 0) & enabled
    return [np.where(rewarded, clamp(w + change), w), new_e]
