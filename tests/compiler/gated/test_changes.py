"""Delta layers on engines that list changes: cycles fall with what does not change, and where nothing can be listed it is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.isa import Op, decode
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.sim import reference

from .conftest import CONFIGS, GRAPHS

S8 = Type(8, True)
OWN = CONFIGS["own"]  # one element per group: what changes is counted one by one


def layer(inputs: int = 24, outputs: int = 30, threshold: int = 4, lifetime: str = "sample", **more: Any) -> Graph:
    """y = W x-hat, clocked; with ``exit`` a step may end before, with ``shown`` the old x-hat is an output too."""
    b = Builder("layer", clocked=True)
    x = b.input("x", more.get("type_", S8), (inputs,))
    sent = b.state(np.zeros(inputs, np.int64), b[x].type, lifetime, name="sent")
    new = b.node("delta", [x, sent], threshold=threshold)
    b.update(sent, new)
    y = b.node("matvec", [new], weights=np.random.default_rng(1).integers(-99, 99, (outputs, inputs)), weight_frac=0)
    y = b.node("requantize", [y], type="s16", factor="1/64", rounding="half_up", overflow="saturate")
    if more.get("exit"):
        zero = b.const(np.zeros(outputs, np.int64), Type(16, True))
        first = b.node("slice", [x], starts=(0,), stops=(1,), steps=(1,))
        at = b.node("relation", [b.node("reshape", [first], shape=()), b.const(np.array(100), S8)], kind="ge")
        b.nodes("exit_when", [at, zero])
    b.output("y", y)
    if more.get("shown"):
        b.output("before", sent)
    return b.finish()


def run(graph: Graph, config: Any, x: np.ndarray) -> np.ndarray:
    """Cycles of every step of one sample; answers are compared with the reference."""
    program = compile_program(graph, config)
    executor = Executor(program)
    want = reference.run(graph, x[None])
    cycles = []
    for step, row in enumerate(x):
        sample = pack_samples(graph, {"x": row[None]})[0]
        made = executor.run(sample.tobytes(), fresh=step == 0)
        got = unpack_answers(graph, np.frombuffer(made.answer, np.uint8)[None])
        assert all((got[name][0] == want[name][0, step]).all() for name in got)
        cycles.append(made.cycles)
    assert program.cycles[0] <= min(cycles) and max(cycles) <= program.cycles[1]
    return np.array(cycles)


def listed(graph: Graph, config: Any) -> int:
    """CMACs of the program."""
    return [decode(word)[0] for word in compile_program(graph, config).words].count(Op.CMAC)


def test_a_step_costs_what_its_changes_cost() -> None:
    """Each of the three rows of lanes takes a cycle more for each element that changed by the threshold, as soon as these are more
    than it takes to drain the row before.
    """
    graph, x = layer(), np.zeros((30, 24), np.int64)
    for step in range(1, 30):
        x[step] = x[step - 1]
        x[step, : step % 25] += np.where(np.arange(step % 25) % 2, -4, 4)
    x[1:25, 20:] += np.arange(24)[:, None] % 4  # less than the threshold from step to step, and in all
    sent, changes = np.zeros(24, np.int64), []
    for row in x:
        moved = np.abs(row - sent) >= 4
        sent = np.where(moved, row, sent)
        changes.append(moved.sum())
    cycles = run(graph, OWN, x)
    assert len(set(changes)) > 15
    fixed = [taken - 3 * count for count, taken in zip(changes[1:], cycles[1:].tolist(), strict=True) if count > 8]
    assert len(fixed) > 10 and len(set(fixed)) == 1
    assert (
        cycles[1:].min() < compile_program(layer(), replace(OWN, changes=0, banks=0)).cycles[0] < cycles[1:].max() + 80
    )


def test_a_threshold_of_zero_skips_what_stays() -> None:
    x = np.repeat(np.arange(5)[:, None] * 10, 24, axis=1)
    cycles = run(layer(threshold=0), OWN, np.repeat(x, 2, axis=0))
    assert (cycles[2::2] - cycles[3::2] > 2 * 24).all()


@pytest.mark.parametrize("config", ["split", "wide", "own"])
def test_changes_are_listed_in_both_kinds_of_loops(config: str) -> None:
    for name in ("delta_step", "delta_scan"):
        program = compile_program(GRAPHS[name](), CONFIGS[config])
        assert listed(GRAPHS[name](), CONFIGS[config])
        # 17 bits for changes of 16: not on words of 16
        assert bool(program.remarks) == (name == "delta_scan" and config == "split")


@pytest.mark.parametrize(
    ("graph", "config", "why"),
    [
        (layer(), replace(OWN, changes=0, banks=0), "profile 'own' lists no changes"),
        (layer(), replace(OWN, changes=23), "profile 'own' has 7 lists with 23 places in all"),
        (layer(type_=Type(17, True)), OWN, "a change may take 18 bits and a word of profile 'own' has 17"),
        (layer(lifetime="persistent"), OWN, "%sent must be a state that begins with numbers known beforehand"),
        (layer(shown=True), OWN, "and that only this layer reads and writes"),
        (layer(exit=True), OWN, "an early exit may leave out the products of a step"),
    ],
)
def test_what_is_not_listed_is_computed_and_said(graph: Graph, config: Any, why: str) -> None:
    program = compile_program(graph, config)
    (remark,) = program.remarks
    assert (
        remark.startswith("node %delta = delta: every product with %delta is computed, changed or not: ")
        and why in remark
    )
    assert not listed(graph, config)
    lo, hi = graph.inputs[0].range
    run(graph, config, np.random.default_rng(2).integers(lo, hi + 1, (6, 24)))


def test_too_few_banks_for_one_product_only() -> None:
    """The larger product is summed anew, the other one's sums stay."""
    graph = GRAPHS["delta_step"]()
    few = replace(OWN, lanes=4, banks=2)
    assert 0 < listed(graph, few) < listed(graph, replace(few, banks=16))
    with pytest.raises(InputError, match="changes and banks must both be 0, or none of them"):
        replace(OWN, changes=0)
