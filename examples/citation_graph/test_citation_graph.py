"""STDP finds the topics of held-out nodes, and the board's core learns the same weights."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.citation_graph import citations as task
from examples.on_core import on_core


@pytest.fixture(autouse=True)
def _networkx(require_tool) -> None:
    require_tool("networkx")


@pytest.mark.parametrize("make, least", [(task.karate, 0.85), (task.communities, 0.75)])
def test_held_out_nodes_get_their_topic(make, least: float) -> None:
    shares = []
    for seed in range(4):
        problem = make(seed)
        weights = task.learn(problem, seed)
        assert not weights[problem.known].any()  # what is known is not learnt
        shares.append(task.accuracy(problem, weights.argmax(1)))
    assert np.mean(shares) > least


def test_without_known_papers_nothing_is_learnt() -> None:
    problem = task.karate(0)
    nothing = task.Problem("nothing", problem.graph, problem.topics, np.zeros_like(problem.known))
    net = task.network(nothing)
    x = task.asking(nothing, 0)[: 4 * task.WAVE]
    out = nl.compile(net).simulate(x[None])
    assert out["paper.spikes"].any() and not out["topic.spikes"].any()


def test_baselines_know_what_is_known() -> None:
    problem = task.communities(3)
    for answers in (task.propagated(problem), task.propagated(problem, "local_and_global_consistency")):
        assert (answers[problem.known] == problem.topics[problem.known]).mean() > 0.9
        assert task.accuracy(problem, answers) > 0.5


def test_core_learns_the_same() -> None:
    problem = task.karate(0)
    found = on_core(nl.compile(task.network(problem)), {"ask": task.asking(problem, 0)[: 3 * task.WAVE]})
    assert found.profile == "reward"  # STDP and delays of six steps
    assert found.differences == 0
    assert found.spikes > 50 and found.changed_weights == 3 * problem.classes  # of the three papers that were asked
