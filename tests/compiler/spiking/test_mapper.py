"""Mapping: where things go, what can be written later, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.spiking.capacity import capacity_report, capacity_table
from neuroloom.compiler.spiking.core import CORES, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.executor import CoreModel, run_program
from neuroloom.compiler.spiking.image import (
    patch_parameter,
    patch_state,
    patch_weights,
    reset_eligibility,
    sample_reset,
    state_from_pool,
    weights_from_pool,
)
from neuroloom.compiler.spiking.isa import Step, command_words, decode_command
from neuroloom.compiler.spiking.layout import pool_bytes, read_fields, write_fields
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import choose_core, map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.sim import reference

ICE = (
    CoreConfig("infer", slots=2),
    CoreConfig("delay", slots=64),
    CoreConfig("stdp", slots=2, learning="stdp"),
    CoreConfig("reward", slots=16, learning="reward"),
)
"""Cores of the size of an iCEBreaker, each with all that a profile may have."""


def network(
    weights: np.ndarray,
    *,
    delay: int | np.ndarray = 0,
    pre: np.ndarray | None = None,
    post: np.ndarray | None = None,
    bits: int = 24,
    shape: tuple[int, int] | None = None,
    learn: dict[str, Any] | None = None,
    **lif: Any,
) -> Graph:
    """Inputs → one population of integrators that never reset; synapses of a matrix, or of lists."""
    weights = np.asarray(weights)
    if pre is None or post is None:
        shape = weights.shape[0], weights.shape[1]
        pre, post = (v.reshape(-1) for v in np.indices(shape))
        weights = weights.reshape(-1)
    assert shape is not None
    b = Builder("net", clocked=True)
    n = shape[1]
    spikes = b.input("in", BIT, (shape[0],))
    delays = np.broadcast_to(np.asarray(delay), (len(pre),))
    rows = int(delays.max(initial=0))
    row = b.node("reshape", [spikes], shape=(1, shape[0]))
    history = row
    if rows:
        state = b.state(np.zeros((rows, shape[0]), np.int64), BIT, "sample", name="in.history")
        history = b.node("concat", [row, state], axis=0)
        kept = b.node("slice", [history], starts=(0, 0), stops=(rows, shape[0]), steps=(1, 1))
        b.update(state, kept)
    inputs, fixed = [history], weights
    if learn is not None:
        inputs.append(b.state(weights, learn.pop("type", Type(8, True)), "persistent", name="w.weights"))
        fixed = None
    current = b.node(
        "synapses", inputs, name="w.current", pre=pre, post=post, delay=np.array(delays), n_post=n, weights=fixed
    )
    v = b.state(np.zeros(n, np.int64), Type(bits, True), "sample", name="p.v")
    attrs = {"threshold": np.full(n, 5), "leak": "none", "strict": False, "reset": "none", "reset_mode": "immediate"}
    outputs = b.nodes("lif", [current, v], name="p.spikes", **(attrs | lif))
    b.update(v, outputs[1])
    if learn is not None:
        traces = []
        for side, size, value in (("x", shape[0], spikes), ("y", n, outputs[0])):
            t = b.state(np.zeros(size, np.int64), Type(16), "sample", name=f"p.{side}")
            b.update(t, b.node("trace", [value, t], kind="window", step=3))
            traces.append(t)
        inputs = [inputs[1], spikes, outputs[0], *traces]
        if learn.get("eligibility"):
            e = b.state(np.zeros(len(pre), np.int64), Type(8, True), "sample", name="w.eligibility")
            inputs += [e, b.input("reward", Type(8, True), ())]
        rule = {"w_min": -50, "w_max": 50, "f": 0, "window": True, "pot": 3, "dep": 2} | learn
        new = b.nodes("stdp", inputs, name="w.next", pre=pre, post=post, **rule)
        b.update("w.weights", new[0])
        if learn.get("eligibility"):
            b.update("w.eligibility", new[1])
    b.output("p.spikes", outputs[0])
    b.output("p.v", outputs[2])
    return b.finish()


def commands(program: CoreProgram) -> list[tuple[Step, dict[str, int]]]:
    words, at, out = [int(w) for w in program.program], 0, []
    while not out or out[-1][0] is not Step.END:
        out.append(decode_command(words[at:]))
        at += command_words(out[-1][0])
    return out


def one_row(graph: Graph, program: CoreProgram) -> None:
    """Spike every source alone and compare the membranes with the reference."""
    size = graph.inputs[0].value.size
    x = np.eye(size, dtype=np.int64)
    x = np.concatenate([x, np.zeros((6, size), np.int64)])
    np.testing.assert_array_equal(
        run_program(program, {"in": x}).outputs["p.v"], reference.run(graph, {"in": x[None]})["p.v"][0]
    )


def test_step_program_of_a_layer() -> None:
    program = map_graph(network(np.ones((20, 10), int)), ICE[0])
    steps = commands(program)
    assert [s for s, _ in steps] == [Step.INPUTS, Step.DENSE, Step.SCAN, Step.END]
    assert steps[0][1]["first_word"] == 1024 // 16 and steps[0][1]["words"] == 2
    assert steps[1][1]["row_words"] == 2 and steps[1][1]["words"] == 2
    assert steps[2][1]["neurons"] == 10 and steps[2][1]["groups"] == 5 and steps[2][1]["watch"] == 1
    assert len(program.pool) == 5 + 40


@pytest.mark.parametrize("config", [*ICE[:2], CORES["ulx3s_85f"][0]], ids=lambda c: f"{c.profile} {c.lanes}")
def test_dense_and_compressed_rows(config: CoreConfig) -> None:
    rng = np.random.default_rng(1)
    dense = network(rng.integers(-128, 128, (7, 70)), delay=1)
    program = map_graph(dense, config)
    assert program.maps["projections"]["w"]["rows"] == "dense"
    one_row(dense, program)
    thin = network(rng.integers(-9, 9, 12), pre=rng.integers(0, 7, 12), post=rng.integers(0, 300, 12), shape=(7, 300))
    program = map_graph(thin, config)
    assert program.maps["projections"]["w"]["rows"] == "records"
    one_row(thin, program)


def test_delays_from_0_to_63() -> None:
    rng = np.random.default_rng(2)
    graph = network(
        rng.integers(1, 9, 64), pre=np.zeros(64, int), post=rng.integers(0, 50, 64), shape=(3, 50), delay=np.arange(64)
    )
    program = map_graph(graph, ICE[1])
    x = np.zeros((70, 3), np.int64)
    x[0, 0] = 1
    expected = reference.run(graph, {"in": x[None]})["p.v"][0]
    np.testing.assert_array_equal(run_program(program, {"in": x}).outputs["p.v"], expected)


def test_wide_weights_are_two_planes() -> None:
    weights = np.array([[-32768, 32639, 127, 128, -129, 300, 0]])
    program = map_graph(network(weights), ICE[0])
    assert [f["shift8"] for s, f in commands(program) if s is Step.DENSE] == [1, 0]
    one_row(network(weights), program)
    data = pool_bytes(program.pool)
    assert weights_from_pool(program, "w", data).tolist() == weights[0].tolist()


def test_wide_weights_of_thin_projections_are_shared_out() -> None:
    graph = network(np.array([300, -1000, 5]), pre=np.array([0, 1, 1]), post=np.array([0, 99, 5]), shape=(2, 100))
    program = map_graph(graph, ICE[0])
    assert program.maps["projections"]["w"]["rows"] == "records"
    assert len(program.maps["projections"]["w"]["at"]) == 3 + 8 + 1
    one_row(graph, program)
    patched = patch_weights(program, "w", np.array([-381, 1016, -128]))
    assert weights_from_pool(patched, "w", pool_bytes(patched.pool)).tolist() == [-381, 1016, -128]


def test_parallel_synapses_add_up() -> None:
    graph = network(np.array([3, 4, 5]), pre=np.array([0, 0, 0]), post=np.array([1, 1, 0]), shape=(1, 2))
    program = map_graph(graph, ICE[0])
    one_row(graph, program)
    assert weights_from_pool(program, "w", pool_bytes(program.pool)).tolist() == [3, 4, 5]


def test_equal_populations_share_their_microcode() -> None:
    b = Builder("two", clocked=True)
    spikes = b.input("in", BIT, (4,))
    row = b.node("reshape", [spikes], shape=(1, 4))
    for name in "pq":
        w = np.full(4, 9)
        i = b.node("synapses", [row], pre=np.arange(4), post=np.arange(4), delay=np.zeros(4, int), n_post=4, weights=w)
        v = b.state(np.zeros(4, np.int64), Type(24, True), "sample", name=f"{name}.v")
        attrs = {"threshold": np.array(20), "leak": "none", "strict": False, "reset": "zero", "reset_mode": "immediate"}
        out = b.nodes("lif", [i, v], name=f"{name}.spikes", **attrs)
        b.update(v, out[1])
        b.output(f"{name}.spikes", out[0])
    program = map_graph(b.finish(), ICE[0])
    pcs = [f["pc"] for s, f in commands(program) if s is Step.SCAN]
    assert pcs[0] == pcs[1]


def test_parameters_states_and_weights_can_be_written_later() -> None:
    rng = np.random.default_rng(4)
    weights, other = rng.integers(-9, 9, (5, 12)), rng.integers(-99, 99, (5, 12))
    weights[weights == 0] = 1
    large = CORES["ulx3s_85f"][0]  # there the threshold rides on another instruction
    for keep, config in ((False, ICE[0]), (True, ICE[0]), (False, large), (True, large)):
        program = map_graph(network(weights), config, keep_words=keep)
        program = patch_weights(program, "w", other.reshape(-1))
        program = patch_state(program, "p.v", np.arange(12))
        assert state_from_pool(program, "p.v", pool_bytes(program.pool)).tolist() == list(range(12))
        thresholds = np.arange(12) if keep else np.full(12, 7)
        program = patch_parameter(program, "p", "threshold", thresholds)
        graph = network(other, threshold=thresholds)
        graph.nodes[[n.name for n in graph.nodes].index("p.v")].attrs["init"] = np.arange(12)
        x = rng.integers(0, 2, (9, 5))
        result, expected = run_program(program, {"in": x}), reference.run(graph, {"in": x[None]})
        for name, value in result.outputs.items():
            np.testing.assert_array_equal(value, expected[name][0])


def test_writing_what_was_mapped_away_is_refused() -> None:
    program = map_graph(network(np.ones((3, 9), int)), ICE[0])
    with pytest.raises(InputError, match="map with keep_words=True"):
        patch_parameter(program, "p", "threshold", np.arange(9))
    with pytest.raises(InputError, match="must be one that it was mapped with, not 'bias'"):
        patch_parameter(program, "p", "bias", 3)
    with pytest.raises(InputError, match="weight 128 of synapse 0 of 'w' must fit the room"):
        patch_weights(program, "w", np.full(27, 128))
    with pytest.raises(InputError, match="projection must be one of w, not 'v'"):
        weights_from_pool(program, "v", b"")


def test_a_new_sample_writes_the_states_and_keeps_the_weights() -> None:
    graph = network(np.full((4, 6), 3), learn={})
    program = map_graph(graph, ICE[2])
    x = np.random.default_rng(0).integers(0, 2, (2, 12, 4))
    core = CoreModel(program)
    expected = reference.run(graph, {"in": x}, probes=["w.next"])
    for k in range(2):
        core.clear()
        for word, words in sample_reset(program):
            core.pool[word : word + len(words)] = words
        result = run_program(program, {"in": x[k]}, core=core)
        np.testing.assert_array_equal(result.outputs["p.v"], expected["p.v"][k])
    learned = weights_from_pool(program, "w", pool_bytes(core.pool))
    np.testing.assert_array_equal(learned, expected["w.next"][1, -1])
    assert (learned != 3).any()


@pytest.mark.parametrize("thin", [False, True])
def test_eligibilities_are_reset_without_the_weights(thin: bool) -> None:
    more = {"pre": np.array([0, 1, 2]), "post": np.array([0, 50, 99]), "shape": (3, 100)} if thin else {}
    graph = network(np.full(3, 5) if thin else np.full((3, 4), 5), learn={"eligibility": True}, **more)
    program = map_graph(graph, ICE[3])
    place = program.maps["projections"]["w"]
    assert place["rows"] == ("records" if thin else "dense")
    pool = program.pool.copy()
    write_fields(pool, place["eligibility_at"], np.full(len(place["eligibility_at"]), -7), 8)
    assert not np.array_equal(pool, program.pool)
    np.testing.assert_array_equal(reset_eligibility(program, pool), program.pool)


def test_bits_go_anywhere() -> None:
    rng = np.random.default_rng(0)
    for width in (1, 5, 8, 13, 32):
        words = rng.integers(0, 1 << 32, (40, 2), np.uint32)
        before = words.copy()
        at = np.arange(3, 40 * 64 - width, width + 7)
        values = rng.integers(-(1 << width - 1), 1 << width - 1, len(at)) if width > 1 else -rng.integers(0, 2, len(at))
        write_fields(words, at, values, width)
        np.testing.assert_array_equal(read_fields(words, at, width), values)
        ours = np.zeros(40 * 64, bool)
        for k in range(width):
            ours[at + k] = True
        bits = [np.unpackbits(w.astype("<u4").view(np.uint8).reshape(-1), bitorder="little") for w in (before, words)]
        np.testing.assert_array_equal(bits[0][~ours], bits[1][~ours])


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
    ("nothing spikes", graph_without_spikes, ICE[0], "must have populations of neurons"),
    (
        "other nodes",
        graph_with_arithmetic,
        ICE[0],
        "node %offsets = const must be synapses, an input, or a sum of them",
    ),
    (
        "state width",
        lambda: network(np.ones((2, 3), int), bits=20),
        ICE[0],
        r"node %p.spikes = lif must have states of 24 bits on this core, not 20; compile the network with state_bits 24",
    ),
    (
        "delay",
        lambda: network(np.ones((2, 3), int), delay=9),
        ICE[0],
        r"node %w.current = synapses must have delays of at most 1 steps in profile 'infer', not 9; it fits icebreaker with "
        r"profile delay, ulx3s_85f with profile reward",
    ),
    (
        "too many inputs",
        lambda: network(np.ones((600, 2), int)),
        ICE[0],
        r"network 'net' must have at most 512 inputs .* not 600; it fits ulx3s_85f with profile reward",
    ),
    (
        "too many neurons",
        lambda: network(np.ones((2, 1025), int)),
        ICE[0],
        r"network 'net' must have at most 1024 neurons .* not 1025; it fits ulx3s_85f with profile reward",
    ),
    (
        "pool",
        lambda: network(np.ones((512, 300), int)),
        ICE[0],
        r"network 'net' must fit the 16384 pool words of profile 'infer', not need 19606; it fits ulx3s_85f",
    ),
    (
        "nowhere",
        lambda: network(np.ones((2, 8000), int)),
        ICE[0],
        "no core of the boards holds it, so make the network smaller",
    ),
    (
        "weights",
        lambda: network(np.array([[40000]])),
        ICE[0],
        r"node %w.current = synapses must have weights in -32768..32639 .* not 40000..40000; quantise to fewer bits",
    ),
    (
        "learning",
        lambda: network(LEARNER, learn={}),
        ICE[0],
        r"node %w.next = stdp must run on a core with learning 'stdp', not 'none'; it fits icebreaker with profile stdp, ulx3s_85f",
    ),
    (
        "eligibility",
        lambda: network(LEARNER, learn={"eligibility": True}),
        ICE[2],
        r"must run on a core with learning 'reward', not 'stdp'; it fits ulx3s_85f with profile reward",
    ),
    (
        "weights outside the bounds",
        lambda: network(LEARNER, learn={"w_max": 4}),
        ICE[2],
        r"node %w.next = stdp must start from weights in -50..4, not 5 \(synapse 0\); clip them or widen",
    ),
    (
        "wide bounds",
        lambda: network(LEARNER, learn={"type": Type(16, True), "w_max": 400}),
        ICE[2],
        r"must keep weights in -128..127 on a core of 8 weight bits, not -50..400; narrow w_min and w_max",
    ),
]


@pytest.mark.parametrize(("make", "config", "text"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refusals(make: Any, config: CoreConfig, text: str) -> None:
    with pytest.raises((UnsupportedError, DoesNotFitError), match=text):
        map_graph(make(), config)


def test_the_smallest_profile_is_chosen() -> None:
    assert choose_core(network(np.ones((2, 3), int)), "icebreaker").config.profile == "infer"
    assert choose_core(network(np.ones((2, 3), int), delay=3), "icebreaker").config.profile == "delay"
    assert choose_core(network(LEARNER, learn={}), "icebreaker").config.profile == "stdp"
    assert choose_core(network(LEARNER, learn={}), "ulx3s_85f").config.profile == "reward"
    with pytest.raises(DoesNotFitError, match="must run on a core with learning 'reward', .* it fits ulx3s_85f"):
        choose_core(network(LEARNER, learn={"eligibility": True}), "icebreaker")
    with pytest.raises(DoesNotFitError, match="it fits ulx3s_85f"):
        choose_core(network(np.ones((2, 1025), int)), "icebreaker")
    with pytest.raises(UnsupportedError, match="board must be one with a spiking core"):
        choose_core(network(LEARNER), "breadboard")


def test_room_for_the_raster_is_asked_for() -> None:
    graph = network(np.ones((512, 200), int))
    program = map_graph(graph, ICE[0], raster_steps=300)
    assert program.maps["raster"]["capacity"] >= 300
    with pytest.raises(DoesNotFitError, match="must leave room for 5000 steps of inputs"):
        map_graph(graph, ICE[0], raster_steps=5000)


def test_capacity_of_the_boards() -> None:
    rows = {(r.board, r.profile): r for r in capacity_table()}
    assert rows["icebreaker", "infer"].dense >= 100_000
    assert rows["icebreaker", "delay"].compressed >= 40_000
    assert rows["ulx3s_85f", "reward"].neurons == 4096
    assert rows["ulx3s_85f", "reward"].dense >= 256_000
    assert rows["ulx3s_85f", "reward"].compressed >= 120_000


def test_a_full_icebreaker_maps() -> None:
    """1,024 neurons and the dense synapses that the table promises."""
    rows = {(r.board, r.profile): r for r in capacity_table()}
    rng = np.random.default_rng(0)
    graph = network(rng.integers(-9, 9, (rows["icebreaker", "infer"].dense // 1024, 1024)))
    program = map_graph(graph, ICE[0])
    assert program.maps["projections"]["w"]["rows"] == "dense"
    assert len(program.pool) <= 16384


def full_ulx3s(synapses: int) -> Graph:
    """4,096 neurons with so many synapses of delays from 1 to 59 between them."""
    rng, k = np.random.default_rng(1), np.arange(synapses)
    net = Network("full")
    net.input("in", 1)
    cells = net.population("cells", 4096, Neuron(threshold=50, leak="none", reset="zero", bias=7))
    pre, round_ = k % 4096, k // 4096
    post = (pre * 31 + round_ * 137) % 4096
    net.connect(cells, cells, pre=pre, post=post, weights=rng.integers(1, 9, synapses), delay=1 + 2 * round_)
    net.record(cells, "spikes")
    return lower_network(net)


def test_a_full_ulx3s_maps_and_runs_and_one_synapse_more_is_refused() -> None:
    """Records of a table that does not learn carry no eligibility, though the core has it."""
    config = CORES["ulx3s_85f"][0]
    most = next(r.compressed for r in capacity_table() if r.board == "ulx3s_85f")
    program = map_graph(full_ulx3s(most), config)
    assert config.learning == "reward" and len(program.pool) == config.pool_words
    assert [place["rows"] for place in program.maps["projections"].values()] == ["records"]
    steps = 9  # all spike in step 7, and the shortest delays' synapses are heard in step 8
    silence = np.zeros((steps, 1), np.int64)
    found = run_program(program, {"in": silence})
    expected = reference.run(full_ulx3s(most), {"in": silence[None]})
    for name, value in found.outputs.items():
        np.testing.assert_array_equal(value, expected[name][0])
    with pytest.raises(DoesNotFitError, match="must fit the 6144 pool words of profile 'reward', not need 6145"):
        map_graph(full_ulx3s(most + 1), config)


def test_a_decision_needs_a_core_with_decide() -> None:
    net = Network("d")
    net.input("in", 3)
    net.population("out", 4, Neuron(threshold=2))
    net.connect("in", "out", pre=[0, 1, 2], post=[0, 1, 3], weights=1, delay=0)
    net.decide("out", margin=2)
    graph = lower_network(net)
    with pytest.raises(DoesNotFitError, match="must run on a core with DECIDE, .*ulx3s_85f with profile reward"):
        map_graph(graph, CoreConfig("infer", decision=False))
    assert map_graph(graph, CoreConfig("infer")).maps["decision"]["population"] == "out"


def test_configuration_record_says_whether_there_is_a_decision() -> None:
    with_it, without = CoreConfig("infer"), CoreConfig("infer", decision=False)
    assert with_it.to_bytes() != without.to_bytes() and len(without.to_bytes()) == 32
    assert CoreConfig.from_bytes(with_it.to_bytes()) == with_it
    assert CoreConfig.from_bytes(without.to_bytes()) == without


def test_report_names_need_and_refusal() -> None:
    report = {(f.board, f.profile): f for f in capacity_report(network(np.ones((2, 300), int), delay=1))}
    assert report["icebreaker", "infer"].fits and report["icebreaker", "infer"].pool_used > 150
    assert "at most 256 neurons" in report["tang_nano_9k", "infer"].refusal
    assert not report["tang_nano_9k", "infer"].fits
