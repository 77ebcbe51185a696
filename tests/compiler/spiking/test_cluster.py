"""Networks shared out over several cores: cuts, programs, refusals; the cores' model equals the graph's reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.bounds import cycle_bounds
from neuroloom.compiler.spiking.capacity import capacity, capacity_report, partition_of
from neuroloom.compiler.spiking.cluster import ClusterProgram
from neuroloom.compiler.spiking.cluster_model import ClusterModel, run_cluster
from neuroloom.compiler.spiking.core import CORES, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.isa import Step, encode_command
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.mapper import choose_core, map_graph
from neuroloom.compiler.spiking.models import Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import Learning
from neuroloom.compiler.spiking.predict import predict_cycles
from neuroloom.sim import reference

STEPS = 12
RULE = {"pre_decay": 60000, "post_decay": 55000, "pre_step": 20000, "post_step": 15000, "w_min": -60, "w_max": 60}


def build(cores: int = 2, **other: Any) -> CoreConfig:
    sizes = {"lanes": 2, "slots": 8, "neurons": 32, "inputs": 128, "pool_words": 2048, "program_words": 512}
    return CoreConfig("custom", **{**sizes, "learning": "reward", "event_depth": 256, "cores": cores, **other})


def neuron(**other: Any) -> Neuron:
    return Neuron(**{"threshold": 60, "leak": "multiplicative", "beta": 60000, **other})


def wide(rng: np.random.Generator) -> Network:
    """One population of 60 neurons, which no core holds, with itself over many delays."""
    net = Network("wide")
    cells = net.input("in", 20)
    a = net.population("a", 60, neuron(threshold=rng.integers(30, 90, 60)))
    net.connect(cells, a, weights=rng.integers(-20, 60, (20, 60)), delay=0)
    net.connect(a, a, weights=rng.integers(-12, 14, (60, 60)), delay=rng.integers(1, 7, (60, 60)))
    net.record(a, "spikes", "v")
    return net


def chain(rng: np.random.Generator) -> Network:
    """Four layers without delay: each is computed behind the one before, on whatever core that is."""
    net = Network("chain")
    before, size = net.input("in", 20), 20
    for k in range(4):
        layer = net.population(f"l{k}", 28, neuron(threshold=rng.integers(1, 90, 28)))
        net.connect(before, layer, weights=rng.integers(-35, 40, (size, 28)), delay=0)
        net.record(layer, "spikes")
        before, size = layer, 28
    net.decide(before, margin=3)
    return net


def learner(rng: np.random.Generator) -> Network:
    """Dense and compressed learning between neurons of all cores, with eligibilities, enables and random rounding."""
    net = Network("learner")
    cells = net.input("in", 20)
    a = net.population("a", 60, neuron(threshold=40, adapt_decay=60000, adapt_step=9))
    enable = rng.random(1200) < 0.7
    net.connect(
        cells, a, weights=rng.integers(-20, 26, (20, 60)), delay=0, plasticity=Learning(f=12, enable=enable, **RULE)
    )
    pre, post = np.unique(rng.integers(0, 60, (2, 240)), axis=1)
    thin = Learning(f=12, eligibility=True, e_decay=250, g=5, rounding="stochastic", **RULE)
    net.connect(a, a, pre=pre, post=post, weights=rng.integers(-20, 20, len(pre)), delay=2, plasticity=thin)
    net.connect(a, a, weights=rng.integers(-9, 9, (60, 60)), delay=1, plasticity=Learning(f=13, soft=True, **RULE))
    rule = Learning(f=14, rounding="stochastic", **RULE)
    net.connect(cells, a, weights=rng.integers(-9, 9, (20, 60)), delay=1, plasticity=rule, name="random")
    net.record(a, "spikes")
    return net


def stimulus(graph: Graph, rng: np.random.Generator, share: float = 0.4) -> dict[str, np.ndarray]:
    out = {}
    for item in graph.inputs:
        shape = (STEPS, *item.value.shape)
        bits = item.value.type.is_bit
        out[item.name] = (rng.random(shape) < share).astype(np.int64) if bits else rng.integers(-30, 31, shape)
    return out


def checked(graph: Graph, program: ClusterProgram, inputs: dict[str, np.ndarray], *, raster: bool = False) -> Any:
    """Run the model; outputs and learnt weights must be the definition's."""
    result = run_cluster(program, inputs, raster=raster)
    truth = reference.Interpreter(graph)
    expected = truth.samples({name: values[None] for name, values in inputs.items()})
    assert set(result.outputs) == set(expected)
    for name, values in result.outputs.items():
        np.testing.assert_array_equal(values, expected[name][0], err_msg=name)
    return result


@pytest.mark.parametrize("make", [wide, chain, learner])
@pytest.mark.parametrize(("cores", "lanes"), [(2, 2), (4, 1), (4, 8)])
def test_the_cores_together_do_what_the_graph_says(make: Any, cores: int, lanes: int) -> None:
    rng = np.random.default_rng(cores)
    graph = lower_network(make(rng))
    begun = [node for node in graph.states if node.name.endswith((".eligibility", ".v"))]
    assert len(begun) >= (2 if make is learner else 1)
    for node in begun:  # states that no fragment's begin alike
        node.attrs["init"] = rng.integers(-40, 40, node.attrs["init"].shape)
    config = build(cores, lanes=lanes, neurons={(wide, 4): 16, (chain, 2): 64}.get((make, cores), 32))
    program = map_graph(graph, config)
    assert isinstance(program, ClusterProgram) and program.used > 1
    inputs = stimulus(graph, rng)
    result = checked(graph, program, inputs)
    spikes = [v for k, v in result.outputs.items() if k.endswith("spikes")]
    assert all(0 < s.sum() < s.size for s in spikes)
    raster = checked(graph, program, inputs, raster=True) if make is wide else result
    if make is not learner:
        seen = {name: result.outputs[f"{name}.spikes"] for name in program.maps["populations"]} | {"in": inputs["in"]}
        np.testing.assert_array_equal(predict_cycles(program, seen), result.cycles)
        np.testing.assert_array_equal(predict_cycles(program, seen, raster=raster is not result), raster.cycles)
    bounds = cycle_bounds(program)
    assert bounds.idle <= result.cycles.min() and result.cycles.max() <= bounds.worst


def test_random_networks(random_graph: Any) -> None:
    """Of every option; those that one core would not hold among them."""
    shared, crossing, levels = 0, 0, set()
    for seed in range(90):
        rng = np.random.default_rng(seed)
        config = build(int(rng.choice([2, 4])), lanes=int(rng.choice([1, 2, 4])), neurons=48, program_words=1024)
        learning = ("none", "stdp", "reward")[int(rng.integers(3))]
        graph = random_graph([seed, 1], max_delay=int(rng.integers(2, 8)), learning=learning)
        try:
            program = map_graph(graph, config)
        except (DoesNotFitError, UnsupportedError):
            continue
        inputs = stimulus(graph, rng)
        if "reward" in inputs:
            inputs["reward"] = rng.integers(-128, 128, STEPS)
        for name in inputs:
            if name.endswith(".drive"):
                inputs[name] = inputs[name].clip(-20, 20)
        checked(graph, program, inputs)
        shared += program.used > 1
        crossing += len(program.maps["exchanges"])
        levels |= {exchange.level for exchange in program.maps["exchanges"]}
    assert shared >= 15 and crossing >= 20 and {0, 1} <= levels


def test_a_population_is_cut_between_spike_words_and_evenly() -> None:
    program = map_graph(lower_network(wide(np.random.default_rng(1))), build())
    assert [(f.core, f.start, f.size) for f in program.maps["fragments"]["a"]] == [(0, 0, 32), (1, 32, 28)]
    shares = partition_of(program)
    assert [s.neurons for s in shares] == [{"a": 32}, {"a": 28}]
    assert [s.remote for s in shares] == [28, 32]
    assert [e.receivers for e in program.maps["exchanges"]] == [(1,), (0,)]


def test_cores_are_taken_where_they_make_the_step_shorter() -> None:
    rng = np.random.default_rng(1)
    for make, cores in ((wide, 4), (chain, 1)):  # four levels one after the other, and no scan to share
        graph = lower_network(make(rng))
        program = map_graph(graph, build(4, neurons=256, lanes=16 if make is chain else 2))
        assert program.used == cores
        checked(graph, program, stimulus(graph, rng))


def test_a_network_that_one_core_computes_as_fast_stays_there() -> None:
    net = Network("few")
    a = net.population("a", 12, neuron())
    net.connect(net.input("in", 20), a, weights=np.random.default_rng(1).integers(-20, 60, (20, 12)), delay=0)
    net.record(a, "spikes")
    graph = lower_network(net)
    program = map_graph(graph, build(neurons=64))
    assert program.used == 1 and not program.maps["exchanges"]
    alone = map_graph(graph, build(neurons=64, cores=1))
    assert isinstance(alone, CoreProgram)
    np.testing.assert_array_equal(program.parts[0].program, alone.program)
    np.testing.assert_array_equal(program.parts[0].pool, alone.pool)
    inputs = stimulus(graph, np.random.default_rng(2))
    checked(graph, program, inputs)
    assert [int(w) for w in program.parts[1].program] == encode_command(Step.END, {})


def test_the_pool_may_be_what_makes_a_network_too_large_for_one_core() -> None:
    graph = lower_network(wide(np.random.default_rng(1)))
    one = build(neurons=64, cores=1, pool_words=900)
    with pytest.raises(DoesNotFitError, match="900 pool words"):
        map_graph(graph, one)
    program = map_graph(graph, replace(one, cores=2))
    assert program.used == 2
    checked(graph, program, stimulus(graph, np.random.default_rng(2)))


def whole(kind: str) -> Network:
    net = Network(kind)
    cells = net.input("in", 4)
    a = net.population("a", 40, neuron(wta=True) if kind == "winner" else neuron())
    net.connect(cells, a, weights=np.ones((4, 40), int), delay=0)
    net.record(a, "spikes")
    if kind == "decision":
        net.decide(a, margin=2)
    return net


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("winner", "its winner-take-all compares all its neurons"),
        ("decision", "the decision counts all its neurons"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(kind: str, reason: str) -> None:
    graph = lower_network(whole(kind))
    with pytest.raises(
        UnsupportedError, match="must have at most 32 neurons, those of one of 2 cores, not 40"
    ) as error:
        map_graph(graph, build())
    assert reason in str(error.value)
    program = map_graph(graph, build(neurons=48))
    assert len(program.maps["fragments"]["a"]) == 1
    checked(graph, program, stimulus(graph, np.random.default_rng(1)))


def test_random_rounding_on_cores_of_one_lane_keeps_populations_whole() -> None:
    """The unit that learns serially counts neurons from 0; with eligibilities, or more lanes, the population is cut."""
    net = Network("random")
    a = net.population("a", 272, neuron())
    rule = Learning(f=12, rounding="stochastic", **RULE)
    net.connect(net.input("in", 4), a, weights=np.ones((4, 272), int), delay=0, plasticity=rule)
    net.record(a, "spikes")
    graph, sizes = lower_network(net), {"neurons": 256, "pool_words": 8192}
    with pytest.raises(UnsupportedError, match="random numbers of 'in-a' .* which a core of one lane counts from 0"):
        map_graph(graph, build(lanes=1, learning="stdp", **sizes))
    for more in ({"lanes": 2, "learning": "stdp"}, {"lanes": 1}):
        assert map_graph(graph, build(**more, **sizes)).used == 2


def test_too_large_for_all_cores() -> None:
    graph = lower_network(wide(np.random.default_rng(1)))
    with pytest.raises(DoesNotFitError, match="at most 32 neurons .* on the 2 cores of profile 'custom', not 64"):
        map_graph(graph, build(neurons=16))
    with pytest.raises(DoesNotFitError, match="shared out over the 2 cores of profile 'custom'"):
        map_graph(graph, build(pool_words=300))
    with pytest.raises(DoesNotFitError, match="32 inputs and neurons of other cores whose spikes it needs"):
        map_graph(graph, build(inputs=32))


def test_a_configuration_says_how_many_cores() -> None:
    config = build(4)
    assert CoreConfig.from_bytes(config.to_bytes()) == config
    assert build(1).to_bytes()[21] == 0 and config.to_bytes()[21] == 3
    for cores in (0, 17):
        with pytest.raises(InputError, match=f"cores of a core must be from 1 to 16, not {cores}"):
            build(cores)
    assert capacity(config).neurons == 4 * capacity(build(1)).neurons
    assert capacity(config).dense == 4 * capacity(build(1)).dense


def test_programs_that_wait_for_different_exchanges_are_refused() -> None:
    program = map_graph(lower_network(wide(np.random.default_rng(1))), build())
    model = ClusterModel.loaded(program)
    model.cores[1].commands = [c for c in model.cores[1].commands if c[0] is not Step.EXCHANGE]
    with pytest.raises(InputError, match="the same EXCHANGE commands"):
        model.run_step([None, None])
    with pytest.raises(InputError, match="together with those of the other cores"):
        ClusterModel.loaded(program).cores[0].run_step()


def test_a_network_larger_than_the_largest_core_fits_the_board_with_two() -> None:
    """6,000 neurons: the row that holds them, the report of the parts, and what they do in some steps."""
    rng = np.random.default_rng(1)
    net = Network("large")
    cells = net.input("in", 64)
    a = net.population("a", 6000, neuron(threshold=40))
    net.connect(cells, a, pre=rng.integers(0, 64, 12000), post=np.repeat(np.arange(6000), 2), weights=25, delay=0)
    pre, post = rng.integers(0, 6000, 24000), np.repeat(np.arange(6000), 4)
    net.connect(a, a, pre=pre, post=post, weights=rng.integers(-20, 30, 24000), delay=rng.integers(1, 16, 24000))
    net.record(a, "spikes")
    graph = lower_network(net)
    fits = {(fit.board, fit.profile): fit for fit in capacity_report(graph)}
    assert [row for row, fit in fits.items() if fit.fits] == [("ulx3s_85f", "twin")]
    assert "4096 neurons" in fits["ulx3s_85f", "reward"].refusal
    fit = fits["ulx3s_85f", "twin"]
    assert fit.cores == 2 and [sum(share.neurons.values()) for share in fit.partition] == [2992, 3008]
    program = choose_core(graph, "ulx3s_85f")
    assert program.config.profile == "twin" and fit.pool_used == program.pool_used <= 5120
    with pytest.raises(DoesNotFitError, match="it fits ulx3s_85f with profile twin"):
        map_graph(graph, next(c for c in CORES["ulx3s_85f"] if c.profile == "reward"))
    result = checked(graph, program, {"in": (rng.random((STEPS, 64)) < 0.3).astype(np.int64)})
    assert 0.02 < result.outputs["a.spikes"].mean() < 0.5
