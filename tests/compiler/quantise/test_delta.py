"""Delta layers: what is handed on, a threshold of 0 as without, loops and clocked networks, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.quantise import Config, quantise
from neuroloom.compiler.real import Program, ProgramBuilder
from neuroloom.sim.dense import Engine
from neuroloom.sim.reference import run

RNG = np.random.default_rng(3)
W, U, V = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 4)) / 3, RNG.normal(size=(2, 4))
STEPS = np.cumsum(RNG.normal(size=(5, 20, 6)) / 10, axis=1)


def cell(b: ProgramBuilder, x: str, h: str) -> str:
    """tanh(W x + U h)."""
    pre = [
        b.node("linear", [x], name="wx", source="Gemm_0", weights=W, bias=np.ones(4)),
        b.node("linear", [h], name="uh", source="Gemm_1", weights=U),
    ]
    return b.node("function", [b.node("add", pre, name="pre")], name="new", source="Tanh_2", function="tanh")


def clocked() -> Program:
    """One step, its state outside."""
    b = ProgramBuilder("step")
    x, h = b.input("x", (6,)), b.input("h", (4,))
    new = cell(b, x, h)
    b.output("next", new)
    b.output("y", b.node("linear", [new], name="shown", source="Gemm_3", weights=V))
    b.program.states = {"h": "next"}
    return b.program


def looped() -> Program:
    """The same over a sequence of 20 steps; the answer is of the last one."""
    b = ProgramBuilder("loop")
    x = b.input("x", (20, 6))
    start = b.const(np.zeros(4), name="start")
    (last,) = b.scan(20, [start], [x], lambda c, e: ([cell(b, e[0], c[0])], []), name="last")
    b.output("y", b.node("linear", [last], name="shown", source="Gemm_3", weights=V))
    return b.program


def answer(graph: Graph) -> np.ndarray:
    y = run(graph, STEPS)["y"]
    np.testing.assert_array_equal(Engine(graph).run(STEPS)["y"], y)
    return y


@pytest.mark.parametrize("program", [clocked, looped])
def test_a_threshold_of_zero_is_the_dense_network(program: Any) -> None:
    plain = answer(quantise(program(), {"x": STEPS}))
    graph = quantise(program(), {"x": STEPS}, Config.read({"delta": 0}))
    # what a loop does not repeat has nothing to compare with
    assert sum(n.op == "delta" for n in graph.walk()) == (3 if program is clocked else 2)
    np.testing.assert_array_equal(answer(graph), plain)
    assert (answer(quantise(program(), {"x": STEPS}, Config.read({"delta": 0.3}))) != plain).any()


def test_what_is_handed_on() -> None:
    """The definition, in plain numpy on the integers: x-hat moves only where |x - x-hat| >= theta."""
    theta = 0.25
    graph = quantise(clocked(), {"x": STEPS}, Config.read({"delta": {"Gemm_0": theta}}))
    (node,) = [n for n in graph.walk() if n.op == "delta"]
    type_ = node.outputs[0].type
    assert node.attrs["threshold"] == math.ceil(theta * 2**type_.frac)
    seen = run(graph, STEPS, probes=[node.outputs[0].name])[node.outputs[0].name]
    x = graph.inputs[0].affine.quantize(STEPS, graph.inputs[0].range)
    sent, moved = np.zeros((5, 6), np.int64), 0
    for t in range(20):
        changed = np.abs(x[:, t] - sent) >= node.attrs["threshold"]
        sent, moved = np.where(changed, x[:, t], sent), moved + changed.sum()
        np.testing.assert_array_equal(seen[:, t], sent)
    assert 0 < moved < 0.7 * 5 * 20 * 6


def test_what_is_refused() -> None:
    for given in (-1, True, "much", math.inf, math.nan):
        with pytest.raises(InputError, match="delta must be a change of 0 or more, not"):
            Config.read({"delta": given})
    with pytest.raises(InputError, match="node 'Gemm_9' must be one of the network"):
        quantise(clocked(), {"x": STEPS}, Config.read({"delta": {"Gemm_9": 0.1}}))
    with pytest.raises(UnsupportedError, match=r"Gemm_3.*delta must be of a layer that runs step by step"):
        quantise(looped(), {"x": STEPS}, Config.read({"delta": {"Gemm_3": 0.1}}))

    b = ProgramBuilder("branch")
    x, h = b.input("x", (6,)), b.input("h", (6,))
    zero = b.const(np.zeros(2), name="zero")
    total, limit = b.node("sum", [x], axes=(0,)), b.const(np.array(0.0), name="limit")
    positive = b.node("relation", [total, limit], kind="gt")
    regions = [
        b.region(lambda: [b.node("linear", [x], name="taken", source="Gemm_5", weights=W[:2])]),
        b.region(lambda: [zero]),
    ]
    b.output("y", b.nodes("when", [positive], regions=regions)[0])
    b.output("next", b.node("add", [h, x]))
    b.program.states = {"h": "next"}
    with pytest.raises(UnsupportedError, match=r"Gemm_5.*stands in a branch; leave its delta out"):
        quantise(b.program, {"x": STEPS}, Config.read({"delta": {"Gemm_5": 0.1}}))
    assert "delta" not in {n.op for n in quantise(b.program, {"x": STEPS}, Config.read({"delta": 0.1})).walk()}
