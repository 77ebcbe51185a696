"""Elementwise work in blocks: operands of any memory are loaded into int64 scratch rows, worked on, and stored.

Every loop is over plain slices from 0, so that the compiler makes vector code of it. No function here is cached by itself:
they become part of :func:`.machine.run_steps`, whose cache knows the source of all of them.
"""

from __future__ import annotations

import numpy as np

from .codes import (
    ADD,
    AND,
    BLOCK,
    EQ,
    FLOOR,
    GE,
    GT,
    HALF_EVEN,
    HALF_UP,
    MAX,
    MIN,
    MUL,
    OR,
    SUB,
    XOR,
)
from .jit import kernel


@kernel
def get(mem, ref, i):
    """Element i of a reference."""
    b, m, x = mem
    kind, at = ref & 3, (ref >> 2) + i
    if kind == 0:
        return np.int64(b[at])
    if kind == 1:
        return np.int64(m[at])
    return x[at]


@kernel
def put(mem, ref, i, value):
    b, m, x = mem
    kind, at = ref & 3, (ref >> 2) + i
    if kind == 0:
        b[at] = np.uint8(value)
    elif kind == 1:
        m[at] = np.int32(value)
    else:
        x[at] = value


@kernel
def load(mem, ref, start, out):
    """Fill the row ``out`` from element ``start`` of a reference."""
    b, m, x = mem
    kind, at, c = ref & 3, (ref >> 2) + start, len(out)
    if kind == 0:
        u = b[at : at + c]
        for k in range(c):
            out[k] = u[k]
    elif kind == 1:
        v = m[at : at + c]
        for k in range(c):
            out[k] = v[k]
    else:
        w = x[at : at + c]
        for k in range(c):
            out[k] = w[k]


@kernel
def load_or(mem, ref, constant, start, out):
    """As load; the constant everywhere when the reference is absent."""
    if ref < 0:
        for k in range(len(out)):
            out[k] = constant
    else:
        load(mem, ref, start, out)


@kernel
def store(mem, ref, start, row):
    b, m, x = mem
    kind, at, c = ref & 3, (ref >> 2) + start, len(row)
    if kind == 0:
        u = b[at : at + c]
        for k in range(c):
            u[k] = np.uint8(row[k])
    elif kind == 1:
        v = m[at : at + c]
        for k in range(c):
            v[k] = np.int32(row[k])
    else:
        w = x[at : at + c]
        for k in range(c):
            w[k] = row[k]


@kernel
def add_sat(x, y, lo, hi):
    """x = sat(x + y)."""
    for k in range(len(x)):
        x[k] = min(max(x[k] + y[k], lo), hi)


@kernel
def sub_sat(x, y, lo, hi):
    """x = sat(x - y)."""
    for k in range(len(x)):
        x[k] = min(max(x[k] - y[k], lo), hi)


@kernel
def pick(cond, yes, x):
    """x = yes where cond."""
    for k in range(len(x)):
        x[k] = yes[k] if cond[k] != 0 else x[k]


@kernel
def pick_const(cond, yes, x):
    for k in range(len(x)):
        x[k] = yes if cond[k] != 0 else x[k]


@kernel
def above(x, theta, strict, out):
    """out = x > theta when strict, else x >= theta; 0 or 1."""
    if strict:
        for k in range(len(x)):
            out[k] = 1 if x[k] > theta[k] else 0
    else:
        for k in range(len(x)):
            out[k] = 1 if x[k] >= theta[k] else 0


@kernel
def scale(x, factor, bits, rounding):
    """x = (x * factor + h) >> bits, rounded."""
    if rounding == FLOOR or rounding == HALF_UP:
        half = np.int64(0) if rounding == FLOOR else np.int64(1) << (bits - 1)
        for k in range(len(x)):
            x[k] = (x[k] * factor + half) >> bits
    else:
        most = (np.int64(1) << bits) - 1
        for k in range(len(x)):
            p = x[k] * factor
            x[k] = (p + (most if p < 0 else 0)) >> bits


@kernel
def rnd(p, bits, rounding):
    """One product, rounded as scale does."""
    if rounding == HALF_UP:
        return (p + (np.int64(1) << (bits - 1))) >> bits
    if rounding != FLOOR and p < 0:
        return (p + (np.int64(1) << bits) - 1) >> bits
    return p >> bits


@kernel
def copy(mem, scr, dst, src, n):
    for start in range(0, n, BLOCK):
        row = scr[0, : min(BLOCK, n - start)]
        load(mem, src, start, row)
        store(mem, dst, start, row)


@kernel
def fill(mem, scr, dst, value, n):
    if dst & 3 == 1:
        mem[1][dst >> 2 : (dst >> 2) + n] = np.int32(value)
        return
    for start in range(0, n, BLOCK):
        row = scr[0, : min(BLOCK, n - start)]
        row[:] = value
        store(mem, dst, start, row)


@kernel
def _load_maybe(mem, ref, one, start, out):
    if one:
        out[:] = get(mem, ref, 0)
    else:
        load(mem, ref, start, out)


@kernel
def binary(mem, scr, row):
    """row: op, dst, a, b, n, kind, a is one element, b is one element."""
    n, kind = row[4], row[5]
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        x, y = scr[0, :c], scr[1, :c]
        _load_maybe(mem, row[2], row[6], start, x)
        _load_maybe(mem, row[3], row[7], start, y)
        if kind == ADD:
            for k in range(c):
                x[k] += y[k]
        elif kind == SUB:
            for k in range(c):
                x[k] -= y[k]
        elif kind == MUL:
            for k in range(c):
                x[k] *= y[k]
        elif kind == MAX:
            for k in range(c):
                x[k] = max(x[k], y[k])
        elif kind == MIN:
            for k in range(c):
                x[k] = min(x[k], y[k])
        elif kind == GE:
            for k in range(c):
                x[k] = 1 if x[k] >= y[k] else 0
        elif kind == GT:
            for k in range(c):
                x[k] = 1 if x[k] > y[k] else 0
        elif kind == EQ:
            for k in range(c):
                x[k] = 1 if x[k] == y[k] else 0
        elif kind == AND:
            for k in range(c):
                x[k] &= y[k]
        elif kind == OR:
            for k in range(c):
                x[k] |= y[k]
        elif kind == XOR:
            for k in range(c):
                x[k] ^= y[k]
        store(mem, row[1], start, x)


@kernel
def select(mem, scr, row):
    """row: op, dst, cond, a, b, n, cond is one element, a is, b is."""
    n = row[5]
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        cond, x, y = scr[0, :c], scr[1, :c], scr[2, :c]
        _load_maybe(mem, row[2], row[6], start, cond)
        _load_maybe(mem, row[3], row[7], start, x)
        _load_maybe(mem, row[4], row[8], start, y)
        pick(cond, x, y)
        store(mem, row[1], start, y)


@kernel
def shift(mem, scr, row):
    """row: op, dst, src, n, amount."""
    n, amount = row[3], row[4]
    for start in range(0, n, BLOCK):
        x = scr[0, : min(BLOCK, n - start)]
        load(mem, row[2], start, x)
        for k in range(len(x)):
            x[k] = x[k] << amount
        store(mem, row[1], start, x)


@kernel
def requantize(mem, scr, row):
    """row: op, dst, src, n, p, q, rounding, wrap, lo, hi: x * p / q."""
    n, p, q, rounding, wrap, lo, hi = row[3], row[4], row[5], row[6], row[7], row[8], row[9]
    span = hi - lo + 1
    for start in range(0, n, BLOCK):
        x = scr[0, : min(BLOCK, n - start)]
        load(mem, row[2], start, x)
        for k in range(len(x)):
            v = x[k] * p
            if rounding == HALF_UP:
                v = (2 * v + q) // (2 * q)
            elif rounding == FLOOR:
                v = v // q
            elif rounding == HALF_EVEN:
                low = v // q
                rest = 2 * (v - low * q)
                v = low + (1 if rest > q or (rest == q and low & 1 == 1) else 0)
            else:
                v = v // q if v >= 0 else -((-v) // q)
            x[k] = (v - lo) % span + lo if wrap else min(max(v, lo), hi)
        store(mem, row[1], start, x)


@kernel
def gather(mem, idx, row):
    """row: op, dst, src, n, indices."""
    at = row[4]
    for k in range(row[3]):
        put(mem, row[1], k, get(mem, row[2], np.int64(idx[at + k])))


@kernel
def move(mem, idx, row):
    """row: op, dst, src, n, destination indices, source indices."""
    for k in range(row[3]):
        put(mem, row[1], np.int64(idx[row[4] + k]), get(mem, row[2], np.int64(idx[row[5] + k])))


@kernel
def sum_rows(mem, row):
    """row: op, dst, src, rows, length."""
    for r in range(row[3]):
        total = np.int64(0)
        for k in range(row[4]):
            total += get(mem, row[2], r * row[4] + k)
        put(mem, row[1], r, total)


@kernel
def argmax_rows(mem, row):
    """row: op, dst, src, rows, length, last."""
    for r in range(row[3]):
        best, where = get(mem, row[2], r * row[4]), np.int64(0)
        for k in range(1, row[4]):
            value = get(mem, row[2], r * row[4] + k)
            if value > best or (row[5] and value == best):
                best, where = value, np.int64(k)
        put(mem, row[1], r, where)


@kernel
def matvec(mem, w4, row):
    """row: op, dst, src, vectors, outputs, inputs, weights, bias reference or -1."""
    outs, ins = row[4], row[5]
    for v in range(row[3]):
        for o in range(outs):
            total = get(mem, row[7], o) if row[7] >= 0 else np.int64(0)
            w = w4[row[6] + o * ins : row[6] + (o + 1) * ins]
            for i in range(ins):
                total += get(mem, row[2], v * ins + i) * w[i]
            put(mem, row[1], v * outs + o, total)
