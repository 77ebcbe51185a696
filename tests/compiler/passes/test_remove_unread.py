"""Nothing that is read goes, everything else does, inside of branches and loops too."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Builder, Graph, Type, verify
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.passes.remove_unread import run
from neuroloom.sim import reference

BYTE = Type.parse("s8")


def fit(b: Builder, value: str) -> str:
    return b.node("requantize", [value], type="s8", factor="1/2", rounding="floor", overflow="saturate")


def same(graph: Graph, lead: tuple[int, ...] = (20,), keep: tuple[str, ...] = ()) -> Graph:
    result = run(graph, Options(keep=keep)).graph
    verify(result, "remove-unread")
    rng = np.random.default_rng(1)
    arrays = {i.name: rng.integers(-128, 128, (*lead, *i.value.shape)) for i in graph.inputs}
    for name, values in reference.run(graph, arrays).items():
        np.testing.assert_array_equal(reference.run(result, arrays)[name], values)
    return result


def test_results_and_nodes_of_branches() -> None:
    b = Builder("branches")
    x = b.input("x", BYTE, (3,))
    bit = b.node(
        "relation", [b.node("slice", [x], starts=(0,), stops=(1,), steps=(1,)), b.const(np.array([0]))], kind="gt"
    )

    def side(sign: str):
        def body() -> list[str]:
            b.node("mul", [x, x], name=f"{sign}.unread")
            return [fit(b, b.node("add", [x, x], name=f"{sign}.a")), fit(b, b.node(sign, [x, x], name=f"{sign}.b"))]

        return b.region(body)

    names = b.nodes("when", [bit], name="pair", regions=[side("add"), side("sub")])
    b.output("y", names[1])
    graph = same(b.finish())
    (branch,) = (n for n in graph.nodes if n.op == "when")
    assert [v.name for v in branch.outputs] == [names[1]]
    assert [[n.op for n in r.nodes] for r in branch.regions] == [["add", "requantize"], ["sub", "requantize"]]
    kept = same(b.finish(), keep=("add.unread",))
    assert "add.unread" in kept.values() and "sub.unread" not in kept.values()


def test_stacks_and_sequences_of_loops() -> None:
    b = Builder("loop")
    x, unread, z = (b.input(n, BYTE, (4, 2)) for n in ("x", "unread", "z"))

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        b.node("add", [elements[0], elements[1]])
        new = fit(b, b.node("add", [carried[0], elements[2]]))
        return [new], [fit(b, b.node("sub", [new, elements[0]])), fit(b, b.node("mul", [new, new])), new]

    start = b.const(np.zeros(2, np.int64), BYTE)
    last, first, _, third = b.scan(4, [start], [x, unread, z], body, reverse=(0, 1, 1, 1, 0, 0))
    b.output("last", last)
    b.output("first", first)
    b.output("third", third)
    graph = same(b.finish())
    (loop,) = (n for n in graph.nodes if n.op == "scan")
    assert loop.inputs[1:] == (x, z) and loop.attrs["reverse"] == (0, 1, 1, 0)
    assert [v.name for v in loop.outputs] == [last, first, third]
    assert [n.op for n in loop.regions[0].nodes].count("mul") == 0
    assert [i.name for i in graph.inputs] == ["x", "unread", "z"], "what is given stays"


def test_state_lives_by_its_update() -> None:
    b = Builder("state", clocked=True)
    x = b.input("x", BYTE, (2,))
    h = b.state(np.zeros(2, np.int64), BYTE, "sample", name="h")
    b.node("mul", [x, x])
    b.update(h, fit(b, b.node("add", [h, x])))
    b.output("y", h)
    graph = same(b.finish(), (6, 5))
    assert [n.op for n in graph.nodes] == ["state", "add", "requantize", "update"]


def test_what_is_all_read_stays_as_it_is() -> None:
    b = Builder("read")
    b.output("y", fit(b, b.input("x", BYTE, (2,))))
    graph = b.finish()
    result = run(graph, Options())
    assert result.graph is graph and not result.changed
