"""YAML and JSON networks: what is written is read back, and every error is the sentence stored beside the bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking import topology
from neuroloom.compiler.spiking.models import LIF, MODELS, CubaLIF, Izhikevich, Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import RSTDP, STDP, Learning, WindowSTDP
from neuroloom.compiler.spiking.quantise import quantise
from neuroloom.compiler.spiking.yaml_form import load_network, parameters, read_network

import neuroloom as nl

BAD = sorted(p for p in (Path(__file__).parents[2] / "errors" / "network").iterdir() if p.suffix in (".yaml", ".json"))


@pytest.fixture
def net() -> Network:
    """A network with something of everything."""
    rng = np.random.default_rng(1)
    net = Network("all", dt=5e-4, seed=77, weight_bits=6, state_bits=20)
    net.input("in", 30, source="input node")
    net.population("exc", 20, LIF(tau=20e-3, threshold=rng.random(20) + 1, refractory=2), record=("spikes", "v"))
    net.population("many", 100, LIF(beta=0.875, bias=rng.random(100)))
    net.population("cuba", 3, CubaLIF(tau=2e-2, tau_syn=1e-5, wta=True), record=("v",))
    net.population("iz", 2, Izhikevich("FS"))
    net.population("whole", 2, Neuron(threshold=np.array([3, 4]), alpha=30000, reset="value", v_reset=-2))
    net.drive("exc", bounds=(-0.5, 1.5), name="now")
    net.connect("in", "exc", weights=rng.random((30, 20)), plasticity=STDP(enable=rng.integers(0, 2, 600)))
    net.connect("in", "exc", weights=rng.random((30, 20)), plasticity=RSTDP(rate=1e-2), name="second", weight_bits=4)
    net.connect(
        "exc", "cuba", topology=topology.random(0.5, seed=1), weights=0.5, delay=topology.uniform(1, 63, seed=1)
    )
    net.connect("exc", "cuba", weights=np.zeros((20, 3)))
    net.connect("exc", "iz", weights=rng.random((20, 2)), plasticity=WindowSTDP(steps_plus=3))
    net.connect("in", "whole", weights=rng.integers(-5, 5, (30, 2)), plasticity=Learning(pre_step=4, soft=True))
    net.decide("cuba", confidence=0.9)
    return net


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_what_is_written_is_read_back(suffix: str, net: Network, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    net.save(path)
    assert Network.load(path) == net
    for other in (net.input, net.population):  # the comparison sees a difference
        changed = net.copy()
        (changed.input("x", 1) if other == net.input else changed.population("x", 1, LIF(tau=1.0)))
        assert changed != net


def test_integer_networks_are_read_back(net: Network, tmp_path: Path) -> None:
    net.dt = 1e-3  # Izhikevich's
    net.weight_bits = 8
    integers, _ = quantise(net)
    integers.save(tmp_path / "q.yaml")
    back = Network.load(tmp_path / "q.yaml")
    assert back.exact
    back.records = integers.records
    assert back == integers


def test_a_file_by_hand_equals_the_builder(tmp_path: Path) -> None:
    text = """
network: hand
dt: 1e-3
inputs:
  in: 4
  push: {kind: current, target: exc, bounds: [0, 2e0]}
populations:
  exc: {size: 4, model: LIF, tau: 20e-3, threshold: [1, 1, 2, 2], record: [spikes, v]}
  out: {size: 2, model: LI, beta: 0.9, record: v}
projections:
  - {from: in, to: exc, topology: one_to_one, weights: 1.5, delay: 0}
  - from: exc
    to: exc
    topology: {random: {probability: 0.5, seed: 3, self_loops: false}}
    weights: {normal: {mean: 0.2, deviation: 0.05, seed: 4}}
    delay: {uniform: {low: 1, high: 5, seed: 5}}
    plasticity: {STDP: {a_plus: 0.02, pairing: nearest}}
  - {from: exc, to: out, weights: [[1, 0], [1, 0], [0, 1], [0, 1]]}
decision: {population: exc, margin: 3}
"""
    path = tmp_path / "hand.yaml"
    path.write_text(text)
    net = Network("hand", dt=1e-3)
    net.input("in", 4)
    net.population("exc", 4, LIF(tau=20e-3, threshold=np.array([1, 1, 2, 2])), record=("spikes", "v"))
    net.population("out", 2, nl.LI(beta=0.9), record=("v",))
    net.drive("exc", bounds=(0, 2.0), name="push")
    net.connect("in", "exc", topology=topology.one_to_one(), weights=1.5, delay=0)
    net.connect(
        "exc",
        "exc",
        topology=topology.random(0.5, seed=3, self_loops=False),
        weights=topology.normal(0.2, 0.05, seed=4),
        delay=topology.uniform(1, 5, seed=5),
        plasticity=STDP(a_plus=0.02, pairing="nearest"),
    )
    net.connect("exc", "out", weights=np.array([[1, 0], [1, 0], [0, 1], [0, 1]]))
    net.decide("exc", margin=3)
    assert load_network(path) == net


def test_a_network_file_compiles_like_its_network(tmp_path: Path, net: Network) -> None:
    net = Network("small")
    net.input("in", 3)
    net.population("exc", 2, LIF(tau=20e-3), record=("spikes",))
    net.connect("in", "exc", weights=np.array([[0.5, 0.1], [0.3, 0.9], [0.2, 0.2]]))
    net.save(tmp_path / "small.yaml")
    x = np.random.default_rng(0).integers(0, 2, (2, 40, 3))
    one = nl.compile(net, weight_bits=5)
    two = nl.compile(tmp_path / "small.yaml", weight_bits=5)
    assert (one.simulate(x) == two.simulate(x)).all() and one.simulate(x).sum() > 5
    assert two.graph.records["source"]["file"] == "small.yaml"
    two.save(tmp_path / "small.nloom")
    assert (nl.load(tmp_path / "small.nloom").simulate(x) == one.simulate(x)).all()
    calibrated = nl.compile(net, calibrate=x)
    assert calibrated.graph.records["network"]["neurons"] == 2


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.stem)
def test_bad_files_are_refused_with_the_sentence_beside_them(path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_network(path)
    message = str(error.value).replace(f"{path.parent}/", "")
    assert message == path.with_suffix(".txt").read_text().rstrip("\n")


def test_every_model_says_its_parameters() -> None:
    for name, maker in MODELS.items():
        assert parameters(maker), name
    assert "refractory" in parameters(MODELS["ALIF"]) and "peak" in parameters(MODELS["Izhikevich"])


def test_plain_data_is_read_too() -> None:
    net = read_network({"inputs": {"in": 2}, "populations": {"a": {"size": 2, "model": "IF"}}})
    assert net.name == "network" and net.populations["a"].size == 2


def test_other_files_are_refused(net: Network, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"network file must end in .yaml, .yml or .json, not 'net.txt'"):
        net.save(tmp_path / "net.txt")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_network(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read: it is not UTF-8 text"):
        load_network(tmp_path / "binary.yaml")
