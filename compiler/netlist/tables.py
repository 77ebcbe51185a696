"""Truth tables as 64-bit words, for compiled loops.

A table of n <= 6 inputs is kept *replicated*: its 2**n bits repeat through the whole word, so that the word is a function
of six inputs that ignores the last 6 - n, and every operation below is the same for all n. Input v toggles every 2**v bits.
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
def canonical(signals, n, table):
    """Sort the inputs ``signals[:n]`` (in place), merge equal ones and drop those that do not matter: returns (n, table)."""
    for i in range(1, n):
        j = i
        while j > 0 and signals[j - 1] > signals[j]:
            signals[j - 1], signals[j] = signals[j], signals[j - 1]
            table = swap(table, j - 1)
            j -= 1
    i = 0
    while i < n:
        equal = i + 1 < n and signals[i] == signals[i + 1]
        if equal:
            table = join(table, i)
        drop = i + 1 if equal else i
        if equal or not depends(table, i):
            for j in range(drop, n - 1):
                signals[j] = signals[j + 1]
                table = swap(table, j)
            n -= 1
        else:
            i += 1
    return n, table
