"""Analog samples straight into a network: the declared encoder is applied wherever samples come in, from the file's records."""

from __future__ import annotations

import json

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking import encoders
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.input_encoding import KINDS, encode, encodings
from neuroloom.host.cli.app import main
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.sim import reference

import neuroloom as nl

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 17, (5, 4, 3)).astype(np.uint8)
SIGNAL = RNG.normal(0, 2, (3, 25, 6)).cumsum(axis=1)


def network(kind: str, **options) -> nl.Network:
    """12 channels onto 7 neurons; currents go straight to them."""
    rng = np.random.default_rng(1)
    net = nl.Network("analog")
    a = net.population("a", 7, nl.Neuron(threshold=90, leak="multiplicative", beta=60000), record=["spikes"])
    if kind == "constant":
        net.encode(net.drive(a, bounds=(-100, 100), name="x"), kind, **options)
        return net
    cells = net.input("x", 12)
    net.connect(cells, a, weights=rng.integers(-20, 90, (12, 7)))
    net.encode(cells, kind, **options)
    return net


CASES = {
    "rate": (
        {"steps": 20, "high": 16, "shape": (4, 3)},
        IMAGES,
        lambda x: encoders.rate(x.reshape(5, 12) / 16, 20),
    ),
    "seeded": (
        {"steps": 20, "high": 16, "seed": 9},
        IMAGES.reshape(5, 12),
        lambda x: encoders.rate(x / 16, 20, seed=9),
    ),
    "latency": (
        {"steps": 9, "high": 16, "silent_below": 0.1, "shape": (4, 3)},
        IMAGES,
        lambda x: encoders.latency(x.reshape(5, 12) / 16, 9, silent_below=0.1),
    ),
    "delta": ({"threshold": 1.5}, SIGNAL, lambda x: encoders.delta(x, 1.5)),
    "constant": (
        {"steps": 15},
        RNG.integers(-60, 90, (5, 7)).astype(float),
        lambda x: np.repeat(x[:, None].astype(np.int64), 15, axis=1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_way_in_sees_the_same_steps(name, tmp_path):
    options, values, encoded = CASES[name]
    net = network("rate" if name == "seeded" else name, **options)
    net.save(tmp_path / "net.yaml")
    path = nl.compile(tmp_path / "net.yaml").save(tmp_path / "m.nloom")
    assert nl.load(path).graph.records["network"] == nl.compile(net).graph.records["network"]
    model, raster = nl.load(path), encoded(values)
    want = reference.run(model.graph, raster)["a.spikes"]
    assert want.any() and len(encodings(model.graph)) == 1
    assert np.array_equal(model.simulate(values), want)
    assert np.array_equal(model.simulate(values, engine="reference"), want)
    assert np.array_equal(model.simulate(raster), want)  # steps are taken as they are
    config = CoreConfig("custom", pool_words=512, neurons=64, inputs=32, slots=2, program_words=128, event_depth=64)
    with simulated_device(config) as device:
        session = SpikingDevice(device)
        session.load(model.graph)
        assert np.array_equal(session.run(values)["a.spikes"], want)
    np.save(tmp_path / "x.npy", values)
    assert main(["simulate", str(path), "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"), "-q"]) == 0
    assert np.array_equal(np.load(tmp_path / "y.npy"), want)


def test_steps_of_the_command_line_go_first(tmp_path):
    path = nl.compile(network("rate", high=16)).save(tmp_path / "m.nloom")
    x = IMAGES.reshape(5, 12)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match="'x' must come with a number of steps.* give --steps T"):
        nl.load(path).simulate(x)
    words = ["simulate", str(path), "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"), "--steps", "6", "-q"]
    assert main(words) == 0
    want = nl.load(path).simulate(encoders.rate(x / 16, 6))
    assert np.array_equal(np.load(tmp_path / "y.npy"), want)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "poisson",
            {},
            "encoder of input 'x' must be one of constant, rate, bernoulli, latency, delta, rate_current, .*, not 'poisson'",
        ),
        ("rate", {"gain": 2}, "option of encoder 'rate' must be one of steps, low, high, seed, not 'gain'"),
        ("rate", {"shape": (3, 3)}, r"shape of encoder 'rate' must hold 12 values, not \[3, 3\]"),
        ("delta", {}, "encoder 'delta' of input 'x' must have the option 'threshold'"),
    ],
)
def test_refusals(kind, options, message):
    with pytest.raises(InputError, match=message):
        network(kind, **options)
    net = nl.Network("n")
    net.input("x", 3)
    with pytest.raises(InputError, match="encoder 'constant' must go with a current input"):
        net.encode("x", "constant", steps=3)
    with pytest.raises(InputError, match="input must be one of x, not 'y'"):
        net.encode("y", "rate")


def test_a_damaged_record_is_refused():
    graph = nl.compile(network("rate", steps=3)).graph
    graph.records = json.loads(json.dumps(graph.records))
    del graph.records["network"]["encoders"][0]["shape"]
    with pytest.raises(InputError, match="record of an input encoder must be whole"):
        encode(graph, np.zeros((1, 12)))


def test_a_matrix_and_another_name_go_through_a_file(tmp_path):
    net, matrix = network("constant", steps=3), np.arange(28.0).reshape(7, 4) - 9
    net.encode("x", "constant", steps=3, shape=(2, 2), samples="pixels", matrix=matrix)
    net.save(tmp_path / "net.yaml")
    model, values = nl.compile(tmp_path / "net.yaml"), RNG.integers(-3, 3, (6, 2, 2)).astype(float)
    wanted = np.repeat((values.reshape(6, 4) @ matrix.T)[:, None], 3, axis=1)
    assert np.array_equal(model.simulate({"pixels": values}), nl.compile(net).simulate({"x": wanted}))
    with pytest.raises(
        InputError, match=r"matrix must be \[7, values\] of encoder 'constant', not \[4, 7\] of 'constant'"
    ):
        net.encode("x", "constant", matrix=matrix.T)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "encode: {rat: {steps: 3}}",
            f"encode must be one of {', '.join(KINDS)}, not 'rat'; did you mean 'rate'?",
        ),
        ("encode: {rate: {step: 3}}", "key of rate must be a known one such as 'steps', not 'step'"),
        ("encode: {constant: {steps: 3}}", "encoder 'constant' must go with a current input"),
        ("encode: {rate: {shape: 5}}", "shape must be a list of sizes, not 5"),
    ],
)
def test_a_file_with_a_wrong_encoder_is_refused(text, sentence, tmp_path):
    path = tmp_path / "net.yaml"
    path.write_text(f"inputs:\n  x: {{size: 4, {text}}}\npopulations:\n  a: {{size: 1, model: Neuron, threshold: 3}}\n")
    with pytest.raises(InputError) as found:
        nl.Network.load(path)
    assert sentence in str(found.value) and "inputs.x" in str(found.value)
