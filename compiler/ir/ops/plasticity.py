"""Learning: spike traces, spike-timing-dependent plasticity with its variants, the random bits of its rounding."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.graph import Value
from neuroloom.compiler.ir.types import Type

from .registry import Operands, Result, need_indices, op
from .spiking import need_choice, need_factor, need_within

TRACES = ("exponential", "nearest", "window")
ROUNDINGS = ("floor", "half_up", "stochastic")
TRACE_MAX = 65535
TRACE = Type(16)
LFSR = Type(32)
LFSR_POLYNOMIAL = 0x80200003
"""x**32 + x**22 + x**2 + x + 1, bits reversed: a maximal sequence of 2**32 − 1 states."""
ELIGIBILITY = Type(8, True)


@op("trace", arity=2, attrs={"kind": "str", "decay": "int?", "step": "int"})
def trace(o: Operands) -> list[Result]:
    """The trace that a spike leaves, one step: inputs spike bit[n] and x u16[n]; output x' u16[n].

    ::

        exponential:  x' = (min(x + step·spike, 65535)·decay) >> 16         every spike adds (all-to-all pairs)
        nearest:      x' = ((step if spike else x)·decay) >> 16             the last spike counts
        window:       x' = step if spike else max(x − 1, 0)                 above 0 for ``step`` steps after a spike

    ``step`` 0..65535, ``decay`` 0..65536 (not for window). Learning in step t reads x, the state before this update:
    the spikes of t itself are not in it, and a spike of t − 1 has decayed once. The bound 65535 is part of the rule.
    """
    spike, x = o.values
    _need_spikes(spike, "spike")
    _need(x, TRACE, spike.shape, "x")
    need_choice("kind", o.attr("kind"), TRACES)
    need_within("step", o.attr("step"), (0, TRACE_MAX))
    if o.attr("kind") != "window":
        need_factor(o, "decay")
    return [Result(x.shape, (0, TRACE_MAX), 0, TRACE)]


@op("lfsr", arity=1)
def lfsr(o: Operands) -> list[Result]:
    """The next 32 random bits: u32[] to u32[], x' = (x >> 1) ^ (0x80200003 if x is odd else 0).

    A Galois register of period 2**32 − 1; its state is never 0 when the seed is not. It moves once per step; what uses
    it in step t reads the state before the move (the seed in step 0).
    """
    (x,) = o.values
    _need(x, LFSR, (), "x")
    return [Result((), LFSR.range, 0, LFSR)]


@op(
    "stdp",
    arity=(5, 8),
    attrs={
        "pre": "tensor",
        "post": "tensor",
        "enable": "tensor?",
        "w_min": "int",
        "w_max": "int",
        "f": "int",
        "soft": "bool?",
        "window": "bool?",
        "pot": "int?",
        "dep": "int?",
        "rounding": "str?",
        "eligibility": "bool?",
        "e_decay": "int?",
        "g": "int?",
    },
)
def stdp(o: Operands) -> list[Result]:
    """Pair-based spike-timing-dependent plasticity, one step; with ``eligibility`` the reward-modulated three-factor rule.

    Inputs: weights int[n_syn] (their type W, at most 17 bits), pre bit[n_pre] and post bit[n_post] (the spikes of this
    step), x u16[n_pre] and y u16[n_post] (the traces before this step's update); then, with ``rounding`` stochastic,
    lfsr u32[] (before its move); then, with ``eligibility``, e s8[n_syn] and reward s8[]. Outputs: weights' of type W,
    and e' with ``eligibility``.

    Synapse k goes from j = pre[k] to i = post[k] (attributes, int[n_syn]); where ``enable``[k] is 0 its w and e stay.
    Otherwise, in this order::

        without eligibility:
          1  if pre spike j:    w = clamp(w − delta(y[i], max(w − w_min, 0), low))
          2  if post spike i:   w = clamp(w + delta(x[j], max(w_max − w, 0), high))      the w of line 1
        with eligibility (w below is the old weight in lines 2 and 3):
          1  e = sign(e)·((|e|·e_decay) >> 8)
          2  if pre spike j:    e = sat8(e − delta(y[i], max(w − w_min, 0), low))
          3  if post spike i:   e = sat8(e + delta(x[j], max(w_max − w, 0), high))
          4  if reward is not 0:  w = clamp(w + ((reward·e + r(g, high)) >> g))           the e of line 3, kept as e'

        delta(t, m, half) = (a·(m if soft else 1) + r(f, half)) >> f
        a = t; with ``window``: dep (if pre) or pot (if post) where t > 0, else 0
        r(s, half) = 0 (floor, the default) | 2**(s−1), 0 for s = 0 (half_up) | u(half) mod 2**s (stochastic)
        clamp(w) = min(max(w, w_min), w_max);  sat8 saturates to −128..127 (status bit *eligibility*)

    So: depression before potentiation, rounding before the clamp, and pairs inside one step do nothing. low and high
    are the low and high 16 bits L of lfsr; u(L) = v after v = ((L + 40503·j) mod 2**16) xor (27469·i mod 2**16); v ^= v
    << 7 (mod 2**16); v ^= v >> 9; v ^= v << 8 (mod 2**16). ``f``, ``g`` 0..31, at most 16 when stochastic; ``pot``,
    ``dep`` 0..65535; ``e_decay`` 0..256 (256 without: no decay); ``w_min`` <= ``w_max`` inside W. Enabled weights are
    meant to start inside the bounds; one outside enters them at its first event.

    Sources: all-to-all and nearest pairs by traces, Morrison, Diesmann, Gerstner, Biol. Cybern. 98, 2008; additive,
    Song, Miller, Abbott, Nature Neurosci. 3, 2000; soft bounds, van Rossum, Bi, Turrigiano, J. Neurosci. 20, 2000;
    rectangular window, NeuroCoreX, arXiv 2506.14138; eligibility, Izhikevich, Cerebral Cortex 17, 2007.
    """
    a = o.node.attrs
    rounding, eligible = a.get("rounding", "floor"), a.get("eligibility", False)
    need_choice("rounding", rounding, ROUNDINGS)
    stochastic = rounding == "stochastic"
    wanted = 5 + stochastic + 2 * eligible
    if len(o.values) != wanted:
        raise GraphError(f"stdp with these options must have {wanted} inputs, not {len(o.values)}")
    weights, spikes_in, spikes_out, x, y, *rest = o.values
    if len(weights.shape) != 1 or weights.type.width > 17:
        raise GraphError(f"weights must be int[n_syn] of at most 17 bits, not {weights.type}{list(weights.shape)}")
    t, count = weights.type, weights.shape[0]
    _need_spikes(spikes_in, "pre")
    _need_spikes(spikes_out, "post")
    _need(x, TRACE, spikes_in.shape, "x")
    _need(y, TRACE, spikes_out.shape, "y")
    if stochastic:
        _need(rest.pop(0), LFSR, (), "lfsr")
    if eligible:
        _need(rest[0], ELIGIBILITY, (count,), "e")
        _need(rest[1], ELIGIBILITY, (), "reward")
    _check_attributes(o, t, count, 16 if stochastic else 31)
    need_indices(o.tensor("pre", 1), spikes_in.shape[0])
    need_indices(o.tensor("post", 1), spikes_out.shape[0])
    results = [Result((count,), t.range, t.frac, t)]
    return results + [Result((count,), ELIGIBILITY.range, 0, ELIGIBILITY)] * eligible


def _check_attributes(o: Operands, t: Type, count: int, shift: int) -> None:
    a = o.node.attrs
    for name in ("pre", "post", "enable"):
        if name in a and o.tensor(name, 1).shape != (count,):
            raise GraphError(f"{name} must be one per synapse, {count}, not {len(a[name])}")
    enable = a.get("enable", np.ones(1, np.int8))
    if enable.size and not (0 <= enable.min() and enable.max() <= 1):
        raise GraphError("enable must hold 0 or 1 for every synapse")
    for name in ("w_min", "w_max"):
        need_within(name, a[name], t.range)
    if a["w_min"] > a["w_max"]:
        raise GraphError(f"w_min must not be above w_max, not {a['w_min']} and {a['w_max']}")
    need_within("f", a["f"], (0, shift))
    need_within("g", a.get("g", 0), (0, shift))
    need_within("e_decay", a.get("e_decay", 256), (0, 256))
    for name in ("pot", "dep"):
        need_within(name, a.get(name, 0), (0, TRACE_MAX))
        if name in a and not a.get("window", False):
            raise GraphError(f"{name} must go with window: without it the trace is the amount")


def _need(value: Value, type_: Type, shape: tuple[int, ...], what: str) -> None:
    if value.type != type_ or value.shape != shape:
        raise GraphError(f"{what} must be {type_}{list(shape)}, not {value.type}{list(value.shape)}")


def _need_spikes(value: Value, what: str) -> None:
    if not value.type.is_bit or len(value.shape) != 1:
        raise GraphError(f"{what} must be bit[n], not {value.type}{list(value.shape)}")
