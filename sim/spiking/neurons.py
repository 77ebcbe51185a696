"""Neuron models, a block of neurons at a time; each step is named as in the operation's rule."""

from __future__ import annotations

import numpy as np

from .blocks import above, add_sat, load, load_or, pick, pick_const, rnd, scale, store, sub_sat
from .codes import BLOCK
from .jit import kernel

# attribute columns of LIF rows
NONE_LEAK, MULTIPLICATIVE, SUBTRACTIVE = range(3)
TO_VALUE, SUBTRACT, NO_RESET = range(3)
IMMEDIATE, DELAYED, DELAYED_NEW, UNDELAYED, UNDELAYED_NEW = range(5)
HOLD, TO_RV, INTEGRATES = range(3)
LIF_COLUMNS = (
    "op n current v i r a spike v_out i_out r_out a_out recorded threshold threshold_c bias bias_c drive drive_c "
    "has_drive leak beta decay has_alpha alpha old strict reset v_reset mode refractory counting rv adapt_decay "
    "adapt_step wta rounding tested lo hi"
).split()


@kernel
def lif(mem, scr, row):
    """See the rule of ``lif``; row as LIF_COLUMNS. With winner-take-all a first pass finds the winner, a second writes."""
    n = row[1]
    winner = np.int64(-1)
    if row[35]:
        best, found = np.int64(0), False
        for start in range(0, n, BLOCK):
            c = min(BLOCK, n - start)
            _integrate(mem, scr, row, start, c, False)
            x, theta, s = scr[1, :c], scr[3, :c], scr[4, :c]
            for k in range(c):
                over = min(max(x[k] - theta[k], row[38]), row[39])
                if s[k] != 0 and (not found or over > best):
                    best, found, winner = over, True, start + k
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        _integrate(mem, scr, row, start, c, True)
        if row[35]:
            s = scr[4, :c]
            for k in range(c):
                if start + k != winner:
                    s[k] = 0
        _finish(mem, scr, row, start, c)


@kernel
def _integrate(mem, scr, row, start, c, write):
    """Lines 1 to 9 into scratch: v 0, x 1, c 2, theta 3, s 4, R 5, r 6; i' is stored when ``write``."""
    lo, hi, rounding = row[38], row[39], row[36]
    v, x, cur, theta = scr[0, :c], scr[1, :c], scr[2, :c], scr[3, :c]
    s, late, r, t = scr[4, :c], scr[5, :c], scr[6, :c], scr[7, :c]
    load_or(mem, row[13], row[14], start, theta)
    if row[6] >= 0:
        load(mem, row[6], start, t)
        add_sat(theta, t, lo, hi)
    load(mem, row[2], start, cur)
    if row[15] >= 0 or row[16] != 0:
        load_or(mem, row[15], row[16], start, t)
        add_sat(cur, t, lo, hi)
    if row[23]:
        old = scr[8, :c]
        load(mem, row[4], start, t)
        if row[25]:
            old[:] = t
        scale(t, row[24], 16, rounding)
        add_sat(t, cur, lo, hi)
        if write:
            store(mem, row[9], start, t)
        cur[:] = old if row[25] else t
    load(mem, row[3], start, v)
    x[:] = v
    mode, reset = row[29], row[27]
    if mode != IMMEDIATE:
        above(v, theta, row[26], late)
        if reset == TO_VALUE and (mode == DELAYED or mode == UNDELAYED):
            pick_const(late, row[28], x)
    if row[20] == MULTIPLICATIVE:
        scale(x, row[21], 16, rounding)
    elif row[20] == SUBTRACTIVE:
        decay = row[22]
        for k in range(c):
            x[k] -= min(max(x[k], -decay), decay)
    add_sat(x, cur, lo, hi)
    if row[19]:
        load_or(mem, row[17], row[18], start, t)
        add_sat(x, t, lo, hi)
    if mode != IMMEDIATE:
        if reset == SUBTRACT:
            t[:] = x
            sub_sat(t, theta, lo, hi)
            pick(late, t, x)
        elif reset == TO_VALUE and (mode == DELAYED_NEW or mode == UNDELAYED_NEW):
            pick_const(late, row[28], x)
    above(x, theta, row[26], s)
    if row[30]:
        load(mem, row[5], start, r)
        for k in range(c):
            s[k] = s[k] if r[k] == 0 else 0


@kernel
def _finish(mem, scr, row, start, c):
    """Lines 10 to 13."""
    lo, hi, rounding = row[38], row[39], row[36]
    v, x, theta = scr[0, :c], scr[1, :c], scr[3, :c]
    s, late, r, t = scr[4, :c], scr[5, :c], scr[6, :c], scr[7, :c]
    new = scr[9, :c]
    mode, reset = row[29], row[27]
    new[:] = x
    if mode == IMMEDIATE:
        if reset == TO_VALUE:
            pick_const(s, row[28], new)
        elif reset == SUBTRACT:
            t[:] = x
            sub_sat(t, theta, lo, hi)
            pick(s, t, new)
    elif mode == UNDELAYED or mode == UNDELAYED_NEW:
        v_reset = row[28]
        if reset == TO_VALUE:
            for k in range(c):
                twice = min(max(min(max(x[k] + x[k], lo), hi) - v_reset, lo), hi)
                value = twice if s[k] == 0 else x[k]
                value = value if late[k] != 0 else (v_reset if s[k] != 0 else x[k])
                new[k] = value
        elif reset == SUBTRACT:
            for k in range(c):
                less = min(max(x[k] - theta[k], lo), hi)
                more = min(max(x[k] + theta[k], lo), hi)
                value = more if s[k] == 0 else x[k]
                value = value if late[k] != 0 else (less if s[k] != 0 else x[k])
                new[k] = value
    if row[30]:
        if row[31] != INTEGRATES:
            if row[31] == TO_RV:
                t[:] = row[32]
            else:
                t[:] = v
                if mode == DELAYED or mode == DELAYED_NEW:
                    if reset == TO_VALUE:
                        pick_const(late, row[28], t)
                    elif reset == SUBTRACT:
                        for k in range(c):
                            t[k] = min(max(v[k] - theta[k], lo), hi) if late[k] != 0 else v[k]
            pick(r, t, new)
            if row[12] >= 0 and row[37]:
                pick(r, t, x)
        refractory = row[30]
        for k in range(c):
            r[k] = refractory if s[k] != 0 else max(r[k] - 1, 0)
        store(mem, row[10], start, r)
    if row[6] >= 0:
        load(mem, row[6], start, t)
        scale(t, row[33], 16, rounding)
        step = row[34]
        for k in range(c):
            t[k] = min(max(t[k] + step, lo), hi) if s[k] != 0 else t[k]
        store(mem, row[11], start, t)
    store(mem, row[8], start, new)
    if row[12] >= 0:
        store(mem, row[12], start, x if row[37] else new)
    store(mem, row[7], start, s)


IZHIKEVICH_COLUMNS = "op n current v u spike v_out u_out a b c d peak bias bias_c substeps rounding lo hi".split()


@kernel
def izhikevich(mem, scr, row):
    """See the rule of ``izhikevich``; row as IZHIKEVICH_COLUMNS."""
    n, rounding, lo, hi = row[1], row[16], row[17], row[18]
    a, b, peak, substeps = row[8], row[9], row[12], row[15]
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        cur, vs, us, t, spikes = scr[0, :c], scr[1, :c], scr[2, :c], scr[3, :c], scr[4, :c]
        load(mem, row[2], start, cur)
        if row[13] >= 0 or row[14] != 0:
            load_or(mem, row[13], row[14], start, t)
            add_sat(cur, t, lo, hi)
        load(mem, row[3], start, vs)
        load(mem, row[4], start, us)
        for k in range(c):
            v, u = vs[k], us[k]
            for _ in range(substeps):
                w = min(max(v, -46080), 46080)
                q = _sat(rnd(_sat(rnd(w * w, 8, rounding), lo, hi) * 2621, 16, rounding), lo, hi)
                f = _sat(rnd(w * 1280, 8, rounding), lo, hi)
                x = _sat(_sat(_sat(_sat(q + f, lo, hi) + 35840, lo, hi) - u, lo, hi) + cur[k], lo, hi)
                if substeps == 2:
                    x = _sat(rnd(x * 32768, 16, rounding), lo, hi)
                v = _sat(x + w, lo, hi)
            y = _sat(_sat(rnd(v * b, 16, rounding), lo, hi) - u, lo, hi)
            y = _sat(u + _sat(rnd(y * a, 16, rounding), lo, hi), lo, hi)
            spike = v >= peak
            spikes[k] = 1 if spike else 0
            vs[k] = row[10] if spike else v
            us[k] = _sat(y + row[11], lo, hi) if spike else y
        store(mem, row[6], start, vs)
        store(mem, row[7], start, us)
        store(mem, row[5], start, spikes)


BERNOULLI_COLUMNS = "op n current x spike v_out bias bias_c lo hi".split()


@kernel
def bernoulli(mem, scr, row):
    """See the rule of ``bernoulli``; row as BERNOULLI_COLUMNS."""
    n, lo, hi = row[1], row[8], row[9]
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        cur, xs, t, spikes = scr[0, :c], scr[1, :c], scr[2, :c], scr[3, :c]
        load(mem, row[2], start, cur)
        if row[6] >= 0 or row[7] != 0:
            load_or(mem, row[6], row[7], start, t)
            add_sat(cur, t, lo, hi)
        load(mem, row[3], start, xs)
        for k in range(c):
            x = (xs[k] & 2047) * 4089 + (xs[k] >> 11)
            spikes[k] = 1 if ((x * 65648 >> 16) >> 7) < cur[k] else 0
            xs[k] = x
        store(mem, row[5], start, xs)
        store(mem, row[4], start, spikes)


@kernel
def _sat(x, lo, hi):
    return min(max(x, lo), hi)


ALPHA_COLUMNS = (
    "op n current v e h spike v_out e_out h_out threshold threshold_c bias bias_c alpha beta gain gain_bits reset wta rounding "
    "lo hi"
).split()


@kernel
def alpha(mem, scr, row):
    """See the rule of ``alpha_neuron``; row as ALPHA_COLUMNS."""
    n, rounding, lo, hi = row[1], row[20], row[21], row[22]
    best, winner = np.int64(0), np.int64(-1)
    for start in range(0, n, BLOCK):
        c = min(BLOCK, n - start)
        cur, v, e, h = scr[0, :c], scr[1, :c], scr[2, :c], scr[3, :c]
        theta, t, s, g = scr[4, :c], scr[5, :c], scr[6, :c], scr[7, :c]
        load(mem, row[2], start, cur)
        load_or(mem, row[12], row[13], start, t)
        add_sat(cur, t, lo, hi)
        load_or(mem, row[10], row[11], start, theta)
        load(mem, row[3], start, v)
        load(mem, row[4], start, e)
        load(mem, row[5], start, h)
        above(v, theta, 1, s)
        scale(e, row[14], 16, rounding)
        add_sat(e, cur, lo, hi)
        g[:] = h
        scale(g, row[15], 16, rounding)
        sub_sat(g, cur, lo, hi)
        v[:] = e
        add_sat(v, g, lo, hi)
        scale(v, row[16], row[17], rounding)
        for k in range(c):
            v[k] = _sat(v[k], lo, hi)
            if s[k] != 0 and row[18] == TO_VALUE:
                v[k], e[k], g[k] = 0, 0, 0
            elif s[k] != 0 and row[18] == SUBTRACT:
                e[k], g[k] = _sat(e[k] - theta[k], lo, hi), 0
                v[k] = _sat(v[k] + h[k], lo, hi)
        above(v, theta, 1, s)
        if row[19]:
            for k in range(c):
                over = _sat(v[k] - theta[k], lo, hi)
                if s[k] != 0 and (winner < 0 or over > best):
                    best, winner = over, start + k
            s[:] = 0
        store(mem, row[7], start, v)
        store(mem, row[8], start, e)
        store(mem, row[9], start, g)
        store(mem, row[6], start, s)
    if winner >= 0:
        b, _, _ = mem
        b[(row[6] >> 2) + winner] = 1
