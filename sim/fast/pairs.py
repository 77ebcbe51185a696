"""Functions of four inputs from two gates of three: f = g(h(a, b, c), d, x), where x is one of a, b, c."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from .classes import BUF

_INPUTS = np.array([sum((address >> i & 1) << address for address in range(16)) for i in range(4)], np.uint16)
"""The four inputs as truth tables."""

_WIRINGS = np.array([(*(i for i in range(4) if i != d), d, x) for d in range(4) for x in range(4) if x != d])
"""Which inputs a, b, c, d, x are."""


class Pairs(NamedTuple):
    """By truth table of four inputs: whether two gates do, tables of h and g as bytes, and inputs a, b, c, d, x."""

    found: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    wiring: np.ndarray


@cache
def pairs() -> Pairs:
    """All functions that two gates compute; for those that one gate does, g(h, d, x) is h. Some milliseconds, once."""
    inner, outer = np.meshgrid(np.arange(0, 256, 2), np.arange(256), indexing="ij")  # h(0,0,0) = 0, for g can invert it
    order = np.argsort((outer == BUF).ravel(), kind="stable")  # what is written last stays: one gate before two
    inner, outer = inner.ravel()[order], outer.ravel()[order]
    best = np.full(1 << 16, -1, np.int32)
    for number, (a, b, c, d, x) in enumerate(_WIRINGS):
        h = _gate(np.arange(256), _INPUTS[a], _INPUTS[b], _INPUTS[c])[inner]
        best[_gate(outer, h, _INPUTS[d], _INPUTS[x])] = number << 16 | inner << 8 | outer
    return Pairs(best >= 0, (best >> 8 & 255).astype(np.uint8), (best & 255).astype(np.uint8), _WIRINGS[best >> 16])


def _gate(table: np.ndarray, *inputs: np.ndarray) -> np.ndarray:
    """Truth tables over four inputs of gates, given those of their three inputs."""
    out = np.zeros(np.broadcast_shapes(table.shape, *(i.shape for i in inputs)), np.uint16)
    for address in range(8):
        term = np.where(table >> address & 1, np.uint16(0xFFFF), np.uint16(0))
        for i, column in enumerate(inputs):
            term = term & (column if address >> i & 1 else ~column)
        out |= term
    return out
