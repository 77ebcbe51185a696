"""Neuron models beyond integrate-and-fire: Izhikevich's, snnTorch's alpha neuron, and one that spikes at random."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import Type

from .registry import Operands, Result, op
from .spiking import need_choice, need_factor, need_parameters, need_population, need_within

IZHIKEVICH_FRAC = 8
"""Fraction bits of v, u and the current: 256 is 1 mV."""

IZHIKEVICH_BOUND = 46080
"""v stays inside ±180 mV before it is squared, so that v**2 fits 24 bits."""

MUL_MAX = (1 << 17) - 1
"""The largest factor of a product on the spiking core."""

CARRY_BITS, CARRY_FACTOR = 11, 4089
"""Base 2**11 and multiplier of the multiply-with-carry generator of ``bernoulli``."""

CARRY_MODULUS = (CARRY_FACTOR << CARRY_BITS) - 1
"""8374271, a prime: the generator's states are 1 to one less, in two cycles of (8374271 − 1) / 2."""

CARRY_SCALE = 65648
"""65648 / 65536 brings states to 0 .. 2**23 − 1."""


@op(
    "izhikevich",
    arity=3,
    attrs={
        "a": "int",
        "b": "int",
        "c": "int",
        "d": "int",
        "peak": "int?",
        "bias": "tensor?",
        "substeps": "int?",
        "rounding": "str?",
    },
)
def izhikevich(o: Operands) -> list[Result]:
    """One millisecond of n Izhikevich neurons (IEEE Trans. Neural Networks 14(6), 2003), in integers of 1/256 mV.

    Inputs: current int[n], v, u, all in 1/256 mV (their types have no fraction bits of their own). Outputs: spike
    bit[n], v', u', recorded membrane (= v'). v and u have one signed type T of at least 24 bits; the current's proven
    range fits T. The paper's v' = v + h(0.04 v² + 5 v + 140 − u + I), h = 1/``substeps`` (1, or 2 as in the paper's
    program), then u' = u + a(b v' − u), then the test. ``rnd(p, n)`` = (p + r) >> n, r = 0 (``rounding`` floor),
    2**(n−1) (half_up, the default) or 2**n − 1 if p < 0 else 0 (toward_zero); sat as in ``lif``, around every rnd, +
    and −, in this order::

        1  I = sat(current + bias)                                            current alone without bias
        2  substeps times:
             w = min(max(v, −46080), 46080)                                   ±180 mV, so that its square fits
             q = sat(rnd(sat(rnd(w·w, 8))·2621, 16))                          0.04 v²
             f = sat(rnd(w·1280, 8))                                          5 v
             x = sat(sat(sat(sat(q + f) + 35840) − u) + I)                    + 140 − u + I
             x = sat(rnd(x·32768, 16)) if substeps is 2                       half a millisecond
             v = sat(x + w)
        3  y = sat(sat(rnd(v·b, 16)) − u);  y = sat(u + sat(rnd(y·a, 16)))    u' before the reset
        4  s = v >= peak
        5  v' = c if s else v;  u' = sat(y + d) if s else y;  recorded = v'

    ``a`` in 0..65536 and ``b`` in 0..131071 are 65536 times the paper's; ``c``, ``d``, ``peak`` (7680 = 30 mV without)
    and ``bias`` int [n] or [] are in 1/256 mV. T's saturation raises *saturated*; the clamp to ±180 mV is part of the
    model and raises nothing.
    """
    n, t = need_population(o, "current")
    u = o.values[2]
    if t.width < 24 or t.frac or u.type != t or u.shape != (n,):
        raise GraphError(f"v and u must be of one type, s24 to s32, [{n}], not {t} and {u.type}{list(u.shape)}")
    a = o.node.attrs
    need_factor(o, "a")
    need_within("b", a["b"], (0, MUL_MAX))
    for name in ("c", "d", "peak"):
        if name in a:
            need_within(name, a[name], t.range)
    need_choice("rounding", a.get("rounding", "half_up"), ("floor", "half_up", "toward_zero"))
    if a.get("substeps", 1) not in (1, 2):
        raise GraphError(f"substeps must be 1 or 2, not {a['substeps']}")
    need_parameters(o, ("bias",), n, t)
    return [Result((n,), (0, 1)), *_states(n, t, 3)]


@op(
    "alpha_neuron",
    arity=4,
    attrs={
        "threshold": "tensor",
        "alpha": "int",
        "beta": "int",
        "gain": "int",
        "gain_bits": "int",
        "bias": "tensor?",
        "reset": "str",
        "wta": "bool?",
        "rounding": "str?",
    },
)
def alpha_neuron(o: Operands) -> list[Result]:
    """One step of n neurons of snnTorch 1.0.0's ``Alpha``: the membrane is the difference of two exponentials.

    Inputs: current int[n], v, e (excitatory), h (inhibitory), of one signed type T. Outputs: spike bit[n], v', e', h',
    recorded (= v'). ``sat`` and ``mul`` as in ``lif``, in this order::

        1  c = sat(current + bias)                                    current alone without bias
        2  R = v > threshold                                          the old v; always strict, always one step late
        3  e' = sat(mul(e, alpha) + c);  g = sat(mul(h, beta) − c)
        4  v' = sat(rnd(sat(e' + g)·gain, gain_bits))                 rounded as mul is, by 8 or 16 bits
        5  if R:  zero: v', e', h' = 0, 0, 0
                  subtract: e' = sat(e' − threshold), h' = 0, v' = sat(v' + h)    the old h; as snnTorch does it
           else:  h' = g          (``reset`` none: always)
        6  s = v' > threshold;  with wta as in ``lif``

    ``gain`` 0..131071 over 2**``gain_bits`` is snnTorch's tau_alpha = log(alpha) / (log(beta) − log(alpha)) + 1.
    ``threshold`` and ``bias`` int [n] or [] inside T.
    """
    n, t = need_population(o, "current")
    for name, value in zip(("e", "h"), o.values[2:], strict=True):
        if value.shape != (n,) or value.type != t:
            raise GraphError(f"state {name} must be {t}[{n}] as v is, not {value.type}{list(value.shape)}")
    a = o.node.attrs
    need_factor(o, "alpha")
    need_factor(o, "beta")
    need_within("gain", a["gain"], (0, MUL_MAX))
    if a["gain_bits"] not in (8, 16):
        raise GraphError(f"gain_bits must be 8 or 16, not {a['gain_bits']}")
    need_choice("reset", a["reset"], ("zero", "subtract", "none"))
    need_choice("rounding", a.get("rounding", "floor"), ("floor", "half_up", "toward_zero"))
    need_parameters(o, ("threshold", "bias"), n, t)
    return [Result((n,), (0, 1)), *_states(n, t, 4)]


@op("bernoulli", arity=2, attrs={"bias": "tensor?"})
def bernoulli(o: Operands) -> list[Result]:
    """One step of n neurons that spike at random, each with the probability current / 65536, independently of the steps before.

    Inputs: current int[n], x, the state of the neuron's own random number generator, of a signed type T of 24 bits or more.
    Outputs: spike bit[n], x', recorded (= x')::

        1  c = sat(current + bias)                                    current alone without bias
        2  x' = 4089·(x mod 2048) + (x >> 11)
        3  r = (x'·65648 >> 16) >> 7                                  0..65535
        4  s = r < c

    so never with c <= 0, always with c >= 65536. Line 2 is a multiply-with-carry generator of base 2048 (G. Marsaglia, Random
    number generators, J. Mod. Appl. Stat. Methods 2(1), 2003; it is Lehmer's of the modulus 4089·2048 − 1, a prime, with the
    multiplier 4089). States of 1 to 8374270 come back after 4,187,135 steps; 0 and 8374271 stay. ``bias`` int [n] or [] inside T.
    """
    n, t = need_population(o, "current")
    if t.width < 24 or t.frac:
        raise GraphError(f"x must be of a type s24 to s32, not {t}")
    need_parameters(o, ("bias",), n, t)
    return [Result((n,), (0, 1)), *_states(n, t, 2)]


def _states(n: int, t: Type, count: int) -> list[Result]:
    return [Result((n,), t.range, t.frac, t)] * count
