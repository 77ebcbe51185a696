"""Three-input functions, reduced to the few that the virtual machine has instructions for.

A truth table of three inputs is one byte t: f(a, b, c) = (t >> (a + 2b + 4c)) & 1. Inversions are free (a consumer's table
absorbs them), so every gate is stored with f(0, 0, 0) = 0; and inputs may be permuted. What is left are
:data:`CLASSES`: a handful of two-input functions and some thirty of three inputs.
"""

from __future__ import annotations

import itertools

import numpy as np

PERMUTATIONS = tuple(itertools.permutations(range(3)))


def _permuted(table: int, order: tuple[int, ...]) -> int:
    """Table g with g(x[order[0]], x[order[1]], x[order[2]]) = f(x[0], x[1], x[2])."""
    out = 0
    for address in range(8):
        bits = [address >> i & 1 for i in range(3)]
        out |= (table >> address & 1) << sum(bits[order[i]] << i for i in range(3))
    return out


def _support(table: int) -> tuple[int, ...]:
    """Inputs that the function depends on."""
    return tuple(i for i in range(3) if any((table >> a & 1) != (table >> (a ^ 1 << i) & 1) for a in range(8)))


def _reduce() -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
    classes: list[int] = []
    number = np.zeros(256, np.int16)
    order = np.zeros((256, 3), np.int8)
    arity = np.zeros(256, np.int8)
    for table in range(0, 256, 2):  # f(0, 0, 0) = 0
        support = _support(table)
        arity[table] = len(support)
        used = [p for p in PERMUTATIONS if set(p[: len(support)]) == set(support)]
        best = min(used, key=lambda p: _permuted(table, p))
        canonical = _permuted(table, best)
        if canonical not in classes:
            classes.append(canonical)
        number[table] = classes.index(canonical)
        order[table] = best
    return classes, number, order, arity


CLASSES, CLASS_OF, ORDER_OF, ARITY_OF = _reduce()
"""``CLASSES[n]``: the tables of the machine. For a table with f(0,0,0) = 0: its class, the input order, the inputs used."""

FLIP_INPUTS = np.array(
    [[sum((t >> (a ^ mask) & 1) << a for a in range(8)) for t in range(256)] for mask in range(8)], np.uint8
)
"""``FLIP_INPUTS[mask, t]``: the table of f with the inputs in ``mask`` inverted."""

XOR3, MAJ3, MUX, AND2, OR2, XOR2, BUF = 0x96, 0xE8, 0xCA, 0x88, 0xEE, 0x66, 0xAA
"""Common tables; MUX is c ? b : a with c the third input."""
