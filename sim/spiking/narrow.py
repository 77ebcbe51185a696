"""Integrate-and-fire in 32-bit arithmetic: the common options, without branches, at twice the lanes.

For states of at most 30 bits held in int32, no sum of two overflows. A product with a factor 0..65536 is made from two halves of
the state: (x * f + h) >> 16 = (x >> 16) * f + (((x & 65535) * f + h) >> 16), whose second part fits 32 unsigned bits.
"""

from __future__ import annotations

import numpy as np

from .codes import BLOCK, HALF_UP, TOWARD_ZERO
from .jit import kernel
from .neurons import HOLD, INTEGRATES, MULTIPLICATIVE, SUBTRACT, SUBTRACTIVE, TO_VALUE


@kernel
def _add(x, y, lo, hi):
    return min(max(np.int32(x + y), lo), hi)


@kernel
def _scale(x, factor, half, negative):
    """(x * factor + half, or + negative too where x < 0) >> 16."""
    low = np.uint32(
        np.int32(np.int32(x & np.int32(65535)) * factor) + np.int32(half + np.int32((x >> np.int32(31)) & negative))
    )
    return np.int32(np.int32(np.int32(x >> np.int32(16)) * factor) + np.int32(low >> np.uint32(16)))


@kernel
def _halves(rounding, factor):
    half = np.int32(32768) if rounding == HALF_UP else np.int32(0)
    negative = np.int32(65535) if rounding == TOWARD_ZERO and factor != 0 else np.int32(0)
    return half, negative


@kernel
def _get(m, ref, constant, start, out):
    c = len(out)
    if ref < 0:
        out[:] = np.int32(constant)
    else:
        given = m[(ref >> 2) + start : (ref >> 2) + start + c]
        for k in range(c):
            out[k] = given[k]


@kernel
def _put(m, ref, start, row):
    c = len(row)
    out = m[(ref >> 2) + start : (ref >> 2) + start + c]
    for k in range(c):
        out[k] = row[k]


@kernel
def lif32(b, m, scr, row):
    """As :func:`.neurons.lif` for immediate resets without winner-take-all; row the same.

    Everything is copied to scratch rows before it is worked on: a loop that reads and writes one array through two slices
    would not become vector code.
    """
    n, rounding, lo, hi = row[1], row[36], np.int32(row[38]), np.int32(row[39])
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        cur, theta, x, t = scr[0, :c], scr[1, :c], scr[2, :c], scr[3, :c]
        s = b[(row[7] >> 2) + start : (row[7] >> 2) + start + c]
        given = m[(row[2] >> 2) + start : (row[2] >> 2) + start + c]
        if row[15] >= 0:
            _sum_rows(cur, given, m[(row[15] >> 2) + start : (row[15] >> 2) + start + c], lo, hi)
        else:
            bias = np.int32(row[16])
            for k in range(c):
                cur[k] = _add(given[k], bias, lo, hi)
        if row[23]:
            _get(m, row[4], 0, start, x)
            if row[25]:
                t[:] = x
            _scale_row(x, np.int32(row[24]), rounding)
            _add_rows(x, cur, lo, hi)
            _put(m, row[9], start, x)
            cur[:] = t if row[25] else x
        _get(m, row[13], row[14], start, theta)
        if row[6] >= 0:
            _get(m, row[6], 0, start, t)
            _add_rows(theta, t, lo, hi)
        v = m[(row[3] >> 2) + start : (row[3] >> 2) + start + c]
        if row[20] == MULTIPLICATIVE:
            half, negative = _halves(rounding, np.int32(row[21]))
            beta = np.int32(row[21])
            for k in range(c):
                x[k] = _scale(v[k], beta, half, negative)
        elif row[20] == SUBTRACTIVE:
            decay = np.int32(row[22])
            for k in range(c):
                x[k] = np.int32(v[k] - min(max(v[k], np.int32(-decay)), decay))
        else:
            x[:] = v
        if row[19]:
            _add_rows(x, cur, lo, hi)
            _get(m, row[17], row[18], start, cur)
        if row[30]:
            _get(m, row[5], 0, start, t)
            _refractory(m, row, start, x, cur, theta, t, s, scr[4, :c])
        else:
            _fire(row, x, cur, theta, s)
        _put(m, row[8], start, x)
        if row[6] >= 0:
            _get(m, row[6], 0, start, t)
            _scale_row(t, np.int32(row[33]), rounding)
            step = np.int32(row[34])
            for k in range(c):
                t[k] = _add(t[k], step, lo, hi) if s[k] != 0 else t[k]
            _put(m, row[11], start, t)


@kernel
def _add_rows(x, y, lo, hi):
    for k in range(len(x)):
        x[k] = _add(x[k], y[k], lo, hi)


@kernel
def _sum_rows(out, x, y, lo, hi):
    for k in range(len(out)):
        out[k] = _add(x[k], y[k], lo, hi)


@kernel
def _scale_row(x, factor, rounding):
    half, negative = _halves(rounding, factor)
    for k in range(len(x)):
        x[k] = _scale(x[k], factor, half, negative)


@kernel
def _formula(row):
    """A spike's reset as ((x - (theta & minus)) & keep) + plus; the comparison as x + equal > theta."""
    keep = np.int32(0) if row[27] == TO_VALUE else np.int32(-1)
    minus = np.int32(-1) if row[27] == SUBTRACT else np.int32(0)
    plus = np.int32(row[28]) if row[27] == TO_VALUE else np.int32(0)
    equal = np.int32(0) if row[26] else np.int32(1)
    return keep, minus, plus, equal


@kernel
def _fire(row, x, cur, theta, s):
    """Add the current, compare, reset: x and s."""
    lo, hi = np.int32(row[38]), np.int32(row[39])
    keep, minus, plus, equal = _formula(row)
    for k in range(len(x)):
        y = _add(x[k], cur[k], lo, hi)
        spike = np.int32(y + equal) > theta[k]
        fired = min(max(np.int32(y - (theta[k] & minus)), lo), hi)
        x[k] = np.int32(np.int32(fired & keep) + plus) if spike else y
        s[k] = np.uint8(spike)


@kernel
def _refractory(m, row, start, x, cur, theta, r, s, wait):
    """As _fire; where r counts, x waits, or integrates without a spike. Writes r'."""
    lo, hi, c = np.int32(row[38]), np.int32(row[39]), len(x)
    keep, minus, plus, equal = _formula(row)
    period, always = np.int32(row[30]), row[31] == INTEGRATES
    _get(m, row[3] if row[31] == HOLD else np.int64(-1), row[32], start, wait)
    for k in range(c):
        y = _add(x[k], cur[k], lo, hi)
        spike = (np.int32(y + equal) > theta[k]) & (r[k] == 0)
        fired = min(max(np.int32(y - (theta[k] & minus)), lo), hi)
        y = np.int32(np.int32(fired & keep) + plus) if spike else y
        x[k] = y if (r[k] == 0) | always else wait[k]
        s[k] = np.uint8(spike)
    for k in range(c):
        r[k] = period if s[k] != 0 else max(np.int32(r[k] - np.int32(1)), np.int32(0))
    _put(m, row[10], start, r)
