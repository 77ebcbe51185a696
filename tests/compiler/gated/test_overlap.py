"""Loops whose rounds overlap: fewer cycles, the same bits, and every distance is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.gated import assemble, overlap
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.executor import Executor, Run
from neuroloom.compiler.gated.isa import Op, decode
from neuroloom.compiler.gated.program import Program, compile_program
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.sim import reference

from .conftest import CONFIGS, GRAPHS


def run(graph: Any, config: GatedConfig) -> tuple[bool, Run, Program]:
    """Whether two samples are answered as the graph says, the second run, and the program."""
    rng = np.random.default_rng(11)
    arrays = {i.name: rng.integers(i.range[0], i.range[1] + 1, (2, *i.value.shape)) for i in graph.inputs}
    want, program = reference.run(graph, arrays), compile_program(graph, config)
    executor, right = Executor(program), True
    for number in range(2):
        sample = pack_samples(graph, {k: v[number : number + 1] for k, v in arrays.items()})[0].tobytes()
        done = executor.run(sample, fresh=True)
        got = unpack_answers(graph, np.frombuffer(done.answer, np.uint8)[None])
        right &= all((values[0] == want[name][number]).all() for name, values in got.items())
    return right, done, program


@pytest.mark.parametrize(
    ("name", "config"), [("gru_scan", "own"), ("autoencoder", "own"), ("autoencoder", "split"), ("convolution", "wide")]
)
def test_rounds_overlap_and_the_bits_stay(name: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GRAPHS[name]()
    right, faster, program = run(graph, CONFIGS[config])
    least, most = program.cycles
    assert right and least <= faster.cycles <= most
    monkeypatch.setattr(assemble, "overlap", lambda *_: None)
    right, slower, plain = run(graph, CONFIGS[config])
    assert right and faster.cycles < slower.cycles
    assert len(program.words) > len(plain.words)


def test_more_rounds_cost_a_period_each() -> None:
    """From the numbers: a step more of the loop takes just its period."""
    found: list[int] = []

    def noted(*given: Any) -> Any:
        one = overlap.overlap(*given)
        if one is not None and one.stages > 1:
            found.append(one.period)
        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "overlap", noted)
        cycles = [run(GRAPHS["gru_scan"](steps=steps), CONFIGS["own"])[1].cycles for steps in (5, 6, 9)]
    assert len(set(found)) == 1 and found
    step = cycles[1] - cycles[0]
    assert cycles[2] - cycles[1] == 3 * step
    assert found[0] <= step <= found[0] + 20  # and the step's own input and output


def test_a_loop_shorter_than_its_stages_stays_as_it_is() -> None:
    for steps in (1, 2, 3):
        right, done, program = run(GRAPHS["gru_scan"](steps=steps), CONFIGS["own"])
        assert right and program.cycles[0] <= done.cycles <= program.cycles[1]


def test_where_words_are_few_rounds_do_not_overlap() -> None:
    graph = GRAPHS["autoencoder"]()
    many = len(compile_program(graph, CONFIGS["own"]).words)
    tight = replace(CONFIGS["own"], program_words=many - 1)
    right, _, program = run(graph, tight)
    assert right and len(program.words) < many


@pytest.mark.parametrize("broken", ["back", "rounds"])
def test_what_keeps_rounds_apart_is_needed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers taken as if they had not moved on, or rounds that do not wait for each other, give other answers."""
    if broken == "back":
        monkeypatch.setattr(overlap, "_back", lambda fields, strides, ahead: fields)
    else:
        real = overlap._edges
        monkeypatch.setattr(overlap, "_edges", lambda *given: (e for e in real(*given) if not e.rounds))
    right, _, program = run(GRAPHS["gru_scan"](steps=9), CONFIGS["own"])
    assert any(decode(word)[0] == Op.LOOP for word in program.words)
    assert not right
