"""Spiking networks with everything that a core must be told, and devices in this process that run them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.sim import reference

import neuroloom as nl

SMALL = {"lanes": 2, "pool_words": 1024, "neurons": 64, "inputs": 32, "program_words": 256, "event_depth": 64}


def small_core(**other: Any) -> CoreConfig:
    """A core with everything, small enough to be simulated in no time."""
    return CoreConfig("custom", **{**SMALL, "slots": 8, "learning": "reward", **other})


def plain() -> nl.Model:
    """Two populations, recurrent, delays to 5 steps; spikes only."""
    rng = np.random.default_rng(1)
    net = nl.Network("plain")
    cells = net.input("in", 20)
    a = net.population("a", 30, nl.Neuron(threshold=200, leak="multiplicative", beta=60000))
    o = net.population("o", 5, nl.Neuron(threshold=100, leak="subtractive", decay=3, reset="subtract"))
    net.connect(cells, a, weights=rng.integers(-20, 90, (20, 30)), delay=0)
    net.connect(a, a, weights=rng.integers(-20, 20, (30, 30)), delay=rng.integers(1, 6, (30, 30)))
    net.connect(a, o, weights=rng.integers(-20, 30, (30, 5)), delay=0)
    net.record(a, "spikes")
    net.record(o, "spikes")
    return nl.compile(net)


def recorded() -> nl.Model:
    """Membranes recorded, an analog input, a decision by margin."""
    rng = np.random.default_rng(2)
    net = nl.Network("recorded")
    cells = net.input("in", 17)
    a = net.population("a", 21, nl.Neuron(threshold=150, leak="multiplicative", beta=62000, refractory=2))
    o = net.population("o", 3, nl.Neuron(threshold=400, leak="none", reset="subtract"))
    net.connect(cells, a, weights=rng.integers(-20, 90, (17, 21)), delay=1)
    net.connect(a, o, weights=rng.integers(0, 30, (21, 3)) * np.array([2, 3, 1]), delay=0)
    net.drive(a, bounds=(-20, 40), name="current")
    net.decide(o, margin=4)
    net.record(a, "spikes", "v")
    net.record(o, "v")
    return nl.compile(net)


def rewarded() -> nl.Model:
    """Reward-modulated STDP with eligibility, sparse, beside a projection with pair STDP."""
    net = nl.Network("rewarded")
    cells = net.input("in", 16)
    a = net.population("a", 20, nl.LIF(tau=20e-3, threshold=1.0, refractory=2))
    net.connect(
        *(cells, a),
        topology=nl.topology.random(0.5, seed=3),
        weights=nl.topology.uniform(0.2, 0.7, seed=4),
        plasticity=nl.RSTDP(),
        name="rewarded",
    )
    net.connect(cells, a, weights=np.full((16, 20), 0.2), plasticity=nl.STDP(a_plus=0.05, a_minus=0.05), name="paired")
    net.record(a, "spikes")
    return nl.compile(net)


NETWORKS = {"plain": plain, "recorded": recorded, "rewarded": rewarded}


def samples(model: nl.Model, count: int = 3, steps: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs; currents and rewards hold for some steps."""
    rng = np.random.default_rng(seed)
    out = {}
    for item in model.graph.inputs:
        low, high = item.range
        shape = (count, steps, *item.value.shape)
        if item.value.type.is_bit:
            out[item.name] = (rng.random(shape) < 0.3).astype(np.int64)
        else:
            values = rng.integers(low, high + 1, shape)
            out[item.name] = np.repeat(values[:, ::4], 4, axis=1)[:, :steps]
    return out


class Learnt:
    """What the definition says: outputs, and plastic weights behind every run."""

    def __init__(self, model: nl.Model) -> None:
        self.interpreter = reference.Interpreter(model.graph)

    def run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs [N, T, ...]; learning goes on from sample to sample."""
        count = len(next(iter(arrays.values())))
        parts = [self.interpreter.samples({k: v[n : n + 1] for k, v in arrays.items()}) for n in range(count)]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def weights(self, name: str) -> np.ndarray:
        """Weights of projection ``name`` now."""
        return self.interpreter.persistent[f"{name}.weights"]


@pytest.fixture(scope="session")
def networks() -> dict[str, nl.Model]:
    """Models by name."""
    return {name: make() for name, make in NETWORKS.items()}


@pytest.fixture
def session() -> Iterator[Callable[..., SpikingDevice]]:
    """Return ``session(engine=None, config=...)``: a session with a core in this process."""
    opened = []

    def connect(config: CoreConfig | None = None, engine: Any = None, **options: Any) -> SpikingDevice:
        device = simulated_device(config or small_core(), engine, **options)
        opened.append(device)
        return SpikingDevice(device)

    yield connect
    for device in opened:
        device.close()


@pytest.fixture(scope="session")
def spiking() -> SimpleNamespace:
    """The helpers of this file."""
    return SimpleNamespace(samples=samples, Learnt=Learnt, core=small_core)
