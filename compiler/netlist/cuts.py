"""Compiled loops that cover gates with lookup tables of K inputs: priority cuts, area flow, exact area.

A *cut* of a signal is a set of at most K signals that determines it; a lookup table over the cut computes it. The cuts of a
gate are found by joining cuts of its inputs, the cheapest few kept (Mishchenko, Cho, Chatterjee, Brayton: Combinational and
sequential mapping with priority cuts, ICCAD 2007); cost is area flow first, then depth.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .kernels import HIGH, KEEP, ONE, ZERO


@njit(inline="always")
def _population(word):
    word = word - ((word >> ONE) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit
def _union(sets, p, na, other, nb, out, k):
    """Merge sorted sets ``sets[p, :na]`` and ``other[:nb]`` into ``out``; returns the size, or k + 1 when it is larger than k."""
    i = j = n = 0
    while i < na or j < nb:
        if n == k:
            return k + 1
        if j >= nb:
            out[n] = sets[p, i]
            i += 1
        elif i >= na or other[j] < sets[p, i]:
            out[n] = other[j]
            j += 1
        else:
            out[n] = sets[p, i]
            if other[j] == sets[p, i]:
                j += 1
            i += 1
        n += 1
    return n


@njit
def _subset(small, sets, c, m, n, swapped):
    """Whether ``small[:n]`` lies in ``sets[c, :m]``, or with ``swapped`` the other way round; both sorted."""
    i = j = 0
    if swapped:
        while i < m and j < n:
            if small[j] == sets[c, i]:
                i += 1
            j += 1
        return i == m
    while i < n and j < m:
        if sets[c, j] == small[i]:
            i += 1
        j += 1
    return i == n


@njit
def _insert(leaf, n, sign, cost, depth, sets, lengths, signs, costs, depths, base, number, limit):
    """Put the cut ``leaf[:n]`` into the list (rows base .. base + number - 1, cheapest first) unless a subset is there.

    Supersets of it leave the list. Returns the new number, at most ``limit``.
    """
    for c in range(base, base + number):
        if lengths[c] <= n and (signs[c] & sign) == signs[c] and _subset(leaf, sets, c, lengths[c], n, True):
            return number
    k = sets.shape[1]
    kept = base
    for c in range(base, base + number):
        if n < lengths[c] and (signs[c] & sign) == sign and _subset(leaf, sets, c, lengths[c], n, False):
            continue
        if kept != c:
            for j in range(k):
                sets[kept, j] = sets[c, j]
            lengths[kept], signs[kept], costs[kept], depths[kept] = lengths[c], signs[c], costs[c], depths[c]
        kept += 1
    at = min(kept, base + limit - 1)
    number = min(kept - base + 1, limit)
    while at > base and (costs[at - 1] > cost or (costs[at - 1] == cost and depths[at - 1] > depth)):
        for j in range(k):
            sets[at, j] = sets[at - 1, j]
        lengths[at], signs[at], costs[at], depths[at] = lengths[at - 1], signs[at - 1], costs[at - 1], depths[at - 1]
        at -= 1
    for j in range(n):
        sets[at, j] = leaf[j]
    lengths[at], signs[at], costs[at], depths[at] = n, sign, cost, depth
    return number


@njit(cache=True)
def enumerate_cuts(fanin, count, live, refs, k, limit, cuts, sizes, costs_of, number):
    """Fill ``cuts`` int32[S,limit,k], ``sizes`` int8[S,limit] and ``number`` int8[S] for every gate in ``live``, cheapest first.

    ``refs`` float32[S] estimates how many lookup tables will read each signal; ``costs_of`` float32[S,limit] becomes the area
    flow of the leaves of each cut. The gate's own inputs are always a cut.
    """
    size = len(count)
    flow = np.zeros(size, np.float32)
    depth = np.zeros(size, np.int32)
    wide = limit + 1
    # two lists in one: rows 0 .. wide-1 and wide .. 2*wide-1, the cuts of the inputs so far and those with one input more
    sets = np.zeros((2 * wide, k), np.int32)
    lengths = np.zeros(2 * wide, np.int32)
    signs = np.zeros(2 * wide, np.uint64)
    costs = np.zeros(2 * wide, np.float32)
    depths = np.zeros(2 * wide, np.int32)
    leaf = np.zeros(k + 1, np.int32)
    other = np.zeros(k + 1, np.int32)
    for s in range(size):
        if not live[s]:
            continue
        now, have = 0, 1
        lengths[0], signs[0], costs[0] = 0, ZERO, np.float32(0)
        fanins = count[s]
        for i in range(fanins):
            f = fanin[s, i]
            then, got = wide - now, 0
            most = limit if i == fanins - 1 else wide
            for c in range(number[f] + 1):  # gates have cuts, leaves only themselves
                m = 1
                other[0] = f
                least = flow[f]
                if c:
                    m = sizes[f, c - 1]
                    least = costs_of[f, c - 1]
                    for j in range(m):
                        other[j] = cuts[f, c - 1, j]
                sign = ZERO
                for j in range(m):
                    sign |= ONE << np.uint64(other[j] & 63)
                for p in range(now, now + have):
                    # a union costs at least what each part does
                    if got == most and max(costs[p], least) >= costs[then + got - 1]:
                        continue
                    both = signs[p] | sign
                    if _population(both) > k:
                        continue
                    n = _union(sets, p, lengths[p], other, m, leaf, k)
                    if n > k:
                        continue
                    cost, deep = np.float32(0), 0
                    for j in range(n):
                        cost += flow[leaf[j]]
                        deep = max(deep, depth[leaf[j]])
                    if got == most and cost >= costs[then + got - 1]:
                        continue
                    got = _insert(leaf, n, both, cost, deep, sets, lengths, signs, costs, depths, then, got, most)
            now, have = then, got
        # the gate's own inputs may have been dearer than the others; they must stay (inputs are sorted and distinct)
        own = False
        for c in range(now, now + have):
            same = lengths[c] == fanins
            for j in range(fanins):
                same = same and sets[c, j] == fanin[s, j]
            own = own or same
        if not own:
            have = min(have + 1, limit)
            c = now + have - 1
            lengths[c], costs[c] = fanins, np.float32(0)
            for j in range(fanins):
                sets[c, j] = fanin[s, j]
                costs[c] += flow[fanin[s, j]]
        for c in range(have):
            for j in range(k):
                cuts[s, c, j] = sets[now + c, j]
            sizes[s, c] = lengths[now + c]
            costs_of[s, c] = costs[now + c]
        number[s] = have
        flow[s] = (np.float32(1) + costs[now]) / max(refs[s], np.float32(1))
        deep = 0
        for j in range(lengths[now]):
            deep = max(deep, depth[sets[now, j]])
        depth[s] = deep + 1


@njit(cache=True)
def select_cuts(live, root, cuts, sizes, number, best, reads, rounds):
    """Choose a cut for every gate by exact area, ``rounds`` times; returns how many lookup tables the cover has.

    ``best`` int8[S] is the choice and starts as any; ``reads`` int32[S] becomes how many tables (and roots, ``root`` bool[S]) read
    a signal, so that the tables of the cover are those with reads.
    """
    size = len(live)
    stack = np.zeros(size + 1, np.int32)
    for s in range(size):
        reads[s] = 1 if root[s] else 0
    for s in range(size - 1, -1, -1):
        if live[s] and reads[s]:
            for j in range(sizes[s, best[s]]):
                reads[cuts[s, best[s], j]] += 1
    for _ in range(rounds):
        for s in range(size):
            if not live[s] or number[s] == 0:
                continue
            used = reads[s] > 0
            if used:
                _release(s, live, cuts, sizes, best, reads, stack)
            chosen, least = best[s], np.int64(1) << 40
            for c in range(number[s]):
                best[s] = c
                area = _reserve(s, live, cuts, sizes, best, reads, stack)
                _release(s, live, cuts, sizes, best, reads, stack)
                if area < least:
                    chosen, least = c, area
            best[s] = chosen
            if used:
                _reserve(s, live, cuts, sizes, best, reads, stack)
    total = 0
    for s in range(size):
        total += live[s] and reads[s] > 0
    return total


@njit
def _reserve(s, live, cuts, sizes, best, reads, stack):
    """Read the leaves of the table of s, and so on below those not read before; returns the tables that this adds."""
    top, area = 1, 0
    stack[0] = s
    while top:
        top -= 1
        at = stack[top]
        area += 1
        for j in range(sizes[at, best[at]]):
            leaf = cuts[at, best[at], j]
            if reads[leaf] == 0 and live[leaf]:
                stack[top] = leaf
                top += 1
            reads[leaf] += 1
    return area


@njit
def _release(s, live, cuts, sizes, best, reads, stack):
    """Undo ``_reserve``."""
    top = 1
    stack[0] = s
    while top:
        top -= 1
        at = stack[top]
        for j in range(sizes[at, best[at]]):
            leaf = cuts[at, best[at], j]
            reads[leaf] -= 1
            if reads[leaf] == 0 and live[leaf]:
                stack[top] = leaf
                top += 1


@njit(cache=True)
def cover_tables(fanin, count, table, chosen, cuts, sizes, best, new_fanin, new_count, new_table):
    """Write inputs and truth table of the chosen cut of every signal in ``chosen`` bool[S]."""
    size = len(count)
    word = np.zeros(size, np.uint64)
    stamp = np.full(size, -1, np.int32)
    stack = np.zeros(4096, np.int32)
    values = np.zeros(64, np.uint64)
    for s in range(size):
        if not chosen[s]:
            continue
        n = int(sizes[s, best[s]])
        for j in range(n):
            leaf = cuts[s, best[s], j]
            word[leaf] = HIGH[j]
            stamp[leaf] = s
            new_fanin[s, j] = leaf
        top = 1
        stack[0] = s
        while top:
            at = stack[top - 1]
            if stamp[at] == s:
                top -= 1
                continue
            waiting = False
            for i in range(count[at]):
                if stamp[fanin[at, i]] != s:
                    stack[top] = fanin[at, i]
                    top += 1
                    waiting = True
            if waiting:
                continue
            m = int(count[at])
            for entry in range(1 << m):
                values[entry] = ~ZERO if (table[at] >> np.uint64(entry)) & ONE else ZERO
            for i in range(m - 1, -1, -1):
                x = word[fanin[at, i]]
                for entry in range(1 << i):
                    values[entry] = (values[entry] & ~x) | (values[entry + (1 << i)] & x)
            word[at] = values[0]
            stamp[at] = s
            top -= 1
        new_count[s] = n
        new_table[s] = word[s] & KEEP[n]
