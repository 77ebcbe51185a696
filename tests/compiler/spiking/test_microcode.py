"""Microcode: how long the usual models are, single neurons worked out by hand, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.spiking.core import CORES, CoreConfig, CoreProgram
from neuroloom.compiler.spiking.cycles import microcode_cycles, scan_cycles
from neuroloom.compiler.spiking.executor import CoreModel
from neuroloom.compiler.spiking.isa import (
    Instruction,
    Op,
    Step,
    assemble,
    command_words,
    encode_command,
    rider_of,
)
from neuroloom.compiler.spiking.layout import read_fields, state_at, write_fields
from neuroloom.compiler.spiking.microcode import NeuronSpec, TraceSpec, input_code, population_code

PLAIN: dict[str, Any] = {
    "threshold": np.array(100),
    "leak": "multiplicative",
    "beta": 60000,
    "strict": False,
    "reset": "zero",
    "reset_mode": "immediate",
}


def spec(attrs: dict[str, Any], *, op: str = "lif", states: tuple[str, ...] = ("v",), **more: Any) -> NeuronSpec:
    return NeuronSpec("node %p", op, attrs, 8, 24, states, more.pop("current", (-1000, 1000)), **more)


@pytest.mark.parametrize(
    ("change", "most"),
    [
        ({}, 12),
        ({"leak": "none"}, 9),
        ({"leak": "subtractive", "decay": 3}, 16),
        ({"reset": "subtract"}, 15),
        ({"reset": "subtract", "leak": "none"}, 12),
        ({"reset_mode": "delayed", "reset": "subtract", "strict": True}, 18),
    ],
)
def test_usual_neurons_are_short(change: dict[str, Any], most: int) -> None:
    (words,) = (assemble(p) for p in population_code(spec(PLAIN | change)).passes)
    assert len(words) <= most


def test_a_hundred_cycles_for_ninety_neurons() -> None:
    (words,) = (assemble(p) for p in population_code(spec(PLAIN)).passes)
    assert scan_cycles(next(c for c in CORES["ulx3s_85f"] if c.profile == "reward"), 90, words, 0) <= 100


def test_small_cores_take_three_cycles_for_a_product() -> None:
    words = assemble([Instruction(Op.MUL, 3), Instruction(Op.RND), Instruction(Op.SQR), Instruction(Op.BST)])
    assert [microcode_cycles(CoreConfig("custom", lanes=lanes), words) for lanes in (1, 2, 4)] == [8, 9, 9]


def test_integrator_that_never_spikes_compares_nothing() -> None:
    attrs = PLAIN | {"threshold": np.array((1 << 23) - 1), "strict": True, "reset": "none"}
    (code,) = population_code(spec(attrs)).passes
    assert not {Op.CGT, Op.CGE, Op.KF} & {i.op for i in code}


def run_code(code: Any, states: dict[str, np.ndarray], current: np.ndarray, steps: int) -> tuple[CoreModel, list[Any]]:
    """Run the passes of one population alone; returns the core and the spikes of every step."""
    config = CoreConfig("custom", lanes=4, pool_words=256)
    programs, pc = [], []
    at = (len(code.passes) * command_words(Step.SCAN)) + command_words(Step.END)
    for item in code.passes:
        pc.append(at)
        programs += assemble(item)
        at = (len(code.passes) * command_words(Step.SCAN)) + command_words(Step.END) + len(programs)
    n, stride = len(current), len(code.words)
    words: list[int] = []
    for number, address in enumerate(pc):
        fields = {"groups": -(-n // 4), "neurons": n, "stride": stride, "pc": address, "reset_best": int(number == 0)}
        words += encode_command(Step.SCAN, fields)
    words += encode_command(Step.END, {}) + programs
    pool = np.zeros((-(-n // 4) * stride, 4), np.uint32)
    for name, value in {**states, **code.constants}.items():
        write_fields(pool, state_at(config, 0, stride, code.words.index(name), n), value, 32)
    core = CoreModel(CoreProgram(config, np.array(words, np.uint32), pool))
    spikes = []
    for _ in range(steps):
        core.acc[:n] = current
        core.run_step()
        spikes.append(core.history[core.step - 1 & core.config.slots - 1, :n].astype(int).tolist())
    return core, spikes


def test_three_neurons_by_hand() -> None:
    attrs = PLAIN | {"leak": "none", "threshold": np.array([10, 25, 1000]), "reset": "subtract"}
    code = population_code(NeuronSpec("p", "lif", attrs, 3, 24, ["v"], (0, 10)))
    core, spikes = run_code(code, {"v": np.array([0, 0, -5])}, np.array([7, 10, 1]), 3)
    assert spikes == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]  # 7, 14 → 4, 11 → 1; 10, 20, 30 → 5; -4, -3, -2
    assert read_fields(core.pool, state_at(core.config, 0, len(code.words), 0, 3), 24).tolist() == [1, 5, -2]


def test_winner_takes_all_prefers_the_lowest_index() -> None:
    attrs = PLAIN | {"leak": "none", "threshold": np.array(5), "wta": True}
    code = population_code(NeuronSpec("p", "lif", attrs, 6, 24, ["v"], (0, 10)))
    core, spikes = run_code(code, {"v": np.zeros(6, np.int64)}, np.array([4, 8, 9, 0, 9, 9]), 2)
    assert spikes == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]  # the others keep 18: 4 is before 5
    assert len(code.passes) == 2


def test_winner_takes_all_without_a_candidate() -> None:
    attrs = PLAIN | {"leak": "none", "threshold": np.array(50), "wta": True}
    code = population_code(NeuronSpec("p", "lif", attrs, 6, 24, ["v"], (0, 10)))
    _, spikes = run_code(code, {"v": np.zeros(6, np.int64)}, np.array([4, 8, 9, 0, 9, 9]), 1)
    assert spikes == [[0] * 6]


def test_traces_hold_the_value_that_learning_reads() -> None:
    """x of step t counts the spikes before t, each decayed since: 1000 after a spike is (1000·32768) >> 16 = 500."""
    attrs = PLAIN | {"leak": "none", "threshold": np.array(1)}
    traces = [
        TraceSpec("x0", "exponential", 1000, 32768),
        TraceSpec("x1", "window", 3, 0),
        TraceSpec("x2", "nearest", 7, 65536),
    ]
    code = population_code(NeuronSpec("p", "lif", attrs, 1, 24, ["v", "x0", "x1", "x2"], (0, 10), traces=traces))
    core, spikes = run_code(code, {}, np.array([1]), 3)
    words = [int(read_fields(core.pool, state_at(core.config, 0, len(code.words), k, 1), 24)[0]) for k in (1, 2, 3)]
    assert spikes == [[1]] * 3
    assert words == [750, 3, 7]  # (500 + 1000) / 2 in step 2: two spikes before


def test_input_code_keeps_the_inputs_spikes() -> None:
    code = input_code("input", 5, [TraceSpec("x0", "window", 2, 0)])
    assert code.words == ["x0"]
    assert [i.op for i in code.passes[0]][-2:] == [Op.INJ, Op.KF]


def test_saturation_is_sticky() -> None:
    attrs = PLAIN | {
        "leak": "none",
        "threshold": np.array(5),
        "strict": True,
        "reset": "none",
        "bias": np.array(-8_000_000),
    }
    code = population_code(NeuronSpec("p", "lif", attrs, 1, 24, ["v"], (0, 10)))
    core, _ = run_code(code, {}, np.array([0]), 1)
    assert core.saturated == 0
    core.run_step()
    assert core.saturated == 2


@pytest.mark.parametrize(
    ("change", "states", "text"),
    [
        (
            {"refractory": 2, "integrates": True, "reset_mode": "undelayed"},
            ("v", "r"),
            "node %p must have a delayed or immediate reset when it integrates while refractory, not undelayed",
        ),
        (
            {"threshold": np.arange(8), "bias": np.arange(8), "drive": np.arange(8)},
            ("v", "x0", "x1", "x2", "count", "d0"),
            "must need at most 8 state words per neuron, not 9",
        ),
    ],
)
def test_refusals(change: dict[str, Any], states: tuple[str, ...], text: str) -> None:
    with pytest.raises(UnsupportedError, match=text):
        population_code(spec(PLAIN | change, states=states))


def test_constants_beyond_an_immediate_are_refused() -> None:
    attrs = PLAIN | {"leak": "subtractive", "decay": 1 << 25}
    with pytest.raises(UnsupportedError, match="decay of node %p must be in"):
        population_code(NeuronSpec("node %p", "lif", attrs, 8, 32, ["v"], (0, 10)))


def test_thresholds_beyond_an_immediate_take_a_state_word() -> None:
    code = population_code(NeuronSpec("p", "lif", PLAIN | {"threshold": np.array(1 << 25)}, 4, 32, ["v"], (0, 10)))
    assert code.words == ["v", "threshold"]
    assert code.constants["threshold"].tolist() == [1 << 25] * 4


def test_a_store_is_never_followed_by_a_load() -> None:
    words = assemble([Instruction(Op.STA, 0), Instruction(Op.LDA, 1)])
    assert [w >> 26 & 31 for w in words] == [Op.STA, Op.NOP, Op.LDA]


def test_an_immediate_rides_on_the_instruction_before_it() -> None:
    """Worked out from docs/spiking-core.md: END in bit 31, op in 30..26, 24 bits with bit 25, 20 bits above four with bit 24."""
    add, load, value = Instruction(Op.ADD), Instruction(Op.LDA, 3), Instruction(Op.IMM, -2)
    assert assemble([add, value], large=True) == [9 << 26 | 1 << 25 | 0xFFFFFE, 1 << 31]  # and a NOP: two at least
    assert assemble([load, value, add], large=True) == [1 << 26 | 1 << 24 | 0xFFFFE << 4 | 3, 1 << 31 | 9 << 26]
    assert assemble([add, value]) == [9 << 26, 1 << 31 | 6 << 26 | 0xFFFFFE]  # not on small cores
    for op in (Op.LDB, Op.MOV, Op.SWP, Op.MUL, Op.IMM):  # B or all of the immediate is theirs
        assert len(assemble([Instruction(op), value], large=True)) == 2
    wide, written_over = Instruction(Op.IMM, 1 << 19), Instruction(Op.IMM, 1, parameter=True)
    for item in (wide, written_over):
        assert len(assemble([load, item], large=True)) == 2
        assert [rider_of(w) for w in assemble([add, item], large=True)] == [item.imm, None]
    assert len(assemble([add, value, value], large=True)) == 2  # one rider each


def test_large_cores_wait_between_a_store_and_a_load_of_its_word() -> None:
    words = assemble([Instruction(Op.STA, 0), Instruction(Op.LDA, 1), Instruction(Op.LDB, 0)], large=True)
    assert [w >> 26 & 31 for w in words] == [Op.STA, Op.LDA, Op.NOP, Op.NOP, Op.LDB]


def test_large_cores_ask_for_injected_spikes_from_the_second_instruction_on() -> None:
    code = [Instruction(Op.INJ), Instruction(Op.KF)]
    assert [w >> 26 & 31 for w in assemble(code, large=True)] == [Op.NOP, Op.INJ, Op.KF]
    assert [w >> 26 & 31 for w in assemble(code)] == [Op.INJ, Op.KF]
    assert [w >> 26 & 31 for w in assemble([Instruction(Op.NOT), *code], large=True)] == [Op.NOT, Op.INJ, Op.KF]
