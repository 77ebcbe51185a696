"""Networks mapped by the compiler, on the RTL: status, cycles, events and every pool word as the model of the core has them.

The model itself equals the graph's reference in ``tests/compiler/spiking/test_executor.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.image import write_raster
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import Learning
from neuroloom.sim import reference

STEPS = 6


def layers(rng: np.random.Generator) -> Network:
    """Feed-forward without delay, recurrent records with delays, winner-take-all, a decision."""
    net = Network("layers")
    cells = net.input("in", 20)
    hidden = net.population("hidden", 30, Neuron(threshold=60, leak="multiplicative", beta=60000, refractory=1))
    out = net.population("out", 5, Neuron(threshold=30, leak="subtractive", decay=2, wta=True, reset="subtract"))
    net.connect(cells, hidden, weights=rng.integers(-20, 60, (20, 30)), delay=0)
    pre, post = rng.integers(0, 30, 50), rng.integers(0, 30, 50)
    net.connect(
        hidden,
        hidden,
        pre=pre,
        post=post,
        weights=rng.integers(-300, 300, 50),
        delay=rng.integers(1, 6, 50),
        weight_bits=16,
    )
    net.connect(hidden, out, weights=rng.integers(-20, 60, (30, 5)), delay=0)
    net.record(hidden, "spikes")
    net.decide(out, margin=2)
    return net


def learner(rng: np.random.Generator) -> Network:
    """Dense and compressed learning from inputs and between neurons, with enables and random rounding."""
    net = Network("learner")
    cells = net.input("in", 20)
    a = net.population(
        "a", 24, Neuron(threshold=40, leak="multiplicative", beta=60000, adapt_decay=60000, adapt_step=9)
    )
    rule = {"pre_decay": 60000, "post_decay": 55000, "pre_step": 20000, "post_step": 15000, "w_min": -60, "w_max": 60}
    enable = rng.random(480) < 0.7
    dense = Learning(f=12, rounding="stochastic", enable=enable, **rule)
    net.connect(cells, a, weights=rng.integers(-10, 40, (20, 24)), delay=0, plasticity=dense)
    pre, post = rng.integers(0, 24, 40), rng.integers(0, 24, 40)
    pre, post = np.unique(np.stack([pre, post]), axis=1)
    thin = Learning(f=13, soft=True, rounding="half_up", **rule)
    net.connect(a, a, pre=pre, post=post, weights=rng.integers(-10, 40, len(pre)), delay=2, plasticity=thin)
    net.record(a, "spikes")
    return net


def two_kinds(rng: np.random.Generator) -> Network:
    """Compressed rows with eligibilities beside ones without, which learn or not."""
    net = Network("two_kinds")
    cells = net.input("in", 20)
    a = net.population("a", 40, Neuron(threshold=30, leak="multiplicative", beta=60000))
    rule = {"pre_decay": 60000, "post_decay": 55000, "pre_step": 20000, "post_step": 15000, "w_min": -60, "w_max": 60}
    kinds = [Learning(f=12, eligibility=True, e_decay=250, g=5, **rule), Learning(f=12, **rule), None]
    for number, learning in enumerate(kinds):
        pre, post = np.unique(rng.integers(0, (20, 40), (35, 2)), axis=0).T
        weights = rng.integers(5, 40, len(pre))
        delay = 1 + number if learning else rng.integers(1, 7, len(pre))
        net.connect(cells, a, pre=pre, post=post, weights=weights, delay=delay, plasticity=learning)
    net.record(a, "spikes")
    return net


@pytest.mark.parametrize(
    ("make", "lanes", "learning"),
    [(layers, 4, "stdp"), (learner, 2, "stdp"), (two_kinds, 8, "reward"), (two_kinds, 2, "reward")],
    ids=["layers", "learner", "two kinds of records", "two kinds on two lanes"],
)
def test_mapped_networks(
    make: Callable[..., Network],
    lanes: int,
    learning: str,
    session: Any,
    simulate: Callable[..., None],
    require_tool: Callable[..., Any],
) -> None:
    require_tool("iverilog")
    config = CoreConfig(
        "custom", lanes=lanes, slots=8, pool_words=2048, neurons=128, inputs=32, learning=learning, event_depth=1024
    )
    rng = np.random.default_rng(lanes)
    graph = lower_network(make(rng))
    program = map_graph(graph, config)
    if make is two_kinds:
        assert {place["rows"] for place in program.maps["projections"].values()} == {"records"}
    inputs = {"in": (rng.random((STEPS, 20)) < 0.4).astype(np.int64)}
    reward = 30 if program.maps["reward"] else 0
    if reward:
        inputs["reward"] = np.full(STEPS, reward)
    result = run_program(program, inputs, raster=True)
    expected = reference.run(graph, {name: value[None] for name, value in inputs.items()})
    for name, value in result.outputs.items():
        np.testing.assert_array_equal(value, expected[name][0], err_msg=name)
    core = result.core
    assert core.events

    base, words = write_raster(program, inputs)
    pool = np.zeros((base + len(words), lanes), np.uint32)
    pool[: len(program.pool)], pool[base:] = program.pool, words
    s = session(config)
    s.zero()
    s.load_program([int(w) for w in program.program])
    s.load_pool(0, pool.tolist())
    s.write(3, 0, struct.pack("<iII", reward, program.maps["seed"] or 1, 0))
    s.sent += b"G" + struct.pack("<IB", STEPS, 1)
    s.wait()
    s.sent += b"S"
    head = struct.pack("<BBHIII", 8 * core.decided, core.saturated, len(core.events), STEPS, core.cycles, 0)
    s.expect(head + struct.pack("<IHH", core.at, core.winner, 0), "status")
    s.sent += b"D" + struct.pack("<H", len(core.events))
    s.expect(b"".join(struct.pack("<HH", *event) for event in core.events), "events")
    s.model.pool = core.pool.tolist()
    s.read_pool(0, base)
    simulate(s)
