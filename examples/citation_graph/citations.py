"""Node classification by STDP on a graph, as NeuroCoreX does it: papers and topics are neurons, citations synapses.

Papers excite their neighbours; papers of known topic excite their topic's neuron. One by one the papers of unknown
topic are asked: the paper spikes, the wave runs over the graph, a hop in six steps, and makes a topic spike for every known
paper that it meets. Synapses from the asked paper's channel to the topics gain with every such spike, the more the shorter
the way was. A paper's topic is that of its strongest synapse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from neuroloom.sim.spiking import Session

import neuroloom as nl

UNIT = 30000
"""Threshold of topic neurons and weight of known papers: one spike of the topic for each of theirs. Learnt weights, at most
127, are too small beside it to act."""
TAU, GAIN, SHIFT = 5.0, 150 * 64, 6
"""STDP: time constant in steps; gain of a pair at lag 0 in 1/64 of a weight integer."""
HOP = 6
"""Steps that a spike takes from a paper to the next one."""
WAVE = 60
"""Steps of a paper's turn."""


@dataclass(frozen=True)
class Problem:
    """A graph with nodes 0..n-1, the topic of every node int64 [n], and which nodes' topics are known, bool [n]."""

    name: str
    graph: Any
    topics: np.ndarray
    known: np.ndarray

    @property
    def classes(self) -> int:
        """Number of topics."""
        return int(self.topics.max()) + 1


def split(name: str, graph: Any, topics: np.ndarray, per_topic: int, seed: int) -> Problem:
    """Let ``per_topic`` nodes of every topic be known, drawn at random."""
    rng = np.random.default_rng([seed, 1])
    known = np.zeros(len(topics), bool)
    for topic in range(topics.max() + 1):
        known[rng.choice(np.flatnonzero(topics == topic), per_topic, replace=False)] = True
    return Problem(name, graph, topics, known)


def karate(seed: int, per_topic: int = 4) -> Problem:
    """Zachary's karate club: 34 members, the club that each joined."""
    graph = nx.karate_club_graph()
    topics = np.array([int(graph.nodes[n]["club"] != "Mr. Hi") for n in graph])
    return split("karate club", graph, topics, per_topic, seed)


def communities(seed: int, per_topic: int = 6, inside: float = 0.2, outside: float = 0.02) -> Problem:
    """A planted partition: 4 communities of 30 nodes, edges with probability 0.2 inside and 0.02 between them."""
    graph = nx.planted_partition_graph(4, 30, inside, outside, seed=seed)
    return split("communities", graph, np.repeat(np.arange(4), 30), per_topic, seed)


def network(problem: Problem) -> nl.Network:
    """Paper and topic neurons in integers; every paper has an input channel that makes it spike."""
    papers, topics = len(problem.topics), problem.classes
    net = nl.Network("citations", seed=1)
    ask = net.input("ask", papers)
    reader = nl.Neuron(threshold=100, refractory=2 * HOP + 1)  # so that a wave's echo dies
    paper = net.population("paper", papers, reader, record=["spikes"])
    votes = nl.Neuron(threshold=UNIT, reset="subtract", leak="subtractive", decay=200)
    topic = net.population("topic", topics, votes, record=["spikes"])
    edges = np.array([pair for a, b in problem.graph.edges for pair in ((a, b), (b, a))])
    net.connect(ask, paper, topology=nl.topology.one_to_one(), weights=100, delay=0, name="asking")
    net.connect(paper, paper, pre=edges[:, 0], post=edges[:, 1], weights=100, delay=HOP, name="citations")
    labelled = np.flatnonzero(problem.known)
    net.connect(paper, topic, pre=labelled, post=problem.topics[labelled], weights=UNIT, name="known", weight_bits=16)
    rule = nl.Learning(
        pre_decay=round(65536 * np.exp(-1 / TAU)),
        pre_step=GAIN,
        f=SHIFT,
        w_min=0,
        w_max=127,
        rounding="stochastic",
    )
    unknown = np.flatnonzero(~problem.known)
    pre, post = (v.ravel() for v in np.meshgrid(unknown, np.arange(topics), indexing="ij"))
    start = np.zeros(len(pre), int)
    net.connect(ask, topic, pre=pre, post=post, weights=start, plasticity=rule, name="learnt")
    return net


def asking(problem: Problem, seed: int, rounds: int = 1) -> np.ndarray:
    """Input spikes uint8 [steps, papers]: every unknown paper once per round, in random order, a wave's time apart."""
    rng = np.random.default_rng([seed, 2])
    order = np.concatenate([rng.permutation(np.flatnonzero(~problem.known)) for _ in range(rounds)])
    x = np.zeros((len(order) * WAVE, len(problem.topics)), np.uint8)
    x[np.arange(len(order)) * WAVE, order] = 1
    return x


def learn(problem: Problem, seed: int, rounds: int = 1) -> np.ndarray:
    """Weights int64 [papers, topics] that are learnt by asking for every unknown paper; zeros for the known ones."""
    net = network(problem)
    session = Session(nl.compile(net).graph)
    session.run(asking(problem, seed, rounds))
    return net.matrix("learnt", session.state("learnt.weights"))


def accuracy(problem: Problem, answers: np.ndarray) -> float:
    """Share of the unknown nodes whose answer (int64 [n]) is right."""
    return float((answers == problem.topics)[~problem.known].mean())


def propagated(problem: Problem, method: str = "harmonic_function") -> np.ndarray:
    """networkx's label propagation, ``harmonic_function`` (Zhu, Ghahramani, Lafferty 2003) or
    ``local_and_global_consistency`` (Zhou et al. 2004); topics int64 [n]."""
    graph = nx.Graph()
    graph.add_nodes_from(range(len(problem.topics)))
    graph.add_edges_from(problem.graph.edges)
    for node in np.flatnonzero(problem.known):
        graph.nodes[int(node)]["topic"] = int(problem.topics[node])
    return np.array(getattr(nx.algorithms.node_classification, method)(graph, label_name="topic"))


def majority(problem: Problem) -> np.ndarray:
    """The commonest topic among a node's known neighbours; the first one where there is none."""
    out = np.zeros(len(problem.topics), np.int64)
    for node in range(len(out)):
        near = [problem.topics[n] for n in problem.graph[node] if problem.known[n]]
        out[node] = np.bincount(near, minlength=problem.classes).argmax() if near else 0
    return out
