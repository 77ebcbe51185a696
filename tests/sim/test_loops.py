"""Loops in the reference interpreter, against sequences worked out by hand, and what the verifier refuses."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import Builder, Graph, Type, verify
from neuroloom.compiler.ir.text import from_text, to_text
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.sim.reference import run

S8 = Type(8, True)
CAST = {"type": "s8", "factor": "1", "rounding": "floor", "overflow": "saturate"}


def accumulator(reverse: tuple[int, ...] = (0, 0)) -> Graph:
    """acc <- saturate(acc + x[t] + outside), from 10, in s8; stacks the old acc."""
    b = Builder("acc")
    xs = b.input("xs", S8, (3,))
    outside = b.input("outside", Type(4), ())
    acc = b.const(np.array(10), S8, name="acc")

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        total = b.node("add", [b.node("add", [carried[0], elements[0]]), outside])
        return [b.node("requantize", [total], **CAST)], [carried[0]]

    last, seen = b.scan(3, [acc], [xs], body, reverse=reverse, name="loop", source="Loop_1")
    b.output("last", last)
    b.output("seen", seen)
    return b.finish()


INPUTS = {"xs": np.array([[1, 2, 3], [100, 100, -1]]), "outside": np.array([0, 5])}


def test_a_loop_carries_and_stacks() -> None:
    y = run(accumulator(), INPUTS)
    assert y["last"].tolist() == [16, 127 - 1 + 5 - 4]  # 10+105=115; 115+105 -> 127; 127-1+5 -> 127
    assert y["seen"].tolist() == [[10, 11, 13], [10, 115, 127]]


@pytest.mark.parametrize(
    ("reverse", "seen"),
    [
        ((1, 0), [[10, 13, 15], [10, 14, 119]]),
        ((0, 1), [[13, 11, 10], [127, 115, 10]]),
        ((1, 1), [[15, 13, 10], [119, 14, 10]]),
    ],
)
def test_sequences_and_stacks_run_backwards(reverse: tuple[int, int], seen: list[list[int]]) -> None:
    assert run(accumulator(reverse), INPUTS)["seen"].tolist() == seen


def test_text_form_reads_back() -> None:
    graph = accumulator((1, 0))
    again = from_text(*to_text(graph))
    verify(again)
    assert again.equals(graph) and "= scan(" in to_text(graph)[0]


def test_passes_leave_a_loop_as_it_is() -> None:
    graph = accumulator((0, 1))
    out = compile_graph(graph)
    assert all((run(out, INPUTS)[k] == run(graph, INPUTS)[k]).all() for k in ("last", "seen"))


def nested() -> Graph:
    """For each row, for each column: total += x[row, col] where col < row number, by select on the inner step."""
    b = Builder("nested")
    x = b.input("x", Type(4), (3, 3))
    zero = b.const(np.array(0), Type(8), name="zero")
    cast = {**CAST, "type": "u8"}

    def row(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        number = b.node("step", count=3, name="row")

        def column(inner: list[str], cells: list[str]) -> tuple[list[str], list[str]]:
            below = b.node("relation", [number, b.node("step", count=3, name="column")], kind="gt")
            total = b.node("requantize", [b.node("add", [inner[0], cells[0]])], **cast)
            return [b.node("select", [below, total, inner[0]])], []

        return b.scan(3, [carried[0]], elements, column), []

    b.output("total", b.scan(3, [zero], [x], row)[0])
    return b.finish()


def test_loops_nest_and_stop_early_by_select() -> None:
    x = np.array([[[1, 2, 3], [4, 5, 6], [7, 8, 9]]])
    assert run(nested(), x)["total"].tolist() == [4 + 7 + 8]


def test_branches_inside_a_loop_are_decided_per_sample_and_step() -> None:
    b = Builder("branches")
    xs = b.input("xs", Type(4, True), (4,))
    acc = b.const(np.array(0), S8, name="acc")
    zero = b.const(np.array(0), Type(4, True), name="zero")

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        positive = b.node("relation", [elements[0], zero], kind="gt")
        regions = [
            b.region(lambda: [b.node("requantize", [b.node("add", [carried[0], elements[0]])], **CAST)]),
            b.region(lambda: [carried[0]]),
        ]
        return [b.node("when", [positive], regions=regions)], []

    b.output("sum", b.scan(4, [acc], [xs], body)[0])
    assert run(b.finish(), np.array([[1, -2, 3, -4], [-1, -1, -1, -1]]))["sum"].tolist() == [4, 0]


def test_a_carried_value_keeps_its_type() -> None:
    b = Builder("wider")
    xs = b.input("xs", S8, (3,))
    acc = b.const(np.array(10), S8, name="acc")
    with pytest.raises(GraphError, match=r"initial value 0 must be s9\[\], .* end the body in a requantize"):
        b.scan(3, [acc], [xs], lambda c, e: ([b.node("add", [c[0], e[0]])], []))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("count=3", "count=4"), "must have 4 steps on its first axis"),
        (("hi=127", "hi=126"), "lo..hi must hold the proven range -128..127 of %xs"),
        (("reverse=[0,0]", "reverse=[0]"), "reverse must have a 0 or 1 for each of 2"),
        (("carried() index=0", "carried() index=1"), r"index must be in 0..0, not 1"),
        (
            ("%xs.1 = scanned() hi=127 index=0 lo=-128", "%xs.1 = scanned() hi=127 index=7 lo=-128"),
            r"index must be in 0..0, not 7",
        ),
        (
            ("  %acc.1 = carried()", "  %st = step() count=5 : u3[]\n  %acc.1 = carried()"),
            "count must be the loop's, 3, not 5",
        ),
        (
            ("  %acc.1 = carried()", '  %other = carried() index=0 shape=[] type="s8" : s8[]\n  %acc.1 = carried()'),
            "carried 0 must stand once",
        ),
        (('output "last"', '%st = step() count=5 : u3[]\noutput "last"'), "directly in the region of a scan"),
        (
            (
                "  %acc.1 = carried()",
                '  %s = state() init=@0<int64[]> lifetime="sample" type="s8" : s8[]\n  %acc.1 = carried()',
            ),
            "state must not stand in a scan",
        ),
    ],
)
def test_the_verifier_refuses(change: tuple[str, str], match: str) -> None:
    text, tensors = to_text(accumulator())
    assert change[0] in text
    with pytest.raises(GraphError, match=match):
        verify(from_text(text.replace(change[0], change[1], 1), tensors))


@pytest.mark.parametrize(
    ("equation", "match"),
    [
        ("ab,bc", "must be like"),
        ("aab,bc->ac", "once in each operand"),
        ("ab,bc->ad", "letter d of the result"),
        ("abc,bc->a", "must have 3 axes"),
        ("ab,ac->bc", "axis a must have one length"),
    ],
)
def test_equations_refused(equation: str, match: str) -> None:
    b = Builder("equation")
    x, y = b.input("x", S8, (2, 3)), b.input("y", S8, (3, 4))
    with pytest.raises(GraphError, match=match):
        b.node("contract", [x, y], equation=equation)
