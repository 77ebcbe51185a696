"""Matrix products of what is always the same number, at the top and inside of loops; others stay."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type, verify
from neuroloom.compiler.passes.fold_products import run
from neuroloom.compiler.passes.manager import Options
from neuroloom.sim import reference

WEIGHTS = np.array([[1, -2], [3, 4], [0, 5]])


def loop(value: int) -> Graph:
    """Three steps that add x and the product of a sequence of one number, which is read backwards."""
    b = Builder("loop")
    x = b.input("x", Type.parse("s8"), (3,))
    start, given = b.const(np.zeros(3, np.int64), Type.parse("s12")), b.const(np.full((3, 2), value))

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        product = b.node("matvec", [elements[0]], weights=WEIGHTS, weight_frac=0, bias=np.array([7, 0, -1]))
        total = b.node("add", [b.node("add", [carried[0], product]), x])
        return [b.node("requantize", [total], type="s12", factor="1", rounding="floor", overflow="saturate")], [product]

    last, seen = b.scan(3, [start], [given], body, reverse=(True, False))
    b.output("last", last)
    b.output("seen", seen)
    return b.finish()


@pytest.mark.parametrize("value", [0, -3])
def test_a_sequence_of_one_number(value: int) -> None:
    graph = loop(value)
    result = run(graph, Options())
    verify(result.graph, "fold-products")
    assert result.changed and not any(n.op == "matvec" for n in result.graph.walk())
    arrays = {"x": np.random.default_rng(0).integers(-128, 128, (9, 3))}
    want, got = (reference.run(g, arrays) for g in (graph, result.graph))
    assert all((got[name] == want[name]).all() for name in want)
    assert (got["seen"] == value * WEIGHTS.sum(axis=1) + [7, 0, -1]).all()


def test_what_may_differ_stays() -> None:
    b = Builder("plain")
    b.output("y", b.node("matvec", [b.input("x", Type.parse("s8"), (2,))], weights=WEIGHTS, weight_frac=0))
    graph = b.finish()
    assert not run(graph, Options()).changed
    assert not run(loop(1), Options(level=0)).changed
