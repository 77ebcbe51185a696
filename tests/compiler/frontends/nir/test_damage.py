"""Damaged graphs: whatever is changed in one, the answer is a graph or one sentence."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import NeuroloomError
from neuroloom.compiler.frontends.nir import load_nir

BAD: tuple[Any, ...] = (
    None, np.nan, np.inf, -1, 0, 2, 1e9, 1e-12, b"same", "valid", "x", np.zeros(0), np.zeros((2, 2)), np.array([1, 2, 3]),
    np.array("a"), np.array([np.nan]), True, {}, {"a": 1}, np.array(3), [1, 2], np.array([-1, 1]), np.ones((3, 2)), 1.5,
)  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "norse": {},
    "nir-euler": {},
    "lava": {},
    "snntorch": {"reset": "zero", "reset_delay": True},
}


def parts(rng: np.random.Generator) -> tuple[dict[str, dict[str, Any]], list[tuple[str, str]]]:
    """A sound graph with most kinds of nodes and a loop: fields by node, edges."""
    plane, four = np.ones((3, 6, 6)), np.ones(4)
    two = np.array([2, 2])
    nodes = {
        "input": {"type": "Input", "shape": np.array([2, 6, 6])},
        "conv": {
            "type": "Conv2d", "input_shape": None, "weight": rng.normal(size=(3, 2, 3, 3)), "stride": two // 2,
            "padding": two // 2, "dilation": two // 2, "groups": 1, "bias": np.zeros(3),
        },
        "lif": {"type": "LIF", "tau": plane * 2e-3, "r": plane, "v_leak": plane * 0, "v_threshold": plane},
        "pool": {"type": "AvgPool2d", "kernel_size": two, "stride": two, "padding": two * 0},
        "flat": {"type": "Flatten", "start_dim": 0, "end_dim": -1, "input_type": np.array([3, 3, 3])},
        "fc": {"type": "Linear", "weight": rng.normal(size=(4, 27))},
        "scale": {"type": "Scale", "scale": four},
        "delay": {"type": "Delay", "delay": four * 2e-3},
        "cuba": {
            "type": "CubaLIF", "tau_syn": four * 2e-3, "tau_mem": four * 2e-3, "r": four * 2, "v_leak": four * 0,
            "v_threshold": four, "v_reset": four * 0, "w_in": four,
        },
        "rec": {"type": "Linear", "weight": np.eye(4)},
        "output": {"type": "Output", "shape": np.array([4])},
    }  # fmt: skip
    line = ["input", "conv", "lif", "pool", "flat", "fc", "scale", "delay", "cuba", "output"]
    return nodes, [*zip(line, line[1:], strict=False), ("cuba", "rec"), ("rec", "cuba")]


def live(nodes: dict[str, dict[str, Any]], edges: list[tuple[str, str]]) -> Any:
    """Objects that look like the nir package's, which itself would refuse to make some of these."""
    graph = type("NIRGraph", (), {"to_dict": None, "edges": edges})()
    graph.to_dict = dict
    graph.nodes = {
        name: type(fields["type"], (), {"to_dict": lambda self, fields=fields: fields})()
        for name, fields in nodes.items()
    }
    return graph


def damage(rng: np.random.Generator, nodes: dict[str, dict[str, Any]], edges: list[tuple[str, str]]) -> None:
    """Change a field, drop one, add an edge or take one away."""
    names = list(nodes)
    fields = nodes[names[rng.integers(len(names))]]
    key = [k for k in fields if k != "type"][int(rng.integers(len(fields) - 1))] if len(fields) > 1 else ""
    match int(rng.integers(4)):
        case 0 if key:
            fields[key] = BAD[rng.integers(len(BAD))]
        case 1 if key:
            del fields[key]
        case 2:
            edges.append((names[rng.integers(len(names))], names[rng.integers(len(names))]))
        case _:
            edges.pop(int(rng.integers(len(edges))))


def check(seed: int, rounds: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    found = {"carried": 0, "refused": 0}
    for _ in range(rounds):
        nodes, edges = parts(rng)
        for _ in range(int(rng.integers(1, 3))):
            damage(rng, nodes, edges)
        dialect = list(OPTIONS)[rng.integers(len(OPTIONS))]
        try:
            load_nir(live(nodes, edges), dialect=dialect, dt=1e-3, **OPTIONS[dialect])
            found["carried"] += 1
        except NeuroloomError as error:
            assert str(error) and "\n" not in str(error)
            found["refused"] += 1
    return found


@pytest.mark.parametrize("dialect", OPTIONS)
def test_the_sound_graph_is_carried(dialect: str) -> None:
    nodes, edges = parts(np.random.default_rng(0))
    if dialect == "norse":
        nodes["lif"]["r"] = np.ones((3, 6, 6))
    if dialect == "snntorch":
        nodes["cuba"]["r"] = np.full(4, 2.0)
    load_nir(live(nodes, edges), dialect=dialect, dt=1e-3, **OPTIONS[dialect])


def test_damage_is_refused_in_one_sentence() -> None:
    found = check(0, 150)
    assert found["refused"] > 50 and found["carried"] > 3


@pytest.mark.campaign
def test_damage_is_refused_in_one_sentence_many_times() -> None:
    print(check(int(os.environ.get("NEUROLOOM_SEED", "1")), 5000))
