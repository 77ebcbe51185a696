"""State, its lifetimes, and control regions in the reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.sim.reference import run

S8 = Type(8, True)


def accumulator(lifetime: str, *, clocked: bool = True) -> Graph:
    b = Builder("acc", clocked=clocked)
    x = b.input("x", S8, (1,))
    acc = b.state(np.array([10]), S8, lifetime, name="acc")
    total = b.node("add", [acc, x])
    new = b.node("requantize", [total], type="s8", factor="1", rounding="floor", overflow="saturate")
    b.update(acc, new)
    b.output("seen", acc)
    b.output("new", new)
    return b.finish()


def test_sample_state_starts_afresh_for_every_sample() -> None:
    y = run(accumulator("sample"), np.array([[[1], [2], [3]], [[100], [100], [-1]]]))
    assert y["seen"][..., 0].tolist() == [[10, 11, 13], [10, 110, 127]]
    assert y["new"][..., 0].tolist() == [[11, 13, 16], [110, 127, 126]]


def test_persistent_state_lives_on_across_samples() -> None:
    y = run(accumulator("persistent"), np.array([[[1], [2]], [[3], [4]]]))
    assert y["new"][..., 0].tolist() == [[11, 13], [16, 20]]


def test_persistent_state_lives_on_in_a_framed_graph() -> None:
    y = run(accumulator("persistent", clocked=False), np.array([[1], [2], [3]]))
    assert y["new"][:, 0].tolist() == [11, 13, 16]


def choice() -> Graph:
    """when(x0 >= 0) { y = x + acc; acc' = y } else { y = -x }, with acc selected along."""
    b = Builder("choice", clocked=True)
    x = b.input("x", Type(4, True), (1,))
    acc = b.state(np.array([0]), S8, "sample", name="acc")
    zero = b.const(np.array([0]), Type(8, True))
    open_ = b.node("relation", [x, zero], kind="ge", name="open")

    def requantized(value: str) -> str:
        return b.node("requantize", [value], type="s8", factor="1", rounding="floor", overflow="saturate")

    def taken() -> list[str]:
        new = requantized(b.node("add", [x, acc]))
        b.update(acc, new)
        return [new]

    result = b.node(
        "when", [open_], regions=[b.region(taken), b.region(lambda: [requantized(b.node("sub", [zero, x]))])]
    )
    b.output("y", result)
    return b.finish()


def test_only_the_taken_side_runs_and_updates_state() -> None:
    y = run(choice(), np.array([[[1], [-5], [2]], [[-8], [7], [7]]]))
    assert y["y"][..., 0].tolist() == [[1, 5, 3], [8, 7, 14]]


def test_switch_runs_the_region_of_its_number() -> None:
    b = Builder("switch")
    which = b.input("which", Type(2), (), bounds=(0, 2))
    x = b.input("x", Type(4), (2,))
    regions = [
        b.region(lambda: [b.node("add", [x, b.const(np.array([0]), Type(5))])]),
        b.region(lambda: [b.node("add", [x, b.const(np.array([16]), Type(5))])]),
        b.region(lambda: [b.node("add", [x, x])]),
    ]
    with pytest.raises(Exception, match="region 1 must give"):
        b.node("switch", [which], regions=regions)
    cast = {"type": "u6", "factor": "1", "rounding": "floor", "overflow": "saturate"}
    b = Builder("switch")
    which = b.input("which", Type(2), (), bounds=(0, 2))
    x = b.input("x", Type(4), (2,))
    regions = [
        b.region(lambda: [b.node("requantize", [x], **cast)]),
        b.region(lambda: [b.node("requantize", [b.node("shift", [x], amount=1)], **cast)]),
        b.region(lambda: [b.node("requantize", [b.node("shift", [x], amount=2)], **cast)]),
    ]
    b.output("y", b.node("switch", [which], regions=regions))
    y = run(b.finish(), {"which": np.array([2, 0, 1]), "x": np.array([[1, 15]] * 3)})
    assert y["y"].tolist() == [[4, 60], [1, 15], [2, 30]]


def test_samples_leave_at_their_exit() -> None:
    b = Builder("exits")
    x = b.input("x", Type(4), (1,))
    sure = b.node("compare", [x], indices=np.array([0], np.int32), thresholds=np.array([8]), name="sure")
    early = b.const(np.array([1]), BIT, name="early")
    b.nodes("exit_when", [sure, early])
    late = b.node("compare", [x], indices=np.array([0], np.int32), thresholds=np.array([4]), name="late")
    b.output("y", late)
    graph = b.finish()
    assert run(graph, np.array([[9], [1], [5], [15]]))["y"][:, 0].tolist() == [1, 0, 1, 1]
    with pytest.raises(InputError, match="behind an exit"):
        run(graph, np.array([[9], [1]]), probes=["late"])


def test_chunks_do_not_change_results(random_graphs) -> None:
    graph = random_graphs(3)
    x = np.random.default_rng(0).integers(0, 256, (50, 20))
    whole, parts = run(graph, x), run(graph, x, chunk=7)
    assert all((whole[name] == parts[name]).all() for name in whole)


def test_probes_show_inner_values(random_graphs) -> None:
    graph = random_graphs(4)
    y = run(graph, np.zeros((2, 20), np.int64), probes=["encoder"])
    assert y["encoder"].shape == (2, 60)
    with pytest.raises(InputError, match="probe must name a value"):
        run(graph, np.zeros((2, 20), np.int64), probes=["nothing"])
