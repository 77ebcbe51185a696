"""The verifier's sentences, and the ranges that it proves."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import BIT, Builder, Graph, Node, Output, Type, Value, ranges, smallest_type, verify
from neuroloom.sim.reference import run

CONST = {"data": np.array([1]), "type": "bit"}


def broken(node: Node, *, outputs: bool = True) -> Graph:
    b = Builder("g")
    b.input("x", Type(4), (3,))
    b.input("bits", BIT, (3,))
    graph = b.graph
    graph.nodes.append(node)
    graph.outputs.append(Output("y", node.outputs[0].name if outputs and node.outputs else "x"))
    return graph


def lut(indices, table_list, **changes) -> Node:
    attrs = {"indices": np.array(indices, np.int32), "tables": np.array(table_list, np.uint64)} | changes
    return Node("lut", ("bits",), (Value("v", BIT, (1,)),), attrs, source="L1")


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (Node("nope", ("x",), (Value("v", BIT, ()),)), "operation must be one of"),
        (Node("add", ("x",), (Value("v", BIT, ()),)), "add must have 2 inputs, not 1"),
        (Node("add", ("x", "z"), (Value("v", BIT, ()),)), "input %z must be defined before it is used"),
        (Node("add", ("x", "x"), (Value("v", Type(4), (3,)),)), "type u4 must hold the proven range 0..30"),
        (Node("add", ("x", "x"), (Value("v", Type(5), (2,)),)), "shape must be [3], not [2]"),
        (Node("add", ("x", "x"), (Value("v", Type(5, False, 1), (3,)),)), "fraction bits must be 0, not 1"),
        (Node("add", ("x", "x"), (Value("x", Type(5), (3,)),)), "value %x must be defined once"),
        (Node("add", ("x", "x"), (Value("v", Type(5), (3,)),), {"k": 1}), "add has no attribute k"),
        (lut([[0, 3]], [1]), "index 3 at [0, 1] must be in -1..2"),
        (lut([[0, 1]], [16]), "tables of 2 inputs must be at most 4 bits wide"),
        (lut([[0] * 7], [1]), "a lut must have at most 6 inputs, not 7; use lookup for more"),
        (lut([[0]], [1], shape=(2,)), "shape (2,) must hold 1 elements"),
        (lut([[0]], [1], tables=np.array([1])), "tables must be uint64[1], not int64[1]"),
        (lut([[0]], [1], tables=np.array([1.0])), "attribute tables must be an integer tensor, not float64"),
        (Node("lut", ("x",), (Value("v", BIT, (1,)),), lut([[0]], [1]).attrs), "input %x must be bit, not u4"),
        (
            Node("const", (), (Value("v", Type(2), (1,)),), {"data": np.array([4]), "type": "u2"}),
            "data must be in 0..3 for type u2, not 4..4",
        ),
        (
            Node("state", (), (Value("v", BIT, (1,)),), {"init": np.array([0]), "type": "bit", "lifetime": "ever"}),
            "lifetime must be sample or persistent, not 'ever'",
        ),
        (
            Node("state", (), (Value("v", BIT, (1,)),), {"init": np.array([0]), "type": "bit", "lifetime": "sample"}),
            "state %v must have an update",
        ),
        (
            Node("take", ("bits", "x"), (Value("v", BIT, (3,)),), {"axis": 0}),
            "index %x must be proven in 0..2, not 0..15",
        ),
        (
            Node(
                "requantize",
                ("x",),
                (Value("v", Type(4), (3,)),),
                {"type": "u4", "factor": "1/0", "rounding": "floor", "overflow": "wrap"},
            ),
            "factor must be a rational like 3/8, not '1/0'",
        ),
        (
            Node(
                "topk",
                ("x",),
                (Value("v", Type(4), (9,)), Value("i", Type(2), (9,))),
                {"axis": 0, "k": 9, "largest": True},
            ),
            "k must be in 1..3, not 9",
        ),
    ],
)
def test_refusals(node: Node, sentence: str) -> None:
    with pytest.raises(GraphError) as e:
        verify(broken(node), "pass fold")
    assert sentence in str(e.value)
    assert str(e.value).startswith("after pass fold: ")


def test_messages_name_the_node_and_its_source() -> None:
    with pytest.raises(GraphError, match=r"node %v = lut \(from 'L1'\): index"):
        verify(broken(lut([[5]], [1])))


def test_order_and_regions_are_scoped() -> None:
    b = Builder("g")
    cond = b.input("c", BIT, ())
    inner: list[str] = []

    def body() -> list[str]:
        inner.append(b.const(np.array([1]), BIT))
        return inner

    b.node("when", [cond], regions=[b.region(body), b.region(lambda: [b.const(np.array([0]), BIT)])])
    b.output("y", inner[0])
    with pytest.raises(GraphError, match="output 'y' must show a value of the graph"):
        b.finish()


def test_a_state_has_one_writer_of_its_own_type() -> None:
    b = Builder("g", clocked=True)
    x = b.input("x", Type(4), (1,))
    s = b.state(np.array([0]), Type(4), "sample", name="s")
    with pytest.raises(GraphError, match="end the loop in a requantize"):
        b.update(s, b.node("add", [x, s]))
    b.update(s, x)
    b.update(s, x)
    b.output("y", s)
    with pytest.raises(GraphError, match="state %s must have one writer, this is the second"):
        b.finish()


def test_matvec_ranges_are_tight_per_row() -> None:
    b = Builder("g")
    x = b.input("x", Type(8, True), (3,), bounds=(-2, 100))
    y = b.node("matvec", [x], weights=np.array([[1, -1, 0], [5, 5, 5]], np.int8), bias=np.array([7, 0]), weight_frac=0)
    b.output("y", y)
    graph = b.finish()
    assert ranges(graph)[y] == (-95, 1500)
    ends = np.array([[-2, 100, 0], [100, -2, 0], [100, 100, 100], [-2, -2, -2]])
    seen = run(graph, ends)["y"]
    assert (seen.min(), seen.max()) == (-95, 1500)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((0, 0), "bit"),
        ((0, 1), "bit"),
        ((0, 2), "u2"),
        ((-1, 0), "s1"),
        ((-1, 1), "s2"),
        ((-128, 127), "s8"),
        ((-129, 0), "s9"),
        ((0, 255), "u8"),
        ((5, 256), "u9"),
    ],
)
def test_smallest_types(bounds: tuple[int, int], text: str) -> None:
    type_ = smallest_type(bounds)
    assert str(type_) == text and Type.parse(text) == type_ and type_.holds(bounds)


def test_overflow_of_64_bits_is_refused_not_wrapped() -> None:
    b = Builder("g")
    x = b.input("x", Type(63), (1,))
    with pytest.raises(GraphError, match="need 64 bits; a value must fit 63 bits"):
        b.node("add", [x, x])
