"""Loading, running, learning and reading back over the Python model of the core: the same integers as the graph's."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import DeviceError, DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.spiking.core import CORES
from neuroloom.host.device import Device, SimulatedDevice
from neuroloom.host.simulated import SimulatedLine
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import ModelEngine, StreamDevice
from neuroloom.rtl.link.protocol import Identity


def equal(want, got):
    assert set(want) == set(got)
    for name in want:
        assert np.array_equal(want[name], got[name]), name


@pytest.mark.parametrize("name", ["plain", "recorded", "rewarded"])
@pytest.mark.parametrize("raster", [None, False])
def test_outputs_and_learnt_weights_are_the_graphs(name, raster, networks, session, spiking):
    model = networks[name]
    device, truth = session(), spiking.Learnt(model)
    device.load(model.graph)
    for seed in range(2):  # learning goes on from run to run
        x = spiking.samples(model, seed=seed)
        want = truth.run(x)
        equal(want, device.run(x, raster=raster))
        assert sum(int(np.count_nonzero(v)) for v in want.values()) > 50
        for projection in device.plastic():
            assert np.array_equal(device.weights(projection), truth.weights(projection)), projection
    assert bool(device.plastic()) == (name == "rewarded")


def test_step_by_step_gives_the_cycles_of_every_step(networks, session, spiking):
    model = networks["plain"]
    device = session()
    device.load(model.graph)
    x = spiking.samples(model)
    equal(spiking.Learnt(model).run(x), device.run(x, raster=False, trace=True))
    steps = device.facts["step_cycles"]
    assert steps.shape == (3, 30) and (steps > 0).all()
    assert np.array_equal(steps.sum(1), device.facts["cycles"])


def test_a_run_is_drained_while_it_goes_on(networks, session, spiking):
    """The model pauses while the FIFO has no room for a step's events; test_rtl.py has cores that wait inside a step."""
    model = networks["plain"]
    device = session(spiking.core(event_depth=36))
    device.load(model.graph)
    x = spiking.samples(model)
    want = spiking.Learnt(model).run(x)
    equal(want, device.run(x))
    assert sum(int(w.sum()) for w in want.values()) > 10 * 36


def test_long_rasters_are_played_in_parts(networks, session, spiking):
    model = networks["plain"]
    device = session()
    program = device.load(model.graph)
    capacity = program.maps["raster"]["capacity"]
    x = spiking.samples(model, count=1, steps=2 * capacity + 7)
    equal(spiking.Learnt(model).run(x), device.run(x))


def test_noise_on_the_line_changes_nothing(networks, spiking, lines):
    """A step done twice, or a weight written to the wrong place, would show in what is learnt."""
    model, truth = networks["rewarded"], spiking.Learnt(networks["rewarded"])
    identity = Identity("spiking", "simulated", bytes(32), 0, 0, 24_000_000)
    noise = lines.Noise(5, flip=1e-4, drop=1e-4, double=1e-4, insert=1e-4)
    gateware = StreamDevice(identity, ModelEngine(spiking.core()), frame_bytes=512)
    with Device(lines.FaultyLine(gateware, noise)) as device:
        session = SpikingDevice(device)
        session.load(model.graph)
        x = spiking.samples(model, count=2)
        equal(truth.run(x), session.run(x))
        for name in session.plastic():
            assert np.array_equal(session.weights(name), truth.weights(name))
        assert noise.count > 20 and device.repeats > 0


def test_weights_can_be_replaced(networks, session, spiking):
    model = networks["rewarded"]
    device = session()
    device.load(model.graph)
    x = spiking.samples(model)
    device.run(x)
    learnt = {name: device.weights(name) for name in device.plastic()}
    eligible = device.eligibility("rewarded")
    other = np.clip(learnt["rewarded"] + 3, 0, 127)
    device.set_weights("rewarded", other)
    assert np.array_equal(device.weights("rewarded"), other)
    assert np.array_equal(device.weights("paired"), learnt["paired"])
    assert np.array_equal(device.eligibility("rewarded"), eligible) and eligible.any()
    with pytest.raises(InputError, match="one per synapse"):
        device.set_weights("rewarded", other[:-1])
    with pytest.raises(InputError, match="projection must be one of rewarded, paired, not 'x'"):
        device.weights("x")


def test_a_session_goes_on_where_another_ended(networks, spiking):
    model, truth = networks["rewarded"], spiking.Learnt(networks["rewarded"])
    identity = Identity("spiking", "simulated", bytes(32), 0, 0, 24_000_000)
    gateware = StreamDevice(identity, ModelEngine(spiking.core()))
    for number in range(3):
        with Device(SimulatedLine(gateware)) as device:
            session = SpikingDevice(device)
            if number == 0:
                with pytest.raises(DeviceError, match="must be loaded with 'rewarded' first"):
                    session.attach(model.graph)
                session.load(model.graph)
            else:
                session.attach(model.graph)
                assert not session.has(networks["plain"].graph) and session.has(model.graph)
            x = spiking.samples(model, seed=number)
            equal(truth.run(x), session.run(x))
            for name in session.plastic():
                assert np.array_equal(session.weights(name), truth.weights(name))


def test_a_broken_memory_is_found(networks, session, spiking):
    class Broken(ModelEngine):
        def _write(self, fields):
            super()._write(fields)
            self._pool()[77] = 0xA5
            return b""

    device = session(engine=Broken(spiking.core()))
    with pytest.raises(DeviceError, match="pool memory on the simulated core must hold 0x.. at byte 77, not 0xa5"):
        device.load(networks["rewarded"].graph)
    device.load(networks["rewarded"].graph, check=False)


def test_a_core_that_hangs_is_given_up(networks, session, spiking):
    class Stuck(ModelEngine):
        def _steps(self):
            return True

    device = session(engine=Stuck(spiking.core()), timeout=0.3)
    device.load(networks["plain"].graph)
    with pytest.raises(DeviceError, match="stopped in step 0"):
        device.run(spiking.samples(networks["plain"]))


def test_refusals_name_the_way_out(networks, session, spiking):
    model = networks["rewarded"]
    with pytest.raises(DeviceError, match="must have a spiking core, but it has a logic engine; build one with"):
        SpikingDevice(SimulatedDevice(lambda data: data, bytes_in=1, bytes_out=1, kind="logic"))
    device = session(CORES["icebreaker"][0], board="icebreaker")
    assert device.config.profile == "infer"
    with pytest.raises(DoesNotFitError, match="it fits ulx3s_85f with profile reward"):
        device.load(model.graph)
    with pytest.raises(InputError, match="a network must be loaded first"):
        device.run(spiking.samples(model))
    with pytest.raises((UnsupportedError, DoesNotFitError), match="pool words"):
        session(spiking.core(pool_words=64)).load(model.graph)
    device = session()
    device.load(model.graph)
    x = spiking.samples(model)
    with pytest.raises(InputError, match="input 'in' must have the shape"):
        device.run({**x, "in": x["in"][:, :, :-1]})
    with pytest.raises(InputError, match="reward must be in -128..127, not 128"):
        device.set_reward(128)


def decisions(device, truth, x):
    """What decide says, and the graph's decision behind the last step."""
    want, got = truth.run(x), device.decide(x)
    for name in ("winner", "at"):
        assert np.array_equal(got[name], want[f"decision.{name}"][:, -1]), name
    return got


def test_a_sample_ends_at_its_decision(networks, session, spiking):
    model = networks["recorded"]
    device, truth = session(), spiking.Learnt(model)
    device.load(model.graph)
    x = spiking.samples(model, count=6)
    got = decisions(device, truth, x)
    device.run(x)
    sure = got["done"] == 1
    assert sure.any()
    assert (got["cycles"] < device.facts["cycles"])[sure & (got["at"] < 29)].all()
    device.load(networks["plain"].graph)
    with pytest.raises(InputError, match="must have a decision to stop at"):
        device.decide(spiking.samples(networks["plain"]))
