"""The ULX3S' profile of two cores on the virtual board: a network that no single core holds, bit for bit and cycle for cycle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.host.device import connect
from neuroloom.host.flow import emulate_core
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.verify import spiking as rung

import neuroloom as nl

NEURONS, INPUTS, STEPS = 5000, 200, 12


def network() -> nl.Model:
    """More neurons than one core has, each with eight synapses from anywhere, delays to 15 steps, and one from an input."""
    rng = np.random.default_rng(6)
    net = nl.Network("twin")
    cells = net.input("in", INPUTS)
    a = net.population("a", NEURONS, nl.Neuron(threshold=100, leak="multiplicative", beta=60000, refractory=1))
    post = np.repeat(np.arange(NEURONS), 8)
    pre, weights = rng.integers(0, NEURONS, post.size), rng.integers(-30, 60, post.size)
    net.connect(
        a, a, pre=pre, post=post, weights=np.where(weights == 0, 1, weights), delay=rng.integers(1, 16, post.size)
    )
    each = np.arange(NEURONS)
    net.connect(
        cells, a, pre=rng.integers(0, INPUTS, NEURONS), post=each, weights=rng.integers(60, 127, NEURONS), delay=0
    )
    net.record(a, "spikes", "v")
    return nl.compile(net)


def test_the_network_takes_both_cores() -> None:
    chosen = choose_core(network().graph, "ulx3s_85f")
    assert chosen.config.profile == "twin" and chosen.used == 2


@pytest.mark.campaign
def test_two_cores_on_the_virtual_board(require_tool: Callable[..., Any]) -> None:
    require_tool("verilator")
    model = network()
    inputs = {"in": (np.random.default_rng(7).random((1, STEPS, INPUTS)) < 0.2).astype(np.int64)}
    want, cycles, _ = rung.predicted(model.graph, choose_core(model.graph, "ulx3s_85f"), inputs)
    assert want["a.spikes"].sum() > NEURONS
    with emulate_core("twin", "ulx3s_85f") as virtual, connect(virtual.port, timeout=600.0) as device:
        session = SpikingDevice(device)
        assert session.config == next(c for c in CORES["ulx3s_85f"] if c.profile == "twin")
        session.load(model.graph)
        got = session.run(inputs, trace=True)
        for name, values in want.items():
            np.testing.assert_array_equal(got[name], values, err_msg=name)
        np.testing.assert_array_equal(session.facts["step_cycles"], cycles)
