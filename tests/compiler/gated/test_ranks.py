"""An engine whose picks have no ranks overwrites what it has picked: the same values and numbers, of equals the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.sim import reference

from .conftest import CONFIGS, GRAPHS

PLAIN = replace(CONFIGS["one"], ranks=False)


def top(type_: Type, k: int = 3) -> Graph:
    """The k largest of rows of 5, and the k smallest along the other axis."""
    b = Builder("top")
    x = b.input("x", type_, (4, 5))
    for largest, axis in ((True, 1), (False, 0)):
        values, numbers = b.nodes("topk", [x], axis=axis, k=k, largest=largest)
        b.output(f"values{axis}", values)
        b.output(f"numbers{axis}", numbers)
    return b.finish()


@pytest.mark.parametrize("type_", [Type(3, True), Type(15, True, 4), Type(14, False), Type(28, True)])
def test_top_k_without_ranks(type_: Type) -> None:
    graph = top(type_)
    x = np.random.default_rng(6).integers(type_.lo, type_.hi + 1, (12, 4, 5))
    x[:2] = [[[type_.lo]], [[type_.hi]]]
    want = reference.run(graph, x)
    executor = Executor(compile_program(graph, PLAIN))
    for number, sample in enumerate(pack_samples(graph, {"x": x})):
        run = executor.run(sample.tobytes(), fresh=True)
        got = unpack_answers(graph, np.frombuffer(run.answer, np.uint8)[None])
        assert all((got[name][0] == want[name][number]).all() for name in want)


def test_where_nothing_is_worse() -> None:
    with pytest.raises(
        UnsupportedError,
        match=r"topk.*: top-k with k > 1 on profile 'one' overwrites what it has picked, and values of 16 bits leave nothing "
        "that is worse than all of them; requantize to a bit less, or take a larger board",
    ):
        compile_program(top(Type(16, True)), PLAIN)


def test_one_pick_needs_no_ranks() -> None:
    graph = GRAPHS["comparisons"]()
    assert compile_program(graph, PLAIN).words == compile_program(graph, CONFIGS["one"]).words
    assert compile_program(top(Type(16, True), k=1), PLAIN)
