"""Sessions with several cores: loaded, run, taught and read as one; in this process, and on a virtual board over the link."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neuroloom.boards.emulate import emulate
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.spiking.core import CORES, PROFILES
from neuroloom.compiler.spiking.plasticity import Learning
from neuroloom.host.device import Device, connect
from neuroloom.host.simulated import SimulatedLine
from neuroloom.host.spiking import flow
from neuroloom.host.spiking.cluster import ClusterDevice
from neuroloom.host.spiking.protocol import Go, go, to_core
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import ClusterEngine, StreamDevice
from neuroloom.host.verify import spiking as rung
from neuroloom.rtl.link.protocol import Identity

import neuroloom as nl


@pytest.fixture
def cores(spiking):
    """Return ``cores(count, ...)``: a build in which no core holds the 48 places of these networks' neurons alone."""
    return lambda count=2, **other: spiking.core(**{"cores": count, "neurons": 32, "inputs": 128, **other})


@pytest.fixture(scope="module")
def taught():
    """STDP by reward and by pairs, rounded without random numbers: its population of 40 is cut."""
    rng = np.random.default_rng(5)
    rule = {"pre_decay": 60000, "post_decay": 55000, "pre_step": 20000, "post_step": 15000, "w_min": -60, "w_max": 60}
    net = nl.Network("taught")
    cells = net.input("in", 16)
    a = net.population("a", 40, nl.Neuron(threshold=50, leak="multiplicative", beta=60000))
    kinds = {"rewarded": Learning(f=12, eligibility=True, e_decay=250, g=5, **rule), "paired": Learning(f=12, **rule)}
    weights = rng.integers(-15, 30, (16, 40))
    net.connect(cells, a, weights=weights, delay=0, plasticity=kinds["paired"], name="paired")
    pre, post = np.unique(rng.integers(0, 40, (2, 300)), axis=1)
    weights = rng.integers(-20, 25, len(pre))
    net.connect(a, a, pre=pre, post=post, weights=weights, delay=2, plasticity=kinds["rewarded"], name="rewarded")
    net.record(a, "spikes")
    return nl.compile(net)


def equal(want, got):
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values, err_msg=name)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", ["plain", "recorded", "taught"])
def test_several_cores_are_used_as_one(name, count, cores, networks, taught, session, spiking):
    model = {**networks, "taught": taught}[name]
    truth, device = spiking.Learnt(model), session(cores(count))
    assert isinstance(device, ClusterDevice) and len(device.members) == count
    program = device.load(model.graph)
    assert program.used > 1
    for number, raster in enumerate([None, False, True]):
        x = spiking.samples(model, seed=number)
        equal(truth.run(x), device.run(x, raster=raster))
        for projection in device.plastic():
            np.testing.assert_array_equal(device.weights(projection), truth.weights(projection))
    assert bool(device.plastic()) == (name == "taught")


def test_cycles_are_those_predicted(networks, cores, session, spiking):
    model = networks["recorded"]
    device = session(cores())
    program = device.load(model.graph)
    x = spiking.samples(model, count=2)
    want, cycles, _ = rung.predicted(model.graph, program, x)
    equal(want, device.run(x, raster=False, trace=True))
    np.testing.assert_array_equal(device.facts["step_cycles"], cycles)
    np.testing.assert_array_equal(device.facts["cycles"], cycles.sum(1))


def test_states_and_thresholds_are_joined(networks, cores, session, spiking):
    model = networks["recorded"]
    device = session(cores())
    device.load(model.graph)
    got = device.run(spiking.samples(model, count=1))
    np.testing.assert_array_equal(device.state("a.v"), got["a.v"][0, -1])
    assert {"a.v", "a.r", "o.v"} <= set(device.states())
    assert device.thresholds("a").tolist() == [150] * 21
    with pytest.raises(InputError, match="state must be one of"):
        device.state("x.v")


def test_all_cores_stop_at_the_decision(networks, cores, session, spiking):
    model = networks["recorded"]
    device = session(cores())
    device.load(model.graph)
    x = spiking.samples(model, count=4)
    want, got = spiking.Learnt(model).run(x), device.decide(x)
    np.testing.assert_array_equal(got["winner"], want["decision.winner"][:, -1])
    np.testing.assert_array_equal(got["at"], want["decision.at"][:, -1])
    assert got["done"].any()
    status = device.status()
    assert status.decided and status.winner == got["winner"][-1] and not status.running


def test_a_loop_goes_on_piece_by_piece(networks, cores, session, spiking):
    model = networks["plain"]
    device = session(cores())
    device.load(model.graph)
    x = spiking.samples(model, count=1)["in"][0]
    want = spiking.Learnt(model).run({"in": x[None]})
    loop = device.loop()
    parts = [loop.run({"in": piece}) for piece in np.split(x, [1, 7, 19])]
    for name in want:
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), want[name][0])
    assert loop.step == len(x)


def test_weights_are_written_and_read_where_they_stand(taught, cores, session, spiking):
    model, device = taught, session(cores())
    program = device.load(model.graph)
    first = device.initial(program)
    for name in device.projections():
        np.testing.assert_array_equal(device.weights(name), first[name])
    device.run(spiking.samples(model))
    eligible = device.eligibility("rewarded")
    other = np.clip(device.weights("rewarded") + 3, -60, 60)
    device.set_weights("rewarded", other)
    np.testing.assert_array_equal(device.weights("rewarded"), other)
    np.testing.assert_array_equal(device.eligibility("rewarded"), eligible)
    assert eligible.any()
    with pytest.raises(InputError, match="one per synapse"):
        device.set_weights("rewarded", other[:-1])
    with pytest.raises(InputError, match="projection must be one of paired, rewarded, not 'x'"):
        device.weights("x")
    with pytest.raises(InputError, match="core by core"):
        device.pool(np.arange(3))


def test_a_session_goes_on_where_another_ended(networks, taught, cores, spiking):
    model, truth = taught, spiking.Learnt(taught)
    engine = ClusterEngine(cores())
    gateware = StreamDevice(Identity("spiking", "simulated", bytes(32), 0, 0, 24_000_000), engine)
    for number in range(3):
        with Device(SimulatedLine(gateware)) as device:
            session = SpikingDevice(device)
            if number == 0:
                with pytest.raises(DeviceError, match="must be loaded with 'taught' first"):
                    session.attach(model.graph)
                session.load(model.graph)
            else:
                session.attach(model.graph)
                assert not session.has(networks["plain"].graph) and session.has(model.graph)
            x = spiking.samples(model, seed=number)
            equal(truth.run(x), session.run(x))
            for name in session.plastic():
                np.testing.assert_array_equal(session.weights(name), truth.weights(name))
            session.set_reward(number - 7)
            assert [member.core.reward for member in engine.members] == [number - 7] * 2


def test_cores_that_hang_are_given_up(networks, cores, session, spiking):
    class Stuck(ClusterEngine):
        def steps(self):
            return True

    device = session(cores(), engine=Stuck(cores()), timeout=0.3)
    device.load(networks["plain"].graph)
    with pytest.raises(DeviceError, match="stopped in step 0"):
        device.run(spiking.samples(networks["plain"]))


def test_a_core_that_is_left_alone_is_noticed(networks, cores, session, spiking):
    """One core that has run more steps than the others does not go unseen."""
    model = networks["plain"]
    device = session(cores())
    device.load(model.graph)
    loop = device.loop()
    device.call(to_core(255, [go(1, Go.CONTINUE)]))
    with pytest.raises(DeviceError, match="must have done 5 steps, not 6"):
        loop.run({"in": spiking.samples(model, count=1)["in"][0, :5]})


def test_refusals(networks, cores, session):
    model = networks["plain"]
    with pytest.raises(InputError, match="a network must be loaded first"):
        session(cores()).run(np.zeros((1, 3, 20)))
    with pytest.raises(DoesNotFitError, match="at most 32 neurons .* on the 2 cores of profile 'custom', not 48"):
        session(cores(neurons=16)).load(model.graph)
    device = session(cores())
    with pytest.raises(InputError, match="reward must be in -128..127, not 200"):
        device.set_reward(200)
    twin = next(c for c in CORES["ulx3s_85f"] if c.profile == "twin")
    with pytest.raises(UnsupportedError, match="must have one core, not the 2 of profile 'twin'"):
        flow.core_component(twin)
    board = load_board("ulx3s_85f")
    with pytest.raises(UnsupportedError, match="spikes on pins must have one core"):
        flow.core_design(twin, replace(board, wired=True))
    assert "twin" in PROFILES and sorted(PROFILES)[-1] == "twin"  # the numbers of the others stay


def test_on_a_virtual_board_over_the_link(networks, cores, spiking, require_tool):
    require_tool("verilator")
    model, config = networks["recorded"], cores()
    build, identity = flow.core_design(config, load_board("tang_nano_9k"))
    x = spiking.samples(model, count=2, steps=20)
    with emulate(build, identity, load_board("tang_nano_9k")) as virtual, connect(virtual.port, timeout=60.0) as device:
        session = SpikingDevice(device)
        assert isinstance(session, ClusterDevice) and session.config == config
        program = session.load(model.graph)
        assert program.used == 2
        want, cycles, _ = rung.predicted(model.graph, program, x)
        equal(want, session.run(x, raster=False, trace=True))
        np.testing.assert_array_equal(session.facts["step_cycles"], cycles)
        np.testing.assert_array_equal(session.state("a.v"), want["a.v"][-1, -1])
