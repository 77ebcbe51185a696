"""The netlist means what the graph means, for every operation with hardware."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Builder, Type
from neuroloom.compiler.wire import answer_fields, pack, sample_fields, total_bits, unpack
from neuroloom.host.verify.result import random_vectors
from neuroloom.rtl.logic.engine import SUPPORTED
from neuroloom.rtl.logic.lower import lower
from neuroloom.rtl.logic.netlist import ONE, ZERO, Netlist
from neuroloom.rtl.logic.words import equals, greater, popcount, weighted_sum
from neuroloom.sim import reference


def run_netlist(graph, arrays, evaluate, **options):
    lowered = lower(graph, **options)
    fields = sample_fields(graph)
    samples = np.unpackbits(pack(fields, arrays), axis=1, bitorder="little")[:, : total_bits(fields)]
    out = np.packbits(evaluate(lowered, samples).astype(np.uint8), axis=1, bitorder="little")
    return unpack(answer_fields(graph), out)


@pytest.mark.parametrize(("lut_size", "interval"), [(4, 0), (4, 1), (6, 3)])
def test_every_operation_as_the_reference_says(zoo, evaluate, lut_size, interval):
    arrays = random_vectors(zoo, 300, 5)
    expected = reference.run(zoo, arrays)
    found = run_netlist(zoo, arrays, evaluate, lut_size=lut_size, interval=interval)
    for name, want in expected.items():
        np.testing.assert_array_equal(found[name], want, err_msg=name)


def test_vectors_worked_out_by_hand_or_refused_by_name(operation_case, evaluate):
    graph, arrays, expected = operation_case
    op = graph.nodes[-1].op
    try:
        found = run_netlist(graph, arrays, evaluate)
    except UnsupportedError as e:
        assert op in str(e)
        assert op not in SUPPORTED or op == "requantize"
        return
    for place, want in enumerate(expected):
        np.testing.assert_array_equal(found[f"y{place}"], want)


def test_the_zoo_holds_every_supported_operation(zoo):
    assert {n.op for n in zoo.nodes} == SUPPORTED


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(network, evaluate, seed):
    graph = network(
        seed, inputs=5, hi=[1, 16, 255, 100][seed % 4], groups=1 + seed, last=bool(seed % 2), k=1 + seed % 6
    )
    arrays = random_vectors(graph, 200, seed)
    expected = reference.run(graph, arrays)
    found = run_netlist(graph, arrays, evaluate, interval=seed % 4)
    for name, want in expected.items():
        np.testing.assert_array_equal(found[name], want, err_msg=name)


class Words:
    """Netlist whose inputs are all assignments of ``count`` bits."""

    def __init__(self, count: int, interval: int = 0, lut_size: int = 4) -> None:
        self.net = Netlist(lut_size, interval)
        self.bits = self.net.inputs(count).tolist()
        self.rows = np.array(list(itertools.product([0, 1], repeat=count)))

    def values(self, word, evaluate) -> np.ndarray:
        lowered = type("L", (), {"netlist": self.net, "input_bits": np.array(self.bits), "output_bits": np.array(word)})
        return (evaluate(lowered, self.rows) << np.arange(len(word))).sum(axis=1)


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("ones", [0, 1, 3])
def test_counts_are_exact_for_every_input(evaluate, count, ones):
    w = Words(count)
    word, left = popcount(w.net, w.bits, ones)
    np.testing.assert_array_equal(w.values(word, evaluate), w.rows.sum(axis=1) + ones - left)
    assert 0 <= left <= ones


def test_weighted_sums_are_exact_for_every_input(evaluate):
    rng = np.random.default_rng(3)
    for trial in range(40):
        count, width = int(rng.integers(1, 9)), int(rng.integers(1, 11))
        w = Words(count)
        bits = [*rng.choice(w.bits, 9).tolist(), ZERO, ONE]
        weights = rng.integers(-20, 21, len(bits)).tolist()
        bias = int(rng.integers(-300, 300))
        word = weighted_sum(w.net, bits, weights, bias, width)
        column = {b: w.rows[:, i] for i, b in enumerate(w.bits)} | {ZERO: 0, ONE: 1}
        want = (bias + sum(s * column[b] for b, s in zip(bits, weights, strict=True))) % (1 << width)
        np.testing.assert_array_equal(w.values(word, evaluate), want, err_msg=str(trial))


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("interval", [0, 1, 3])
@pytest.mark.parametrize("lut_size", [3, 4, 6])
def test_comparisons_are_exact_for_every_input(evaluate, width, interval, lut_size):
    w = Words(2 * width, interval, lut_size)
    a, b = tuple(w.bits[:width]), tuple(w.bits[width:])
    place = 1 << np.arange(width)
    x, y = w.rows[:, :width] @ place, w.rows[:, width:] @ place
    np.testing.assert_array_equal(w.values([greater(w.net, a, b)], evaluate), x > y)
    np.testing.assert_array_equal(w.values([greater(w.net, a, b, equal=True)], evaluate), x >= y)
    np.testing.assert_array_equal(w.values([equals(w.net, a, b)], evaluate), x == y)


def test_a_count_of_fifty_bits_takes_at_most_1_7_tables_a_bit():
    net = Netlist()
    popcount(net, net.inputs(50).tolist())
    cost = 0
    for part in net.parts:
        cost += (
            len(part.tables) if hasattr(part, "tables") else len(part.operands[0]) + 1 + (part.operands[2] != (ZERO,))
        )
    assert cost <= 50 * 1.7


def refused(build) -> str:
    b = Builder("refused")
    x = b.input("x", Type(5), (4,))
    b.output("y", build(b, x))
    with pytest.raises(UnsupportedError) as e:
        lower(b.finish())
    return str(e.value)


def test_what_has_no_hardware_is_refused_by_name():
    text = refused(
        lambda b, x: b.node(
            "take",
            [x, b.node("slice", [b.const(np.array([0]))], starts=(0,), stops=(1,), steps=(1,))],
            axis=0,
            source="Gather_7",
        )
    )
    assert "take" in text and "Gather_7" in text and "no hardware" in text


def test_a_table_that_is_too_wide_is_refused():
    b = Builder("wide")
    x = b.input("x", Type(13), (1,))
    b.output("y", b.node("table", [x], entries=np.arange(1 << 13), lo=0, type="u13", source="act"))
    with pytest.raises(UnsupportedError, match="table.*from 'act'.*at most 12 address bits, not 13"):
        lower(b.finish())


def test_a_factor_without_spatial_hardware_is_refused():
    b = Builder("third")
    x = b.input("x", Type(9), (1,))
    b.output("y", b.node("requantize", [x], type="u8", factor="1/3", rounding="floor", overflow="saturate"))
    with pytest.raises(UnsupportedError, match="requantize by 1/3 of 9 bits"):
        lower(b.finish())


def test_clocked_graphs_and_state_are_refused():
    b = Builder("steps", clocked=True)
    b.output("y", b.input("x", Type(1), (1,)))
    with pytest.raises(UnsupportedError, match="clocked"):
        lower(b.finish())
    b = Builder("memory")
    x = b.input("x", Type(1), (1,))
    s = b.state(np.array([0]), Type(1), "persistent")
    b.update(s, x)
    b.output("y", s)
    with pytest.raises(UnsupportedError, match="keeps no state"):
        lower(b.finish())
