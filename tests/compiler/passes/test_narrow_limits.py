"""Limits behind the rounding give the same integers, for every rounding, on every integer of the input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type, verify
from neuroloom.compiler.ir.ops.arith import ROUNDINGS
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.passes.narrow_limits import run
from neuroloom.compiler.passes.remove_dead import run as remove_dead
from neuroloom.sim import reference

ALL = np.arange(-512, 512).reshape(-1, 1)


def limited(op: str, limit: int, type_: str, factor: str, rounding: str, overflow: str = "saturate") -> Graph:
    b = Builder("limited")
    x = b.input("x", Type.parse("s10"), (1,))
    over = b.node(op, [x, b.const(np.array(limit))])
    b.output(
        "y", b.node("requantize", [over], type=type_, factor=factor, rounding=rounding, overflow=overflow, name="y")
    )
    return b.finish()


def ops(graph: Graph) -> list[str]:
    return [n.op for n in remove_dead(graph, Options()).graph.nodes]


@pytest.mark.parametrize(
    ("op", "limit", "type_", "factor"),
    [*itertools.product(("max", "min"), (-37, 0, 5, 300), ("s6", "u5"), ("3/16", "1", "2"))],
)
def test_every_integer_stays(op: str, limit: int, type_: str, factor: str) -> None:
    for rounding in ROUNDINGS:
        graph = limited(op, limit, type_, factor, rounding)
        result = run(graph, Options())
        assert result.changed
        verify(result.graph, "narrow-limits")
        assert (reference.run(result.graph, ALL)["y"] == reference.run(graph, ALL)["y"]).all()


def test_a_relu_is_left_to_saturation() -> None:
    assert ops(run(limited("max", 0, "u5", "1/8", "half_up"), Options()).graph) == ["requantize"]
    assert ops(run(limited("max", -1, "u5", "1/8", "half_up"), Options()).graph) == ["requantize"]
    assert ops(run(limited("max", 0, "s6", "1/8", "half_up"), Options()).graph) == ["requantize", "const", "max"]
    assert ops(run(limited("min", 31, "u5", "1", "floor"), Options()).graph) == ["requantize"]


def test_what_would_change_an_order_stays() -> None:
    for graph in (limited("max", 0, "s4", "1", "floor", "wrap"), limited("max", 0, "s6", "-1/8", "floor")):
        assert not run(graph, Options()).changed
    assert not run(limited("max", 0, "u5", "1", "floor"), Options(level=0)).changed


def test_two_limits_and_loops() -> None:
    b = Builder("clip")
    x = b.input("x", Type.parse("s10"), (3, 2))

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        over = b.node("max", [elements[0], b.const(np.array([-50, -7]))])
        under = b.node("min", [over, b.const(np.array(60))])
        kept = b.node("requantize", [under], type="s6", factor="1/4", rounding="half_even", overflow="saturate")
        return [], [kept]

    (rows,) = b.scan(3, [], [x], body)
    b.output("y", rows)
    b.output("wide", b.node("max", [x, b.const(np.array(0))], name="wide"))
    graph = b.finish()
    result = run(graph, Options()).graph
    verify(result, "narrow-limits")
    assert [n.op for n in result.nodes[0].regions[0].nodes][-3:] != ["max", "min", "requantize"]
    x = np.random.default_rng(0).integers(-512, 512, (80, 3, 2))
    for name, values in reference.run(graph, x).items():
        assert (reference.run(result, x)[name] == values).all()


def test_a_limit_in_front_of_a_widening_stays() -> None:
    """A sum's aligned operand has more bits than the limited value: the limit is cheaper where it is."""
    b = Builder("aligned")
    x = b.input("x", Type(8, True), (2,))
    limited = b.node("max", [x, b.const(np.array(0))])
    attrs = {"type": "u20", "factor": "4096", "rounding": "floor", "overflow": "saturate"}
    b.output("y", b.node("requantize", [limited], **attrs))
    graph = b.finish()
    assert not run(graph, Options()).changed
