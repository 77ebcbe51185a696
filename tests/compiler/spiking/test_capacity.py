"""Which core is chosen for a network, what the boards hold, and that it is so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.capacity import capacity_report, capacity_table
from neuroloom.compiler.spiking.core import CORES, CoreConfig
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import choose_core, map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.sim import reference

LEARNER = np.full((3, 4), 5)
INFER = CoreConfig("infer", slots=2)


def test_the_smallest_profile_is_chosen(network: Any) -> None:
    assert choose_core(network(np.ones((2, 3), int)), "icebreaker").config.profile == "infer"
    assert choose_core(network(np.ones((2, 3), int), delay=3), "icebreaker").config.profile == "delay"
    assert choose_core(network(LEARNER, learn={}), "icebreaker").config.profile == "stdp"
    assert choose_core(network(LEARNER, learn={}), "ulx3s_85f").config.profile == "reward"
    with pytest.raises(DoesNotFitError, match="must run on a core with learning 'reward', .* it fits ulx3s_85f"):
        choose_core(network(LEARNER, learn={"eligibility": True}), "icebreaker")
    with pytest.raises(DoesNotFitError, match="it fits ulx3s_85f"):
        choose_core(network(np.ones((2, 1025), int)), "icebreaker")
    with pytest.raises(UnsupportedError, match="board must be one with a spiking core"):
        choose_core(network(LEARNER), "breadboard")


def test_room_for_the_raster_is_asked_for(network: Any) -> None:
    graph = network(np.ones((512, 200), int))
    program = map_graph(graph, INFER, raster_steps=300)
    assert program.maps["raster"]["capacity"] >= 300
    with pytest.raises(DoesNotFitError, match="must leave room for 5000 steps of inputs"):
        map_graph(graph, INFER, raster_steps=5000)


def test_capacity_of_the_boards() -> None:
    rows = {(r.board, r.profile): r for r in capacity_table()}
    assert rows["icebreaker", "infer"].dense >= 100_000
    assert rows["icebreaker", "delay"].compressed >= 40_000
    assert rows["ulx3s_85f", "reward"].neurons == 4096
    assert rows["ulx3s_85f", "reward"].dense >= 256_000
    assert rows["ulx3s_85f", "reward"].compressed >= 120_000


def test_a_full_icebreaker_maps(network: Any) -> None:
    """1,024 neurons and the dense synapses that the table promises."""
    rows = {(r.board, r.profile): r for r in capacity_table()}
    rng = np.random.default_rng(0)
    graph = network(rng.integers(-9, 9, (rows["icebreaker", "infer"].dense // 1024, 1024)))
    program = map_graph(graph, INFER)
    assert program.maps["projections"]["w"]["rows"] == "dense"
    assert len(program.pool) <= 16384


def full_ulx3s(synapses: int) -> Graph:
    """4,096 neurons with so many synapses of delays from 1 to 59 between them."""
    rng, k = np.random.default_rng(1), np.arange(synapses)
    net = Network("full")
    net.input("in", 1)
    cells = net.population("cells", 4096, Neuron(threshold=50, leak="none", reset="zero", bias=7))
    pre, round_ = k % 4096, k // 4096
    post = (pre * 31 + round_ * 137) % 4096
    net.connect(cells, cells, pre=pre, post=post, weights=rng.integers(1, 9, synapses), delay=1 + 2 * round_)
    net.record(cells, "spikes")
    return lower_network(net)


def test_a_full_ulx3s_maps_and_runs_and_one_synapse_more_is_refused() -> None:
    """Records of a table that does not learn carry no eligibility, though the core has it."""
    config = next(c for c in CORES["ulx3s_85f"] if c.profile == "reward")
    most = next(r.compressed for r in capacity_table() if r.board == "ulx3s_85f")
    program = map_graph(full_ulx3s(most), config)
    assert config.learning == "reward" and len(program.pool) == config.pool_words
    assert [place["rows"] for place in program.maps["projections"].values()] == ["records"]
    steps = 9  # all spike in step 7, and the shortest delays' synapses are heard in step 8
    silence = np.zeros((steps, 1), np.int64)
    found = run_program(program, {"in": silence})
    expected = reference.run(full_ulx3s(most), {"in": silence[None]})
    for name, value in found.outputs.items():
        np.testing.assert_array_equal(value, expected[name][0])
    with pytest.raises(DoesNotFitError, match="must fit the 6144 pool words of profile 'reward', not need 6145"):
        map_graph(full_ulx3s(most + 1), config)


def test_a_decision_needs_a_core_with_decide() -> None:
    net = Network("d")
    net.input("in", 3)
    net.population("out", 4, Neuron(threshold=2))
    net.connect("in", "out", pre=[0, 1, 2], post=[0, 1, 3], weights=1, delay=0)
    net.decide("out", margin=2)
    graph = lower_network(net)
    with pytest.raises(DoesNotFitError, match="must run on a core with DECIDE, .*ulx3s_85f with profile delay"):
        map_graph(graph, CoreConfig("infer", decision=False))
    assert map_graph(graph, CoreConfig("infer")).maps["decision"]["population"] == "out"


def test_configuration_record_says_whether_there_is_a_decision() -> None:
    with_it, without = CoreConfig("infer"), CoreConfig("infer", decision=False)
    assert with_it.to_bytes() != without.to_bytes() and len(without.to_bytes()) == 32
    assert CoreConfig.from_bytes(with_it.to_bytes()) == with_it
    assert CoreConfig.from_bytes(without.to_bytes()) == without


def test_report_names_need_and_refusal(network: Any) -> None:
    report = {(f.board, f.profile): f for f in capacity_report(network(np.ones((2, 300), int), delay=1))}
    assert report["icebreaker", "infer"].fits and report["icebreaker", "infer"].pool_used > 150
    assert "at most 256 neurons" in report["tang_nano_9k", "infer"].refusal
    assert not report["tang_nano_9k", "infer"].fits
