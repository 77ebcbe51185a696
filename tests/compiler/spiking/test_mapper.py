"""Mapping: the step program of a network, and in which rows its synapses go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.spiking.core import CORES, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.image import (
    patch_weights,
    weights_from_pool,
)
from neuroloom.compiler.spiking.isa import Step, command_words, decode_command
from neuroloom.compiler.spiking.layout import pool_bytes
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.sim import reference

INFER = CoreConfig("infer", slots=2)
DELAY = CoreConfig("delay", slots=64)


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


def test_step_program_of_a_layer(network: Any) -> None:
    program = map_graph(network(np.ones((20, 10), int)), INFER)
    steps = commands(program)
    assert [s for s, _ in steps] == [Step.INPUTS, Step.DENSE, Step.SCAN, Step.END]
    assert steps[0][1]["first_word"] == 1024 // 16 and steps[0][1]["words"] == 2
    assert steps[1][1]["row_words"] == 2 and steps[1][1]["words"] == 2
    assert steps[2][1]["neurons"] == 10 and steps[2][1]["groups"] == 5 and steps[2][1]["watch"] == 1
    assert len(program.pool) == 5 + 40


@pytest.mark.parametrize(
    "config",
    [INFER, DELAY, next(c for c in CORES["ulx3s_85f"] if c.profile == "reward")],
    ids=lambda c: f"{c.profile} {c.lanes}",
)
def test_dense_and_compressed_rows(network: Any, config: CoreConfig) -> None:
    rng = np.random.default_rng(1)
    dense = network(rng.integers(-128, 128, (7, 70)), delay=1)
    program = map_graph(dense, config)
    assert program.maps["projections"]["w"]["rows"] == "dense"
    one_row(dense, program)
    thin = network(rng.integers(-9, 9, 12), pre=rng.integers(0, 7, 12), post=rng.integers(0, 300, 12), shape=(7, 300))
    program = map_graph(thin, config)
    assert program.maps["projections"]["w"]["rows"] == "records"
    one_row(thin, program)


def test_delays_from_0_to_63(network: Any) -> None:
    rng = np.random.default_rng(2)
    graph = network(
        rng.integers(1, 9, 64), pre=np.zeros(64, int), post=rng.integers(0, 50, 64), shape=(3, 50), delay=np.arange(64)
    )
    program = map_graph(graph, DELAY)
    x = np.zeros((70, 3), np.int64)
    x[0, 0] = 1
    expected = reference.run(graph, {"in": x[None]})["p.v"][0]
    np.testing.assert_array_equal(run_program(program, {"in": x}).outputs["p.v"], expected)


def test_wide_weights_are_two_planes(network: Any) -> None:
    weights = np.array([[-32768, 32639, 127, 128, -129, 300, 0]])
    program = map_graph(network(weights), INFER)
    assert [f["shift8"] for s, f in commands(program) if s is Step.DENSE] == [1, 0]
    one_row(network(weights), program)
    data = pool_bytes(program.pool)
    assert weights_from_pool(program, "w", data).tolist() == weights[0].tolist()


def test_wide_weights_of_thin_projections_are_shared_out(network: Any) -> None:
    graph = network(np.array([300, -1000, 5]), pre=np.array([0, 1, 1]), post=np.array([0, 99, 5]), shape=(2, 100))
    program = map_graph(graph, INFER)
    assert program.maps["projections"]["w"]["rows"] == "records"
    assert len(program.maps["projections"]["w"]["at"]) == 3 + 8 + 1
    one_row(graph, program)
    patched = patch_weights(program, "w", np.array([-381, 1016, -128]))
    assert weights_from_pool(patched, "w", pool_bytes(patched.pool)).tolist() == [-381, 1016, -128]


def test_parallel_synapses_add_up(network: Any) -> None:
    graph = network(np.array([3, 4, 5]), pre=np.array([0, 0, 0]), post=np.array([1, 1, 0]), shape=(1, 2))
    program = map_graph(graph, INFER)
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
    program = map_graph(b.finish(), INFER)
    pcs = [f["pc"] for s, f in commands(program) if s is Step.SCAN]
    assert pcs[0] == pcs[1]
