"""Many samples on a core: one exchange with the host for many of them, and the same integers as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device

import neuroloom as nl

DEEP = {"event_depth": 512}


def classifier() -> nl.Model:
    """Nothing learns; the inputs decide how many spikes there are."""
    rng = np.random.default_rng(3)
    net = nl.Network("classifier")
    cells = net.input("in", 20)
    o = net.population("o", 8, nl.Neuron(threshold=90, leak="subtractive", decay=3, reset="subtract"))
    net.connect(cells, o, weights=rng.integers(0, 60, (20, 8)) * np.array([2, 1, 1, 1, 1, 1, 1, 1]), delay=0)
    net.record(o, "spikes")
    net.decide(o, margin=2)
    return nl.compile(net)


def learner() -> nl.Model:
    """The weights of a sample are what the samples before it left."""
    net = nl.Network("learner")
    cells = net.input("in", 16)
    a = net.population("a", 4, nl.LIF(tau=20e-3, threshold=1.0))
    net.connect(cells, a, weights=np.full((16, 4), 0.3), plasticity=nl.STDP(a_plus=0.1, a_minus=0.1), name="paired")
    net.record(a, "spikes")
    return nl.compile(net)


MODELS = {"classifier": classifier(), "learner": learner()}


class Counted:
    """Counts the exchanges of a session with its device, and what is asked for in each."""

    def __init__(self, device: SpikingDevice) -> None:
        self.exchanges: list[int] = []
        call = device.call

        def counted(calls):
            kept = list(calls)
            self.exchanges.append(sum(c.answer for c in kept))
            return call(kept)

        device.call = counted


def raster(count: int, steps: int, size: int, rate: np.ndarray | float, seed: int = 0) -> np.ndarray:
    """Random spikes; the rate may differ from sample to sample."""
    chance = np.broadcast_to(np.asarray(rate, float), (count,))[:, None, None]
    return (np.random.default_rng(seed).random((count, steps, size)) < chance).astype(np.int64)


@pytest.fixture
def loaded(session, spiking):
    """Return ``loaded(name, **core)``: a session that holds the model, its graph's truth, and its counter."""

    def load(name, **core):
        device = session(spiking.core(**{**DEEP, **core}))
        device.load(MODELS[name].graph)
        return device, spiking.Learnt(MODELS[name]), Counted(device)

    return load


def equal(want, got):
    assert set(want) == set(got)
    for name in want:
        assert np.array_equal(want[name], got[name]), name


@pytest.mark.parametrize("feed", [None, False], ids=["raster", "step by step"])
@pytest.mark.parametrize("name", MODELS)
def test_many_samples_are_a_few_exchanges(name, feed, loaded):
    device, truth, counted = loaded(name)
    x = raster(60, 15, MODELS[name].graph.inputs[0].value.shape[0], 0.3)
    equal(truth.run({"in": x}), device.run(x, raster=feed))
    assert len(counted.exchanges) <= 6  # 60 samples in batches of 1, 4, 16 and 39
    if name == "learner":
        assert np.array_equal(device.weights("paired"), truth.weights("paired"))


def test_a_sample_with_more_spikes_than_were_asked_for_runs_again(loaded):
    device, truth, counted = loaded("classifier")
    rates = np.where(np.arange(60) % 17 == 12, 0.9, 0.02)  # samples 12, 29 and 46 among quiet ones
    x = raster(60, 15, 20, rates)
    want = truth.run({"in": x})
    spikes = want["o.spikes"].sum((1, 2))
    assert spikes[12] > 1.5 * spikes[:12].max()
    facts = []
    equal(want, device.run(x, progress=lambda done, of: facts.append((done, of))))
    assert len(counted.exchanges) > 4 and facts[-1] == (60, 60)
    alone = [device.run(x[n : n + 1]) and int(device.facts["cycles"][0]) for n in (12, 13)]
    device.run(x)
    assert device.facts["cycles"][12:14].tolist() == alone


def test_what_learns_is_never_run_twice(loaded):
    """A sample of a network that learns asks for all events there could be, or is sent alone."""
    for steps in (60, 70):  # 4 neurons: 240 events at most, and 280
        device, truth, counted = loaded("learner")
        x = raster(5, steps, 16, np.array([0.0, 0.0, 0.0, 0.9, 0.9]))
        equal(truth.run({"in": x}), device.run(x))
        assert np.array_equal(device.weights("paired"), truth.weights("paired"))
        assert (len(counted.exchanges) <= 4) == (steps == 60)


def test_samples_whose_events_have_room_in_pieces(loaded):
    """8 outputs and a FIFO of 64 events: pieces of 8 steps."""
    for name in MODELS:
        device, truth, counted = loaded(name, event_depth=64 if name == "classifier" else 32)
        x = raster(20, 30, MODELS[name].graph.inputs[0].value.shape[0], 0.5)
        want = truth.run({"in": x})
        equal(want, device.run(x))
        assert len(counted.exchanges) == 3 and want["o.spikes" if name == "classifier" else "a.spikes"].sum() > 20 * 64


def test_events_without_room_are_drained_meanwhile(loaded):
    device, truth, _ = loaded("classifier", event_depth=16)
    x = raster(6, 40, 20, 0.4)
    equal(truth.run({"in": x}), device.run(x))


def test_decisions_are_streamed(loaded, spiking):
    device, truth, counted = loaded("classifier")
    x = raster(60, 15, 20, np.linspace(0.05, 0.5, 60))
    want = truth.run({"in": x})
    counted.exchanges.clear()
    got = device.decide(x)
    assert len(counted.exchanges) <= 4
    done = want["decision.done"][:, -1] == 1
    assert 0 < done.sum() < 60
    assert np.array_equal(got["done"], done)
    assert np.array_equal(got["winner"], want["decision.winner"][:, -1])
    assert np.array_equal(got["at"][done], want["decision.at"][:, -1][done])


def test_the_host_hears_from_a_slow_core_between_samples(loaded):
    device, truth, counted = loaded("classifier")
    device._patience = (device.program, 60)  # 4 samples of 15 steps
    x = raster(20, 15, 20, 0.3)
    equal(truth.run({"in": x}), device.run(x))
    assert len(counted.exchanges) >= 6  # 1, 4, 4, 4, 4, 3


def test_a_run_that_the_watchdog_might_end_is_looked_at_meanwhile(spiking):
    with simulated_device(spiking.core(**DEEP)) as device:
        session = SpikingDevice(device)
        program = session.load(MODELS["classifier"].graph)
        many = session.patience(program)
        assert many > 15
        identity = device.identity
        object.__setattr__(identity, "watchdog_ms", 1)
        session._patience = (None, 0)
        assert session.patience(program) < many
        object.__setattr__(identity, "clock_hz", 2_000_000)
        session._patience = (None, 0)
        assert session.patience(program) < 15
        counted = Counted(session)
        x = raster(3, 15, 20, 0.3)
        equal(spiking.Learnt(MODELS["classifier"]).run({"in": x}), session.run(x))
        assert len(counted.exchanges) >= 6


def test_a_decision_in_the_middle_ends_the_sample(networks, session, spiking):
    """Currents change on the way, so a sample is several runs of the core, and none may follow the one that decided."""
    device = session(spiking.core(event_depth=1024))
    device.load(networks["recorded"].graph)
    x = spiking.samples(networks["recorded"])
    want = spiking.Learnt(networks["recorded"]).run(x)
    got = device.decide(x)
    assert want["decision.done"][:, -1].any()
    assert np.array_equal(got["winner"], want["decision.winner"][:, -1])
    assert np.array_equal(got["at"], want["decision.at"][:, -1])
    full = device.run(x) and device.facts["cycles"]
    assert (got["cycles"] < full)[want["decision.done"][:, -1] == 1].all()


def test_a_sample_that_takes_longer_than_the_host_waits(loaded):
    """It may be many runs of the core; together they must not be one silence."""
    device, truth, counted = loaded("classifier")
    device._patience = (device.program, 10)
    x = raster(4, 15, 20, 0.3)
    equal(truth.run({"in": x}), device.run(x, raster=False))
    assert len(counted.exchanges) >= 8
