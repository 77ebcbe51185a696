"""``lif`` as lava's integer CUBA-LIF (Loihi): the recorded trace of the NIR paper's neuron, and the published recursion.

Loihi's step: u <- u·(4096 - du) / 4096 + input, v <- v·(4096 - dv) / 4096 + u, spike when v > threshold, v <- 0. The spike is
recorded as a membrane of 128, and the neuron rests for one step at 0.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.sim.reference import run

TRACE = Path(__file__).parents[3] / "shared" / "data" / "nir_lif" / "lif_lava_loihi_fixed.csv"
STATE, BIT = Type(24, True), Type(1)


def one_neuron(weight: int, beta: int, threshold: int) -> Graph:
    """An input that arrives one step late (Loihi's synapses), a membrane, its recording."""
    b = Builder("lava", clocked=True)
    spikes = b.input("in", BIT, (1,))
    history = b.state(np.zeros((1, 1)), BIT, "sample", name="history")
    now = b.node("reshape", [spikes], shape=(1, 1))
    both = b.node("concat", [now, history], axis=0)
    zero = np.zeros(1, np.int32)
    current = b.node("synapses", [both], pre=zero, post=zero, delay=zero + 1, n_post=1, weights=np.array([weight]))
    v = b.state(np.zeros(1), STATE, "sample", name="v")
    r = b.state(np.zeros(1), Type(8), "sample", name="r")
    spike, new_v, new_r, recorded = b.nodes(
        "lif",
        [current, v, r],
        threshold=np.array([threshold]),
        leak="multiplicative",
        beta=beta,
        strict=True,
        reset="value",
        v_reset=128,
        reset_mode="immediate",
        refractory=1,
        refractory_v=0,
    )
    for state, value in ((v, new_v), (r, new_r), (history, now)):
        b.update(state, value)
    b.output("spike", spike)
    b.output("v", recorded)
    return b.finish()


def test_recorded_trace() -> None:
    if not TRACE.exists():
        pytest.skip("the NIR paper's traces are not beside the project (shared/data/nir_lif)")
    rows = np.array([[int(float(x)) for x in row] for row in csv.reader(TRACE.read_text().splitlines())])
    found = run(one_neuron(640, (4096 - 163) * 16, 1600), rows[None, :, :1])
    np.testing.assert_array_equal(found["v"][0, :, 0], rows[:, 1])
    np.testing.assert_array_equal(found["spike"][0, :, 0], rows[:, 2])
    assert list(np.flatnonzero(found["spike"])) == [461, 511, 711, 761]


def test_recursion() -> None:
    rng = np.random.default_rng(0)
    spikes = (rng.random((1, 400, 1)) < 0.2).astype(np.int64)
    v, resting, arriving = 0, False, 0
    membranes, fired = [], []
    for bit in spikes[0, :, 0]:
        v = 0 if resting else (v * (4096 - 300)) // 4096 + 700 * arriving
        resting = not resting and v > 1900
        v = 128 if resting else v
        membranes.append(v)
        fired.append(int(resting))
        arriving = int(bit)
    found = run(one_neuron(700, (4096 - 300) * 16, 1900), spikes)
    np.testing.assert_array_equal(found["v"][0, :, 0], membranes)
    np.testing.assert_array_equal(found["spike"][0, :, 0], fired)
    assert sum(fired) > 10


@pytest.mark.parametrize("old", [False, True])
def test_current_based_neuron(old: bool) -> None:
    """Two decays rounded toward zero, as lava's bit-accurate model does, against scalar recursions."""
    rng = np.random.default_rng(1)
    n, steps, du, dv, theta = 5, 60, 800, 300, 3000
    x = rng.integers(-900, 1300, (1, steps, n))
    b = Builder("cuba", clocked=True)
    current = b.input("x", Type(12, True), (n,), bounds=(-900, 1300))
    states = [b.state(np.zeros(n), STATE, "sample", name=name) for name in ("v", "i")]
    spike, *following, recorded = b.nodes(
        "lif",
        [current, *states],
        threshold=np.array(theta),
        leak="multiplicative",
        beta=(4096 - dv) * 16,
        alpha=(4096 - du) * 16,
        old_current=old,
        rounding="toward_zero",
        strict=True,
        reset="zero",
        reset_mode="immediate",
    )
    for state, value in zip(states, following, strict=True):
        b.update(state, value)
    b.output("spike", spike)
    b.output("v", recorded)
    found = run(b.finish(), x)
    for neuron in range(n):
        u = v = 0
        for t in range(steps):
            before = u
            u = int(u * (4096 - du) / 4096) + int(x[0, t, neuron])
            v = int(v * (4096 - dv) / 4096) + (before if old else u)
            fires = v > theta
            v = 0 if fires else v
            assert (found["spike"][0, t, neuron], found["v"][0, t, neuron]) == (fires, v)
    assert 5 < found["spike"].sum() < n * steps / 2
