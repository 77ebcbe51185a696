"""snnTorch 1.0.0's neuron modules as layers: their parameters, reset rules and the way each module applies them.

Equations: the ``forward`` of each class in ``snntorch/_neurons``. torch is never imported here; tensors are read through
their own methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.spiking import maps, signal
from neuroloom.compiler.frontends.spiking.layers import Layer, decay_of, per_neuron

from .layers import recurrent_map

STATE_FUNCTIONS = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}
RESETS = ("subtract", "zero", "none")
"""snnTorch's reset_mechanism_val in order."""


def is_neuron(module: Any) -> bool:
    """Whether a module is one of snnTorch's own neurons, carried or not."""
    kind = type(module)
    return kind.__module__.startswith("snntorch.") and any(c.__name__ == "SpikingNeuron" for c in kind.__mro__)


def need_carried(module: Any, where: str) -> None:
    """Raise UnsupportedError when the module, or an option of it, is not carried."""
    kind = type(module).__name__
    if kind not in NEURONS:
        raise UnsupportedError(
            f"{where} is not carried, only {', '.join(NEURONS)} are; replace it by one of these, or write it as a Network"
        )
    if module.state_quant:
        raise UnsupportedError(f"{where} has state_quant; leave it out, the network's own integers take its place")
    if not np.all(array(module.graded_spikes_factor) == 1):
        raise UnsupportedError(
            f"{where} sends graded spikes (graded_spikes_factor); the core carries spikes of 0 and 1, fold the factor into "
            "the next layer"
        )
    if kind == "RSynaptic" and not module.reset_delay:
        raise UnsupportedError(
            f"{where} has reset_delay=False, which raises an error or does nothing in snnTorch 1.0.0's RSynaptic; use "
            "reset_delay=True"
        )
    _need_heaviside(module, where)


def array(value: Any) -> np.ndarray:
    """A tensor or number as float64."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def _need_heaviside(module: Any, where: str) -> None:
    """All usual surrogates fire where mem > threshold; a stochastic or own one may not."""
    import torch

    probe = torch.tensor([-2.0, -1e-6, 0.0, 1e-6, 2.0])
    with torch.no_grad():
        fired = [module.spike_grad(probe).tolist() for _ in range(4)]
    if any(f != [0.0, 0.0, 0.0, 1.0, 1.0] for f in fired):
        raise UnsupportedError(
            f"{where} has a spike_grad that does not fire exactly where mem > threshold; use a surrogate that does"
        )


def _spread(values: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A parameter, one number or one that broadcasts to the layer's shape, as float64 [n]."""
    numbers = array(values)
    try:
        numbers = np.broadcast_to(numbers, shape)
    except ValueError:
        raise UnsupportedError(
            f"{where} must broadcast to the shape {list(shape)}, not {list(numbers.shape)}"
        ) from None
    return per_neuron(numbers, int(np.prod(shape, dtype=np.int64)), where)


def _reset(module: Any, where: str) -> str:
    """The reset rule. The module keeps it twice; they must agree, or it does something between two rules."""
    wired = STATE_FUNCTIONS.get(getattr(module.state_function, "__name__", ""), "")
    said = RESETS[int(module.reset_mechanism_val)]
    if wired != said:
        raise UnsupportedError(
            f"{where} has reset_mechanism {said!r} but was built with {wired or 'another'!r}, and snnTorch goes on using that; "
            "build the module again with the reset that is meant"
        )
    return said


def _lif(
    module: Any,
    name: str,
    drive: signal.Signal,
    where: str,
    *,
    clears_new: bool,
    alpha: bool = False,
    delay: bool = True,
) -> Layer:
    shape = drive.shape
    reset = _reset(module, where)
    mode = "delayed" if delay else "undelayed"
    if reset == "zero" and clears_new:
        mode += "_new"
    if module.inhibition and len(shape) > 1:
        raise UnsupportedError(f"{where} has inhibition over a shape {list(shape)}; it is carried for flat layers only")
    return Layer(
        name,
        drive,
        np.clip(_spread(module.beta, shape, f"beta of {where}"), 0, 1),  # as forward clamps it
        _spread(module.threshold, shape, f"threshold of {where}"),
        alpha=np.clip(_spread(module.alpha, shape, f"alpha of {where}"), 0, 1) if alpha else None,
        reset=reset,
        reset_mode=mode,
        wta=bool(module.inhibition),
        node=name,
    )


def _leaky(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    return _lif(module, name, drive, where, clears_new=False, delay=bool(module.reset_delay))


def _synaptic(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    return _lif(module, name, drive, where, clears_new=True, alpha=True, delay=bool(module.reset_delay))


def _with_own_spikes(module: Any, name: str, drive: signal.Signal, where: str) -> signal.Signal:
    """The drive plus the module's recurrent weights times its spikes of the step before."""
    linear, bias = recurrent_map(module.recurrent, drive.shape, where)
    own = signal.Signal(drive.shape, {(signal.SPIKES, name): maps.LinearMap.delayed(linear, 1)}, np.zeros(drive.size))
    return drive.plus(own, where).shifted(bias)


def _rleaky(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    drive = _with_own_spikes(module, name, drive, where)
    return _lif(module, name, drive, where, clears_new=True, delay=bool(module.reset_delay))


def _rsynaptic(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    drive = _with_own_spikes(module, name, drive, where)
    return _lif(module, name, drive, where, clears_new=True, alpha=True)


def _lapicque(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    """v' = (1 − dt/RC) v + (dt/C) input: beta only served to find R and C."""
    shape = drive.shape
    r, c, dt = (_spread(getattr(module, k), shape, f"{k} of {where}") for k in ("R", "C", "time_step"))
    layer = _lif(module, name, drive.scaled(r * (1 / (r * c)) * dt), where, clears_new=True)
    layer.beta = decay_of(1 - dt / (r * c), f"1 - time_step/(R*C) of {where}")
    return layer


def _alpha(module: Any, name: str, drive: signal.Signal, where: str) -> Layer:
    layer = _lif(module, name, drive, where, clears_new=False, alpha=True)
    layer.kind = "alpha"
    layer.reset_mode = "immediate"
    return layer


NEURONS: dict[str, Callable[[Any, str, signal.Signal, str], Layer]] = {
    "Leaky": _leaky,
    "Synaptic": _synaptic,
    "RLeaky": _rleaky,
    "RSynaptic": _rsynaptic,
    "Lapicque": _lapicque,
    "Alpha": _alpha,
}
"""Carried neuron modules."""
