#!/usr/bin/env python3
"""Classifies the nodes of graphs by STDP, beside label propagation.

python examples/citation_graph/run.py                 # 10 seeds; draws build/citation_graph.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import neuroloom as nl  # noqa: E402
from examples import picture  # noqa: E402
from examples.citation_graph import citations as task  # noqa: E402
from examples.on_core import on_core  # noqa: E402

PROBLEMS = (task.karate, task.communities)


def measure(seeds: int) -> dict[str, dict[str, np.ndarray]]:
    """Accuracies [seeds] over the unknown nodes, by graph and method."""
    out: dict[str, dict[str, list[float]]] = {}
    for make in PROBLEMS:
        for seed in range(seeds):
            problem = make(seed)
            answers = {
                "STDP": task.learn(problem, seed).argmax(1),
                "harmonic functions": task.propagated(problem),
                "local and global consistency": task.propagated(problem, "local_and_global_consistency"),
                "majority of known neighbours": task.majority(problem),
            }
            rows = out.setdefault(problem.name, {})
            for name, answer in answers.items():
                rows.setdefault(name, []).append(task.accuracy(problem, answer))
    return {graph: {name: np.array(v) for name, v in rows.items()} for graph, rows in out.items()}


def draw(path: Path) -> None:
    """The karate club with learnt answers, and the learnt weights of the communities."""
    import networkx as nx

    figure, (left, right) = picture.subplots(1, 2, (9, 3.6))
    problem = task.karate(0)
    answers = np.where(problem.known, problem.topics, task.learn(problem, 0).argmax(1))
    colours = np.array(["tab:blue", "tab:orange"])[answers]
    edge = np.where(problem.known, "black", np.where(answers == problem.topics, "white", "red"))
    places = nx.spring_layout(problem.graph, seed=3)
    nx.draw_networkx_edges(problem.graph, places, ax=left, edge_color="lightgrey")
    nx.draw_networkx_nodes(
        problem.graph, places, ax=left, node_size=90, node_color=list(colours), edgecolors=list(edge), linewidths=2
    )
    left.set(title="karate club (black: known, red: wrong)")
    left.axis("off")
    problem = task.communities(0)
    shown = right.imshow(task.learn(problem, 0).T, aspect="auto", interpolation="nearest", cmap="Greys")
    right.set(
        title="communities: learnt weights",
        xlabel="paper (30 of each topic)",
        ylabel="topic",
        yticks=range(4),
    )
    figure.colorbar(shown, ax=right)
    picture.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--picture", type=Path, default=Path("build/citation_graph.png"), help="PNG to write")
    options = parser.parse_args()
    for graph, rows in measure(options.seeds).items():
        print(f"{graph}: accuracy over the unknown nodes, {options.seeds} seeds")
        for name, values in rows.items():
            mean, worst, best = (100 * f(values) for f in (np.mean, np.min, np.max))
            print(f"  {name:29s} mean {mean:5.1f} %   worst {worst:5.1f} %   best {best:5.1f} %")
    for make in PROBLEMS:
        problem = make(0)
        print(on_core(nl.compile(task.network(problem)), {"ask": task.asking(problem, 0)[: 5 * task.WAVE]}))
    draw(options.picture)


if __name__ == "__main__":
    main()
