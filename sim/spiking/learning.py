"""Learning, event by event: traces, spike-timing-dependent plasticity, the random register, the early decision."""

from __future__ import annotations

import numpy as np

from .blocks import get, load, put, store
from .codes import BLOCK, HALF_UP, STOCHASTIC
from .events import slot
from .jit import kernel

EXPONENTIAL, NEAREST, WINDOW = range(3)


@kernel
def trace(mem, scr, row):
    """row: op, n, spike, x, x', kind, decay, step."""
    n, kind, decay, step = row[1], row[5], row[6], row[7]
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        s, x = scr[0, :c], scr[1, :c]
        load(mem, row[2], start, s)
        load(mem, row[3], start, x)
        if kind == EXPONENTIAL:
            for k in range(c):
                x[k] = (min(x[k] + step * s[k], 65535) * decay) >> 16
        elif kind == NEAREST:
            for k in range(c):
                x[k] = ((step if s[k] != 0 else x[k]) * decay) >> 16
        else:
            for k in range(c):
                x[k] = step if s[k] != 0 else max(x[k] - 1, 0)
        store(mem, row[4], start, x)


@kernel
def lfsr(mem, row):
    """row: op, x, x'."""
    x = get(mem, row[1], 0)
    put(mem, row[2], 0, (x >> 1) ^ (0x80200003 if x & 1 else 0))


@kernel
def _random(low, j, i):
    """16 random bits of synapse (j, i) from half a register."""
    v = ((low + 40503 * j) & 65535) ^ ((27469 * i) & 65535)
    v ^= (v << 7) & 65535
    v ^= v >> 9
    return v ^ ((v << 8) & 65535)


@kernel
def _carry(rounding, bits, half, j, i):
    """What is added before a shift by ``bits``."""
    if rounding == HALF_UP:
        return np.int64(1) << (bits - 1) if bits > 0 else np.int64(0)
    if rounding == STOCHASTIC:
        return _random(half, j, i) & ((np.int64(1) << bits) - 1)
    return np.int64(0)


STDP_COLUMNS = (
    "op pre_ring post_ring x y lfsr e reward weights synapses pre post sources out_ends out_at targets in_ends in_at enable "
    "w_min w_max f soft window pot dep rounding e_decay g kind"
).split()


@kernel
def stdp(mem, row, w, w1, idx, rings, cnt, ev, now):
    """See the rule of ``stdp``; ``w`` is the memory of the weights, row as STDP_COLUMNS. Weights change in place.

    Synapses stand in the order of delivery. Those of source j are listed in ``out_at`` from out_ends[j], those of target i in
    ``in_at`` from in_ends[i]; ``e`` and ``enable`` are places in the int8 memory, -1 when absent.
    """
    total, at = row[9], row[8]
    weights = w[at : at + total]
    pre, post = idx[row[10] : row[10] + total], idx[row[11] : row[11] + total]
    enable = w1[max(row[18], 0) : max(row[18], 0) + total]
    masked, eligible = row[18] >= 0, row[6] >= 0
    e = w1[max(row[6], 0) : max(row[6], 0) + total]
    w_min, w_max, f, soft, window = row[19], row[20], row[21], row[22], row[23]
    pot, dep, rounding, e_decay, g = row[24], row[25], row[26], row[27], row[28]
    register = get(mem, row[5], 0) if row[5] >= 0 else np.int64(0)
    low, high = register & 65535, (register >> 16) & 65535
    if eligible and e_decay != 256:
        for k in range(total):
            size = (abs(np.int64(e[k])) * e_decay) >> 8
            if not masked or enable[k] != 0:
                e[k] = size if e[k] >= 0 else -size
    for j in slot(rings, cnt, ev, row[1], 0, now):
        for p in range(idx[row[13] + j], idx[row[13] + j + 1]):
            k = idx[row[14] + p]
            if masked and enable[k] == 0:
                continue
            i = np.int64(post[k])
            amount = get(mem, row[4], i)
            if window:
                amount = dep if amount > 0 else np.int64(0)
            old = np.int64(weights[k])
            if soft:
                amount *= max(old - w_min, 0)
            amount = (amount + _carry(rounding, f, low, np.int64(j), i)) >> f
            if eligible:
                e[k] = min(max(np.int64(e[k]) - amount, -128), 127)
            else:
                weights[k] = min(max(old - amount, w_min), w_max)
    for i in slot(rings, cnt, ev, row[2], 0, now):
        for p in range(idx[row[16] + i], idx[row[16] + i + 1]):
            k = idx[row[17] + p]
            if masked and enable[k] == 0:
                continue
            j = np.int64(pre[k])
            amount = get(mem, row[3], j)
            if window:
                amount = pot if amount > 0 else np.int64(0)
            old = np.int64(weights[k])
            if soft:
                amount *= max(w_max - old, 0)
            amount = (amount + _carry(rounding, f, high, j, np.int64(i))) >> f
            if eligible:
                e[k] = min(max(np.int64(e[k]) + amount, -128), 127)
            else:
                weights[k] = min(max(old + amount, w_min), w_max)
    reward = get(mem, row[7], 0) if eligible else np.int64(0)
    if reward != 0:
        for k in range(total):
            if not masked or enable[k] != 0:
                change = reward * e[k] + _carry(rounding, g, high, np.int64(pre[k]), np.int64(post[k]))
                weights[k] = min(max(np.int64(weights[k]) + (change >> g), w_min), w_max)


DECIDE_COLUMNS = (
    "op n spikes counts done winner at now counts_out done_out winner_out at_out now_out confidence margin table length limit "
    "count_max now_max"
).split()


@kernel
def decide(mem, idx, row):
    """See the rule of ``decide``; row as DECIDE_COLUMNS."""
    n, most = row[1], row[18]
    leader, best, runner = np.int64(0), np.int64(-1), np.int64(-1)
    for k in range(n):
        count = min(get(mem, row[3], k) + get(mem, row[2], k), most)
        put(mem, row[8], k, count)
        if count > best:
            leader, best, runner = np.int64(k), count, best
        elif count > runner:
            runner = count
    if row[13]:
        total = np.int64(0)
        for k in range(n):
            total += idx[row[15] + min(best - get(mem, row[8], k), row[16] - 1)]
        sure = total <= row[17]
    else:
        sure = best - max(runner, 0) >= row[14]
    done, now = get(mem, row[4], 0), get(mem, row[7], 0)
    winner, at = get(mem, row[5], 0), get(mem, row[6], 0)
    put(mem, row[10], 0, winner if done else leader)
    put(mem, row[11], 0, now if sure and not done else at)
    put(mem, row[9], 0, 1 if sure or done else 0)
    put(mem, row[12], 0, min(now + 1, row[19]))
