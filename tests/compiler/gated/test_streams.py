"""INs and OUTs of values whose rows do not stand one behind the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.isa import Op, decode
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.gated.streams import ROOMY, STREAMS_PER_ROUND
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.compiler.wire import pack_samples, unpack_answers

from .conftest import CONFIGS


def rows(count: int, width: int) -> Graph:
    """The double of every element; rows are padded to whole ones of the memory."""
    b = Builder("rows")
    x = b.input("x", Type(7, True), (count, width))
    b.output("y", b.node("add", [x, x]))
    return b.finish()


@pytest.mark.parametrize("count", [1, 7, 15, 16, 37])
@pytest.mark.parametrize("words", [ROOMY - 1, ROOMY])
def test_rows_go_in_and_out_in_order(count: int, words: int) -> None:
    graph, config = rows(count, 5), replace(CONFIGS["own"], program_words=words)
    program = compile_program(graph, config)
    x = np.random.default_rng(0).integers(-64, 64, (1, count, 5))
    done = Executor(program).run(pack_samples(graph, {"x": x})[0].tobytes(), fresh=True)
    assert (unpack_answers(graph, np.frombuffer(done.answer, np.uint8)[None])["y"] == 2 * x).all()
    assert program.cycles[0] <= done.cycles <= program.cycles[1]
    loops = [fields for op, fields in map(decode, program.words) if op == Op.LOOP]
    several = words >= ROOMY
    turns = (count // STREAMS_PER_ROUND if count >= 2 * STREAMS_PER_ROUND else 0) if several else count
    assert [f["count"] for f in loops][:1] == ([turns] if turns > 1 else [])


def test_several_a_round_cost_fewer_cycles() -> None:
    cycles = [
        compile_program(rows(37, 5), replace(CONFIGS["own"], program_words=w)).cycles[0] for w in (ROOMY - 1, ROOMY)
    ]
    assert cycles[1] < cycles[0] - 2 * 37
