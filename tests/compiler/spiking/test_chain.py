"""Described networks run alike on the reference, the fast simulator and the model of the core: spikes, membranes, weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.compiler.spiking.quantise import quantise
from neuroloom.sim import reference
from neuroloom.sim.spiking import Engine

import neuroloom as nl

STEPS = 40


def recurrent(model: object, rule: object = None, *, weight: float = 0.3, delay: int = 1) -> nl.Network:
    """An input, a recurrent population with delays up to ``delay``, and learning from the input."""
    rng = np.random.default_rng(0)
    net = nl.Network("net")
    net.input("in", 20)
    net.population("p", 24, model, record=("spikes", "v"))
    net.connect("in", "p", weights=rng.random((20, 24)) * weight, plasticity=rule, delay=0)
    net.connect("p", "p", weights=rng.normal(0, weight / 3, (24, 24)), delay=rng.integers(1, delay + 1, (24, 24)))
    return net


def shifted() -> nl.Network:
    return quantise(recurrent(nl.LIF(tau=20e-3)), shifts={"p": 4})[0]


def driven() -> nl.Network:
    net = recurrent(nl.LIF(tau=20e-3))
    net.drive("p", bounds=(-1, 1))
    return net


def deciding() -> nl.Network:
    net = recurrent(nl.LIF(tau=20e-3))
    net.population("out", 3, nl.CubaLIF(tau=20e-3, tau_syn=5e-3), record=("spikes",))
    net.population("read", 3, nl.LI(tau=20e-3), record=("v",))
    weights = np.random.default_rng(1).normal(size=(24, 3))
    net.connect("p", "out", weights=weights, delay=0)
    net.connect("p", "read", weights=weights, delay=2)
    net.decide("out", confidence=0.8)
    return net


NETWORKS: dict[str, Callable[[], nl.Network]] = {
    "refractory": lambda: recurrent(nl.LIF(tau=20e-3, refractory=2)),
    "delays": lambda: recurrent(nl.LIF(tau=20e-3), delay=20),
    "adaptive": lambda: recurrent(nl.ALIF(tau=20e-3, tau_adapt=50e-3)),
    "leaky": lambda: recurrent(nl.Leaky(beta=0.9)),
    "synaptic": lambda: recurrent(nl.Synaptic(alpha=0.8, beta=0.9, reset="zero")),
    "izhikevich": lambda: recurrent(nl.Izhikevich("CH"), weight=20.0),
    "alpha": lambda: recurrent(nl.Alpha(alpha=0.9, beta=0.8)),
    "wta": lambda: recurrent(nl.LIF(tau=20e-3, wta=True)),
    "stdp": lambda: recurrent(nl.LIF(tau=20e-3), nl.STDP()),
    "soft nearest": lambda: recurrent(nl.LIF(tau=20e-3), nl.STDP(soft=True, pairing="nearest")),
    "window": lambda: recurrent(nl.LIF(tau=20e-3), nl.WindowSTDP()),
    "reward": lambda: recurrent(nl.LIF(tau=20e-3), nl.RSTDP(tau_eligibility=0.1)),
    "shift": shifted,
    "current": driven,
    "decision": deciding,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_three_readings_agree(name: str) -> None:
    graph, rng = nl.compile(NETWORKS[name]()).graph, np.random.default_rng(2)
    inputs = {}
    for item in graph.inputs:
        shape = (1, STEPS, *item.value.shape)
        low, high = (-20, 60) if item.name == "reward" else item.range
        inputs[item.name] = rng.random(shape) < 0.3 if item.value.type.is_bit else rng.integers(low, high + 1, shape)
    weights = [s.name for s in graph.states if s.name.endswith(".weights")]
    expected = reference.run(graph, inputs, probes=weights)
    assert expected["p.spikes"].sum() > 10
    fast = Engine(graph, probes=tuple(weights)).run(inputs)
    core = run_program(choose_core(graph, "ulx3s_85f"), {k: v[0] for k, v in inputs.items()}).outputs
    for key, value in expected.items():
        assert (fast[key] == value).all(), key
        if key not in weights:
            assert (core[key] == value[0]).all(), key
