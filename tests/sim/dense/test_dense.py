"""The dense engine has the reference interpreter's bits: every operation's vectors, random requantizes, loops, branches, exits."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.sim.dense import KERNELS, Engine
from neuroloom.sim.dense import engine as module
from neuroloom.sim.reference import run

Case = tuple[Graph, dict[str, np.ndarray], list[np.ndarray]]


def test_vectors_of_every_operation(operation_case: Case) -> None:
    graph, inputs, expected = operation_case
    op = graph.nodes[-1].op
    try:
        outputs = Engine(graph).run(inputs)
    except UnsupportedError as e:
        assert op in str(e) and "reference engine" in str(e) and op not in KERNELS
        return
    for place, want in enumerate(expected):
        np.testing.assert_array_equal(outputs[f"y{place}"], want)
        assert outputs[f"y{place}"].dtype == np.int64


@pytest.mark.parametrize("rounding", ["floor", "half_up", "half_even", "toward_zero"])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_requantize_is_the_definition_on_ties_ends_and_wide_products(rounding: str, overflow: str) -> None:
    rng = np.random.default_rng(3)
    for source in (Type(12, True), Type(40, True), Type(63, True), Type(9)):
        for factor in ("1", "1/8", "3/16", "-3/16", "1/7", "5/3", "-2", "1/6", f"{(1 << 40) + 1}/{1 << 50}"):
            b = Builder("requantize")
            x = b.input("x", source, (200,))
            for number, target in enumerate(("s8", "u5", "s20.3")):
                attrs = {"type": target, "factor": factor, "rounding": rounding, "overflow": overflow}
                b.output(f"y{number}", b.node("requantize", [x], **attrs))
            graph = b.finish()
            data = rng.integers(max(source.lo, -(1 << 62)), source.hi, (1, 200), endpoint=True)
            data[0, :100] = np.clip(rng.integers(-300, 300, 100), source.lo, source.hi)
            data[0, 100:102] = source.lo, source.hi
            fast, slow = Engine(graph).run(data), run(graph, data)
            for name in slow:
                np.testing.assert_array_equal(fast[name], slow[name], err_msg=f"{source} {factor} {name}")


def network() -> Graph:
    """Loops both ways with a branch inside, a contraction, a computed index, and an early exit."""
    rng = np.random.default_rng(5)
    b = Builder("network")
    x = b.input("x", Type(8, True), (6, 3))
    cast = {"type": "s8", "factor": "1/64", "rounding": "half_even", "overflow": "saturate"}
    zero = b.const(np.zeros(4), Type(8, True), name="zero")
    weights, recurrent = rng.integers(-90, 90, (4, 3)).astype(np.int8), rng.integers(-90, 90, (4, 4)).astype(np.int8)

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        wx = b.node("matvec", [elements[0]], weights=weights, weight_frac=0, bias=rng.integers(-99, 99, 4))
        uh = b.node("matvec", [carried[0]], weights=recurrent, weight_frac=0)
        new = b.node("requantize", [b.node("add", [wx, uh])], **cast)
        total = b.node("sum", [new], axes=(0,))
        positive = b.node("relation", [total, b.const(np.array(0), Type(2, True))], kind="gt")
        regions = [
            b.region(lambda: [b.node("requantize", [b.node("mul", [new, carried[0]])], **cast)]),
            b.region(lambda: [new]),
        ]
        return [b.node("when", [positive], regions=regions)], [new]

    last, seen = b.scan(6, [zero], [x], body, reverse=(1, 0))
    pairs = b.node("contract", [seen, seen], equation="ti,tj->ij")
    best = b.node("argmax", [last], axis=0, last=True)
    row = b.node("take", [pairs, best], axis=0)
    values, where = b.nodes("topk", [row], axis=0, k=2, largest=True)
    early = b.node("relation", [best, b.const(np.array(2), Type(2))], kind="ge")
    b.nodes("exit_when", [early, last, b.const(np.zeros(2), b[values].type), b.const(np.zeros(2), b[where].type)])
    b.output("last", last)
    b.output("values", values)
    b.output("where", where)
    return b.finish()


def test_control_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network()
    x = np.random.default_rng(0).integers(-128, 128, (50, 6, 3))
    want = run(graph, x)
    for most in (1, 7, 64):
        monkeypatch.setattr(module, "MOST", most)
        got = Engine(graph).run(x, threads=2)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        counts: list[int] = []
    Engine(graph).run(x, progress=lambda done, total: counts.append(done))
    assert counts[-1] == 50


def test_state_of_clocked_graphs() -> None:
    for lifetime in ("sample", "persistent"):
        b = Builder("clocked", clocked=True)
        x = b.input("x", Type(6, True), (2,))
        s = b.state(np.array([3, -4]), Type(8, True), lifetime, name="s")
        cast = {"type": "s8", "factor": "1", "rounding": "floor", "overflow": "wrap"}
        new = b.node("requantize", [b.node("add", [s, x])], **cast)
        b.update(s, new)
        b.output("y", new)
        graph = b.finish()
        data = np.random.default_rng(1).integers(-32, 32, (9, 20, 2))
        np.testing.assert_array_equal(Engine(graph).run(data)["y"], run(graph, data)["y"])


def test_a_watch_sees_values_in_loops_and_counts_what_is_outside() -> None:
    class Counter:
        def __init__(self) -> None:
            self.seen: dict[str, int] = {}
            self.clipped: dict[str, int] = {}

        def value(self, name: str, array: np.ndarray) -> None:
            self.seen[name] = self.seen.get(name, 0) + array.size

        def outside(self, name: str, count: int, total: int) -> None:
            self.clipped[name] = self.clipped.get(name, 0) + count

    b = Builder("watched")
    x = b.input("x", Type(8, True), (3,))
    start = b.const(np.array(0), Type(4, True), name="start")
    cast = {"type": "s4", "factor": "1", "rounding": "floor", "overflow": "saturate"}
    (last,) = b.scan(
        3, [start], [x], lambda c, e: ([b.node("requantize", [b.node("add", [c[0], e[0]])], name="q", **cast)], [])
    )
    b.output("y", last)
    watch = Counter()
    Engine(b.finish()).run(np.array([[1, 1, 1], [7, 1, -20]]), watch=watch)
    assert watch.seen["q"] == 6 and watch.clipped["q"] == 2  # 7 + 1 -> 8 and 7 - 20 -> -13


def test_refusals_name_the_operation() -> None:
    b = Builder("luts")
    x = b.input("x", BIT, (2,))
    b.output("y", b.node("lut", [x], indices=np.array([[0, 1]], np.int32), tables=np.array([6], np.uint64)))
    with pytest.raises(UnsupportedError, match="the dense engine does not have lut"):
        Engine(b.finish())
