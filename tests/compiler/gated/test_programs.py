"""Programs, word by word in the executor, against the reference interpreter on the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import DoesNotFitError, GraphError, InputError, UnsupportedError
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.isa import FORMATS, Op, decode, encode, limits
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.compiler.wire import pack_samples, unpack_answers
from neuroloom.sim import reference

from .conftest import CONFIGS, GRAPHS


def samples(graph: Any, count: int, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random integers over the inputs' ranges; the first two samples are the ends."""
    rng = np.random.default_rng(seed)
    out = {}
    for item in graph.inputs:
        lo, hi = item.range
        lead = (count, steps) if graph.clocked else (count,)
        x = rng.integers(lo, hi + 1, (*lead, *item.value.shape))
        x[0], x[1] = lo, hi
        out[item.name] = x
    return out


def test_every_graph_on_every_engine(graph: Any, config: GatedConfig) -> None:
    arrays = samples(graph, 6, 3)
    want = reference.run(graph, arrays)
    executor = Executor(compile_program(graph, config))
    for n in range(6):
        for t in range(3 if graph.clocked else 1):
            at = (n, t) if graph.clocked else (n,)
            sample = pack_samples(graph, {k: v[at][None] for k, v in arrays.items()})[0]
            run = executor.run(sample.tobytes(), fresh=t == 0)
            got = unpack_answers(graph, np.frombuffer(run.answer, np.uint8)[None])
            for name, values in got.items():
                assert (values[0] == want[name][at]).all(), (name, at)


def test_a_closed_gate_costs_no_cycles() -> None:
    """The cycles of the branches that are not chosen are not spent."""
    graph = GRAPHS["gated"]()
    executor = Executor(compile_program(graph, CONFIGS["split"]))
    arrays = samples(graph, 60, 1)
    packed = pack_samples(graph, arrays)
    runs = [executor.run(p.tobytes(), fresh=True) for p in packed]
    early = reference.run(graph, arrays)["early"].reshape(-1)
    cycles = np.array([r.cycles for r in runs])
    assert 0 < early.sum() < 60
    assert cycles[early == 1].max() < cycles[early == 0].min()
    assert len(set(cycles[early == 0])) > 3


def test_a_gru_step_of_64_units_uses_its_multipliers() -> None:
    """At least 0.85 multiply-accumulates per multiplier and clock, every multiplier of the engine in the denominator."""
    graph = GRAPHS["gru_step"](64, 64)
    config = replace(
        CONFIGS["wide"], groups=2, lanes=16, weight_rows=4096, table_words=4096, vector_words=4096, profile="16 lanes"
    )
    run = Executor(compile_program(graph, config)).run(bytes(64), fresh=False)
    products = 3 * 64 * (64 + 64)
    assert products / run.cycles / config.multipliers >= 0.85


def test_words_keep_their_fields() -> None:
    for op, slots in FORMATS.items():
        for end in (0, 1):
            fields = {name: limits(op, name)[end] for name in slots if name != "op"}
            assert decode(encode(op, fields)) == (op, fields)
    with pytest.raises(GraphError, match=r"field rows of VEC must be in 0\.\.4095, not 4096"):
        encode(Op.VEC, {"rows": 4096})
    assert [decode(code)[0] for code in range(16)] == list(Op)


def test_what_does_not_fit_says_which_layer_and_how_much() -> None:
    graph, config = GRAPHS["dense"](), CONFIGS["split"]
    with pytest.raises(
        DoesNotFitError, match=r"weights take \d+ rows .* has 8: node .* is the first layer beyond, and [\d,]+ bits"
    ):
        compile_program(graph, replace(config, weight_rows=8))
    with pytest.raises(DoesNotFitError, match=r"vector memory .* has 28 words; .* ends at \d+"):
        compile_program(graph, replace(config, vector_words=32))
    with pytest.raises(DoesNotFitError, match=r"program of 'dense' takes \d+ words .* has 16"):
        compile_program(graph, replace(config, program_words=16))
    with pytest.raises(DoesNotFitError, match=r"tables .* must hold 512 words .* have 300"):
        compile_program(GRAPHS["gru_step"](), replace(config, table_words=300))


@pytest.mark.parametrize(
    ("graph", "sizes", "message"),
    [
        (
            "gru_scan",
            {"vector_words": 64},
            r"vector memory .* has 61 words; node %scan = scan ends at 72.*; make that smaller",
        ),
        (
            "autoencoder",
            {"vector_words": 64},
            r"node %table.1 = table: vector memory of profile 'wide' .* has 61 words",
        ),
        ("gru_scan", {"table_words": 64}, r"tables .* must hold 256 words up to node %table = table, and have 64"),
        (
            "gru_scan",
            {"weight_rows": 4},
            r"node %requantize.1 = requantize is the first layer beyond, and 6,656 bits are missing",
        ),
        (
            "convolution",
            {"offsets": 4},
            r"node %conv = conv: loops must need at most 3 moving addresses at once; split",
        ),
        (
            "convolution",
            {"program_words": 16},
            r"most of them, \d+, are of node %conv.1 = conv: make that regular or smaller",
        ),
    ],
)
def test_refusals_name_a_node_and_what_to_do(graph: str, sizes: dict[str, int], message: str) -> None:
    with pytest.raises((DoesNotFitError, UnsupportedError), match=message) as caught:
        compile_program(GRAPHS[graph](), replace(CONFIGS["wide"], **{"changes": 0, "banks": 0, **sizes}))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_carried_is_refused_by_name() -> None:
    b = Builder("logic")
    x = b.input("x", Type(1), (2,))
    b.output("y", b.node("lut", [x], indices=np.array([[0, 1]]), tables=np.array([8], np.uint64)))
    with pytest.raises(UnsupportedError, match=r"node %lut = lut: the gated engine has no lut; .* logic engine"):
        compile_program(b.finish(), CONFIGS["split"])
    b = Builder("wide")
    x = b.input("x", Type(16, True), (200,))
    b.output("y", b.node("matvec", [x], weights=np.full((1, 200), 127), weight_frac=0))
    with pytest.raises(
        UnsupportedError, match=r"matvec: the sum needs 31 bits and an accumulator of profile 'split' has 24"
    ):
        compile_program(b.finish(), replace(CONFIGS["split"], acc=24))


def test_sizes_of_an_engine_are_checked() -> None:
    with pytest.raises(InputError, match="ports must be a power of two, not 3"):
        replace(CONFIGS["split"], ports=3, lanes=24)
    with pytest.raises(InputError, match="gated profile 'p': key must be one of .*, not 'lane'"):
        GatedConfig.from_mapping("p", {"lane": 1})
    with pytest.raises(InputError, match="gated profile 'p' must have the key 'acc', and it is missing"):
        GatedConfig.from_mapping("p", {"lanes": 1})


def aligned(factor: int) -> Graph:
    """Two sums of W x, times ``factor``, and U h, with weights of 16 bits."""
    rng = np.random.default_rng(4)
    b = Builder("aligned", clocked=True)
    x = b.input("x", Type(16, True, 8), (20,))
    h = b.state(np.zeros(6, np.int64), Type(16, True, 10), "sample", name="h")
    for name in ("first", "second"):
        w, u = (rng.integers(-32768, 32767, (6, size)) for size in (20, 6))
        wide = b.node("matvec", [x], weights=w, weight_frac=10)
        if factor > 1:
            wide = b.node(
                "requantize", [wide], type="s48.18", factor=str(factor), rounding="floor", overflow="saturate"
            )
        total = b.node("add", [wide, b.node("matvec", [h], weights=u, weight_frac=8)])
        new = b.node("requantize", [total], type="s16.10", factor="1/65536", rounding="half_up", overflow="saturate")
        b.output(name, new)
    b.update(h, new)
    return b.finish()


def run_equals(graph: Graph, config: GatedConfig, arrays: dict[str, np.ndarray], steps: int) -> None:
    executor, want = Executor(compile_program(graph, config)), reference.run(graph, arrays)
    for n, t in np.ndindex(len(arrays["x"]), steps):
        at = (n, t) if graph.clocked else (n,)
        sample = pack_samples(graph, {k: v[at][None] for k, v in arrays.items()})[0]
        got = unpack_answers(graph, np.frombuffer(executor.run(sample.tobytes(), fresh=t == 0).answer, np.uint8)[None])
        assert all((got[name][0] == want[name][at]).all() for name in got)


def test_a_product_that_is_added_to_others_takes_its_factor_there() -> None:
    """4 W x + r h: W x is stored and added times 4; its input is not multiplied before."""

    def graph(factor: int) -> Graph:
        rng = np.random.default_rng(5)
        b = Builder("candidate")
        x, r, h = (b.input(n, Type(16, True, 8), (s,)) for n, s in (("x", 40), ("r", 6), ("h", 6)))
        wide = b.node("matvec", [x], weights=rng.integers(-32768, 32767, (6, 40)), weight_frac=0)
        if factor > 1:
            wide = b.node("shift", [wide], amount=factor.bit_length() - 1)
        wide = b.node("requantize", [wide], type="s46.16", factor="1", rounding="floor", overflow="saturate")
        total = b.node("add", [b.node("mul", [r, h]), wide])
        new = b.node("requantize", [total], type="s16.8", factor="1/65536", rounding="half_up", overflow="saturate")
        b.output("y", new)
        return b.finish()

    config = CONFIGS["wide"]
    assert compile_program(graph(4), config).cycles == compile_program(graph(1), config).cycles
    run_equals(graph(4), config, samples(graph(4), 4, 1), 1)


def test_an_input_is_multiplied_where_its_weights_cannot_be() -> None:
    """16-bit weights have no room for two more bits, words of 18 bits do: x is multiplied, once for both sums."""
    graph, config = aligned(4), CONFIGS["wide"]
    program, plain = (compile_program(g, config) for g in (graph, aligned(1)))
    assert program.cycles[1] <= plain.cycles[1] + 20 // config.ports + 15
    assert compile_program(graph, replace(config, word=17)).cycles[1] > program.cycles[1] + 30, "no room there"
    run_equals(graph, config, samples(graph, 3, 4), 4)
