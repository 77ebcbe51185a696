"""Compiled loops over truth tables and flat netlists.

Truth tables: a table of n <= 6 inputs is kept *replicated* in a 64-bit word: its 2**n bits repeat through the whole word, so
that the word is a function of six inputs that ignores the last 6 - n, and every operation below is the same for all n.
Input v toggles every 2**v bits.

Netlists: signal numbers are a topological order, so one loop forward or backward suffices. A *literal* is 2 * signal +
inverted; literals 0 and 1 are the constants (signal 0 is constant 0).

All of it stands in one file because numba's cache notices changes only in the file of the function that it compiled.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LOW = np.array(
    [
        0x5555555555555555,
        0x3333333333333333,
        0x0F0F0F0F0F0F0F0F,
        0x00FF00FF00FF00FF,
        0x0000FFFF0000FFFF,
        0x00000000FFFFFFFF,
    ],
    np.uint64,
)
"""LOW[v]: the entries where input v is 0."""

HIGH = ~LOW
"""HIGH[v]: the entries where input v is 1, which is also the table of input v itself."""

SHIFT = np.array([1, 2, 4, 8, 16, 32], np.uint64)
"""Distance between an entry with input v at 0 and its partner at 1."""

KEEP = np.array([0x1, 0x3, 0xF, 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF], np.uint64)
"""KEEP[n]: the 2**n entries of a table of n inputs."""

ONE = np.uint64(1)
ZERO = np.uint64(0)


@njit(inline="always")
def replicate(table, n):
    """Fill the word with a table of n inputs."""
    for v in range(n, 6):
        table |= table << SHIFT[v]
    return table


@njit(inline="always")
def flip(table, v):
    """The table with input v negated."""
    return ((table & HIGH[v]) >> SHIFT[v]) | ((table & LOW[v]) << SHIFT[v])


@njit(inline="always")
def cofactor(table, v, one):
    """The table with input v fixed; it no longer depends on v."""
    if one:
        half = table & HIGH[v]
        return half | (half >> SHIFT[v])
    half = table & LOW[v]
    return half | (half << SHIFT[v])


@njit(inline="always")
def depends(table, v):
    """Whether input v matters."""
    return (((table >> SHIFT[v]) ^ table) & LOW[v]) != ZERO


@njit(inline="always")
def swap(table, v):
    """The table with inputs v and v + 1 exchanged."""
    up = table & HIGH[v] & LOW[v + 1]
    down = table & LOW[v] & HIGH[v + 1]
    return (table ^ up ^ down) | (up << SHIFT[v]) | (down >> SHIFT[v])


@njit(inline="always")
def join(table, v):
    """The table with input v + 1 tied to input v; it no longer depends on v + 1."""
    low = table & LOW[v] & LOW[v + 1]
    high = (table & HIGH[v] & HIGH[v + 1]) >> SHIFT[v + 1]
    both = low | high
    return both | (both << SHIFT[v + 1])


@njit
def remove(signals, n, table, v):
    """Drop input v of n, which must not matter, from ``signals`` (in place) and from the table, which is returned."""
    for j in range(v, n - 1):
        signals[j] = signals[j + 1]
        table = swap(table, j)
    return table


@njit
def canonical(signals, n, table):
    """Sort the inputs ``signals[:n]`` (in place) and merge equal ones: returns (n, table)."""
    for i in range(1, n):
        j = i
        while j > 0 and signals[j - 1] > signals[j]:
            signals[j - 1], signals[j] = signals[j], signals[j - 1]
            table = swap(table, j - 1)
            j -= 1
    i = 1
    while i < n:
        if signals[i - 1] == signals[i]:
            table = remove(signals, n, join(table, i - 1), i)
            n -= 1
        else:
            i += 1
    return n, table


@njit
def reachable(signals, n, family, rank):
    """The entries of a table of ``signals[:n]`` that can occur: no threshold is met while a lower one of its family is not."""
    care = ~ZERO
    for i in range(n):
        for j in range(n):
            if family[signals[i]] != 0 and family[signals[i]] == family[signals[j]]:
                if rank[signals[i]] < rank[signals[j]]:
                    care &= ~(LOW[i] & HIGH[j])
    return care


@njit
def drop_unused(signals, n, table, care):
    """Drop inputs that do not matter in the entries of ``care``: returns (n, table, care), the rest of the table cleared."""
    v = 0
    while v < n:
        shift = SHIFT[v]
        if ((table >> shift) ^ table) & (care >> shift) & care & LOW[v]:
            v += 1
            continue
        low, high = care & LOW[v], (care >> shift) & LOW[v]
        table = (table & low) | ((table >> shift) & LOW[v] & ~low)
        care = low | high
        table |= table << shift
        care |= care << shift
        for j in range(v, n - 1):
            care = swap(care, j)
        table = remove(signals, n, table, v)
        n -= 1
    return n, table & care, care


FOLD, WIRES, MERGE, IMPLY = 0, 1, 2, 3
"""How far ``sweep`` goes; each includes the ones before."""


@njit(cache=True)
def sweep(fanin, count, table, gate, literal, depth, family, rank):
    """Simplify every gate in place, in order, and set ``literal`` of each to what it now equals.

    ``fanin`` int32[S,K] signals, ``count`` int8[S] inputs in use, ``table`` uint64[S], ``gate`` bool[S]; ``literal`` int32[S] holds
    for signals that are no gates what they equal. FOLD propagates constants and drops inputs that are equal or do not
    matter; WIRES also replaces one-input gates by what they read; MERGE also replaces a gate by an earlier one with the same
    function of the same signals, or the inverse; IMPLY also uses which entries of a table cannot occur: signals of one
    ``family`` int32[S] (not 0) are thresholds on one integer, higher ones of higher ``rank`` int64[S] (both may be empty
    otherwise). A gate that stays has literal 2 * itself.
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
        n, t, care = drop_unused(signals, n, t, reachable(signals, n, family, rank) if depth >= IMPLY else ~ZERO)
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
            key = (~t if phase else t) & care & KEEP[n]
            h = key * np.uint64(0x9E3779B97F4A7C15)
            for i in range(n):
                h = (h ^ np.uint64(signals[i])) * np.uint64(0xD6E8FEB86659FD93)
                h ^= h >> np.uint64(32)
            at = h & mask
            while slots[at] != 0:
                r = slots[at]
                if count[r] == n:
                    other = table[r] & ONE
                    same = ((~table[r] if other else table[r]) & care & KEEP[n]) == key
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


@njit
def _cost(table, k):
    """Estimated lookup tables of k inputs for a replicated table."""
    support = 0
    for v in range(6):
        support += depends(table, v)
    return 0 if support <= 1 else 1 if support <= k else (2 << (support - k)) - 1


@njit(cache=True)
def split_tables(tables, counts, k):
    """For tables uint64[M] of counts[M] > k inputs: the input to split at, int64[M], and both cofactors without it, uint64[M,2].

    The input is the one whose cofactors need the fewest tables, the last of equals (the latest signal, so that depth stays low).
    """
    where = np.zeros(len(tables), np.int64)
    halves = np.zeros((len(tables), 2), np.uint64)
    for m in range(len(tables)):
        n = int(counts[m])
        t = replicate(tables[m], n)
        least = 1 << 40
        for v in range(n):
            low, high = cofactor(t, v, False), cofactor(t, v, True)
            cost = _cost(low, k)
            if high != low and high != ~low:
                cost += _cost(high, k)
            if cost <= least:
                where[m], least = v, cost
        for half in range(2):
            part = cofactor(t, where[m], half == 1)
            for v in range(where[m], n - 1):
                part = swap(part, v)
            halves[m, half] = part & KEEP[n - 1]
    return where, halves
