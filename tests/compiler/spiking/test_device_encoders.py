"""Encoders on the device give the host's spikes, in the simulator and in the core's model, and the samples go in as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking import encoders
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.device_encoders import ON_DEVICE, on_device
from neuroloom.compiler.spiking.input_encoding import encode
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.sim import reference

import neuroloom as nl

RNG = np.random.default_rng(3)
IMAGES = np.concatenate([RNG.integers(0, 17, (3, 12)), [np.arange(12), np.full(12, 16)]])
SIGNAL = RNG.integers(-9, 10, (3, 40, 5)).cumsum(axis=1)
CASES: dict[str, tuple[dict[str, Any], np.ndarray, np.ndarray]] = {
    "rate": ({"steps": 20, "high": 16}, IMAGES, encoders.rate(IMAGES / 16, 20)),
    "bernoulli": ({"steps": 20, "high": 16, "seed": 77}, IMAGES, encoders.bernoulli(IMAGES / 16, 20, seed=77)),
    "latency": (
        {"steps": 9, "high": 16, "silent_below": 0.1},
        IMAGES,
        encoders.latency(IMAGES / 16, 9, silent_below=0.1),
    ),
    "delta": ({"threshold": 7, "bounds": (-400, 400)}, SIGNAL, encoders.delta(SIGNAL, 7)),
    "delta, wide": ({"threshold": 300, "bounds": (-9000, 9000)}, 40 * SIGNAL, encoders.delta(40 * SIGNAL, 300)),
}


def network(case: str) -> nl.Network:
    options, samples, _ = CASES[case]
    net = nl.Network("encoders")
    cells = on_device(net, "cells", samples.shape[-1], case.split(",")[0], samples="x", **options)
    net.record(cells, "spikes")
    out = net.population("out", 4, nl.Neuron(threshold=40, reset="subtract"), record=["spikes"])
    net.connect(cells, out, weights=np.random.default_rng(1).integers(1, 30, (cells.size, 4)), delay=0)
    return net


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("board", ["icebreaker", "ulx3s_85f"])
def test_spikes_are_those_of_the_hosts_encoder(case: str, board: str) -> None:
    _, samples, expected = CASES[case]
    graph = lower_network(network(case))
    inputs = encode(graph, {"x": samples})
    found = reference.run(graph, inputs)
    np.testing.assert_array_equal(found["cells.spikes"], expected)
    assert expected.any() and found["out.spikes"].any()
    with simulated_device(map_graph(graph, CORES[board][0]).config) as device:
        session = SpikingDevice(device)
        session.load(graph)
        answer = session.run(inputs)
    for name, values in found.items():
        np.testing.assert_array_equal(answer[name], values)


def test_a_held_value_is_written_once_and_the_steps_run_alone() -> None:
    graph = lower_network(network("rate"))
    steps = 20
    with simulated_device(map_graph(graph, CORES["icebreaker"][0]).config) as device:
        session = SpikingDevice(device)
        session.load(graph)
        sent: list[bytes] = []
        call = session.call

        def noted(calls: Any) -> Any:
            calls = list(calls)
            sent.extend(c.data for c in calls)
            return call(calls)

        session.call = noted
        session.run(encode(graph, {"x": IMAGES[:1]}))
    assert 0 < sum(data[:1] == b"G" for data in sent) < steps


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("count", {}, "encoder on the device must be one of rate, bernoulli, latency, delta, not 'count'"),
        ("latency", {}, "latency encoder 'e' must have steps, a number of at least 1, not None"),
        (
            "delta",
            {"threshold": 0, "bounds": (0, 1)},
            "threshold of delta encoder 'e' must be an integer in 1..32767, not 0",
        ),
        (
            "delta",
            {"threshold": 5},
            "bounds of delta encoder 'e' must be the signal's .least, greatest. integers, not None",
        ),
        ("bernoulli", {"seed": 0}, "seed must be in 1..4294967295, not 0"),
        ("rate", {"seed": 3}, "option of encoder 'rate_current' must be one of steps, low, high, not 'seed'"),
    ],
)
def test_refusals(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        on_device(nl.Network("n"), "e", 3, kind, **options)


def test_a_signal_of_reals_is_refused() -> None:
    graph = lower_network(network("delta"))
    with pytest.raises(InputError, match="signal of a delta encoder on the device must be integers"):
        encode(graph, {"x": SIGNAL + 0.5})


def test_a_network_with_encoders_is_saved_and_read(tmp_path: Path) -> None:
    for case in CASES:
        network(case).save(tmp_path / "net.yaml")
        _, samples, expected = CASES[case]
        np.testing.assert_array_equal(nl.compile(tmp_path / "net.yaml").simulate(samples)["cells.spikes"], expected)


def test_every_encoder_on_the_device_is_tested() -> None:
    assert {case.split(",")[0] for case in CASES} == set(ON_DEVICE)
