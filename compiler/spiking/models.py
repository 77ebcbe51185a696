"""Neuron models of a network: in real numbers as people write them, and in integers as the graph computes them.

:class:`RealNeuron` is quantised to :class:`Neuron` (``compiler/spiking/quantise.py``); :class:`Neuron` is taken
exactly and has one field for every attribute of the graph's ``lif`` operation. The usual models are named
constructors: ``LIF``, ``IF``, ``LI``, ``CubaLIF``, ``ALIF``, ``Leaky``, ``Synaptic``, ``Izhikevich``.

Units: times (``tau``) in seconds, steps as integers, membranes and thresholds in the unit of the weights.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import Fields, need_choice, need_finite, need_seed, need_steps

ONE = 65536
"""The integer that stands for a factor of 1 in decays (16 fraction bits)."""

LEAKS = ("none", "multiplicative", "subtractive")
RESETS = ("zero", "value", "subtract", "none")
RESET_MODES = ("immediate", "delayed", "delayed_new", "undelayed", "undelayed_new")
ROUNDINGS = ("floor", "half_up", "toward_zero")
MEMBRANES = ("stored", "tested")


def _need_common(model: Neuron | RealNeuron) -> None:
    need_choice("leak", model.leak, LEAKS)
    need_choice("reset", model.reset, RESETS)
    need_choice("reset mode", model.reset_mode, RESET_MODES)
    need_choice("rounding", model.rounding, ROUNDINGS)
    need_steps("refractory", model.refractory)
    need_choice("recorded membrane", model.record_v, MEMBRANES)
    if model.refractory_v is not None and not model.refractory:
        raise InputError("refractory_v must go with a refractory of at least 1 step")
    if model.integrates and (not model.refractory or model.refractory_v is not None):
        raise InputError("integrates must go with a refractory of at least 1 step and without refractory_v")


class Exact(Fields):
    """A model in integers, which are taken as they are."""

    exact = True


class Real(Fields):
    """A model in real numbers, which are quantised before lowering."""

    exact = False


@dataclass(frozen=True, eq=False)
class Neuron(Exact):
    """A neuron in integers: exactly the attributes of the graph's ``lif`` operation.

    ``threshold``, ``bias``, ``drive`` and ``v_init`` are integers or int arrays [n]; everything else is one per
    population. ``bias`` is part of the current (and passes an exponential synapse), ``drive`` goes straight to the
    membrane. While refractory the membrane keeps its value, or is ``refractory_v``, or ``integrates`` all the same.
    ``record_v``: the membrane that is shown is the one ``stored`` for the next step, or the one ``tested`` against
    the threshold. ``beta``, ``alpha``, ``adapt_decay`` are factors per step with 16 fraction bits, 0..65536 = 0..1.
    ``alpha`` None: the current is used directly (delta synapse). ``adapt_decay`` None: no adaptive threshold.
    ``spiking`` False: a leaky integrator, which never spikes nor resets. ``adapt_persistent``: the adaptation lives
    on across samples (homeostasis). Raises InputError on values outside these rules.
    """

    threshold: int | np.ndarray = 1
    leak: str = "none"
    beta: int = ONE
    decay: int = 0
    alpha: int | None = None
    bias: int | np.ndarray = 0
    strict: bool = False
    reset: str = "zero"
    v_reset: int = 0
    reset_mode: str = "immediate"
    refractory: int = 0
    refractory_v: int | None = None
    integrates: bool = False
    adapt_decay: int | None = None
    adapt_step: int = 0
    adapt_persistent: bool = False
    wta: bool = False
    rounding: str = "floor"
    old_current: bool = False
    v_init: int | np.ndarray = 0
    drive: int | np.ndarray = 0
    record_v: str = "stored"
    spiking: bool = True

    def __post_init__(self) -> None:
        _need_common(self)
        for name in ("threshold", "bias", "v_init", "drive", "v_reset", "decay", "adapt_step"):
            array = np.asarray(getattr(self, name))
            if array.dtype.kind not in "iu":
                raise InputError(f"{name} of an integer neuron must be integers, not {getattr(self, name)!r}")
        for name in ("beta", "alpha", "adapt_decay"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, np.integer)) and 0 <= value <= ONE):
                raise InputError(f"{name} of an integer neuron must be in 0..{ONE}, not {value!r}")
        if self.decay < 0:
            raise InputError(f"decay must be at least 0, not {self.decay}")


@dataclass(frozen=True, eq=False)
class RealNeuron(Real):
    """A neuron in real numbers, in the unit of the weights; quantised before lowering.

    The membrane decays by ``beta`` per step, or by exp(-dt/``tau``) when ``tau`` (seconds) is given instead; likewise
    the synaptic current by ``alpha`` or ``tau_syn`` (neither: delta synapse) and the adaptation by ``adapt_decay`` or
    ``tau_adapt``. ``decay`` is what a subtractive leak takes per step. ``threshold``, ``bias``, ``v_init`` may be
    arrays [n]. The other fields are those of :class:`Neuron`. Raises InputError on NaN, infinity and values that make
    no neuron.
    """

    threshold: float | np.ndarray = 1.0
    leak: str = "multiplicative"
    beta: float | None = None
    tau: float | None = None
    decay: float = 0.0
    alpha: float | None = None
    tau_syn: float | None = None
    bias: float | np.ndarray = 0.0
    strict: bool = False
    reset: str = "zero"
    v_reset: float = 0.0
    reset_mode: str = "immediate"
    refractory: int = 0
    refractory_v: float | None = None
    integrates: bool = False
    adapt_decay: float | None = None
    tau_adapt: float | None = None
    adapt_step: float = 0.0
    adapt_persistent: bool = False
    wta: bool = False
    rounding: str = "half_up"
    old_current: bool = False
    v_init: float | np.ndarray = 0.0
    drive: float | np.ndarray = 0.0
    record_v: str = "stored"
    spiking: bool = True

    def __post_init__(self) -> None:
        _need_common(self)
        for name in ("threshold", "bias", "v_init", "drive", "v_reset", "decay", "adapt_step"):
            need_finite(name, getattr(self, name))
        for name, tau in (("beta", "tau"), ("alpha", "tau_syn"), ("adapt_decay", "tau_adapt")):
            factor, time = getattr(self, name), getattr(self, tau)
            if factor is not None and time is not None:
                raise InputError(f"{name} and {tau} must not both be given: each says the same decay")
            if factor is not None:
                need_finite(name, factor)
                if np.ndim(factor) or not 0 <= factor <= 1:
                    raise InputError(f"{name} must be one number from 0 to 1 for the population, not {factor!r}")
            if time is not None:
                need_finite(tau, time)
                if np.ndim(time) or not time > 0:
                    raise InputError(f"{tau} must be one time above 0 s for the population, not {time!r}")
        if self.leak == "multiplicative" and self.beta is None and self.tau is None:
            raise InputError("neuron with a multiplicative leak must have beta or tau")
        if self.decay < 0:
            raise InputError(f"decay must be at least 0, not {self.decay}")


@dataclass(frozen=True, eq=False)
class IzhikevichNeuron(Exact):
    """Izhikevich's neuron in integers: exactly the attributes of the graph's ``izhikevich`` operation (1/256 mV)."""

    a: int
    b: int
    c: int
    d: int
    peak: int = 7680
    bias: int | np.ndarray = 0
    substeps: int = 1
    rounding: str = "half_up"
    v_init: int | np.ndarray = -65 * 256
    u_init: int | np.ndarray = -13 * 256


@dataclass(frozen=True, eq=False)
class RealIzhikevich(Real):
    """Izhikevich's neuron (IEEE Trans. Neural Networks 14(6), 2003) in steps of 1 ms.

    v' = v + 0.04·v² + 5·v + 140 − u + I, u' = u + a·(b·v' − u); when v' ≥ ``peak``: spike, v ← c, u ← u + d. v in mV;
    weights into the population are in the unit of I. ``substeps`` 2 takes v in two halves, as the paper's program does.
    ``u_init`` None: b·v_init. The network's dt must be 1 ms.
    """

    a: float = 0.02
    b: float = 0.2
    c: float = -65.0
    d: float = 8.0
    peak: float = 30.0
    bias: float | np.ndarray = 0.0
    substeps: int = 1
    rounding: str = "half_up"
    v_init: float | np.ndarray = -65.0
    u_init: float | np.ndarray | None = None

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name not in ("rounding",) and value is not None:
                need_finite(f.name, value)
        if self.substeps not in (1, 2):
            raise InputError(f"substeps must be 1 or 2, not {self.substeps}")


@dataclass(frozen=True, eq=False)
class AlphaNeuron(Exact):
    """snnTorch's Alpha in integers: exactly the attributes of the graph's ``alpha_neuron`` operation."""

    threshold: int | np.ndarray
    alpha: int
    beta: int
    gain: int
    gain_bits: int
    bias: int | np.ndarray = 0
    reset: str = "subtract"
    wta: bool = False
    rounding: str = "floor"


@dataclass(frozen=True, eq=False)
class Bernoulli(Exact):
    """Spikes at random, in every step with the probability (current + bias) / 65536: a Poisson encoder, or a source of noise.

    Every neuron's own generator is the graph's operation ``bernoulli``, started by the LFSR from ``seed`` (1..2**32 − 1), in
    every sample again. Integers: ``bias`` 6554 is a rate of 0.1 per step.
    """

    seed: int = 1
    bias: int | np.ndarray = 0

    def __post_init__(self) -> None:
        need_seed(self.seed)
        if np.asarray(self.bias).dtype.kind not in "iu":
            raise InputError(
                f"bias of a Bernoulli neuron must be integers (65536 is a rate of 1 per step), not {self.bias!r}"
            )


@dataclass(frozen=True, eq=False)
class RealAlpha(Real):
    """snnTorch 1.0.0's ``Alpha``: the membrane is the difference of two exponentials, 1 > alpha > beta > 0."""

    alpha: float
    beta: float
    threshold: float | np.ndarray = 1.0
    bias: float | np.ndarray = 0.0
    reset: str = "subtract"
    wta: bool = False
    rounding: str = "half_up"

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "threshold", "bias"):
            need_finite(name, getattr(self, name))
        if not 0 < self.beta < self.alpha < 1:
            raise InputError(f"alpha and beta must be 1 > alpha > beta > 0, not {self.alpha!r} and {self.beta!r}")


Model = Neuron | RealNeuron | IzhikevichNeuron | RealIzhikevich | AlphaNeuron | RealAlpha | Bernoulli
"""What a population may be made of."""


def LIF(
    *, tau: float | None = None, threshold: float | np.ndarray = 1.0, beta: float | None = None, **fields: Any
) -> RealNeuron:
    """Leaky integrate and fire: v ← v·exp(−dt/tau) + I; spike and reset when v ≥ threshold."""
    return RealNeuron(threshold=threshold, tau=tau, beta=beta, **fields)


def IF(*, threshold: float | np.ndarray = 1.0, **fields: Any) -> RealNeuron:
    """Integrate and fire without leak."""
    return RealNeuron(threshold=threshold, leak="none", **fields)


def LI(*, tau: float | None = None, beta: float | None = None, **fields: Any) -> RealNeuron:
    """Leaky integrator: a membrane that never spikes, read as an output."""
    return RealNeuron(tau=tau, beta=beta, spiking=False, reset="none", **fields)


def CubaLIF(
    *,
    tau: float | None = None,
    tau_syn: float | None = None,
    threshold: float | np.ndarray = 1.0,
    beta: float | None = None,
    alpha: float | None = None,
    **fields: Any,
) -> RealNeuron:
    """LIF behind an exponential synapse: i ← i·exp(−dt/tau_syn) + I; v ← v·exp(−dt/tau) + i."""
    if alpha is None and tau_syn is None:
        raise InputError("CubaLIF must have tau_syn or alpha")
    return RealNeuron(threshold=threshold, tau=tau, beta=beta, tau_syn=tau_syn, alpha=alpha, **fields)


def ALIF(
    *,
    tau: float | None = None,
    tau_adapt: float | None = None,
    adapt_step: float = 0.1,
    threshold: float | np.ndarray = 1.0,
    beta: float | None = None,
    adapt_decay: float | None = None,
    **fields: Any,
) -> RealNeuron:
    """LIF whose threshold rises by ``adapt_step`` at every spike and decays back with ``tau_adapt``."""
    if adapt_decay is None and tau_adapt is None:
        raise InputError("ALIF must have tau_adapt or adapt_decay")
    return RealNeuron(
        threshold=threshold,
        tau=tau,
        beta=beta,
        tau_adapt=tau_adapt,
        adapt_decay=adapt_decay,
        adapt_step=adapt_step,
        **fields,
    )


def Leaky(
    *,
    beta: float,
    threshold: float | np.ndarray = 1.0,
    reset: str = "subtract",
    reset_delay: bool = True,
    **fields: Any,
) -> RealNeuron:
    """snnTorch 1.0.0's ``Leaky``: spike when v > threshold, reset one step later (``reset_delay``)."""
    mode = "delayed" if reset_delay else "undelayed"
    return RealNeuron(beta=beta, threshold=threshold, strict=True, reset=reset, reset_mode=mode, **fields)


def Synaptic(
    *,
    alpha: float,
    beta: float,
    threshold: float | np.ndarray = 1.0,
    reset: str = "subtract",
    reset_delay: bool = True,
    **fields: Any,
) -> RealNeuron:
    """snnTorch 1.0.0's ``Synaptic``; its delayed zero reset clears the new membrane, unlike Leaky's."""
    mode = ("delayed" if reset_delay else "undelayed") + ("_new" if reset == "zero" else "")
    return RealNeuron(alpha=alpha, beta=beta, threshold=threshold, strict=True, reset=reset, reset_mode=mode, **fields)


IZHIKEVICH = {
    "RS": {"a": 0.02, "b": 0.2, "c": -65.0, "d": 8.0},
    "IB": {"a": 0.02, "b": 0.2, "c": -55.0, "d": 4.0},
    "CH": {"a": 0.02, "b": 0.2, "c": -50.0, "d": 2.0},
    "FS": {"a": 0.1, "b": 0.2, "c": -65.0, "d": 2.0},
    "LTS": {"a": 0.02, "b": 0.25, "c": -65.0, "d": 2.0},
}
"""Firing patterns of the 2003 paper: regular spiking, intrinsically bursting, chattering, fast spiking, low
threshold.
"""


def Izhikevich(pattern: str = "RS", **fields: Any) -> RealIzhikevich:
    """Izhikevich's neuron of a named firing ``pattern``; fields given replace the pattern's."""
    need_choice("pattern", pattern, tuple(IZHIKEVICH))
    return RealIzhikevich(**{**IZHIKEVICH[pattern], **fields})


def Alpha(*, alpha: float, beta: float, threshold: float | np.ndarray = 1.0, **fields: Any) -> RealAlpha:
    """snnTorch 1.0.0's ``Alpha``: the response to a spike is the difference of two exponentials."""
    return RealAlpha(alpha=alpha, beta=beta, threshold=threshold, **fields)


MODELS: dict[str, Any] = {
    f.__name__: f
    for f in (
        *(LIF, IF, LI, CubaLIF, ALIF, Leaky, Synaptic, Alpha, Izhikevich, Bernoulli),
        *(Neuron, RealNeuron, RealIzhikevich, IzhikevichNeuron, RealAlpha, AlphaNeuron),
    )
}
"""Every model by the name that YAML uses."""
