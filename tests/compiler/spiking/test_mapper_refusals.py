"""What the mapper refuses, and with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.mapper import map_graph

INFER = CoreConfig("infer", slots=2)
STDP = CoreConfig("stdp", slots=2, learning="stdp")


def graph_without_spikes() -> Graph:
    b = Builder("empty", clocked=True)
    b.output("y", b.input("x", BIT, (3,)))
    return b.finish()


def graph_with_arithmetic() -> Graph:
    b = Builder("odd", clocked=True)
    b.input("in", BIT, (2,))
    total = b.const(np.array([1, 2, 3]), name="offsets")
    v = b.state(np.zeros(3, np.int64), Type(24, True), "sample", name="p.v")
    attrs = {"threshold": np.array(20), "leak": "none", "strict": False, "reset": "zero", "reset_mode": "immediate"}
    out = b.nodes("lif", [total, v], name="p.spikes", **attrs)
    b.update(v, out[1])
    b.output("p.spikes", out[0])
    return b.finish()


LEARNER = np.full((3, 4), 5)


REFUSED: list[tuple[str, Any, CoreConfig, str]] = [
    ("nothing spikes", lambda network: graph_without_spikes(), INFER, "must have populations of neurons"),
    (
        "other nodes",
        lambda network: graph_with_arithmetic(),
        INFER,
        "node %offsets = const must be synapses, an input, or a sum of them",
    ),
    (
        "state width",
        lambda network: network(np.ones((2, 3), int), bits=20),
        INFER,
        r"node %p.spikes = lif must have states of 24 bits on this core, not 20; compile the network with state_bits 24",
    ),
    (
        "delay",
        lambda network: network(np.ones((2, 3), int), delay=9),
        INFER,
        r"node %w.current = synapses must have delays of at most 1 steps in profile 'infer', not 9; it fits icebreaker with "
        r"profile delay, ulx3s_85f with profile delay",
    ),
    (
        "too many inputs",
        lambda network: network(np.ones((600, 2), int)),
        INFER,
        r"network 'net' must have at most 512 inputs .* not 600; it fits ulx3s_85f with profile delay",
    ),
    (
        "too many neurons",
        lambda network: network(np.ones((2, 1025), int)),
        INFER,
        r"network 'net' must have at most 1024 neurons .* not 1025; it fits ulx3s_85f with profile delay",
    ),
    (
        "pool",
        lambda network: network(np.ones((512, 300), int)),
        INFER,
        r"network 'net' must fit the 16384 pool words of profile 'infer', not need 19606; it fits ulx3s_85f",
    ),
    (
        "nowhere",
        lambda network: network(np.ones((2, 8000), int)),
        INFER,
        "no core of the boards holds it, so make the network smaller",
    ),
    (
        "weights",
        lambda network: network(np.array([[40000]])),
        INFER,
        r"node %w.current = synapses must have weights in -32768..32639 .* not 40000..40000; quantise to fewer bits",
    ),
    (
        "learning",
        lambda network: network(LEARNER, learn={}),
        INFER,
        r"node %w.next = stdp must run on a core with learning 'stdp', not 'none'; it fits icebreaker with profile stdp, ulx3s_85f",
    ),
    (
        "eligibility",
        lambda network: network(LEARNER, learn={"eligibility": True}),
        STDP,
        r"must run on a core with learning 'reward', not 'stdp'; it fits ulx3s_85f with profile reward",
    ),
    (
        "weights outside the bounds",
        lambda network: network(LEARNER, learn={"w_max": 4}),
        STDP,
        r"node %w.next = stdp must start from weights in -50..4, not 5 \(synapse 0\); clip them or widen",
    ),
    (
        "wide bounds",
        lambda network: network(LEARNER, learn={"type": Type(16, True), "w_max": 400}),
        STDP,
        r"must keep weights in -128..127 on a core of 8 weight bits, not -50..400; narrow w_min and w_max",
    ),
]


@pytest.mark.parametrize(("make", "config", "text"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refusals(make: Any, network: Any, config: CoreConfig, text: str) -> None:
    with pytest.raises((UnsupportedError, DoesNotFitError), match=text):
        map_graph(make(network), config)
