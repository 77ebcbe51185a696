"""Real numbers of a network to the integers that are lowered, with a report of every error made on the way.

Each population gets one scale, S weight integers per unit, shared by everything that adds into its membrane::

    weight = round(w·S)      threshold, bias, v_reset, ... = round(x·S·2**shift)      decay = round(65536·beta)

S is chosen so that the largest weight (or learning bound) just fits the weight bits; a power of two when all weights
are then exact and none is learnt. It is made smaller when the membrane would not fit the state bits: by what the
weights can add up to, or by the peaks measured on data (``peaks``, see ``real.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from .models import ONE, AlphaNeuron, IzhikevichNeuron, Neuron, RealAlpha, RealIzhikevich, RealNeuron
from .network import Network, Population, Projection
from .rules import integer_rule, weight_bound

IZHIKEVICH_SCALE = 256
"""Membrane integers per mV, fixed by the operation."""

SCALED = ("threshold", "bias", "drive", "v_init", "v_reset", "decay", "adapt_step", "refractory_v")
"""Parameters of integrate-and-fire neurons in the unit of the membrane."""

MAX_SHIFT = 8
"""Most fraction bits that the membrane may have beyond the weights'."""


@dataclass(frozen=True)
class QuantisedPart:
    """What quantisation did to one population or projection, in real units.

    ``scale``: membrane (weight) integers per unit; ``worst`` and ``rms``: errors of the weights, ``errors``: of every
    parameter by name (relative for decays); ``exact``: no error at all.
    """

    name: str
    scale: float
    worst: float = 0.0
    rms: float = 0.0
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether every number was carried without error."""
        return self.worst == 0 and not any(self.errors.values())


@dataclass(frozen=True)
class QuantisationReport:
    """Errors by population and by projection; ``str()`` is a table."""

    populations: dict[str, QuantisedPart]
    projections: dict[str, QuantisedPart]

    @property
    def exact(self) -> bool:
        """Whether the integer network is the real one."""
        return all(p.exact for p in [*self.populations.values(), *self.projections.values()])

    def __str__(self) -> str:
        rows = [f"{'part':24} {'scale':>12}  errors (in real units)"]
        for part in [*self.populations.values(), *self.projections.values()]:
            errors = {"worst": part.worst, "rms": part.rms, **part.errors}
            text = ", ".join(f"{k} {v:.3g}" for k, v in errors.items() if v) or "exact"
            rows.append(f"{part.name:24} {part.scale:12.6g}  {text}")
        return "\n".join(rows)

    def to_json(self) -> dict[str, Any]:
        """Plain form, numbers as text, for the file's records."""
        return {
            part.name: {
                "scale": repr(part.scale),
                "worst": f"{part.worst:.6g}",
                "rms": f"{part.rms:.6g}",
                **{k: f"{v:.6g}" for k, v in part.errors.items()},
            }
            for part in [*self.populations.values(), *self.projections.values()]
        }


def quantise(
    network: Network,
    *,
    weight_bits: int | None = None,
    state_bits: int | None = None,
    scales: Mapping[str, float] | None = None,
    shifts: Mapping[str, int] | None = None,
    peaks: Mapping[str, float] | None = None,
) -> tuple[Network, QuantisationReport]:
    """The network in integers, and what that cost. Parts given in integers are taken exactly.

    ``weight_bits``, ``state_bits`` replace the network's; ``scales`` fixes the weight integers per unit of
    populations by name; ``shifts`` gives populations' membranes that many fraction bits beyond the weights' (0..8);
    ``peaks`` are the largest |membrane| measured on data, by population. Raises InputError on numbers that do not
    fit, naming the part.
    """
    out = network.copy()
    out = replace(
        out,
        weight_bits=network.weight_bits if weight_bits is None else weight_bits,
        state_bits=network.state_bits if state_bits is None else state_bits,
    )
    for what, given in (("scales", scales), ("shifts", shifts), ("peaks", peaks)):
        for name in given or {}:
            if name not in out.populations:
                raise InputError(f"{what} must name populations of network {network.name!r}, not {name!r}")
    populations: dict[str, QuantisedPart] = {}
    projections: dict[str, QuantisedPart] = {}
    for item in out.populations.values():
        into = list(out.into(item.name))
        if item.model.exact:
            _need_integers(item, into)
            continue
        scale, shift = _scale(out, item, into, scales or {}, shifts or {}, peaks or {})
        item.scale, item.shift = scale * 2**shift, shift
        item.model, errors = _MODELS[type(item.model)](item, out)
        populations[item.name] = QuantisedPart(item.name, item.scale, errors=errors)
        for projection in into:
            projections[projection.name] = _weights(projection, scale, out)
        for drive in (i for i in out.inputs.values() if i.target == item.name and i.bounds is not None):
            assert drive.bounds is not None
            drive.scale = item.scale
            drive.bounds = (math.floor(drive.bounds[0] * item.scale), math.ceil(drive.bounds[1] * item.scale))
    report = QuantisationReport(populations, projections)
    if populations:
        out.records["quantised"] = report.to_json()
    return out, report


def _need_integers(item: Population, into: list[Projection]) -> None:
    for p in into:
        if p.size and (p.weight.dtype.kind not in "iu" or not (p.plasticity is None or p.plasticity.exact)):
            raise InputError(
                f"weights and rule of projection {p.name!r} must be integers, because population {item.name!r} is given in integers"
            )


def _scale(
    net: Network,
    item: Population,
    into: list[Projection],
    scales: Mapping[str, float],
    shifts: Mapping[str, int],
    peaks: Mapping[str, float],
) -> tuple[float, int]:
    """Weight integers per unit, and the shift from weights to membrane."""
    shift = shifts.get(item.name, 0)
    if not isinstance(shift, int) or not 0 <= shift <= MAX_SHIFT:
        raise InputError(f"shift of population {item.name!r} must be in 0..{MAX_SHIFT}, not {shift!r}")
    izhikevich = isinstance(item.model, RealIzhikevich)
    if izhikevich and item.name in scales:
        raise InputError(
            f"scale of Izhikevich population {item.name!r} must not be given: it is {IZHIKEVICH_SCALE} per mV"
        )
    limits = [(p, (1 << ((p.weight_bits or net.weight_bits) - 1)) - 1, weight_bound(p)) for p in into if p.size]
    limits = [(p, max(limit, 1), bound) for p, limit, bound in limits if bound > 0]
    if izhikevich:
        needed = max((bound * IZHIKEVICH_SCALE / limit for _, limit, bound in limits), default=1.0)
        shift = max(0, math.ceil(math.log2(needed)))
        if shift > MAX_SHIFT:
            raise InputError(
                f"weights into population {item.name!r} must be at most {IZHIKEVICH_SCALE - 1} mV or have more bits, "
                f"not {max(bound for _, _, bound in limits):.6g}"
            )
        return IZHIKEVICH_SCALE / 2**shift, shift
    if item.name in scales:
        scale = float(scales[item.name])
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"scale of population {item.name!r} must be above 0, not {scale!r}")
        return scale, shift
    room = _membrane(item, into, peaks.get(item.name))
    most = (1 << (net.state_bits - 1)) - 1
    if limits:
        fit = min(limit / bound for _, limit, bound in limits)
    else:  # no weights say anything: 12 bits for the largest number there is
        fit = 4096 / room if room else 1.0
    fit = min(fit, most / 2**shift / room) if room else fit
    power = 2.0 ** math.floor(math.log2(fit))
    # Weights that will be learnt want the finest grid, not an exact start.
    exact = all(p.plasticity is None and (p.weight * power == np.rint(p.weight * power)).all() for p, _, _ in limits)
    return (power if exact else fit), shift


def _membrane(item: Population, into: list[Projection], peak: float | None) -> float:
    """The largest real number that the population's state must hold: parameters, sums of weights, measured peaks."""
    m = item.model
    given = [getattr(m, n, None) for n in SCALED]
    values = [float(np.max(np.abs(np.asarray(value)))) for value in given if value is not None]
    total = np.zeros(item.size)
    for p in into:
        most = np.abs(p.weight) if p.plasticity is None else np.maximum(np.abs(p.weight), weight_bound(p))
        np.add.at(total, p.post, most)
    values.append(float(total.max()) + float(np.max(np.abs(np.asarray(getattr(m, "bias", 0.0))))))
    if peak is not None:
        values.append(2 * float(peak))  # data that was not measured may go higher
    return max(values)


def _weights(projection: Projection, scale: float, net: Network) -> QuantisedPart:
    """Round a projection's weights and its rule."""
    bits = projection.weight_bits or net.weight_bits
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    real = projection.weight.astype(np.float64)
    q = np.rint(real * scale).astype(np.int64)
    if q.size and (q.min() < low or q.max() > high):
        bad = int(np.flatnonzero((q < low) | (q > high))[0])
        raise InputError(
            f"weights of projection {projection.name!r} must be in {low / scale:.6g}..{high / scale:.6g} at the scale {scale:.6g} "
            f"and {bits} bits, not {real[bad]:.6g}; use more weight bits or a smaller scale"
        )
    projection.weight = q
    errors: dict[str, float] = {}
    if projection.plasticity is not None and not projection.plasticity.exact:
        projection.plasticity, errors = integer_rule(projection, scale, net)
    error = q / scale - real
    if not q.size:
        return QuantisedPart(projection.name, scale, errors=errors)
    return QuantisedPart(projection.name, scale, float(np.abs(error).max()), float(np.sqrt((error**2).mean())), errors)


def factor(value: float | None, tau: float | None, dt: float) -> float | None:
    """A decay per step from itself or from its time constant; None when neither is given."""
    if value is not None:
        return float(value)
    return None if tau is None else math.exp(-dt / tau)


def _lif(item: Population, net: Network) -> tuple[Neuron, dict[str, float]]:
    m, scale = item.model, item.scale or 1.0
    assert isinstance(m, RealNeuron)
    errors: dict[str, float] = {}

    numbers = {name: _whole(name, getattr(m, name), scale, errors) for name in SCALED if getattr(m, name) is not None}
    beta = factor(m.beta, m.tau, net.dt) if m.leak == "multiplicative" else 1.0
    decays: dict[str, Any] = {
        "beta": _decay("beta", beta, errors),
        "alpha": _decay("alpha", factor(m.alpha, m.tau_syn, net.dt), errors),
        "adapt_decay": _decay("adapt_decay", factor(m.adapt_decay, m.tau_adapt, net.dt), errors),
    }
    plain = {f.name: getattr(m, f.name) for f in fields(Neuron) if f.name not in {*SCALED, *decays}}
    return Neuron(**numbers, **decays, **plain), errors


def _izhikevich(item: Population, net: Network) -> tuple[IzhikevichNeuron, dict[str, float]]:
    m, errors = item.model, {}  # type: ignore[var-annotated]
    assert isinstance(m, RealIzhikevich)
    if not math.isclose(net.dt, 1e-3):
        raise InputError(f"dt must be 1e-3 s for the Izhikevich population {item.name!r}, not {net.dt!r}")
    if not 0 <= m.a <= 1 or not 0 <= m.b < 2:
        raise InputError(f"a and b of population {item.name!r} must be in 0..1 and 0..2, not {m.a!r} and {m.b!r}")
    whole = {n: _whole(n, getattr(m, n), IZHIKEVICH_SCALE, errors) for n in ("c", "d", "peak", "bias", "v_init")}
    u_init = m.b * np.asarray(m.v_init) if m.u_init is None else m.u_init
    factors = {n: _whole(n, getattr(m, n), ONE, errors) for n in ("a", "b")}
    u = _whole("u_init", u_init, IZHIKEVICH_SCALE, errors)
    return IzhikevichNeuron(**factors, **whole, u_init=u, substeps=m.substeps, rounding=m.rounding), errors


def _alpha(item: Population, net: Network) -> tuple[AlphaNeuron, dict[str, float]]:
    m, scale = item.model, item.scale or 1.0
    assert isinstance(m, RealAlpha)
    errors: dict[str, float] = {}
    tau = math.log(m.alpha) / (math.log(m.beta) - math.log(m.alpha)) + 1
    bits = 16 if abs(tau) * ONE < 1 << 17 else 8
    gain = round(tau * 2**bits)
    if not 0 <= gain < 1 << 17:
        raise InputError(
            f"alpha and beta of population {item.name!r} must lie further apart: the gain {tau:.6g} must be in 0..512"
        )
    errors["gain"] = abs(gain / 2**bits - tau)
    alpha, beta = _decay("alpha", m.alpha, errors), _decay("beta", m.beta, errors)
    assert alpha is not None and beta is not None
    whole = {n: _whole(n, getattr(m, n), scale, errors) for n in ("threshold", "bias")}
    return AlphaNeuron(
        alpha=alpha, beta=beta, gain=gain, gain_bits=bits, reset=m.reset, wta=m.wta, rounding=m.rounding, **whole
    ), errors


def _whole(name: str, value: Any, scale: float, errors: dict[str, float]) -> Any:
    """A number or array in integers; its worst error in real units goes to ``errors``."""
    real = np.asarray(value, np.float64)
    q = np.rint(real * scale)
    errors[name] = float(np.abs(q / scale - real).max())
    return q.astype(np.int64) if real.ndim else int(q)


def _decay(name: str, real: float | None, errors: dict[str, float]) -> int | None:
    """A factor per step with 16 fraction bits."""
    if real is None:
        return None
    q = round(real * ONE)
    errors[name] = abs(q / ONE - real)
    return q


_MODELS: dict[type, Callable[[Population, Network], tuple[Any, dict[str, float]]]] = {
    RealNeuron: _lif,
    RealIzhikevich: _izhikevich,
    RealAlpha: _alpha,
}
"""How each real model becomes integers; the population's scale is set before."""
