"""Learning rules in real numbers to integers: trace steps, shifts and bounds; the arithmetic is told in
``plasticity.py``.
"""

from __future__ import annotations

import math

import numpy as np
from neuroloom.compiler.errors import InputError

from .models import ONE
from .network import Network, Projection
from .plasticity import REWARD_ONE, RSTDP, STDP, Learning, WindowSTDP

TRACE_MAX = 65535
STOCHASTIC_SHIFT = 16
"""Longest shift whose lost bits a synapse's random number can replace."""
ELIGIBILITY_STEP = 64
"""Most eligibility integers that a closest pair leaves, of 127; the least are half as many."""
MAX_E_STEPS = 511
"""Longest eligibility time constant in steps that 8 bits of decay express (e_decay = 255 stands for 256..511)."""


def weight_bound(projection: Projection) -> float:
    """The largest |weight| a projection holds now or may learn."""
    most = float(np.abs(projection.weight).max()) if projection.size else 0.0
    rule = projection.plasticity
    if rule is None or isinstance(rule, Learning):
        return most
    return max(most, abs(rule.w_min), abs(rule.w_max))


def integer_rule(projection: Projection, scale: float, net: Network) -> tuple[Learning, dict[str, float]]:
    """The rule of ``projection`` in integers for ``scale`` weight integers per unit, and its errors in real units."""
    rule = projection.plasticity
    bits = projection.weight_bits or net.weight_bits
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if isinstance(rule, WindowSTDP):
        return _window(projection.name, rule, scale, low, high)
    assert isinstance(rule, (STDP, RSTDP))
    return _pairs(projection.name, rule, scale, low, high, net.dt)


def _bounds(rule: STDP | WindowSTDP | RSTDP, scale: float, low: int, high: int) -> tuple[int, int]:
    return max(low, round(rule.w_min * scale)), min(high, round(rule.w_max * scale))


def _largest_shift(amounts: list[float], limits: list[float], most: int) -> int:
    """The largest f with every amount·2**f within its limit."""
    fits = [math.floor(math.log2(limit / a)) for a, limit in zip(amounts, limits, strict=True) if a > 0]
    return max(0, min([most, *fits]))


def _step(name: str, what: str, amount: float, f: int, errors: dict[str, float], unit: float) -> int:
    """An amount as an integer with f fraction bits; raises InputError when nothing or too much is left."""
    step = round(amount * 2**f)
    if amount > 0 and step == 0:
        raise InputError(
            f"{what} of projection {name!r} must be at least {unit / 2**f:.3g} to act, not {amount * unit:.3g}; use a larger one"
        )
    if step > TRACE_MAX or step < 0:
        raise InputError(
            f"{what} of projection {name!r} must be in 0..{TRACE_MAX * unit / 2**f:.3g}, not {amount * unit:.3g}"
        )
    errors[what] = abs(step / 2**f - amount) * unit
    return step


def _most_shift(rounding: str) -> int:
    return STOCHASTIC_SHIFT if rounding == "stochastic" else 31


def _pairs(
    name: str, rule: STDP | RSTDP, scale: float, low: int, high: int, dt: float
) -> tuple[Learning, dict[str, float]]:
    """Exponential traces, with or without eligibility."""
    errors: dict[str, float] = {}
    decays = [math.exp(-dt / rule.tau_plus), math.exp(-dt / rule.tau_minus)]
    extra: dict[str, int | bool] = {}
    soft = isinstance(rule, STDP) and rule.soft
    unit = 1.0 if soft else scale  # integers of Δ per real amount
    if isinstance(rule, RSTDP):
        steps = rule.tau_eligibility / dt
        if steps > MAX_E_STEPS:
            raise InputError(
                f"tau_eligibility of projection {name!r} must be at most {MAX_E_STEPS} steps, not {steps:.4g}; use a larger dt"
            )
        largest = max(rule.a_plus, rule.a_minus)
        if not (largest > 0 and rule.rate > 0):
            raise InputError(f"a_plus or a_minus, and rate, of projection {name!r} must be above 0")
        wanted = math.log2(REWARD_ONE * ELIGIBILITY_STEP / (largest * scale * rule.rate))
        g = min(max(math.floor(wanted), 0), _most_shift(rule.rounding))
        unit = 2**g * scale * rule.rate / REWARD_ONE
        if unit * largest > 127 or unit * largest < 1:
            raise InputError(
                f"rate of projection {name!r} must let one pair leave an eligibility of 1..127 integers, not {unit * largest:.3g}; "
                "change rate or the amounts"
            )
        e_decay = min(round(256 * math.exp(-1 / steps)), 255)
        errors["e_decay"] = abs(e_decay / 256 - math.exp(-1 / steps))
        extra = {"eligibility": True, "e_decay": e_decay, "g": g}
    amounts = [rule.a_plus * unit, rule.a_minus * unit]
    limits = [TRACE_MAX * (1 - d if rule.pairing == "all" else 1.0) for d in decays]
    f = _largest_shift(amounts, limits, _most_shift(rule.rounding))
    for what, real in zip(("tau_plus", "tau_minus"), decays, strict=True):
        errors[what] = abs(round(real * ONE) / ONE - real)
    w_min, w_max = _bounds(rule, scale, low, high)
    return Learning(
        kind="nearest" if rule.pairing == "nearest" else "exponential",
        pre_decay=round(decays[0] * ONE),
        pre_step=_step(name, "a_plus", amounts[0], f, errors, 1 / unit),
        post_decay=round(decays[1] * ONE),
        post_step=_step(name, "a_minus", amounts[1], f, errors, 1 / unit),
        f=f,
        soft=soft,
        rounding=rule.rounding,
        enable=rule.enable,
        w_min=w_min,
        w_max=w_max,
        **extra,  # type: ignore[arg-type]
    ), errors


def _window(name: str, rule: WindowSTDP, scale: float, low: int, high: int) -> tuple[Learning, dict[str, float]]:
    """Rectangular windows: the traces count steps, the amounts are ``pot`` and ``dep``."""
    errors: dict[str, float] = {}
    unit = 1.0 if rule.soft else scale
    amounts = [rule.a_plus * unit, rule.a_minus * unit]
    f = _largest_shift(amounts, [float(TRACE_MAX)] * 2, _most_shift(rule.rounding))
    w_min, w_max = _bounds(rule, scale, low, high)
    return Learning(
        kind="window",
        pre_step=rule.steps_plus,
        post_step=rule.steps_minus,
        pot=_step(name, "a_plus", amounts[0], f, errors, 1 / unit),
        dep=_step(name, "a_minus", amounts[1], f, errors, 1 / unit),
        f=f,
        soft=rule.soft,
        rounding=rule.rounding,
        enable=rule.enable,
        w_min=w_min,
        w_max=w_max,
    ), errors
