"""What only one side of a choice reads moves into it; every output stays, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type, verify
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.passes.sink_branches import ALWAYS, WORTH, run
from neuroloom.sim import reference

RNG = np.random.default_rng(5)
BYTE = Type.parse("s8")


def dense(b: Builder, x: str, size: int, name: str) -> str:
    """A layer of ``size`` outputs, rounded to s8."""
    total = b.node("matvec", [x], name=f"{name}.sum", weights=RNG.integers(-5, 6, (size, b[x].size)), weight_frac=0)
    return b.node("requantize", [total], name=name, type="s8", factor="1/16", rounding="half_up", overflow="saturate")


def gate(b: Builder, x: str, name: str = "gate") -> str:
    score = b.node("matvec", [x], name=f"{name}.score", weights=RNG.integers(-5, 6, (1, b[x].size)), weight_frac=0)
    return b.node("relation", [score, b.const(np.zeros((), np.int64))], name=name, kind="ge")


def ops(nodes) -> list[str]:
    return [n.op for n in nodes]


def same(graph: Graph, samples: int = 40, steps: int = 0, level: int = 1) -> Graph:
    """The graph behind the pass; both give the same, on random inputs."""
    result = run(graph, Options(level=level))
    verify(result.graph, "sink-branches")
    lead = (samples, steps) if steps else (samples,)
    arrays = {i.name: RNG.integers(i.range[0], i.range[1] + 1, (*lead, *i.value.shape)) for i in graph.inputs}
    before, after = reference.run(graph, arrays), reference.run(result.graph, arrays)
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)
        assert values.any()
    return result.graph


def residual(b: Builder, x: str) -> str:
    branch = dense(b, dense(b, x, 16, "first"), 8, "second")
    return b.node("add", [x, b.node("mul", [gate(b, x), branch], name="skip")])


def test_a_skip_gate_leaves_its_block_out() -> None:
    b = Builder("skip")
    b.output("y", residual(b, b.input("x", BYTE, (8,))))
    graph = same(b.finish())
    assert ops(graph.nodes) == ["matvec", "const", "relation", "when", "add"]
    opened, closed = graph.nodes[3].regions
    assert ops(opened.nodes) == ["matvec", "requantize", "matvec", "requantize"]
    assert ops(closed.nodes) == ["const"]
    assert graph.nodes[3].name == "skip"


def test_both_sides_of_a_select_and_what_they_share() -> None:
    b = Builder("either")
    x = b.input("x", BYTE, (8,))
    shared = dense(b, x, 12, "shared")
    wide = b.node("matvec", [shared], name="wide", weights=RNG.integers(-5, 6, (12, 12)), weight_frac=0)
    narrow = b.node("reshape", [dense(b, shared, 1, "narrow")], shape=())
    b.output("y", b.node("select", [gate(b, x), wide, narrow], name="choice"))
    graph = same(b.finish())
    assert ops(graph.nodes) == ["matvec", "requantize", "matvec", "const", "relation", "when"]
    first, second = graph.nodes[-1].regions
    assert ops(first.nodes)[0] == "matvec" and ops(second.nodes)[-2:] == ["requantize", "broadcast"]


def test_experts_taken_from_a_stack_become_a_switch() -> None:
    b = Builder("experts")
    x = b.input("x", BYTE, (8,))
    experts = [dense(b, dense(b, x, 10 + n, f"e{n}.a"), 6, f"e{n}") for n in range(3)]
    stack = b.node("concat", [b.node("reshape", [e], shape=(1, 6)) for e in experts], axis=0)
    scores = b.node("matvec", [x], weights=RNG.integers(-5, 6, (3, 8)), weight_frac=0)
    b.output("y", b.node("take", [stack, b.node("argmax", [scores], axis=0, last=False)], name="y", axis=0))
    graph = same(b.finish())
    assert ops(graph.nodes) == ["matvec", "argmax", "switch"] and len(graph.nodes[-1].regions) == 3
    assert all(ops(r.nodes).count("matvec") == 2 for r in graph.nodes[-1].regions)


def test_a_read_from_elsewhere_keeps_a_node_outside() -> None:
    b = Builder("read")
    x = b.input("x", BYTE, (8,))
    b.output("y", residual(b, x))
    b.output("first", "first")
    graph = same(b.finish())
    (when,) = (n for n in graph.nodes if n.op == "when")
    assert ops(when.regions[0].nodes) == ["matvec", "requantize"]
    kept = run(b.finish(), Options(keep=("second.sum",))).graph
    assert not any(n.op == "when" for n in kept.nodes)


@pytest.mark.parametrize("selected", [False, True])
def test_state_is_skipped_only_when_its_update_is_selected(selected: bool) -> None:
    b = Builder("recurrent", clocked=True)
    x = b.input("x", BYTE, (8,))
    h = b.state(np.zeros(8, np.int64), BYTE, "sample", name="h")
    new = dense(b, b.node("concat", [x, h], axis=0), 8, "new")
    opened = gate(b, x)
    chosen = b.node("select", [opened, new, h], name="chosen")
    b.update(h, chosen if selected else new)
    b.output("y", chosen)
    graph = same(b.finish(), steps=12)
    assert any(n.op == "when" for n in graph.nodes) == selected
    notes = graph.records.get(ALWAYS, [])
    assert bool(notes) != selected
    if notes:
        assert "the side %new runs in every step" in notes[0] and "updates the state %h" in notes[0]


def test_choices_inside_of_loops_and_branches() -> None:
    b = Builder("nested")
    x = b.input("x", BYTE, (5, 8))
    start = b.const(np.zeros(8, np.int64), BYTE)

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        block = residual(b, elements[0])
        inner = b.node("requantize", [block], type="s8", factor="1", rounding="floor", overflow="saturate")
        outer = b.node("select", [gate(b, carried[0], "outer"), dense(b, inner, 8, "last"), carried[0]])
        return [outer], [outer]

    _, rows = b.scan(5, [start], [x], body, name="loop")
    b.output("y", rows)
    graph = same(b.finish())
    inside = graph.nodes[-1].regions[0].nodes
    (outer,) = (n for n in inside if n.op == "when")
    assert [n.op for n in outer.regions[0].nodes].count("when") == 1, "the skip gate is needed for one side alone"


def test_little_work_and_level_zero_change_nothing() -> None:
    b = Builder("little")
    x = b.input("x", BYTE, (4,))
    b.output("y", b.node("mul", [gate(b, x), dense(b, x, 4, "small")]))
    graph = b.finish()
    assert WORTH > 4 * 4 + 4
    assert not run(graph, Options()).changed
    b = Builder("skip")
    b.output("y", residual(b, b.input("x", BYTE, (8,))))
    assert not run(b.finish(), Options(level=0)).changed


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs_keep_every_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = Builder("random")
    made = [b.input("x", BYTE, (8,)), b.input("z", BYTE, (8,))]
    for n in range(14):
        x, y = (str(v) for v in rng.choice(made[-6:], 2))
        kind = rng.integers(5)
        if kind < 2:
            made.append(dense(b, x, 8, f"d{n}"))
        elif kind == 2:
            name = b.node("select", [gate(b, str(rng.choice(made)), f"g{n}"), x, y])
            made.append(b.node("requantize", [name], type="s8", factor="1", rounding="floor", overflow="wrap"))
        elif kind == 3:
            made.append(b.node("mul", [gate(b, str(rng.choice(made)), f"g{n}"), x]))
        else:
            rows = [b.node("reshape", [v], shape=(1, 8)) for v in (x, y)]
            index = b.node("reshape", [gate(b, str(rng.choice(made)), f"g{n}")], shape=())
            made.append(b.node("take", [b.node("concat", rows, axis=0), index], axis=0))
    b.output("y", made[-1])
    b.output("other", str(rng.choice(made)))
    graph = b.finish()
    result = run(graph, Options()).graph
    verify(result, "sink-branches")
    arrays = {n: rng.integers(-128, 128, (20, 8)) for n in ("x", "z")}
    for name, values in reference.run(graph, arrays).items():
        np.testing.assert_array_equal(reference.run(result, arrays)[name], values, err_msg=name)
