"""Weights of products that are added: their steps, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.quantise import Config, quantise
from neuroloom.compiler.real import Program, ProgramBuilder
from neuroloom.sim.dense import Engine

RNG = np.random.default_rng(0)
DATA = {"x": RNG.uniform(-100, 100, (200, 6)), "h": RNG.uniform(-1, 1, (200, 5))}
W, U, V = RNG.uniform(-1, 1, (4, 6)), RNG.uniform(-1, 1, (4, 5)), RNG.uniform(-1, 1, (4, 5))


def program() -> Program:
    """y = W x + U h, and z = V h by itself."""
    b = ProgramBuilder("sums")
    x, h = b.input("x", (6,)), b.input("h", (5,))
    products = [b.node("linear", [v], name=n, weights=w) for n, v, w in (("Wx", x, W), ("Uh", h, U))]
    b.output("y", b.node("add", products))
    b.output("z", b.node("linear", [h], name="Vh", weights=V))
    return b.program


def steps(graph: Graph) -> dict[str, tuple[int, int]]:
    """Fraction bits of each product's weights, and of the product."""
    found = {n.name.removesuffix(".sum"): n for n in graph.nodes if n.op == "matvec"}
    return {name: (n.attrs["weight_frac"], n.outputs[0].type.frac) for name, n in found.items()}


@pytest.mark.parametrize(
    ("weight_bits", "aligned", "gap"), [(16, 16, 0), (12, 16, 4), (16, 18, 2), (12, 12, 3), (8, 16, 7), (8, 8, 7)]
)
def test_weights_fit_on_one_step(weight_bits: int, aligned: int, gap: int) -> None:
    """x reaches 100 and h 1, so that the product of the one has 7 fraction bits less; the rules say what is left of
    them, and weights keep 8 bits."""
    rules = {"weight_bits": weight_bits, "aligned_bits": aligned}
    found = steps(quantise(program(), DATA, Config.read(rules)))
    assert found["Uh"][1] - found["Wx"][1] == gap
    assert found["Vh"][0] == weight_bits - 1, "a product by itself keeps all bits"


def test_no_weight_adds_more_than_twice_what_the_coarsest_add() -> None:
    """Of 16 bits the seven finest of U go: its five columns then add at most twice the error of W's six each, as squares."""
    errors = {}
    for aligned in (16, 48):
        graph = quantise(program(), DATA, Config.read({"weight_bits": 16, "aligned_bits": aligned, "bits": 24}))
        y = graph.outputs[0].affine.dequantize(Engine(graph).run(DATA)["y"])
        errors[aligned] = float(np.sqrt(np.mean((y - (DATA["x"] @ W.T + DATA["h"] @ U.T)) ** 2)))
    assert errors[48] < errors[16] < np.sqrt(1 + 4 * 5 / 6) * errors[48]
