"""networkx graphs become networks: nodes are neurons, edges are synapses, attributes are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.models import LIF, IzhikevichNeuron, Neuron
from neuroloom.compiler.spiking.network import Network
from neuroloom.compiler.spiking.plasticity import STDP

import neuroloom as nl


@pytest.fixture
def nx(require_tool: Callable[[str], None]) -> Any:
    """The networkx package."""
    require_tool("networkx")
    return pytest.importorskip("networkx")


def test_directed_edges_keep_weight_delay_and_plasticity(nx: Any) -> None:
    graph = nx.DiGraph(name="two words")
    graph.add_edge("a", "b", weight=0.5, delay=3)
    graph.add_edge("b", "c", plastic=0)
    net = Network.from_graph(graph, weight=2.0, inputs=False, plasticity=STDP())
    assert net.name == "two_words" and net.populations["nodes"].size == 3
    p = net.projections["nodes-nodes"]
    assert (p.pre.tolist(), p.post.tolist(), p.weight.tolist(), p.delay.tolist()) == (
        [0, 1],
        [1, 2],
        [0.5, 2.0],
        [3, 1],
    )
    assert p.plasticity.enable.tolist() == [True, False]  # type: ignore[union-attr]
    assert net.records["nodes"] == {"nodes": ["a", "b", "c"]}


def test_undirected_edges_go_both_ways_and_parallel_ones_add(nx: Any) -> None:
    graph = nx.MultiGraph([(0, 1), (0, 1), (2, 2)])
    p = Network.from_graph(graph).projections["nodes-nodes"]
    assert sorted(zip(p.pre.tolist(), p.post.tolist(), strict=True)) == [(0, 1), (0, 1), (1, 0), (1, 0), (2, 2)]


def test_node_attributes_make_populations_and_thresholds(nx: Any) -> None:
    graph = nx.DiGraph()
    graph.add_node(0, population="exc", threshold=5)
    graph.add_node(1, population="inh")
    graph.add_node(2, population="exc")
    graph.add_edge(0, 1, weight=3)
    graph.add_edge(1, 2, weight=-3)
    net = Network.from_graph(graph, model=Neuron(threshold=2))
    assert set(net.populations) == {"exc", "inh"} and set(net.inputs) == {"in-exc", "in-inh"}
    assert net.populations["exc"].model.threshold.tolist() == [5, 2]  # type: ignore[union-attr]
    assert net.projections["inh-exc"].post.tolist() == [1] and net.exact
    by_function = Network.from_graph(graph, model=Neuron(), population=lambda n: "even" if n % 2 == 0 else "odd")
    assert {k: p.size for k, p in by_function.populations.items()} == {"even": 2, "odd": 1}
    both = Network.from_graph(graph, model={"exc": Neuron(), "inh": LIF(tau=1e-2)})
    assert both.populations["inh"].model == LIF(tau=1e-2)


def test_a_spike_walks_along_a_path(nx: Any) -> None:
    net = Network.from_graph(nx.path_graph(4, create_using=nx.DiGraph), model=Neuron(threshold=1), weight=1)
    x = np.zeros((1, 5, 4), int)
    x[0, 0, 0] = 1
    y = nl.compile(net).simulate(x)
    assert y[0].argmax(axis=1)[:4].tolist() == [0, 1, 2, 3] and y.sum() == 4


def test_the_karate_club_runs(nx: Any) -> None:
    graph = nx.karate_club_graph()
    net = Network.from_graph(graph, plasticity=STDP(w_max=8.0), model=LIF(tau=10e-3, threshold=4.0))
    assert net.populations["nodes"].size == 34 and net.projections["nodes-nodes"].size == 2 * graph.number_of_edges()
    x = np.zeros((1, 20, 34), int)
    x[0, 0, 0] = 1
    assert nl.compile(net).simulate(x).sum() > 1


def test_what_is_no_graph_is_refused(nx: Any) -> None:
    def refused(graph: Any, **options: Any) -> str:
        with pytest.raises(InputError) as error:
            Network.from_graph(graph, **options)
        return str(error.value)

    assert refused({0: [1]}) == "graph must be a networkx Graph or DiGraph, not dict"
    assert refused(nx.Graph()) == "graph must have at least one node"
    bad = nx.DiGraph([(0, 1, {"weight": float("nan")})])
    assert refused(bad) == "weight of edge 0 -> 1 must be finite, not nan"
    assert refused(nx.DiGraph([(0, 1, {"weight": "big"})])) == "weight of edge 0 -> 1 must be numbers, not 'big'"
    assert "delay of edge 0 -> 1 must be an integer in steps, not 1.5" in refused(nx.DiGraph([(0, 1, {"delay": 1.5})]))
    assert "must be in 0..63 steps, not 99" in refused(nx.DiGraph([(0, 1, {"delay": 99})]))
    assert "model must be given for population 'nodes'" in refused(nx.path_graph(2), model={"exc": Neuron()})
    iz = IzhikevichNeuron(a=1, b=1, c=1, d=1)
    assert "inputs must be a weight for neurons of IzhikevichNeuron" in refused(nx.path_graph(2), model=iz)
