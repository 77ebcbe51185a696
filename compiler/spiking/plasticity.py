"""Learning rules of a projection: in real numbers, and in integers as the graph's ``trace`` and ``stdp`` compute them.

Real rules use seconds for times and the unit of the weights for amounts. :class:`Learning` is exact. Conversion
(``compiler/spiking/quantise.py``): with S integers per weight unit and 2**f integers per Δ,

* trace decay = round(65536·exp(−dt/tau)); the trace is raised by ``step`` = round(a·S·2**f) at a spike (a·2**f with
  soft bounds), so that a pair that lies n steps apart changes the weight by (step·decay**n) >> f, that is
  a·exp(−n·dt/tau) in weight units;
* f is the largest that keeps a trace of ``pairing="all"`` below 65535 at one spike per step;
* with eligibility, S counts eligibility units instead, and ``g`` brings reward·eligibility back to weight integers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import Fields, need_choice, need_finite, need_steps
from .models import ONE

PAIRINGS = ("all", "nearest")
ROUNDINGS = ("floor", "half_up", "stochastic")
TRACES = ("exponential", "nearest", "window")
REWARD_ONE = 64
"""The reward integer that counts as 1.0 for :class:`RSTDP`."""


@dataclass(frozen=True, eq=False)
class Learning(Fields):
    """A learning rule in integers: the attributes of the graph's two ``trace`` operations and its ``stdp``.

    ``pre_decay``, ``pre_step`` drive x, the trace of the source, ``post_*`` y, the target's; ``kind`` is exponential,
    nearest or window (steps are then window lengths in time steps, and ``pot``, ``dep`` the amounts). ``w_min``,
    ``w_max`` are hard bounds in weight integers. ``enable`` bool [n_syn]: which synapses learn (None: all).
    ``eligibility``: Δ goes to the synapse's eligibility, decayed by ``e_decay``/256 per step; weights change by
    (reward·e + r) >> ``g``.
    """

    kind: str = "exponential"
    pre_decay: int = ONE
    pre_step: int = 0
    post_decay: int = ONE
    post_step: int = 0
    w_min: int = -128
    w_max: int = 127
    f: int = 0
    soft: bool = False
    pot: int = 0
    dep: int = 0
    rounding: str = "floor"
    eligibility: bool = False
    e_decay: int = 256
    g: int = 0
    enable: np.ndarray | None = None

    def __post_init__(self) -> None:
        need_choice("kind of trace", self.kind, TRACES)
        need_choice("rounding", self.rounding, ROUNDINGS)
        limits = {
            "pre_decay": ONE,
            "post_decay": ONE,
            "pre_step": 65535,
            "post_step": 65535,
            "pot": 65535,
            "dep": 65535,
        }
        for name, most in (limits | {"f": 31, "g": 31, "e_decay": 256}).items():
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or not 0 <= value <= most:
                raise InputError(f"{name} of a learning rule must be in 0..{most}, not {value!r}")
        if self.w_min > self.w_max:
            raise InputError(f"w_min must not be above w_max, not {self.w_min} and {self.w_max}")

    @property
    def exact(self) -> bool:
        """True: integers are taken as they are."""
        return True

    @property
    def window(self) -> bool:
        """Whether the traces are windows and the amounts are ``pot`` and ``dep``."""
        return self.kind == "window"


class RealRule(Fields):
    """What the real rules have in common."""

    @property
    def exact(self) -> bool:
        """False: the numbers are quantised before lowering."""
        return False

    def check(self) -> None:
        """Raise InputError on NaN, infinity, negative times or crossed bounds."""
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
                need_finite(f.name, value)
                if f.name.startswith("tau") and value <= 0:
                    raise InputError(f"{f.name} must be a time above 0 s, not {value!r}")
        need_choice("rounding", getattr(self, "rounding", "floor"), ROUNDINGS)
        low, high = getattr(self, "w_min", 0.0), getattr(self, "w_max", 1.0)
        if low > high:
            raise InputError(f"w_min must not be above w_max, not {low} and {high}")


@dataclass(frozen=True, eq=False)
class STDP(RealRule):
    """Pair STDP with exponential traces (Song, Miller, Abbott, Nature Neuroscience 3, 2000).

    A source spike Δ > 0 before a target spike adds a_plus·exp(−Δ/tau_plus), one behind it takes
    a_minus·exp(−Δ/tau_minus); pairs of one step do nothing. ``pairing``: every pair (``all``) or each spike with the
    nearest one before it. ``soft``: multiplicative (a_plus·(w_max − w), a_minus·(w − w_min)); ``a_*`` are then
    fractions. Weights stay in w_min..w_max. ``rounding`` stochastic lets amounts below one weight integer act on
    average. ``enable`` bool [n_syn].
    """

    a_plus: float = 0.01
    a_minus: float = 0.012
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    w_min: float = 0.0
    w_max: float = 1.0
    pairing: str = "all"
    soft: bool = False
    rounding: str = "stochastic"
    enable: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.check()
        need_choice("pairing", self.pairing, PAIRINGS)


@dataclass(frozen=True, eq=False)
class WindowSTDP(RealRule):
    """The rectangular window of NeuroCoreX (arXiv 2506.14138): ``a_plus`` when a source spike lies 1..``steps_plus``
    steps before a target spike, minus ``a_minus`` when it lies 1..``steps_minus`` steps behind one."""

    a_plus: float = 0.01
    a_minus: float = 0.01
    steps_plus: int = 10
    steps_minus: int = 10
    w_min: float = 0.0
    w_max: float = 1.0
    soft: bool = False
    rounding: str = "stochastic"
    enable: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.check()
        need_steps("steps_plus", self.steps_plus)
        need_steps("steps_minus", self.steps_minus)


@dataclass(frozen=True, eq=False)
class RSTDP(RealRule):
    """Reward-modulated STDP (Izhikevich, Cerebral Cortex 17(10), 2007): Δ of :class:`STDP` goes to an eligibility
    trace that decays with ``tau_eligibility``; a reward R in a step changes every weight by rate·R·eligibility. R =
    1.0 is the reward integer 64 (s8)."""

    a_plus: float = 1.0
    a_minus: float = 1.0
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    tau_eligibility: float = 0.2
    rate: float = 0.01
    w_min: float = 0.0
    w_max: float = 1.0
    pairing: str = "all"
    rounding: str = "stochastic"
    enable: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.check()
        need_choice("pairing", self.pairing, PAIRINGS)


Plasticity = Learning | STDP | WindowSTDP | RSTDP
"""What a projection may learn by."""

RULES = {c.__name__: c for c in (Learning, STDP, WindowSTDP, RSTDP)}
"""Every rule by the name that YAML uses."""
