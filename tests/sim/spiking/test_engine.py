"""The event-driven engine against the reference interpreter: every output, state and weight of random graphs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.sim.reference import run
from neuroloom.sim.spiking import Engine, engine

Samples = Callable[..., dict[str, np.ndarray]]


def same(want: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
    assert want.keys() == got.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        assert got[name].dtype == want[name].dtype


def everything(graph: Graph) -> list[str]:
    """Every value but those that are outputs by the same name."""
    return [v for v in graph.values() if v not in {o.name for o in graph.outputs}]


@pytest.mark.parametrize("seed", range(100))
def test_random_graphs(spiking_graph, samples: Samples, seed: int) -> None:
    graph = spiking_graph(seed)
    inputs, rng = samples(graph, seed), np.random.default_rng(seed)
    names = everything(graph)
    probes = sorted(rng.choice(names, rng.integers(0, len(names)), replace=False)) if seed % 2 else ()
    same(run(graph, inputs, probes=probes), Engine(graph, probes=probes).run(inputs))


def test_random_graphs_spike_and_learn(spiking_graph, samples: Samples) -> None:
    """The random graphs are worth comparing: most populations spike, not always, and weights change."""
    lively = learned = 0
    for seed in range(30):
        graph = spiking_graph(seed)
        weights = [n.name for n in graph.states if n.name.startswith("state") and n.outputs[0].type == Type(8, True)]
        out = Engine(graph, probes=weights).run(samples(graph, seed))
        lively += any(0.02 < out[o.name].mean() < 0.98 for o in graph.outputs if o.name.endswith("spikes"))
        learned += any((out[w][:, 0] != out[w][:, -1]).any() for w in weights)
    assert lively > 15 and learned > 10


@pytest.mark.parametrize("seed", range(6))
def test_parts_of_any_size_give_the_same(spiking_graph, samples: Samples, monkeypatch, seed: int) -> None:
    graph = spiking_graph(seed)
    inputs = samples(graph, seed, count=3, steps=17)
    want = run(graph, inputs)
    for chunk, events in ((1, 1), (4000, 1), (4000, 1 << 18)):
        monkeypatch.setattr(engine, "CHUNK_BYTES", chunk)
        monkeypatch.setattr(engine, "EVENTS", events)
        same(want, Engine(graph).run(inputs))


@pytest.mark.parametrize("seed", range(6))
def test_events_threads_and_progress(spiking_graph, samples: Samples, seed: int) -> None:
    graph = spiking_graph(seed)
    inputs = samples(graph, seed, count=5, steps=9)
    seen: list[tuple[int, int]] = []
    fast = Engine(graph)
    want = run(graph, inputs)
    same(want, fast.run(inputs, threads=2, progress=lambda done, total: seen.append((done, total))))
    assert seen == sorted(seen) and seen[-1] == (5, 5)
    got = fast.run(inputs, threads=2, events=True)
    for name, array in want.items():
        if name.endswith("spikes"):
            np.testing.assert_array_equal(got[name], np.argwhere(array))
        else:
            np.testing.assert_array_equal(got[name], array)


def test_learning_goes_on_in_the_next_sample_and_starts_anew_in_the_next_run() -> None:
    b = Builder("learns", clocked=True)
    x = b.input("x", BIT, (2,))
    w = b.state(np.array([10, 20]), Type(8, True), "persistent", name="w")
    t = b.state(np.zeros(2, np.int64), Type(16), "sample", name="t")
    b.update(t, b.node("trace", [x, t], kind="window", step=3))
    attrs = {"pre": np.array([0, 1]), "post": np.array([1, 0]), "w_min": -100, "w_max": 100, "f": 0}
    b.update(w, b.node("stdp", [w, x, x, t, t], window=True, pot=5, dep=3, **attrs))
    b.output("w", w)
    graph = b.finish()
    x = np.array([[[1, 0], [0, 1], [0, 0]]] * 3)
    fast = Engine(graph)
    for _ in range(2):
        same(run(graph, x), fast.run(x))
    assert fast.run(x)["w"][:, -1].tolist() == [[15, 17], [20, 14], [25, 11]]


def test_a_long_run_takes_little_memory() -> None:
    b = Builder("long", clocked=True)
    x = b.input("x", BIT, (4,))
    v = b.state(np.zeros(50, np.int64), Type(24, True), "sample")
    current = b.node("matvec", [x], weights=np.ones((50, 4), np.int64), weight_frac=0)
    bias = np.arange(50)
    attrs = {"leak": "none", "strict": True, "reset": "zero", "reset_mode": "immediate"}
    spikes, after, _ = b.nodes("lif", [current, v], threshold=np.array(900), bias=bias, **attrs)
    b.update(v, after)
    b.output("spikes", spikes)
    steps = 200_000
    got = Engine(b.finish()).run(np.zeros((1, steps, 4), np.uint8), events=True)["spikes"]
    periods = 900 // np.maximum(bias, 1) + 1
    np.testing.assert_array_equal(np.bincount(got[:, 2], minlength=50), np.where(bias > 0, steps // periods, 0))


def test_what_it_does_not_have_is_named() -> None:
    b = Builder("odd", clocked=True)
    x = b.input("x", Type(8), (4,))
    b.output("bits", b.node("bits", [x], source="the source"))
    with pytest.raises(UnsupportedError, match=r"bits.*from 'the source'.*event-driven engine has no bits"):
        Engine(b.finish())
    b = Builder("framed")
    b.output("y", b.input("x", BIT, (4,)))
    with pytest.raises(UnsupportedError, match="runs clocked graphs"):
        Engine(b.finish())


def test_a_model_takes_it_for_clocked_graphs(spiking_graph, samples: Samples) -> None:
    from neuroloom.model import Model

    graph = spiking_graph(3)
    model, inputs = Model(graph), samples(graph, 3)
    assert model.engine_for() == "fast"
    same(model.outputs(inputs, engine="reference"), model.outputs(inputs))
    with pytest.raises(InputError, match="inputs must be"):
        model.outputs({})


def test_states_that_exchange_their_values() -> None:
    b = Builder("swap", clocked=True)
    x = b.input("x", Type(8), (3,))
    first, second, third = (b.state(np.array([k, 2 * k, 7]), Type(9), "sample", name=f"s{k}") for k in range(3))
    b.update(second, first)
    b.update(third, second)
    b.update(
        first,
        b.node("requantize", [b.node("add", [third, x])], type="u9", factor="1", rounding="floor", overflow="wrap"),
    )
    for name in (first, second, third):
        b.output(name, name)
    graph = b.finish()
    inputs = np.random.default_rng(0).integers(0, 256, (2, 9, 3))
    same(run(graph, inputs), Engine(graph).run(inputs))
