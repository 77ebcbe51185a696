"""Mapped programs, executed by the model of the core, equal the reference interpreter of their graphs in every
output of every step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.executor import CoreModel, run_program
from neuroloom.compiler.spiking.image import eligibility_from_pool, state_from_pool, weights_from_pool
from neuroloom.compiler.spiking.layout import pool_bytes
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.predict import predict_cycles
from neuroloom.sim import reference

STEPS = 20
BUILDS = {
    "1 lane, 16-bit weights": {"lanes": 1, "weight_bits": 16, "learning": "stdp"},
    "2 lanes, reward": {"lanes": 2, "learning": "reward"},
    "4 lanes": {"lanes": 4, "learning": "stdp"},
    "16 lanes, reward": {"lanes": 16, "learning": "reward", "neurons": 4096},
}


def build(name: str) -> CoreConfig:
    return CoreConfig("custom", slots=8, pool_words=65536, program_words=4096, **BUILDS[name])


def draw(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    """Random inputs [steps, ...]."""
    rng, out = np.random.default_rng(seed), {}
    for item in graph.inputs:
        shape = (STEPS, *item.value.shape)
        if item.value.type.is_bit:
            out[item.name] = (rng.random(shape) < 0.3).astype(np.int64)
        else:
            low, high = item.range
            out[item.name] = rng.integers(low, high + 1, shape)
    if "reward" in out:
        out["reward"] *= rng.random(STEPS) < 0.5
    return out


def compare(graph: Graph, config: CoreConfig, seed: int) -> tuple[CoreModel, dict[str, np.ndarray]]:
    """Map, execute, and hold every output of every step to the reference."""
    inputs = draw(graph, seed)
    neurons = [n.name for n in graph.nodes if n.op in ("lif", "izhikevich", "alpha_neuron", "bernoulli")]
    batch = {k: v[None] for k, v in inputs.items()}
    expected = {k: v[0] for k, v in reference.run(graph, batch, probes=neurons).items()}
    program = map_graph(graph, config)
    result = run_program(program, inputs)
    for name, value in result.outputs.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    learns = any(n.op == "stdp" for n in graph.nodes)
    if not learns:
        spikes = {n.removesuffix(".spikes"): expected[n] for n in neurons} | inputs
        spikes = {k: v for k, v in spikes.items() if v.ndim == 2}
        np.testing.assert_array_equal(predict_cycles(program, spikes), result.cycles)
        if program.maps["raster"]:
            raster = run_program(program, inputs, raster=True)
            for name, value in raster.outputs.items():
                np.testing.assert_array_equal(value, expected[name], err_msg=name)
            np.testing.assert_array_equal(predict_cycles(program, spikes, raster=True), raster.cycles)
    data = pool_bytes(result.core.pool)
    for name, place in program.maps["projections"].items():
        if f"{name}.weights" in expected:
            np.testing.assert_array_equal(weights_from_pool(program, name, data), expected[f"{name}.weights"][-1])
            if place["eligibility"]:
                found = eligibility_from_pool(program, name, data)
                np.testing.assert_array_equal(found, expected[f"{name}.eligibility"][-1])
    for population in program.maps["populations"].values():
        for state in population["states"]:
            if state in expected:
                np.testing.assert_array_equal(state_from_pool(program, state, data), expected[state][-1])
    return result.core, expected


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("part", range(4))
def test_random_networks_equal_the_reference(random_graph: Callable[..., Graph], name: str, part: int) -> None:
    fired = 0
    for seed in range(100 * part, 100 * part + 6):
        core, expected = compare(random_graph(seed), build(name), seed)
        fired += sum(int(v.sum()) for k, v in expected.items() if k.endswith(".spikes"))
    assert fired


@pytest.mark.parametrize("name", BUILDS)
def test_learning_equals_the_reference(random_graph: Callable[..., Graph], name: str, state_words: None) -> None:
    changed = 0
    for seed in range(8):
        learning = "reward" if BUILDS[name]["learning"] == "reward" else "stdp"
        graph = random_graph(seed, learning=learning)
        _, expected = compare(graph, build(name), seed)
        changed += sum(bool((v != v[0]).any()) for k, v in expected.items() if k.endswith(".weights"))
    assert changed


@pytest.fixture
def state_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for every option at once: the command's fields hold a stride of 15."""
    monkeypatch.setattr("neuroloom.compiler.spiking.isa.STATE_WORDS_MAX", 15)
    monkeypatch.setattr("neuroloom.compiler.spiking.emitter.STATE_WORDS_MAX", 15)


def test_state_goes_on_between_runs(random_graph: Callable[..., Graph]) -> None:
    graph = random_graph(3)
    inputs = draw(graph, 0)
    program = map_graph(graph, build("2 lanes, reward"))
    whole = run_program(program, inputs)
    first = run_program(program, {k: v[:7] for k, v in inputs.items()})
    second = run_program(program, {k: v[7:] for k, v in inputs.items()}, core=first.core)
    for name, value in whole.outputs.items():
        np.testing.assert_array_equal(np.concatenate([first.outputs[name], second.outputs[name]]), value)


def test_missing_input_is_named(random_graph: Callable[..., Graph]) -> None:
    program = map_graph(random_graph(2), build("4 lanes"))
    name = next(iter(program.maps["inputs"]))
    with pytest.raises(InputError, match=f"input '{name}' must be given"):
        run_program(program, {"other": np.zeros((1, 1))})


def test_prediction_refuses_learning(random_graph: Callable[..., Graph], state_words: None) -> None:
    program = map_graph(random_graph(1, learning="stdp"), build("2 lanes, reward"))
    places = {**program.maps["populations"], **program.maps["inputs"]}
    with pytest.raises(InputError, match="must not learn"):
        predict_cycles(program, {name: np.zeros((1, place["size"])) for name, place in places.items()})
