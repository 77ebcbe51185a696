"""Encoders as populations, so that the device turns analog values into spikes: the host gives one current per channel.

An IF neuron with threshold 65536 and reset by subtraction is the evenly spaced ``rate`` encoder; one that counts the steps is the
``latency`` encoder; :class:`~.models.Bernoulli` neurons are the ``bernoulli`` encoder; two that hold the signal's distance from a
level, and push each other's when they spike, are the ``delta`` encoder. Each gives spike for spike what :mod:`.encoders` gives on
the host (``tests/compiler/spiking/test_device_encoders.py``). A current that stays the same is written once, and the steps run
without the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from neuroloom.compiler.errors import InputError

from . import encoders
from .lists import need_size
from .models import Bernoulli, Neuron

if TYPE_CHECKING:
    from .network import Network
    from .parts import Population

ONE = 65536
WEIGHT_MOST = 32767


def rate_current(values: np.ndarray, steps: int) -> np.ndarray:
    """round(65536·value) in every step: values in 0..1 [N, n] to int64 [N, steps, n]."""
    return encoders.constant(np.rint(encoders.unit_values(values) * ONE), steps).astype(np.int64)


def latency_current(values: np.ndarray, steps: int, *, silent_below: float = 0.0) -> np.ndarray:
    """How far ahead the count of steps starts, in step 0: values in 0..1 [N, n] to int64 [N, steps, n], 0 afterwards."""
    array = encoders.unit_values(values)
    when = np.rint((1 - array) * (steps - 1)).astype(np.int64)
    out = np.zeros((*array.shape[:-1], steps, array.shape[-1]), np.int64)
    out[..., 0, :] = np.where(array > silent_below, steps - 1 - when, -steps)
    return out


def delta_current(signal: np.ndarray) -> np.ndarray:
    """Changes of a signal of integers [N, steps, n], up and down: int64 [N, steps, 2n]. Raises InputError for other numbers."""
    array = np.asarray(signal, np.float64)
    whole = np.rint(array)
    if not (np.isfinite(array).all() and (whole == array).all()):
        raise InputError("signal of a delta encoder on the device must be integers; scale and round it")
    change = np.diff(whole.astype(np.int64), axis=-2, prepend=whole[..., :1, :].astype(np.int64))
    return np.concatenate([change, -change], axis=-1)


def _rate(net: Network, name: str, size: int, options: dict[str, Any]) -> tuple[Population, tuple[int, int]]:
    model = Neuron(threshold=ONE, reset="subtract")
    return net.population(name, size, model), (0, ONE)


def _bernoulli(net: Network, name: str, size: int, options: dict[str, Any]) -> tuple[Population, tuple[int, int]]:
    return net.population(name, size, Bernoulli(seed=options.pop("seed", 1))), (0, ONE)


def _latency(net: Network, name: str, size: int, options: dict[str, Any]) -> tuple[Population, tuple[int, int]]:
    steps = options.get("steps")
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"latency encoder {name!r} must have steps, a number of at least 1, not {steps!r}")
    return net.population(name, size, Neuron(threshold=steps, bias=1)), (-steps, steps - 1)


def _delta(net: Network, name: str, size: int, options: dict[str, Any]) -> tuple[Population, tuple[int, int]]:
    threshold, bounds = options.pop("threshold", None), options.pop("bounds", None)
    if not isinstance(threshold, int) or not 0 < threshold <= WEIGHT_MOST:
        raise InputError(
            f"threshold of delta encoder {name!r} must be an integer in 1..{WEIGHT_MOST}, not {threshold!r}"
        )
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2 or not all(isinstance(b, int) for b in bounds):
        raise InputError(
            f"bounds of delta encoder {name!r} must be the signal's (least, greatest) integers, not {bounds!r}"
        )
    item = net.population(name, 2 * size, Neuron(threshold=threshold, reset="subtract"))
    pre = np.arange(2 * size)
    bits = None if threshold < 128 else 16  # of the network's own, or wide
    net.connect(item, item, pre=pre, post=(pre + size) % (2 * size), weights=threshold, delay=1, weight_bits=bits)
    most = bounds[1] - bounds[0]
    return item, (-most, most)


@dataclass(frozen=True)
class OnDevice:
    """An encoder on the device: the population it is, with the bounds of its currents, and the host's part of it."""

    build: Callable[[Network, str, int, dict[str, Any]], tuple[Population, tuple[int, int]]]
    host: str


ON_DEVICE: Mapping[str, OnDevice] = {
    "rate": OnDevice(_rate, "rate_current"),
    "bernoulli": OnDevice(_bernoulli, "rate_current"),
    "latency": OnDevice(_latency, "latency_current"),
    "delta": OnDevice(_delta, "delta_current"),
}


def on_device(net: Network, name: str, size: int, kind: str, **options: Any) -> Population:
    """Add a population of ``net`` that encodes ``size`` analog channels: its spikes are those of the host's encoder ``kind``.

    ``kind`` and ``options``: rate (``steps``, ``low``, ``high``; evenly spaced), bernoulli (the same and ``seed``; at random),
    latency (``steps``, ``low``, ``high``, ``silent_below``), delta (an integer ``threshold``, and ``bounds`` of the signal, of
    integers; 2·size neurons, up in 0..size−1). ``shape`` and ``samples`` as of :meth:`Network.encode`. Samples are given under
    ``samples``, or ``name_current``. (A constant current goes straight to the neurons: :meth:`Network.drive` with encoder
    ``constant``.)

    Raises InputError with one sentence.
    """
    if kind not in ON_DEVICE:
        raise InputError(f"encoder on the device must be one of {', '.join(ON_DEVICE)}, not {kind!r}")
    size = need_size(name, size)
    given = {key: options.pop(key) for key in ("shape", "samples") if key in options}
    chosen = ON_DEVICE[kind]
    item, bounds = chosen.build(net, name, size, options)
    net.encode(net.drive(item, bounds=bounds), chosen.host, **given, **options)
    return item
