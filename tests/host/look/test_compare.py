"""Differences that were put in are the ones that are found."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.host.look.compare import compare, divergence, structural

import neuroloom as nl
from neuroloom.model import Model


def _node(model: Model, name: str):
    return next(n for n in model.graph.walk() if n.name == name)


def test_a_network_equals_itself(learning, noise) -> None:
    found = compare(learning, learning, {"in": noise(2, 20, 12)})
    assert found.equal and not found.structure and found.samples == 2
    assert {s.population for s in found.spikes} == {"exc", "inh"} and all(s.first == "equal" for s in found.spikes)


def test_a_changed_weight_is_found_with_its_place(layers, noise) -> None:
    other = Model(copy.deepcopy(layers.graph))
    node = _node(other, "in-hid.current")
    place = int(np.flatnonzero((node.attrs["pre"] == 4) & (node.attrs["post"] == 7))[0])
    node.attrs["weights"] = node.attrs["weights"].copy()
    node.attrs["weights"][place] += 9
    node.attrs["weights"][place + 1] -= 2
    (found,) = structural(layers.graph, other.graph)
    assert (found.where, found.what, found.count, found.largest) == ("%in-hid.current", "weights", 2, 9)
    assert "(4 to 7, delay 1)" in found.a and found.b == str(int(node.attrs["weights"][place]))
    data = compare(layers, other, {"in": noise(4, 30, 10)})
    assert not data.equal
    hid = next(s for s in data.spikes if s.population == "hid")
    assert hid.differ and hid.a != hid.b


def test_synapses_that_only_one_has(described, learning) -> None:
    other = nl.compile(described("learning", "b.yaml", replace={"count: 4, seed: 5": "count: 5, seed: 5"}))
    found = structural(learning.graph, other.graph)
    synapses = next(d for d in found if d.what == "synapses")
    a, b = (
        set(zip(*(_node(m, "exc-inh.current").attrs[k].tolist() for k in ("pre", "post", "delay")), strict=True))
        for m in (learning, other)
    )
    assert synapses.count == len(a ^ b) and synapses.b == f"{len(b - a)} only here"


def test_parameters_and_types_are_compared(described, learning) -> None:
    other = nl.compile(
        described("learning", "b.yaml", replace={"refractory: 2": "refractory: 5", "threshold: 0.8": "threshold: 0.7"})
    )
    whats = {(d.where, d.what) for d in structural(learning.graph, other.graph)}
    assert {("%exc.spikes", "refractory"), ("%inh.spikes", "threshold")} <= whats
    assert any(what == "type" for _, what in whats)  # the counter of five steps is wider


def test_the_first_difference_is_the_first_in_samples_then_steps() -> None:
    a = np.zeros((3, 4, 2), np.int64)
    b = a.copy()
    b[1, 3, 0], b[1, 2, 1], b[2, 0, 0] = 5, 7, 1
    found = divergence("y", a, b, clocked=True)
    assert (found.differ, found.total, found.sample, found.step, found.element, found.a, found.b) == (
        3,
        24,
        1,
        2,
        (1,),
        0,
        7,
    )
    assert found.place() == "sample 1, step 2, element [1]: 0 and 7"
    assert divergence("y", a, a, clocked=True).place() == "equal"
    framed = divergence("y", np.array([3, 4]), np.array([3, 5]), clocked=False)
    assert framed.place() == "sample 1: 4 and 5" and framed.step is None
    with pytest.raises(InputError, match="one shape"):
        divergence("y", a, a[:1], clocked=True)


def test_logic_networks_too(random_graphs) -> None:
    graph = random_graphs(3)
    other = copy.deepcopy(graph)
    node = next(n for n in other.walk() if n.op == "lut")
    node.attrs["tables"] = node.attrs["tables"].copy()
    node.attrs["tables"][[2, 5]] ^= np.uint64(1)
    (found,) = structural(graph, other)
    assert (found.what, found.count, found.largest) == ("tables", 2, None)
    x = np.random.default_rng(0).integers(0, 256, (50, 20))
    data = compare(Model(graph), Model(other), {"x": x})
    same = compare(Model(graph), Model(copy.deepcopy(graph)), {"x": x})
    assert same.equal and not data.equal and not data.spikes
    scores = next(o for o in data.outputs if o.name == "scores")
    a, b = Model(graph).outputs(x)["scores"], Model(other).outputs(x)["scores"]
    assert scores.differ == int((a != b).sum())


def test_what_cannot_be_compared_on_data_is_refused(layers, learning, random_graphs, noise) -> None:
    x = {"in": noise(1, 5, 10)}
    with pytest.raises(InputError, match="both be clocked"):
        compare(layers, Model(random_graphs(1)), x)
    with pytest.raises(InputError, match="in"):
        compare(layers, learning, x)
