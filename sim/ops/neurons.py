"""Neuron models, as :mod:`neuroloom.compiler.ir.ops.neurons` defines them."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node
from neuroloom.compiler.ir.ops.neurons import CARRY_BITS, CARRY_FACTOR, CARRY_SCALE, IZHIKEVICH_BOUND

from .fixed import rnd, sat, winner_takes_all
from .table import function


@function("izhikevich")
def izhikevich(node: Node, current: np.ndarray, v: np.ndarray, u: np.ndarray) -> list[np.ndarray]:
    get, t = node.attr, node.outputs[1].type

    def scaled(x: np.ndarray, factor: int | np.ndarray, bits: int) -> np.ndarray:
        return sat(rnd(x * factor, bits, get("rounding", "half_up")), t)

    drive = sat(current + get("bias", 0), t)
    for _ in range(get("substeps", 1)):
        w = np.clip(v, -IZHIKEVICH_BOUND, IZHIKEVICH_BOUND)
        square = scaled(scaled(w, w, 8), 2621, 16)
        x = sat(square + scaled(w, 5 * 256, 8), t)
        x = sat(sat(sat(x + 140 * 256, t) - u, t) + drive, t)
        if get("substeps", 1) == 2:
            x = scaled(x, 32768, 16)
        v = sat(x + w, t)
    y = sat(scaled(v, get("b"), 16) - u, t)
    y = sat(u + scaled(y, get("a"), 16), t)
    fires = v >= get("peak", 30 * 256)
    new_v = np.where(fires, get("c"), v)
    return [fires.astype(np.int64), new_v, np.where(fires, sat(y + get("d"), t), y), new_v]


@function("alpha_neuron")
def alpha_neuron(node: Node, current: np.ndarray, v: np.ndarray, e: np.ndarray, h: np.ndarray) -> list[np.ndarray]:
    get, t = node.attr, node.outputs[1].type
    theta, rounding = np.zeros_like(v) + get("threshold"), get("rounding", "floor")
    c = sat(current + get("bias", 0), t)
    reset = (v > theta) & (get("reset") != "none")
    new_e = sat(rnd(e * get("alpha"), 16, rounding) + c, t)
    new_h = sat(rnd(h * get("beta"), 16, rounding) - c, t)
    new_v = sat(rnd(sat(new_e + new_h, t) * get("gain"), get("gain_bits"), rounding), t)
    new_h = np.where(reset, 0, new_h)
    if get("reset") == "zero":
        new_e, new_v = np.where(reset, 0, new_e), np.where(reset, 0, new_v)
    elif get("reset") == "subtract":
        new_e, new_v = np.where(reset, sat(new_e - theta, t), new_e), np.where(reset, sat(new_v + h, t), new_v)
    spike = (new_v > theta).astype(np.int64)
    if get("wta"):
        spike = winner_takes_all(spike, sat(new_v - theta, t))
    return [spike, new_v, new_e, new_h, new_v]


@function("bernoulli")
def bernoulli(node: Node, current: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    c = sat(current + node.attr("bias", 0), node.outputs[1].type)
    low = x & (1 << CARRY_BITS) - 1
    x = CARRY_FACTOR * low + (x >> CARRY_BITS)
    draw = (x * CARRY_SCALE >> 16) >> 7
    return [(draw < c).astype(np.int64), x, x]
