"""The same sessions with the core's RTL: under Verilator in full, under Icarus for some steps."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, MismatchError
from neuroloom.host.spiking.rtl_engine import RtlEngine
from neuroloom.host.verify import spiking as rung
from neuroloom.host.verify import under_simulators
from neuroloom.host.verify.ladder import climb


@pytest.fixture(scope="module")
def engine(spiking, require_tool):
    """One core with a FIFO of 16 events under Verilator."""
    require_tool("verilator")
    with RtlEngine(spiking.core(event_depth=16)) as running:
        yield running


@pytest.mark.parametrize("name", ["plain", "recorded", "rewarded"])
def test_outputs_weights_and_cycles_under_verilator(name, engine, networks, session, spiking):
    model = networks[name]
    device = session(engine=engine)
    program = device.load(model.graph)
    x = spiking.samples(model, count=2)
    want, cycles, weights = rung.predicted(model.graph, program, x)
    got = device.run(x, raster=False, trace=True)
    for output, values in want.items():
        assert np.array_equal(values, got[output]), output
    assert np.array_equal(cycles, device.facts["step_cycles"])
    for projection, values in weights.items():
        assert np.array_equal(values, device.weights(projection)), projection
    device.load(model.graph, check=False)
    again = device.run(x)
    for output, values in want.items():
        assert np.array_equal(values, again[output]), output
    assert bool(weights) == (name == "rewarded")


def test_a_sample_ends_at_its_decision_under_verilator(engine, networks, session, spiking):
    model = networks["recorded"]
    device = session(engine=engine)
    device.load(model.graph, check=False)
    x = spiking.samples(model, count=4)
    want, got = spiking.Learnt(model).run(x), device.decide(x)
    assert np.array_equal(got["winner"], want["decision.winner"][:, -1])
    assert np.array_equal(got["at"], want["decision.at"][:, -1])
    assert got["done"].any()


def test_a_full_fifo_stops_the_core_and_loses_nothing(engine, networks, session, spiking):
    """Up to 35 spikes in a step and room for 16: the core waits inside the step, and counts that apart."""
    model = networks["plain"]
    device = session(engine=engine)
    device.load(model.graph, check=False)
    x = spiking.samples(model, count=1, steps=100)
    got = device.run(x)
    for output, values in spiking.Learnt(model).run(x).items():
        assert np.array_equal(values, got[output]), output
    assert device.facts["stalls"][0] > 0


def test_icarus_agrees(networks, session, spiking, require_tool):
    require_tool("iverilog")
    model = networks["rewarded"]
    with RtlEngine(spiking.core(), "icarus") as engine:
        device = session(engine=engine)
        program = device.load(model.graph, check=False)
        x = spiking.samples(model, count=1, steps=6)
        want, cycles, weights = rung.predicted(model.graph, program, x)
        got = device.run(x, raster=False, trace=True)
        assert all(np.array_equal(values, got[output]) for output, values in want.items())
        assert np.array_equal(cycles, device.facts["step_cycles"])
        assert all(np.array_equal(values, device.weights(name)) for name, values in weights.items())
    with pytest.raises(InputError, match="simulator must be one of verilator, icarus, not 'x'"):
        RtlEngine(spiking.core(), "x")


def test_a_wrong_core_stops_the_ladder(networks, spiking, monkeypatch, require_tool):
    """Membranes that change by themselves: the rung says where the first output differs."""
    require_tool("verilator")
    model = networks["plain"]
    x = spiking.samples(model, count=1, steps=12)
    monkeypatch.setattr(rung, "RtlEngine", lambda config, simulator: _engine(config))
    monkeypatch.setattr(under_simulators, "present", lambda: (("verilator",), ""))
    done = climb(model.graph, x, to="rtl")
    assert [(r.name, r.ok) for r in done] == [("graph", True), ("fast", True), ("rtl", True)]
    with pytest.raises(InputError, match="the netlist rung must be given a board with --board"):
        climb(model.graph, x, to="netlist")
    monkeypatch.setattr(rung, "RtlEngine", lambda config, simulator: _engine(config, wrong=True))
    with pytest.raises(MismatchError, match=r"the core under verilator disagrees with the graph in .* first at output"):
        climb(model.graph, x, to="rtl")


def _engine(config, wrong=False):
    from neuroloom.host.spiking.simulated import ModelEngine

    class Engine(ModelEngine):
        cycles = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def _go(self, fields):
            if wrong:
                self.core.pool[:4] = 150  # membranes of the first neurons
            return super()._go(fields)

    return Engine(config)
