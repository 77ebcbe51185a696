"""Random real programs: the graph stays within its bound, both simulators agree, and the file loads back equal."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.errors import NeuroloomError, UnsupportedError
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir.file import from_bytes, to_bytes
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.compiler.quantise import Config, quantise
from neuroloom.compiler.real import Program, ProgramBuilder
from neuroloom.compiler.real.fold import fold
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.host.gated.choose import choose_config
from neuroloom.sim.dense import Engine
from neuroloom.sim.inputs import prepare
from neuroloom.sim.reference import run

from .budget import Budget

WIDTH = 4
FUNCTIONS = ("sigmoid", "tanh", "softplus", "gelu", "erf", "softsign", "mish", "hard_swish")


class Random:
    """Grows a program over vectors of ``WIDTH`` elements, node by node."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = ProgramBuilder(f"random{seed}")
        self.known = [self.b.input("x", (WIDTH,)), self.b.input("z", (WIDTH,))]
        self.sequence = self.b.input("s", (3, WIDTH))

    def pick(self) -> str:
        """A value, late ones more often."""
        return self.known[-1 - int(min(self.rng.geometric(0.4) - 1, len(self.known) - 1))]

    def weights(self, rows: int = WIDTH) -> np.ndarray:
        return self.rng.normal(size=(rows, WIDTH)) * 0.6

    def node(self, op: str, inputs: list[str], **attrs: object) -> str:
        return self.b.node(op, inputs, source=f"node{len(self.b.values)}", **attrs)

    def linear(self) -> str:
        bias = {"bias": self.rng.normal(size=WIDTH)} if self.rng.random() < 0.5 else {}
        return self.node("linear", [self.pick()], weights=self.weights(), **bias)

    def function(self) -> str:
        return self.node("function", [self.pick()], function=str(self.rng.choice(FUNCTIONS)))

    def binary(self) -> str:
        other = self.pick() if self.rng.random() < 0.7 else self.b.const(self.rng.normal(size=WIDTH))
        return self.node(str(self.rng.choice(["add", "sub", "mul", "max", "min"])), [self.pick(), other])

    def cut(self) -> str:
        both = self.node("concat", [self.pick(), self.pick()], axis=0)
        start = int(self.rng.integers(0, WIDTH + 1))
        return self.node("slice", [both], starts=(start,), stops=(start + WIDTH,), steps=(1,))

    def mean(self) -> str:
        whole = self.node("reshape", [self.node("mean", [self.pick()], axes=(0,))], shape=(1,))
        return self.node("sub", [self.pick(), whole])

    def outer(self) -> str:
        pairs = self.node("contract", [self.pick(), self.pick()], equation="a,b->ab")
        return self.node("contract", [pairs, self.pick()], equation="ab,b->a")

    def choice(self) -> str:
        a, b = self.pick(), self.pick()
        return self.node("select", [self.node("relation", [a, b], kind="gt"), a, b])

    def branch(self) -> str:
        at = self.pick()
        total = self.node("sum", [at], axes=(0,))
        cond = self.node("relation", [total, self.b.const(np.array(0.0))], kind="ge")
        sides = [self.b.region(lambda: [self.node("linear", [at], weights=self.weights())]) for _ in range(2)]
        return self.b.node("when", [cond], regions=sides, source="when")

    def loop(self) -> str:
        w, u = self.weights(), self.weights() * 0.5

        def step(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
            total = self.node(
                "add", [self.node("linear", [elements[0]], weights=w), self.node("linear", [carried[0]], weights=u)]
            )
            return [self.node("function", [total], function="tanh")], [total]

        back = int(self.rng.integers(2))
        last, seen = self.b.scan(
            3, [self.pick()], [self.sequence], step, reverse=(back, back), source="loop", name="loop"
        )
        self.known.append(self.node("reduce_max", [seen], axes=(0,)))
        return last

    def program(self) -> Program:
        """About ten nodes, the last two shown."""
        makers: list[Callable[[], str]] = [
            self.linear, self.function, self.binary, self.cut, self.mean, self.outer, self.choice, self.branch, self.loop,
        ]  # fmt: skip
        for _ in range(int(self.rng.integers(4, 12))):
            self.known.append(makers[int(self.rng.integers(len(makers)))]())
        for number, name in enumerate(self.known[-2:]):
            self.b.output(f"y{number}", name)
        return fold(self.b.program)


def check(seed: int) -> str:
    """Raises AssertionError naming the seed; returns what became of it."""
    program = Random(seed).program()
    rng = np.random.default_rng(seed)
    used = {v.name for v in program.inputs}
    data = {n: rng.normal(size=(60, *s)) for n, s in (("x", (WIDTH,)), ("z", (WIDTH,)), ("s", (3, WIDTH))) if n in used}
    widths = {
        "bits": int(rng.integers(12, 19)),
        "weight_bits": int(rng.integers(6, 13)),
        "table_bits": int(rng.integers(8, 13)),
    }
    try:
        graph = quantise(program, data, Config.read(widths))
    except UnsupportedError as e:
        assert "was computed for no calibration sample" in str(e) or "63 bits" in str(e), f"seed {seed}: {e}"
        return "refused"
    integers = Engine(graph).run(data)
    for name, array in run(graph, {k: v[:6] for k, v in data.items()}).items():
        assert (array == integers[name][:6]).all(), f"seed {seed}: simulators differ in {name}"
    for name, (real, bound) in Budget(program, graph).run(data).items():
        affine = next(o.affine for o in graph.outputs if o.name == name)
        error = np.abs(affine.dequantize(integers[name]) - real)
        sure = np.isfinite(bound)
        assert (error[sure] <= bound[sure] + 1e-9).all(), (
            f"seed {seed}: {name} leaves its bound by {(error - bound)[sure].max()}"
        )
    compiled = compile_graph(graph)
    for name, array in Engine(compiled).run(data).items():
        assert (array == integers[name]).all(), f"seed {seed}: passes changed {name}"
    assert from_bytes(to_bytes(compiled)).equals(compiled), f"seed {seed}"
    return "checked"


def check_program(seed: int) -> str:
    """The gated engine's program, word by word, against the graph; its cycles against their prediction."""
    program = Random(seed).program()
    rng = np.random.default_rng(seed)
    used = {v.name for v in program.inputs}
    data = {n: rng.normal(size=(60, *s)) for n, s in (("x", (WIDTH,)), ("z", (WIDTH,)), ("s", (3, WIDTH))) if n in used}
    try:
        widths = {"bits": int(rng.integers(10, 17)), "table_bits": 8}
        graph = compile_graph(quantise(program, data, Config.read(widths)))
        words = compile_program(graph, choose_config(graph))
    except NeuroloomError:
        return "refused"
    part = {k: v[:2] for k, v in data.items()}
    integers, want, executor = prepare(graph, part), Engine(graph).run(part), Executor(words)
    for sample, packed in enumerate(pack_samples(graph, integers)):
        done = executor.run(packed.tobytes(), fresh=True)
        for name, array in unpack_answers(graph, np.frombuffer(done.answer, np.uint8)[None]).items():
            assert (array[0] == want[name][sample]).all(), f"seed {seed}: the engine's program differs in {name}"
        assert words.cycles[0] <= done.cycles <= words.cycles[1], (
            f"seed {seed}: {done.cycles} cycles, not {words.cycles}"
        )
    return "checked"


def test_some_programs_of_the_gated_engine() -> None:
    assert [check_program(seed) for seed in range(8)].count("checked") >= 6


@pytest.mark.campaign
def test_many_programs_of_the_gated_engine(shown: Callable[[str], None]) -> None:
    start = int(os.environ.get("NEUROLOOM_SEED", np.random.default_rng().integers(1 << 30)))
    results = [check_program(seed) for seed in range(start, start + 200)]
    shown(f"random programs of the gated engine from seed {start}: {results.count('checked')} of 200 checked")


def test_some_random_programs() -> None:
    assert [check(seed) for seed in range(20)].count("checked") >= 15


@pytest.mark.campaign
def test_many_random_programs(shown: Callable[[str], None]) -> None:
    start = int(os.environ.get("NEUROLOOM_SEED", np.random.default_rng().integers(1 << 30)))
    results = [check(seed) for seed in range(start, start + 400)]
    shown(
        f"random real programs from seed {start}: {results.count('checked')} checked, {results.count('refused')} refused"
    )
