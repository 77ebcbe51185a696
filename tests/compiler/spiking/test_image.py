"""What can be written into a loaded core later, and what a new sample writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CORES, CoreConfig
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
from neuroloom.compiler.spiking.layout import pool_bytes, read_fields, write_fields
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.sim import reference

INFER = CoreConfig("infer", slots=2)
STDP = CoreConfig("stdp", slots=2, learning="stdp")
REWARD = CoreConfig("reward", slots=16, learning="reward")


def test_parameters_states_and_weights_can_be_written_later(network: Any) -> None:
    rng = np.random.default_rng(4)
    weights, other = rng.integers(-9, 9, (5, 12)), rng.integers(-99, 99, (5, 12))
    weights[weights == 0] = 1
    large = next(
        c for c in CORES["ulx3s_85f"] if c.profile == "reward"
    )  # there the threshold rides on another instruction
    for keep, config in ((False, INFER), (True, INFER), (False, large), (True, large)):
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


def test_writing_what_was_mapped_away_is_refused(network: Any) -> None:
    program = map_graph(network(np.ones((3, 9), int)), INFER)
    with pytest.raises(InputError, match="map with keep_words=True"):
        patch_parameter(program, "p", "threshold", np.arange(9))
    with pytest.raises(InputError, match="must be one that it was mapped with, not 'bias'"):
        patch_parameter(program, "p", "bias", 3)
    with pytest.raises(InputError, match="weight 128 of synapse 0 of 'w' must fit the room"):
        patch_weights(program, "w", np.full(27, 128))
    with pytest.raises(InputError, match="projection must be one of w, not 'v'"):
        weights_from_pool(program, "v", b"")


def test_a_new_sample_writes_the_states_and_keeps_the_weights(network: Any) -> None:
    graph = network(np.full((4, 6), 3), learn={})
    program = map_graph(graph, STDP)
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
def test_eligibilities_are_reset_without_the_weights(network: Any, thin: bool) -> None:
    more = {"pre": np.array([0, 1, 2]), "post": np.array([0, 50, 99]), "shape": (3, 100)} if thin else {}
    graph = network(np.full(3, 5) if thin else np.full((3, 4), 5), learn={"eligibility": True}, **more)
    program = map_graph(graph, REWARD)
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
