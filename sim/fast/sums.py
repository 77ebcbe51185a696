"""Adds up bits: group sums by counters of seven and three, the rest by gates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir import Node

from .blast import Context, blaster, flat
from .classes import AND2, MAJ3, XOR2, XOR3
from .netlist import TRUE, Netlist

Column = tuple[np.ndarray, np.ndarray]
"""Bits of one weight: their groups and literals."""


@blaster("group_sum")
def group_sum(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    offsets, indices = node.attrs["offsets"].astype(np.int64), node.attrs["indices"]
    groups, width = len(offsets) - 1, node.outputs[0].type.width
    weights = node.attrs.get("weights", np.ones(len(indices), np.int64)).astype(np.int64)
    bias = node.attrs.get("bias", np.zeros(groups, np.int64)).astype(np.int64)
    lits = flat(inputs)[indices]
    group = np.repeat(np.arange(groups), np.diff(offsets))
    # -w*x = w*(not x) - w: every weight becomes positive, the rest goes into the bias
    np.add.at(bias := bias.copy(), group, np.minimum(weights, 0))
    lits, weights = lits ^ (weights < 0), np.abs(weights)
    columns: list[list[Column]] = []
    for p in range(width):
        used = (weights >> p & 1) == 1
        fixed = np.flatnonzero((bias >> p & 1) == 1)  # modulo 2**width, the declared type's range makes it exact
        columns.append([(group[used], lits[used]), (fixed, np.full(len(fixed), TRUE))])
    out = np.zeros((groups, width), np.int64)
    for p in range(width):
        group_p, lits_p = _compress(c.net, columns, p, groups)
        out[group_p, p] = lits_p
    return out.reshape(*node.outputs[0].shape, width)


def _compress(net: Netlist, columns: list[list[Column]], p: int, groups: int) -> Column:
    """Add up the bits of weight 2**p until one per group is left; what is carried goes to the columns above.

    Bits of one group are counted seven at a time, then three, in counters that take all of them inverted or none; what
    remains is mixed and goes through gates.
    """
    group, lits = (np.concatenate(x) for x in zip(*columns[p], strict=True))
    while True:
        key = 2 * group + (lits & 1)
        order = np.argsort(key, kind="stable")
        group, lits, key = group[order], lits[order], key[order]
        if len(group) == len(np.unique(group)):
            return group, lits
        for size in (7, 3):
            chunks = _chunks(key, size)
            if len(chunks):
                counts = net.counters(lits[chunks])
                break
        else:
            key = group
            size = 3 if np.bincount(group).max() >= 3 else 2
            chunks = _chunks(key, size)
            x = [lits[chunks[:, i]] for i in range(size)]
            tables = (XOR3, MAJ3) if size == 3 else (XOR2, AND2)
            counts = np.stack([net.gates(t, *x) for t in tables], axis=1)
        to = group[chunks[:, 0]]
        for weight, above in enumerate(columns[p + 1 : p + counts.shape[1]], start=1):
            above.append((to, counts[:, weight]))
        rest = np.ones(len(group), bool)
        rest[chunks] = False
        group, lits = np.append(group[rest], to), np.append(lits[rest], counts[:, 0])


def _chunks(key: np.ndarray, size: int) -> np.ndarray:
    """Places [M, size] of as many whole chunks of equal keys as there are; ``key`` is sorted."""
    first = np.flatnonzero(np.diff(key, prepend=-1))
    place = np.arange(len(key)) - np.repeat(first, np.diff(np.append(first, len(key))))
    count = np.repeat(np.diff(np.append(first, len(key))), np.diff(np.append(first, len(key))))
    start = np.flatnonzero((place % size == 0) & (place + size <= count))
    return start[:, None] + np.arange(size)
