"""Every profile of the iCEBreaker and the Tang Nano 9K down to its image, by ``neuroloom verify --to bitstream``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.boards.registry import load_board
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host.cli.app import main
from neuroloom.host.verify.spiking import program_for

import neuroloom as nl

BOARD = "icebreaker"
TANG = "tang_nano_9k"
STEPS = 12


def _plain(net: nl.Network, rng: np.random.Generator, delay: Any = 1, rule: Any = None) -> Any:
    """12 inputs, 18 recurrent neurons, 4 outputs; spikes and membranes recorded."""
    cells = net.input("in", 12)
    a = net.population("a", 18, nl.Neuron(threshold=420, leak="multiplicative", beta=60000), record=["spikes", "v"])
    o = net.population(
        "o", 4, nl.Neuron(threshold=np.array([150, 400, 700, 900]), leak="subtractive", decay=3, reset="subtract")
    )
    weights = rng.integers(20, 90, (12, 18))
    net.connect(cells, a, weights=weights, delay=0, plasticity=rule, name="in-a")
    net.connect(a, a, weights=rng.integers(-30, 20, (18, 18)), delay=delay, name="a-a")
    net.connect(a, o, weights=rng.integers(-5, 60, (18, 4)), delay=0)
    net.record(o, "spikes")
    return o


def infer(net: nl.Network, rng: np.random.Generator) -> None:
    """Synapses of one step."""
    _plain(net, rng)


def delay(net: nl.Network, rng: np.random.Generator) -> None:
    """Delays of 1 to 10 steps; membranes of 24 bits."""
    _plain(net, rng, rng.integers(1, 11, (18, 18)))


def delay16(net: nl.Network, rng: np.random.Generator) -> None:
    """More neurons with delays than ``delay`` has."""
    _plain(net, rng, rng.integers(1, 11, (18, 18)))
    many = net.population("many", 520, nl.Neuron(threshold=60))
    net.connect("a", many, pre=np.arange(520) % 18, post=np.arange(520), weights=61, delay=1 + np.arange(520) % 9)
    net.record(many, "spikes")


def decide(net: nl.Network, rng: np.random.Generator) -> None:
    """Stopped by a margin of two spikes."""
    net.decide(_plain(net, rng), margin=2)


def stdp(net: nl.Network, rng: np.random.Generator) -> None:
    """Randomly rounded STDP on the input's synapses."""
    rule = nl.Learning(
        **{"pre_decay": 50000, "post_decay": 50000, "pre_step": 20000, "post_step": 20000},
        **{"w_min": 0, "w_max": 120, "f": 13, "rounding": "stochastic"},
    )
    _plain(net, rng, rule=rule)


NETWORKS: dict[str, Callable[[nl.Network, np.random.Generator], None]] = {
    f.__name__: f for f in (infer, delay, delay16, decide, stdp)
}


def model(profile: str) -> nl.Model:
    net = nl.Network(profile, **({"state_bits": 16} if profile == "delay16" else {}))
    NETWORKS[profile](net, np.random.default_rng(4))
    return nl.compile(net)


def test_every_profile_has_a_network_that_needs_it() -> None:
    assert set(NETWORKS) == {c.profile for c in CORES[BOARD]} and {"infer", "stdp"} == {c.profile for c in CORES[TANG]}
    for profile in NETWORKS:
        assert program_for(model(profile).graph, load_board(BOARD)).config.profile == profile


@pytest.mark.campaign
@pytest.mark.parametrize(("board", "profile"), [*((BOARD, name) for name in NETWORKS), (TANG, "infer"), (TANG, "stdp")])
def test_down_to_the_bitstream(board: str, profile: str, tmp_path: Path, require_tool: Any, capsys: Any) -> None:
    """Minutes: Yosys, place and route with one seed, both cell simulations; in the image's run the spikes are not all zeros."""
    require_tool("verilator")
    require_tool("icebox" if board == BOARD else "apycula")
    made = model(profile)
    x = (np.random.default_rng(5).random((1, STEPS, 12)) < 0.4).astype(np.int64)
    out = made.simulate(x)
    assert out["a.spikes"].any() and out["o.spikes"].any()
    if profile == "decide":
        assert 0 < out["decision.done"].sum() < STEPS and out["decision.done"][0, -1]
    if profile == "stdp":
        weights = made.outputs(x, probes=["in-a.weights"])["in-a.weights"][0]
        assert (weights[-1] != weights[0]).any()
    made.save(tmp_path / "net.nloom")
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / "net.nloom"), "-i", str(tmp_path / "x.npy")]
    assert main(["verify", *files, "--board", board, "--to", "bitstream"]) == 0
    shown = capsys.readouterr().out
    for rung in ("graph", "fast", "rtl", "netlist", "bitstream"):
        assert any(line.split()[:2] == [rung, "equal"] for line in shown.splitlines()), shown
    assert f"core {profile!r} loaded, run and read back over its UART pins" in shown
