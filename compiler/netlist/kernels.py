"""Compiled sweeps over a flat netlist. Signal numbers are a topological order, so one loop forward or backward suffices.

A *literal* is 2 * signal + inverted; literals 0 and 1 are the constants (signal 0 is constant 0).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .tables import KEEP, ONE, canonical, cofactor, flip, replicate

FOLD, WIRES, MERGE = 0, 1, 2
"""How far ``sweep`` goes; each includes the ones before."""


@njit(cache=True)
def sweep(fanin, count, table, gate, literal, depth):
    """Simplify every gate in place, in order, and set ``literal`` of each to what it now equals.

    ``fanin`` int32[S,K] signals, ``count`` int8[S] inputs in use, ``table`` uint64[S], ``gate`` bool[S]; ``literal`` int32[S] holds
    for signals that are no gates what they equal. FOLD propagates constants and drops inputs that are equal or do not
    matter; WIRES also replaces one-input gates by what they read; MERGE also replaces a gate by an earlier one with the same
    function of the same signals, or the inverse. A gate that stays has literal 2 * itself.
    """
    size = len(count)
    bits = 4
    while (1 << bits) < 2 * size:
        bits += 1
    slots = np.zeros(1 << bits if depth >= MERGE else 1, np.int32)
    mask = np.uint64(len(slots) - 1)
    signals = np.zeros(6, np.int32)
    for s in range(size):
        if not gate[s]:
            continue
        n = int(count[s])
        t = replicate(table[s], n)
        for i in range(n):
            source = literal[fanin[s, i]]
            signals[i] = source >> 1
            if source < 2:
                t = cofactor(t, i, source == 1)
            elif source & 1:
                t = flip(t, i)
        n, t = canonical(signals, n, t)
        for i in range(n):
            fanin[s, i] = signals[i]
        count[s] = n
        table[s] = t & KEEP[n]
        literal[s] = 2 * s
        if n == 0:
            literal[s] = np.int32(t & ONE)
        elif n == 1 and depth >= WIRES:
            literal[s] = 2 * signals[0] + np.int32(t & ONE)
        elif depth >= MERGE:
            phase = t & ONE
            key = (~t if phase else t) & KEEP[n]
            h = key * np.uint64(0x9E3779B97F4A7C15)
            for i in range(n):
                h = (h ^ np.uint64(signals[i])) * np.uint64(0xD6E8FEB86659FD93)
                h ^= h >> np.uint64(32)
            at = h & mask
            while slots[at] != 0:
                r = slots[at]
                if count[r] == n:
                    other = table[r] & ONE
                    same = ((~table[r] if other else table[r]) & KEEP[n]) == key
                    for i in range(n):
                        same = same and fanin[r, i] == signals[i]
                    if same:
                        literal[s] = 2 * r + np.int32(phase ^ other)
                        break
                at = (at + ONE) & mask
            if slots[at] == 0:
                slots[at] = s


@njit(cache=True)
def mark(fanin, count, gate, live):
    """Spread ``live`` bool[S] from the signals set in it to everything that they read."""
    for s in range(len(count) - 1, -1, -1):
        if live[s] and gate[s]:
            for i in range(count[s]):
                live[fanin[s, i]] = True


@njit(cache=True)
def invert(fanin, count, table, gate, flipped):
    """Negate every gate in ``flipped`` bool[S] and, in exchange, the inputs that read it."""
    for s in range(len(count)):
        if not gate[s]:
            continue
        n = int(count[s])
        t = replicate(table[s], n)
        for i in range(n):
            if flipped[fanin[s, i]]:
                t = flip(t, i)
        if flipped[s]:
            t = ~t
        table[s] = t & KEEP[n]
