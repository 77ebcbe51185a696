"""Events: indices of ones, kept for the last steps in rings, and their delivery through synapses.

``rings`` int64[R, 4] holds per ring: first element in ``ev``, slots, capacity of a slot, first element in ``cnt``. The events of
``lag`` steps ago stand in slot (now - lag) mod slots.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, prefetch, trailing_zeros


@kernel
def slot(rings, cnt, ev, ring, lag, now):
    """The events of ``lag`` steps ago, ascending."""
    which = (now - lag) % rings[ring, 1]
    at = rings[ring, 0] + which * rings[ring, 2]
    return ev[at : at + cnt[rings[ring, 3] + which]]


@kernel
def scan(words, first, n, rings, cnt, ev, ring, now):
    """Write the indices of the ones among ``n`` bytes (0 or 1) into the ring's slot of this step; bytes beyond n are 0."""
    which = now % rings[ring, 1]
    at = rings[ring, 0] + which * rings[ring, 2]
    out = ev[at : at + rings[ring, 2]]
    found = 0
    part = words[first : first + ((n + 7) >> 3)]
    whole = len(part) & ~7
    for line in range(0, whole, 8):
        some = np.uint64(0)
        eight = part[line : line + 8]
        for w in range(8):
            some |= eight[w]
        if some != 0:
            for w in range(8):
                q = eight[w]
                while q != 0:
                    out[found] = 8 * (line + w) + (trailing_zeros(q) >> 3)
                    found += 1
                    q &= q - np.uint64(1)
    for w in range(whole, len(part)):
        q = part[w]
        while q != 0:
            out[found] = 8 * w + (trailing_zeros(q) >> 3)
            found += 1
            q &= q - np.uint64(1)
    cnt[rings[ring, 3] + which] = found


@kernel
def reset_ring(row, rings, cnt, ev, idx, now):
    """row: op, ring, rows, data: no events, then those of the initial history: ``rows`` counts, then the indices."""
    ring, rows, data = row[1], row[2], row[3]
    slots, capacity = rings[ring, 1], rings[ring, 2]
    for s in range(slots):
        cnt[rings[ring, 3] + s] = 0
    at = data + rows
    for r in range(rows):
        which = (now - 1 - r) % slots
        count = idx[data + r]
        cnt[rings[ring, 3] + which] = count
        for k in range(count):
            ev[rings[ring, 0] + which * capacity + k] = idx[at + k]
        at += count


@kernel
def dense_rows(row, b, rings, cnt, ev, now):
    """row: op, dst (in b), width, ring, lag: one row of bits from events."""
    out = b[row[1] >> 2 : (row[1] >> 2) + row[2]]
    out[:] = 0
    for j in slot(rings, cnt, ev, row[3], row[4], now):
        out[j] = 1


AHEAD = 3
"""Events between asking for a row of synapses and adding it: rows lie anywhere in memory."""


@kernel
def deliver(acc, events, ends, post, weights):
    """acc[post[k]] += weights[k] for the synapses k = ends[j]..ends[j+1] of every event j."""
    for e in range(len(events)):
        if e + AHEAD < len(events):
            coming = events[e + AHEAD]
            for k in range(ends[coming], ends[coming + 1], 16):
                prefetch(post, k)
            for k in range(ends[coming], ends[coming + 1], 64):
                prefetch(weights, k)
        j = events[e]
        for k in range(ends[j], ends[j + 1]):
            acc[post[k]] += weights[k]


@kernel
def deliver_dense(acc, events, ends, post, weights):
    """As deliver, where the targets of every source are consecutive."""
    for j in events:
        first, last = ends[j], ends[j + 1]
        if last > first:
            w = weights[first:last]
            part = acc[post[first] : post[first] + len(w)]
            for k in range(len(w)):
                part[k] += w[k]


@kernel
def deliver_any(row, mem, w1, w2, w4, rings, cnt, ev, idx, now):
    """row: op, accumulator, ring, lag, weight memory, first weight, post, ends, sources, synapses, consecutive."""
    b, m, x = mem
    events = slot(rings, cnt, ev, row[2], row[3], now)
    if len(events) == 0:
        return
    at, total = row[5], row[9]
    post = idx[row[6] : row[6] + total]
    ends = idx[row[7] : row[7] + row[8] + 1]
    first = row[1] >> 2
    if row[1] & 3 == 1:
        if row[4] == 0:
            if row[10]:
                deliver_dense(m[first:], events, ends, post, w1[at : at + total])
            else:
                deliver(m[first:], events, ends, post, w1[at : at + total])
        elif row[4] == 1:
            if row[10]:
                deliver_dense(m[first:], events, ends, post, w2[at : at + total])
            else:
                deliver(m[first:], events, ends, post, w2[at : at + total])
        else:
            deliver(m[first:], events, ends, post, w4[at : at + total])
    else:
        if row[4] == 0:
            deliver(x[first:], events, ends, post, w1[at : at + total])
        elif row[4] == 1:
            deliver(x[first:], events, ends, post, w2[at : at + total])
        else:
            deliver(x[first:], events, ends, post, w4[at : at + total])
