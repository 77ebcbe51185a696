"""Lowered networks run in the reference: small ones, worked out by hand, and random ones against a plain reading of the builder."""

from __future__ import annotations

import time

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.models import AlphaNeuron, IzhikevichNeuron, Neuron, RealNeuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.order import evaluation_order
from neuroloom.compiler.spiking.plasticity import Learning
from neuroloom.sim import reference


def raster(steps: int, *events: tuple[int, int], channels: int = 1) -> np.ndarray:
    """One sample [1, steps, channels] with spikes at (step, channel)."""
    out = np.zeros((1, steps, channels), np.int64)
    for t, i in events:
        out[0, t, i] = 1
    return out


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


def test_delays_and_thresholds_by_hand() -> None:
    net = Network("hand")
    source = net.input("in", 2)
    cell = net.population("cell", 1, Neuron(threshold=5), record=("spikes", "v"))
    net.connect(source, cell, pre=[0, 1], post=[0, 0], weights=[3, 2], delay=[0, 4])
    out = reference.run(lower_network(net), {"in": raster(8, (0, 0), (1, 1), (6, 0), channels=2)})
    # v: 3 at once, waits; 2 more arrive 4 steps behind step 1 -> 5 reaches the threshold at step 5, reset to 0; 3 again at step 6
    assert out["cell.v"][0, :, 0].tolist() == [3, 3, 3, 3, 3, 0, 3, 3]
    assert out["cell.spikes"][0, :, 0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


def test_a_chain_without_delay_spikes_in_one_step_whatever_the_order_it_was_added_in() -> None:
    net = Network("chain")
    net.population("last", 1, Neuron(threshold=1), record=("spikes",))
    net.population("middle", 1, Neuron(threshold=1), record=("spikes",))
    net.input("in", 1)
    net.connect("middle", "last", weights=[[1]], delay=0)
    net.connect("in", "middle", weights=[[1]], delay=0)
    assert evaluation_order(net) == ["middle", "last"]
    out = reference.run(lower_network(net), raster(3, (1, 0)))
    assert out["last.spikes"][0, :, 0].tolist() == [0, 1, 0]


def test_recurrence_with_delay_one_by_hand() -> None:
    net = Network("ring")
    net.input("in", 3)
    net.population("ring", 3, Neuron(threshold=1), record=("spikes",))
    net.connect("in", "ring", pre=[0, 1, 2], post=[0, 1, 2], weights=1, delay=0)
    net.connect("ring", "ring", pre=[0, 1, 2], post=[1, 2, 0], weights=1, delay=1)
    out = reference.run(lower_network(net), raster(5, (0, 0), channels=3))
    assert out["ring.spikes"][0].argmax(axis=1).tolist() == [0, 1, 2, 0, 1]
    assert out["ring.spikes"][0].sum(axis=1).tolist() == [1] * 5


def test_refractory_adaptation_and_current_input_by_hand() -> None:
    net = Network("adapt")
    model = Neuron(threshold=2, refractory=1, adapt_decay=65536, adapt_step=2)
    cell = net.population("cell", 1, model, record=("spikes", "v"))
    drive = net.drive(cell, bounds=(0, 2))
    out = reference.run(lower_network(net), {drive.name: np.full((1, 8, 1), 2)})
    # spikes at once (2 >= 2), silent one step, threshold 4: 2, 4 -> spike, silent, threshold 6: 2, 4, 6 -> spike
    assert out["cell.spikes"][0, :, 0].tolist() == [1, 0, 0, 1, 0, 0, 0, 1]
    assert out["cell.v"][0, :, 0].tolist() == [0, 0, 2, 0, 0, 2, 4, 0]


def test_stdp_by_hand() -> None:
    net = Network("learn")
    net.input("in", 1)
    net.population("cell", 1, Neuron(threshold=10, bias=0), record=("spikes",))
    rule = Learning(pre_decay=32768, pre_step=64, post_decay=32768, post_step=32, f=0, w_min=0, w_max=100)
    net.connect("in", "cell", weights=[[10]], delay=2, plasticity=rule)
    graph = lower_network(net)
    out = reference.run(graph, raster(6, (0, 0), (3, 0)), probes=["in-cell.weights"])
    # the spike of step 0 arrives in step 2; x is then 64/2/2 = 16: w += 16. The input of step 3 meets y = 32/2 = 16: w -= 16.
    assert out["cell.spikes"][0, :, 0].tolist() == [0, 0, 1, 0, 0, 1]
    assert out["in-cell.weights"][0, :, 0].tolist() == [10, 10, 10, 26, 10, 10]


def test_weights_live_on_across_samples_and_states_do_not() -> None:
    net = Network("learn")
    net.input("in", 1)
    net.population("cell", 1, Neuron(threshold=10), record=("spikes",))
    net.connect("in", "cell", weights=[[10]], delay=1, plasticity=Learning(pre_step=5, f=0, w_max=127))
    both = np.concatenate([raster(3, (0, 0)), raster(3, (0, 0))])
    out = reference.run(lower_network(net), both, probes=["in-cell.weights", "in.x"])
    assert out["in-cell.weights"][:, :, 0].tolist() == [[10, 10, 15], [15, 15, 20]]
    assert out["in.x"][:, 0, 0].tolist() == [0, 0]


def test_reward_arrives_by_an_input_of_its_own() -> None:
    net = Network("reward")
    net.input("in", 1)
    net.population("cell", 1, Neuron(threshold=10), record=("spikes",))
    rule = Learning(pre_step=8, f=0, g=0, eligibility=True, w_max=127)
    net.connect("in", "cell", weights=[[10]], delay=1, plasticity=rule)
    graph = lower_network(net)
    reward = np.array([[0, 0, 2, 0]])
    out = reference.run(graph, {"in": raster(4, (0, 0)), "reward": reward}, probes=["in-cell.weights"])
    assert out["in-cell.weights"][0, :, 0].tolist() == [10, 10, 10, 26]


def test_the_decision_is_shown() -> None:
    net = Network("decide")
    net.input("in", 2)
    net.population("out", 2, Neuron(threshold=1))
    net.connect("in", "out", pre=[0, 1], post=[0, 1], weights=1, delay=0)
    net.decide("out", margin=2)
    out = reference.run(lower_network(net), raster(5, (0, 0), (1, 1), (2, 1), (3, 1), channels=2))
    assert out["decision.done"][0].tolist() == [0, 0, 0, 1, 1]
    assert (out["decision.winner"][0, 3], out["decision.at"][0, 4]) == (1, 3)


def test_izhikevich_and_alpha_populations_run() -> None:
    net = Network("others")
    net.population("iz", 1, IzhikevichNeuron(a=1311, b=13107, c=-16640, d=2048, bias=2560), record=("spikes", "v"))
    net.population(
        "al", 1, AlphaNeuron(threshold=500, alpha=50000, beta=40000, gain=700, gain_bits=8, bias=300), record=["spikes"]
    )
    out = reference.run(lower_network(net), np.zeros((1, 100, 1), np.int64))
    assert out["iz.spikes"].sum() >= 2 and out["al.spikes"].sum() >= 2


def test_equal_traces_are_shared_and_different_ones_are_not() -> None:
    net = Network("traces")
    net.input("in", 2)
    net.population("a", 2, Neuron(threshold=3), record=("spikes",))
    one, other = Learning(pre_step=5, post_step=5), Learning(pre_step=7, post_step=5)
    for rule in (one, one, other):
        net.connect("in", "a", weights=np.ones((2, 2), int), plasticity=rule)
    names = [n.name for n in lower_network(net).states if ".x" in n.name or ".y" in n.name]
    assert names == ["in.x", "a.y", "in.x.1"]


def test_histories_are_as_deep_as_the_longest_delay() -> None:
    net = Network("depth")
    net.input("in", 2)
    net.population("a", 2, Neuron(threshold=3), record=("spikes",))
    net.connect("in", "a", weights=np.ones((2, 2), int), delay=np.array([[0, 5], [63, 1]]))
    net.connect("a", "a", weights=np.ones((2, 2), int), delay=1)
    states = {n.name: n.attrs["init"].shape for n in lower_network(net).states}
    assert states["in.history"] == (63, 2) and states["a.history"] == (1, 2)


def test_a_shift_multiplies_what_the_synapses_bring() -> None:
    net = Network("shift")
    net.input("in", 1)
    cell = net.population("cell", 1, Neuron(threshold=1000), record=("v",))
    cell.shift = 3
    net.connect("in", "cell", weights=[[5]], delay=0)
    assert "shift" in ops(lower_network(net))
    assert reference.run(lower_network(net), raster(2, (0, 0)))["cell.v"][0, :, 0].tolist() == [40, 40]


def test_a_projection_without_synapses_changes_nothing() -> None:
    net = Network("none")
    net.input("in", 2)
    net.population("cell", 2, Neuron(threshold=2, bias=1), record=("spikes",))
    net.connect("in", "cell", weights=np.zeros((2, 2), int))
    graph = lower_network(net)
    assert "synapses" not in ops(graph)
    assert reference.run(graph, raster(4, channels=2))["cell.spikes"][0, :, 0].tolist() == [0, 1, 0, 1]


def test_a_network_without_inputs_gets_a_clock() -> None:
    net = Network("alone")
    net.population("cell", 1, Neuron(threshold=2, bias=1), record=("spikes",))
    graph = lower_network(net)
    assert [i.name for i in graph.inputs] == ["clock"]
    assert reference.run(graph, raster(4))["cell.spikes"][0, :, 0].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("seed", range(8))
def test_random_topologies_equal_a_plain_reading(seed: int) -> None:
    """Integrate-and-fire populations joined at random, against a loop over single synapses."""
    rng = np.random.default_rng(seed)
    net = Network("random")
    sizes = {"in": 5, "a": 4, "b": 3, "c": 6}
    net.input("in", 5)
    thresholds = {}
    for name in ("a", "b", "c"):
        thresholds[name] = rng.integers(3, 12, sizes[name])
        net.population(name, sizes[name], Neuron(threshold=thresholds[name], reset="subtract"), record=("spikes", "v"))
    order = ["in", "a", "b", "c"]
    for _ in range(7):
        s, t = rng.choice(order), rng.choice(order[1:])
        least = 0 if order.index(s) < order.index(t) else 1
        n = int(rng.integers(1, 15))
        net.connect(
            s,
            t,
            pre=rng.integers(0, sizes[s], n),
            post=rng.integers(0, sizes[t], n),
            weights=rng.integers(-9, 10, n),
            delay=rng.integers(least, 6, n),
        )
    steps = 30
    x = rng.integers(0, 2, (1, steps, 5))
    out = reference.run(lower_network(net), x)
    spikes = {name: np.zeros((steps, size), int) for name, size in sizes.items()}
    spikes["in"] = x[0]
    v = {name: np.zeros(sizes[name], int) for name in order[1:]}
    for t in range(steps):
        for name in order[1:]:
            for p in net.into(name):
                for j, i, w, d in zip(p.pre, p.post, p.weight, p.delay, strict=True):
                    if t - d >= 0:
                        v[name][i] += w * spikes[p.source][t - d, j]
            spikes[name][t] = v[name] >= thresholds[name]
            v[name] -= spikes[name][t] * thresholds[name]
            assert (out[f"{name}.v"][0, t] == v[name]).all() and (out[f"{name}.spikes"][0, t] == spikes[name][t]).all()


def refused(net: Network) -> str:
    with pytest.raises(InputError) as error:
        lower_network(net)
    return str(error.value)


def one_cell(**options: object) -> Network:
    net = Network("net", **options)
    net.input("in", 1)
    net.population("cell", 1, Neuron(threshold=5), record=("spikes",))
    return net


def test_loops_without_delay_are_refused_by_name() -> None:
    net = one_cell()
    for name in ("a", "b", "c"):
        net.population(name, 1, Neuron())
    for s, t in (("in", "a"), ("a", "b"), ("b", "c"), ("c", "a")):
        net.connect(s, t, weights=[[1]], delay=0)
    assert refused(net) == "loop a -> b -> c -> a must have a delay of at least 1 step"
    own = one_cell()
    own.connect("cell", "cell", weights=[[1]], delay=0)
    assert refused(own) == "loop cell -> cell must have a delay of at least 1 step"


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    net = one_cell()
    net.connect("in", "cell", weights=[[128]])
    assert refused(net) == "weights of projection 'in-cell' must be in -128..127 (8 bits), not 128"
    net = one_cell(state_bits=8)
    net.connect("in", "cell", pre=[0, 0], post=[0, 0], weights=[100, 100])
    assert "current into population 'cell' must fit s8, but its weights can add up to 0..200" in refused(net)
    net = one_cell(state_bits=8)
    net.population("big", 1, Neuron(threshold=200))
    assert "threshold of population 'big' must be in -128..127 (8 state bits), not 200..200" in refused(net)
    net = one_cell()
    net.connect("in", "cell", weights=[[1]], plasticity=Learning(w_max=500))
    assert "bounds of the learning rule of projection 'in-cell' must be in -128..127" in refused(net)
    net = one_cell()
    net.population("real", 1, RealNeuron(beta=0.5))
    assert "must be in integers to be lowered; call quantise(network) first" in refused(net)
    assert "must have at least one population" in refused(Network("empty"))
    silent = Network("silent")
    silent.population("cell", 1, Neuron())
    assert "must show something: record a population or add a decision" in refused(silent)
    alone = one_cell()
    alone.decide("cell", margin=1)
    assert "decision must be over at least 2 neurons" in refused(alone)


def test_a_full_core_is_lowered_in_seconds() -> None:
    rng, count = np.random.default_rng(0), 256 * 1024
    net = Network("full")
    net.input("in", 1024)
    net.population("cells", 4096, Neuron(threshold=100), record=("spikes",))
    pre, post = rng.integers(0, 1024, count), rng.integers(0, 4096, count)
    net.connect(
        "in", "cells", pre=pre, post=post, weights=rng.integers(-128, 128, count), delay=rng.integers(0, 64, count)
    )
    start = time.perf_counter()
    lower_network(net)
    assert time.perf_counter() - start < 5
