"""A network in real numbers, step by step: what calibration measures and what quantised networks are compared with.

The same equations as the graph's ``lif`` in float64, without saturation and rounding; weights do not learn here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError

from .models import RealNeuron
from .network import Network, Population, Projection
from .order import evaluation_order
from .quantise import factor


def simulate(network: Network, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """Spikes and membranes of every population: ``POP.spikes`` and ``POP.v`` [samples, steps, n] as float64.

    ``inputs``: arrays [samples, steps, n] by input name, or one array when there is one input. Raises
    UnsupportedError for models other than the integrate-and-fire ones with immediate reset.
    """
    arrays = _inputs(network, inputs)
    samples, steps = next(iter(arrays.values())).shape[:2]
    order = evaluation_order(network)
    neurons = {name: _Neurons(network.populations[name], network, samples) for name in order}
    sizes = {
        name: network.size_of(name)
        for name in [*arrays, *order]
        if name in order or network.inputs[name].kind == "spikes"
    }
    past = {name: np.zeros((steps, samples, size)) for name, size in sizes.items()}
    out = {f"{name}.{what}": np.zeros((samples, steps, sizes[name])) for name in order for what in ("spikes", "v")}
    maps = {p.name: _delays(p, sizes[p.source], sizes[p.target]) for p in network.projections.values()}
    for t in range(steps):
        for name, array in arrays.items():
            if network.inputs[name].kind == "spikes":
                past[name][t] = array[:, t]
        for name in order:
            current = np.zeros((samples, sizes[name]))
            for p in network.into(name):
                for d, matrix in maps[p.name].items():
                    if d <= t:
                        current += past[p.source][t - d] @ matrix
            for item in network.inputs.values():
                if item.target == name:
                    current += arrays[item.name][:, t]
            spikes, v = neurons[name].step(current)
            past[name][t] = spikes
            out[f"{name}.spikes"][:, t], out[f"{name}.v"][:, t] = spikes, v
    return out


def measure_peaks(network: Network, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, float]:
    """The largest |membrane| of each population on ``inputs``, before any reset."""
    arrays = _inputs(network, inputs)
    out = simulate(network, arrays)
    peaks = {}
    for item in network.populations.values():
        m = item.model
        reach = float(np.abs(out[f"{item.name}.v"]).max())
        if isinstance(m, RealNeuron) and m.spiking:
            reach = max(reach, float(np.max(np.abs(np.asarray(m.threshold)))))
        peaks[item.name] = reach
    return peaks


def _inputs(network: Network, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    given = dict(inputs) if isinstance(inputs, Mapping) else {next(iter(network.inputs), "input"): inputs}
    if set(given) != set(network.inputs):
        raise InputError(f"inputs must be {', '.join(network.inputs) or '(none)'}, not {', '.join(given)}")
    if not given:
        raise InputError(f"network {network.name!r} must have an input to be measured")
    out = {name: np.asarray(array, np.float64) for name, array in given.items()}
    for name, array in out.items():
        size = network.inputs[name].size
        if array.ndim != 3 or array.shape[2] != size or not np.isfinite(array).all():
            raise InputError(
                f"input {name!r} must be finite and of shape [samples, steps, {size}], not {list(array.shape)}"
            )
    return out


def _delays(p: Projection, rows: int, columns: int) -> dict[int, np.ndarray]:
    """A weight matrix [source size, target size] for every delay that occurs."""
    out = {}
    for d in np.unique(p.delay):
        at = p.delay == d
        matrix = np.zeros((rows, columns))
        np.add.at(matrix, (p.pre[at], p.post[at]), p.weight[at].astype(np.float64))
        out[int(d)] = matrix
    return out


class _Neurons:
    """The states of one population for all samples."""

    def __init__(self, item: Population, net: Network, samples: int) -> None:
        m = item.model
        if not isinstance(m, RealNeuron) or m.reset_mode != "immediate" or m.wta:
            raise UnsupportedError(
                f"population {item.name!r} must be real integrate-and-fire neurons with immediate reset and without wta "
                "to be measured; give scales instead"
            )
        self.m = m
        shape = (samples, item.size)
        self.v = np.broadcast_to(np.asarray(m.v_init, np.float64), shape).copy()
        self.i, self.a, self.r = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.beta = factor(m.beta, m.tau, net.dt)
        self.alpha = factor(m.alpha, m.tau_syn, net.dt)
        self.adapt = factor(m.adapt_decay, m.tau_adapt, net.dt)

    def step(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Spikes and stored membrane of one step."""
        m, theta = self.m, self.m.threshold + self.a
        c = current + m.bias
        if self.alpha is not None:
            old, self.i = self.i, self.i * self.alpha + c
            c = old if m.old_current else self.i
        x = self.v
        if m.leak == "multiplicative":
            x = x * (1.0 if self.beta is None else self.beta)
        elif m.leak == "subtractive":
            x = x - np.clip(x, -m.decay, m.decay)
        x = x + c + m.drive
        spikes = ((x > theta) if m.strict else (x >= theta)) & (self.r == 0) & m.spiking
        after = {"zero": 0.0 * x, "value": 0.0 * x + m.v_reset, "subtract": x - theta, "none": x}[m.reset]
        stay = self.v if m.refractory_v is None else np.full_like(x, m.refractory_v)
        self.v = np.where((self.r > 0) & (not m.integrates), stay, np.where(spikes, after, x))
        self.r = np.where(spikes, m.refractory, np.maximum(self.r - 1, 0))
        if self.adapt is not None:
            self.a = self.a * self.adapt + m.adapt_step * spikes
        return spikes.astype(np.float64), self.v
