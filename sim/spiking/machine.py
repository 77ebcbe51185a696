"""The step machine: runs a program of :mod:`.codes` instructions for many steps, compiled as one piece.

The compiled code is cached on disk. Numba looks only at this file to decide whether a cached copy is still good, so the
function carries a digest of all kernels' source in its closure, which is part of the cache's key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from . import codes
from .blocks import (
    argmax_rows,
    binary,
    copy,
    fill,
    gather,
    matvec,
    move,
    put,
    requantize,
    select,
    shift,
    sum_rows,
)
from .events import deliver_any, dense_rows, reset_ring, scan, slot
from .learning import decide, lfsr, stdp, trace
from .narrow import lif32
from .neurons import alpha, bernoulli, izhikevich, lif

KERNELS = ("codes", "jit", "blocks", "events", "neurons", "narrow", "learning", "machine")


def _digest() -> str:
    folder, digest = Path(__file__).parent, hashlib.sha256()
    for name in KERNELS:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _make(digest: str) -> Callable[..., Any]:
    @njit(cache=True, nogil=True)
    def run_steps(
        code, resets, now, first, stop, steps, room, mem, words, weights, idx, rings, cnt, ev, feed, out, scr
    ):
        """Run positions first..stop-1; position p is step p mod ``steps`` of sample p div ``steps``.

        ``code`` int64[n, COLUMNS]: the first ``resets`` rows run before a sample's step 0, the others in every step. ``now``
        counts steps since ever. ``feed`` are input rows (bits in bytes as uint64, and int64) of the positions; ``out`` receives
        recorded integers int64[positions, columns] and events int32[capacity, 3] (position - first, output, index). Stops early
        when the events of one more step (``room``) might not fit; returns the next position and the number of events.
        """
        if digest == "":
            return first, 0
        b, m, x = mem
        w1, w2, w4 = weights
        scr32 = scr.view(np.int32)
        bits, numbers = feed
        dense, events = out
        found = 0
        position = first
        while position < stop and found + room <= len(events):
            here = position - first
            start = 0 if position % steps == 0 else resets
            for n in range(start, len(code)):
                row = code[n]
                op = row[0]
                if op == codes.DELIVER:
                    deliver_any(row, mem, w1, w2, w4, rings, cnt, ev, idx, now)
                elif op == codes.LIF:
                    lif(mem, scr, row)
                elif op == codes.LIF_32:
                    lif32(b, m, scr32, row)
                elif op == codes.SCAN:
                    scan(words, row[2], row[3], rings, cnt, ev, row[1], now)
                elif op == codes.SCAN_INPUT:
                    scan(bits[here], row[2], row[3], rings, cnt, ev, row[1], now)
                elif op == codes.FILL:
                    fill(mem, scr, row[1], row[2], row[3])
                elif op == codes.COPY:
                    copy(mem, scr, row[1], row[2], row[3])
                elif op == codes.INPUT:
                    if row[4]:
                        word = words[row[1] >> 5 : (row[1] >> 5) + row[3]]
                        word[:] = bits[here, row[2] : row[2] + row[3]]
                    elif row[1] & 3 == 1:
                        at = row[1] >> 2
                        given = numbers[here, row[2] : row[2] + row[3]]
                        part = m[at : at + row[3]]
                        for k in range(row[3]):
                            part[k] = np.int32(given[k])
                    else:
                        at = row[1] >> 2
                        x[at : at + row[3]] = numbers[here, row[2] : row[2] + row[3]]
                elif op == codes.BINARY:
                    binary(mem, scr, row)
                elif op == codes.RECORD:
                    shown = dense[here, row[1] : row[1] + row[3]]
                    at = row[2] >> 2
                    if row[2] & 3 == 0:
                        for k in range(row[3]):
                            shown[k] = b[at + k]
                    elif row[2] & 3 == 1:
                        for k in range(row[3]):
                            shown[k] = m[at + k]
                    else:
                        for k in range(row[3]):
                            shown[k] = x[at + k]
                elif op == codes.RECORD_EVENTS:
                    for j in slot(rings, cnt, ev, row[2], 0, now):
                        events[found, 0] = here
                        events[found, 1] = row[1]
                        events[found, 2] = j
                        found += 1
                elif op == codes.TRACE:
                    trace(mem, scr, row)
                elif op == codes.STDP:
                    if row[29] == 0:
                        stdp(mem, row, w1, w1, idx, rings, cnt, ev, now)
                    elif row[29] == 1:
                        stdp(mem, row, w2, w1, idx, rings, cnt, ev, now)
                    else:
                        stdp(mem, row, w4, w1, idx, rings, cnt, ev, now)
                elif op == codes.LFSR:
                    lfsr(mem, row)
                elif op == codes.DECIDE:
                    decide(mem, idx, row)
                elif op == codes.IZHIKEVICH:
                    izhikevich(mem, scr, row)
                elif op == codes.ALPHA:
                    alpha(mem, scr, row)
                elif op == codes.BERNOULLI:
                    bernoulli(mem, scr, row)
                elif op == codes.ROWS:
                    dense_rows(row, b, rings, cnt, ev, now)
                elif op == codes.UNPERMUTE:
                    for k in range(row[4]):
                        if row[2] == 0:
                            value = np.int64(w1[row[3] + k])
                        elif row[2] == 1:
                            value = np.int64(w2[row[3] + k])
                        else:
                            value = np.int64(w4[row[3] + k])
                        put(mem, row[1], np.int64(idx[row[5] + k]), value)
                elif op == codes.SET_WEIGHTS:
                    if row[1] == 0:
                        w1[row[2] : row[2] + row[4]] = w1[row[3] : row[3] + row[4]]
                    elif row[1] == 1:
                        w2[row[2] : row[2] + row[4]] = w2[row[3] : row[3] + row[4]]
                    else:
                        w4[row[2] : row[2] + row[4]] = w4[row[3] : row[3] + row[4]]
                elif op == codes.RESET_RING:
                    reset_ring(row, rings, cnt, ev, idx, now)
                elif op == codes.SELECT:
                    select(mem, scr, row)
                elif op == codes.SHIFT:
                    shift(mem, scr, row)
                elif op == codes.REQUANTIZE:
                    requantize(mem, scr, row)
                elif op == codes.GATHER:
                    gather(mem, idx, row)
                elif op == codes.MOVE:
                    move(mem, idx, row)
                elif op == codes.SUM:
                    sum_rows(mem, row)
                elif op == codes.ARGMAX:
                    argmax_rows(mem, row)
                elif op == codes.MATVEC:
                    matvec(mem, w4, row)
            now += 1
            position += 1
        return position, found

    return run_steps


run_steps = _make(_digest())
