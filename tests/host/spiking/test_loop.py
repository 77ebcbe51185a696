"""A sample in pieces on a core is the sample in one go: spikes, states, decisions, learning; and the state is read in between."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.host.spiking.rtl_engine import RtlEngine
from neuroloom.sim.spiking import Session

import neuroloom as nl

PIECES = (1, 7, 3, 12, 1, 6)


def equal(want, got):
    assert set(want) == set(got)
    for name in want:
        assert np.array_equal(want[name], got[name]), name


def in_pieces(loop, x, sample):
    """Outputs of a sample, piece by piece."""
    parts, at = [], 0
    for size in PIECES:
        parts.append(loop.run({name: a[sample, at : at + size] for name, a in x.items()}))
        at += size
        assert loop.step == at
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


@pytest.mark.parametrize("name", ["plain", "recorded", "rewarded"])
def test_pieces_are_the_whole(name, networks, session, spiking):
    model = networks[name]
    device, truth = session(), spiking.Learnt(model)
    device.load(model.graph)
    x = spiking.samples(model)
    want = truth.run(x)
    loop = device.loop()
    for sample in range(3):
        if sample:
            loop.new_sample()
        equal({name: a[sample] for name, a in want.items()}, in_pieces(loop, x, sample))
    for projection in device.plastic():
        assert np.array_equal(loop.state(f"{projection}.weights"), truth.weights(projection))
    total = sum(int(np.count_nonzero(a)) for a in want.values())
    assert total > 50 and (name != "recorded" or want["decision.done"].any())


def test_it_is_the_simulators_loop_and_counts_cycles_of_a_piece(networks, session, spiking):
    model = networks["plain"]
    device, simulated = session(), Session(model.graph)
    device.load(model.graph)
    x = {name: a[0] for name, a in spiking.samples(model, count=1).items()}
    device.run({name: a[None] for name, a in x.items()})
    whole = int(device.facts["cycles"][0])
    loop, cycles = device.loop(), 0
    for at in range(0, 30, 10):
        part = {name: a[at : at + 10] for name, a in x.items()}
        equal(simulated.run(part), loop.run(part))
        cycles += int(device.facts["cycles"][0])
    assert cycles == whole


def adaptive() -> nl.Model:
    """Adaptation that lasts from sample to sample (homeostasis), membranes, a refractory count."""
    net = nl.Network("adaptive")
    cells = net.input("in", 9)
    neuron = nl.Neuron(
        threshold=60,
        leak="multiplicative",
        beta=60000,
        refractory=2,
        adapt_decay=65500,
        adapt_step=7,
        adapt_persistent=True,
    )
    a = net.population("a", 11, neuron, record=["spikes", "v"])
    net.connect(cells, a, weights=np.random.default_rng(3).integers(0, 60, (9, 11)))
    return nl.compile(net)


def test_states_are_read_back(session, spiking):
    model = adaptive()
    device, truth = session(), spiking.Learnt(model)
    device.load(model.graph)
    x = spiking.samples(model, count=2)
    want = truth.run(x)
    got = device.run(x)
    equal(want, got)
    assert "a.a" in device.states() and "a.v" in device.states()
    assert np.array_equal(device.state("a.a"), truth.interpreter.persistent["a.a"]) and device.state("a.a").any()
    assert np.array_equal(device.state("a.v"), want["a.v"][-1, -1])
    assert np.array_equal(device.thresholds("a"), 60 + truth.interpreter.persistent["a.a"])
    with pytest.raises(InputError, match="population must be one of a, not 'in'"):
        device.thresholds("in")
    with pytest.raises(InputError, match="state must be one of .*a.a.*, not 'a.x'"):
        device.state("a.x")


def test_another_network_ends_the_loop(networks, session, spiking):
    device = session()
    device.load(networks["plain"].graph)
    loop = device.loop()
    device.load(networks["recorded"].graph)
    with pytest.raises(InputError, match="another one was loaded"):
        loop.run({"in": np.zeros((1, 20), int)})


def test_pieces_on_the_rtl(networks, session, spiking, require_tool):
    require_tool("verilator")
    model = networks["rewarded"]
    with RtlEngine(spiking.core(event_depth=16)) as engine:
        device, truth = session(engine=engine), spiking.Learnt(model)
        device.load(model.graph, check=False)
        x = spiking.samples(model, count=1)
        want = truth.run(x)
        equal({name: a[0] for name, a in want.items()}, in_pieces(device.loop(), x, 0))
        for projection in device.plastic():
            assert np.array_equal(device.weights(projection), truth.weights(projection))
