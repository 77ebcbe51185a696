"""Counts against loops over every spike and synapse, cycles against the model of the core, energy by hand."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.spiking.bounds import cycle_bounds
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.compiler.spiking.predict import predict_cycles
from neuroloom.compiler.spiking.recognise import recognise
from neuroloom.host.look.activity import cycles_of_sample, measure, spikes_of
from neuroloom.host.look.energy import estimate
from neuroloom.host.look.network import core_rows, network_of, population_rows, projection_rows, weight_bits


def _slow_operations(projection, spikes) -> np.ndarray:
    count, steps, _ = spikes.shape
    out = np.zeros((count, steps), np.int64)
    for j, d in zip(projection.pre.tolist(), projection.delay.tolist(), strict=True):
        for n in range(count):
            for t in range(d, steps):
                out[n, t] += int(spikes[n, t - d, j])
    return out


@pytest.mark.parametrize("kind", ["layers", "learning"])
def test_synaptic_operations_are_counted_synapse_by_synapse(kind: str, request, noise) -> None:
    model = request.getfixturevalue(kind)
    net = recognise(model.graph)
    x = noise(2, 30, next(iter(net.inputs.values())).size)
    arrays = {"in": x}
    activity = measure(model, net, arrays)
    spikes = spikes_of(model, net, arrays)
    assert sum(int(spikes[p].sum()) for p in net.populations) > 50
    for p in net.projections.values():
        np.testing.assert_array_equal(activity.operations[p.name], _slow_operations(p, spikes[p.source]))
    for name, counts in activity.spikes.items():
        np.testing.assert_array_equal(counts, spikes[name].sum(axis=1))
    total = sum(int(o.sum()) for o in activity.operations.values())
    assert activity.total_operations == total
    assert activity.operations_per_sample == total / 2 and activity.operations_per_step == total / 60
    assert activity.most_in_a_step == max(
        sum(o[n, t] for o in activity.operations.values()) for n in (0, 1) for t in range(30)
    )


def test_parts_of_the_samples_give_the_same_counts(layers, noise, monkeypatch) -> None:
    net = recognise(layers.graph)
    arrays = {"in": noise(5, 20, 10)}
    whole = measure(layers, net, arrays)
    monkeypatch.setattr("neuroloom.host.look.activity.PART_BYTES", 1)
    seen = []
    parts = measure(layers, net, arrays, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 5) for k in range(1, 6)]
    for name in whole.operations:
        np.testing.assert_array_equal(whole.operations[name], parts.operations[name])
    for name in whole.spikes:
        np.testing.assert_array_equal(whole.spikes[name], parts.spikes[name])


def test_tables_say_what_the_description_says(learning) -> None:
    net = recognise(learning.graph)
    rows = {r.name: r for r in population_rows(net)}
    assert (rows["in"].model, rows["in"].neurons) == ("input", 12)
    assert (rows["exc"].model, rows["exc"].neurons) == ("LIF", 8)
    assert "refractory 2" in rows["exc"].details and rows["exc"].threshold.startswith("≥ ")
    assert rows["exc"].state_bits == 24 + 2 + 16  # membrane, refractory counter, trace y
    projections = {(r.source, r.target): r for r in projection_rows(net)}
    plastic = projections["in", "exc"]
    assert (plastic.synapses, plastic.density, plastic.weight_bits, plastic.delays) == (96, 1.0, 8, (1, 1))
    assert plastic.learning.startswith("STDP exponential 0..")
    sparse = projections["exc", "inh"]
    assert (sparse.synapses, sparse.density, sparse.learning) == (12, 0.5, "fixed")
    assert 1 <= sparse.delays[0] < sparse.delays[1] <= 5


@pytest.mark.parametrize(
    ("values", "bits"),
    [([0], 1), ([1], 2), ([-1], 1), ([127], 8), ([-128], 8), ([128], 9), ([-129, 3], 9), ([-32], 6), ([-3, 3], 3)],
)
def test_weight_bits_is_the_narrowest_signed_type(values, bits, layers) -> None:
    projection = next(iter(recognise(layers.graph).projections.values()))
    projection.weights = np.array(values)
    projection.pre = projection.pre[: len(values)]
    assert weight_bits(projection) == bits
    lo, hi = -(1 << bits - 1), (1 << bits - 1) - 1
    assert all(lo <= v <= hi for v in values)


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s_85f"])
def test_bounds_are_the_predicted_cycles_of_silence_and_of_all_spikes(layers, board) -> None:
    program = choose_core(layers.graph, board)
    bounds = cycle_bounds(program)
    sizes = {"in": 10, "hid": 20, "out": 3}
    steps = program.config.slots + 1
    for value, want in ((0, bounds.idle), (1, bounds.worst)):
        spikes = {name: np.full((steps, size), value) for name, size in sizes.items()}
        assert predict_cycles(program, spikes)[-1] == want
    assert bounds.idle < bounds.worst


def test_bounds_hold_for_a_network_that_learns(learning, noise) -> None:
    program = choose_core(learning.graph, "ulx3s_85f")
    bounds = cycle_bounds(program)
    silent = run_program(program, {"in": np.zeros((5, 12), np.uint8)}).cycles
    assert set(silent.tolist()) == {bounds.idle}
    full = run_program(program, {"in": np.ones((40, 12), np.uint8)}).cycles
    assert bounds.idle < full.max() <= bounds.worst
    net = recognise(learning.graph)
    x = noise(1, 25, 12)
    spikes = spikes_of(learning, net, {"in": x})
    cycles = cycles_of_sample(program, net, spikes, {"in": x})
    np.testing.assert_array_equal(cycles, run_program(program, {"in": x[0]}).cycles)


def test_every_core_is_listed_with_needs_or_a_reason(learning) -> None:
    rows = core_rows(learning.graph)
    assert [(r.board, r.profile) for r in rows] == [(b, c.profile) for b, cores in CORES.items() for c in cores]
    fitting = [r for r in rows if r.fits]
    assert {r.board for r in fitting} >= {"ulx3s_85f"}
    for r in fitting:
        assert 0 < r.pool_used <= r.pool_words and r.worst_steps_per_s == r.clock_hz / r.worst_cycles
    wide = [
        (board, c) for board, cores in CORES.items() for c in cores if c.state_bits == 24
    ]  # others refuse the states first
    plain = {(board, c.profile) for board, c in wide if c.learning == "none"}
    assert ("icebreaker", "infer") in plain and ("icebreaker", "stdp") not in plain
    for r in rows:
        assert r.fits or r.refusal
        if (r.board, r.profile) in plain:
            assert "learning 'stdp'" in r.refusal


def test_energy_by_hand(layers, noise) -> None:
    net = recognise(layers.graph)
    activity = measure(layers, net, {"in": noise(4, 25, 10)})
    energy = estimate(net, activity)
    values = layers.graph.values()
    ops = {name: o.sum() / 4 for name, o in activity.operations.items()}
    bits = {name: weight_bits(p) for name, p in net.projections.items()}
    width = {p.name: values[f"{p.name}.current"].type.width for p in net.projections.values()}
    assert set(bits.values()) == {5}
    assert energy.weights_pj == pytest.approx(sum(ops[k] * bits[k] * 10 / 64 for k in ops))
    assert energy.synapses_pj == pytest.approx(sum(ops[k] * width[k] * 0.1 / 32 for k in ops))
    updates = 23 * 25
    assert energy.states_pj == pytest.approx(updates * 2 * 24 * 10 / 64)
    assert energy.neurons_pj == pytest.approx(updates * (2 * 24 * 0.1 / 32 + 17 * 24 * 3.1 / 1024))
    assert set(energy.bit_budget.values()) == {5 * 1 * 25}
    assert energy.bit_operations == {k: int(o.sum()) * 5 for k, o in activity.operations.items()}
    assert energy.to_json()["total_pj_per_sample"] == energy.total_pj


def test_a_graph_without_neurons_is_no_spiking_network(random_graphs) -> None:
    assert network_of(random_graphs(1)) is None
