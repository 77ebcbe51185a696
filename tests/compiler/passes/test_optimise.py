"""Each optimising pass alone: small graphs in, expected text out, and the gains that it reports."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import GraphError, InputError
from neuroloom.compiler.ir import BIT, Builder, Type
from neuroloom.compiler.netlist.gains import table_counts
from neuroloom.compiler.netlist.levels import levels
from neuroloom.compiler.passes.manager import Options, all_passes, run_passes
from neuroloom.compiler.pipeline import compile_graph


def lut(b, inputs, rows, tables, name, **attrs):
    source = attrs.pop("source", name)
    return b.node(
        "lut",
        inputs,
        indices=np.array(rows, np.int32),
        tables=np.array(tables, np.uint64),
        name=name,
        source=source,
        **attrs,
    )


def total(b, x, name="s", count=None):
    size = b[x].size if count is None else count
    return b.node("group_sum", [x], offsets=np.array([0, size]), indices=np.arange(size, dtype=np.int32), name=name)


@pytest.fixture
def b():
    return Builder("g")


def finish(b, *names):
    for number, name in enumerate(names):
        b.output(f"o{number}", name)
    return b.finish()


def gains(graph):
    return graph.records["passes"][-1]["gains"]


def test_fold_constants(b, apply, shown):
    x = b.input("x", BIT, (2,))
    c = b.const(np.array([0, 1]), BIT, name="c")
    # x0 and 1, x0 and 0, x0 or x0, xor of both
    y = lut(b, [x, c], [[0, 3], [0, 2], [0, 0], [0, 1]], [8, 8, 14, 6], "y")
    z = lut(b, [y], [[1, 3]], [14], "z")  # 0 or xor
    done = apply("fold-constants", finish(b, total(b, y), z))
    assert shown(done) == [
        "%c = const() data=[0,1] type=bit : bit[2]",
        "%y.luts = lut(%x) indices=[[0,-1],[0,-1],[0,1]] tables=[2,2,6] : bit[3]",
        "%z = lut(%y.luts) indices=[[2]] tables=[2] : bit[1]",
        "%s = group_sum(%y.luts) indices=[0,1,2] offsets=[0,3] : u3[1]",
    ]
    assert gains(done) == {"y": [4, 3]}


def test_fold_thresholds_never_or_always_met(b, apply, shown):
    x = b.input("x", Type(8), (1,), bounds=(2, 10))
    y = b.node("compare", [x], indices=np.zeros(4, np.int32), thresholds=np.array([2, 3, 10, 11]), name="y")
    assert shown(apply("fold-constants", finish(b, total(b, y)))) == [
        "%y.luts = compare(%x) indices=[0,0] thresholds=[3,10] : bit[2]",
        "%s = group_sum(%y.luts) bias=[1] indices=[0,1] offsets=[0,2] : u3[1]",
    ]


def test_absorb_wires_and_inverters(b, apply, shown):
    x = b.input("x", BIT, (3,))
    w = lut(b, [x], [[2], [0]], [1, 2], "w")  # not x2, x0
    y = lut(b, [w, x], [[0, 1], [0, 3]], [8, 14], "y")  # not x2 and x0; not x2 or x1
    assert shown(apply("absorb-wires", finish(b, y))) == ["%y = lut(%x) indices=[[0,2],[1,2]] tables=[2,11] : bit[2]"]


def test_a_sum_reads_an_inverted_gate_by_negating_it(b, apply, shown):
    x = b.input("x", BIT, (2,))
    a = lut(b, [x], [[0, 1]], [8], "a")
    n = lut(b, [a], [[0]], [1], "n")
    y = lut(b, [a, x], [[0, 1]], [6], "y")
    assert shown(apply("absorb-wires", finish(b, total(b, n), y))) == [
        "%a.luts = lut(%x) indices=[[0,1]] tables=[7] : bit[1]",
        "%y = lut(%x, %a.luts) indices=[[0,2]] tables=[9] : bit[1]",
        "%s = group_sum(%a.luts) indices=[0] offsets=[0,1] : bit[1]",
    ]


def test_both_phases_of_a_gate_read_from_outside_take_two_tables(b, apply, shown):
    x = b.input("x", BIT, (2,))
    a = lut(b, [x], [[0, 1]], [8], "a")
    n = lut(b, [a], [[0]], [1], "n")
    assert shown(apply("absorb-wires", finish(b, total(b, n, "s"), total(b, a, "t")))) == [
        "%a = lut(%x) indices=[[0,1]] tables=[8] : bit[1]",
        "%n = lut(%x) indices=[[0,1]] tables=[7] : bit[1]",
        "%s = group_sum(%n) indices=[0] offsets=[0,1] : bit[1]",
        "%t = group_sum(%a) indices=[0] offsets=[0,1] : bit[1]",
    ]


def test_sum_of_a_bit_and_its_inverse_is_constant(b, apply, shown):
    x = b.input("x", BIT, (2,))
    n = lut(b, [x], [[0], [0], [1], [1], [1]], [1, 2, 2, 2, 1], "n")
    s = b.node("group_sum", [n], offsets=np.array([0, 2, 5]), indices=np.arange(5, dtype=np.int32), name="s")
    # x0 + not x0 = 1; x1 + x1 + not x1 = 1 + x1
    assert shown(apply("absorb-wires", finish(b, s))) == [
        "%s = group_sum(%x) bias=[1,1] indices=[1] offsets=[0,0,1] : u2[2]"
    ]


def test_equal_bits_of_a_group_become_a_weight(b, apply, shown):
    x = b.input("x", BIT, (2,))
    s = b.node("group_sum", [x], offsets=np.array([0, 3]), indices=np.array([1, 0, 1], np.int32), name="s")
    assert shown(apply("fold-constants", finish(b, s))) == [
        "%s = group_sum(%x) indices=[0,1] offsets=[0,2] weights=[1,2] : u2[1]"
    ]


def test_merge_equal_and_inverse(b, apply, shown):
    x = b.input("x", BIT, (3,))
    # and(x0,x1), and(x1,x0), nand(x0,x1), x0 and not x1
    a = lut(b, [x], [[0, 1], [1, 0], [0, 1], [1, 0]], [8, 8, 7, 4], "a")
    y = lut(b, [a, x], [[0, 5], [2, 5], [3, 5]], [6, 6, 8], "y")
    done = apply("merge-equal", finish(b, total(b, y, count=2), y))
    assert shown(done) == [
        "%a.luts = lut(%x) indices=[[0,1],[0,1]] tables=[8,2] : bit[2]",
        # the second is the inverse of the first, which leaves their sum constant
        "%y = lut(%x, %a.luts) indices=[[1,3],[1,3],[1,4]] tables=[6,9,8] : bit[3]",
        "%s = const() data=[1] type=u2 : u2[1]",
    ]
    assert gains(done) == {"a": [4, 2]}
    assert table_counts(done) == {"a": 2, "y": 3}


def test_merge_equal_thresholds_across_nodes(b, apply, shown):
    x = b.input("x", Type(8), (2,))
    u = b.node("compare", [x], indices=np.array([0, 1, 0], np.int32), thresholds=np.array([9, 9, 9]), name="u")
    v = b.node("compare", [x], indices=np.array([1, 1], np.int32), thresholds=np.array([9, 8]), name="v")
    s = b.node(
        "group_sum",
        [u, v],
        offsets=np.array([0, 1, 2, 3, 4, 5]),
        indices=np.arange(5, dtype=np.int32),
        name="s",
    )
    assert shown(apply("merge-equal", finish(b, s))) == [
        "%u.luts = compare(%x) indices=[0,1] thresholds=[9,9] : bit[2]",
        "%v.luts = compare(%x) indices=[1] thresholds=[8] : bit[1]",
        "%s = group_sum(%u.luts, %v.luts) indices=[0,1,0,1,2] offsets=[0,1,2,3,4,5] : bit[5]",
    ]


def test_remove_dead(b, apply, shown):
    x = b.input("x", Type(8), (1,))
    c = b.node("compare", [x], indices=np.zeros(3, np.int32), thresholds=np.array([1, 2, 3]), name="c")
    a = lut(b, [c], [[0, 1], [1, 2]], [8, 8], "a")
    lut(b, [a], [[0, 1]], [6], "unused")
    word = b.node("unbits", [b.node("reshape", [c], shape=(1, 3), name="r")], type="u3", name="w")
    b.node("argmax", [word], axis=0, last=False, name="dead")
    y = b.node("group_sum", [a], offsets=np.array([0, 1]), indices=np.array([0], np.int32), name="s")
    done = apply("remove-dead", finish(b, y))
    assert shown(done) == [
        "%c.luts = compare(%x) indices=[0,0] thresholds=[1,2] : bit[2]",
        "%a.luts = lut(%c.luts) indices=[[0,1]] tables=[8] : bit[1]",
        "%s = group_sum(%a.luts) indices=[0] offsets=[0,1] : bit[1]",
    ]
    assert gains(done) == {"a": [2, 1], "unused": [1, 0]}


def test_remove_dead_keeps_state_and_its_update():
    b = Builder("g", clocked=True)
    x = b.input("x", BIT, (2,))
    s = b.state(np.zeros(2, np.int64), BIT, "sample", name="s")
    new = lut(b, [x, s], [[0, 2], [1, 3]], [6, 6], "new")
    b.update(s, new)
    graph = finish(b, x)
    (dead,) = [p for p in all_passes() if p.name == "remove-dead"]
    assert [n.op for n in dead.run(graph, Options()).graph.nodes] == ["state", "lut", "update"]


def test_cover_merges_a_cone_into_one_table(b, apply, shown):
    x = b.input("x", BIT, (4,))
    a = lut(b, [x], [[0, 1], [2, 3]], [8, 14], "a")
    y = lut(b, [a], [[0, 1]], [6], "y")
    done = apply("cover-luts", finish(b, y))
    expected = sum(((((m & 1) & (m >> 1 & 1)) ^ ((m >> 2 & 1) | (m >> 3 & 1))) << m) for m in range(16))
    assert shown(done) == [f"%y = lut(%x) indices=[[0,1,2,3]] tables=[{expected}] : bit[1]"]
    assert gains(done) == {"a": [2, 0]}


def test_cover_of_three_inputs_needs_two_tables(b, apply):
    x = b.input("x", BIT, (4,))
    a = lut(b, [x], [[0, 1], [2, 3]], [8, 14], "a")
    y = lut(b, [a], [[0, 1]], [6], "y")
    done = apply("cover-luts", finish(b, y), lut_size=3)
    assert sum(table_counts(done).values()) == 2


def test_cover_refuses_tables_that_are_too_wide(b):
    x = b.input("x", BIT, (5,))
    y = lut(b, [x], [[0, 1, 2, 3, 4]], [0x96696996], "y")
    (cover,) = [p for p in all_passes() if p.name == "cover-luts"]
    with pytest.raises(GraphError, match="tables must have at most 4 inputs before covering, not 5"):
        run_passes(finish(b, y), Options(), passes=[cover])


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("inputs", [4, 5, 6])
def test_split_wide(b, apply, size, inputs):
    rng = np.random.default_rng(inputs * 7 + size)
    x = b.input("x", BIT, (8,))
    rows = [rng.permutation(8)[:inputs] for _ in range(20)]
    y = lut(b, [x], rows, rng.integers(0, 1 << 63, 20, dtype=np.uint64) & np.uint64((1 << (1 << inputs)) - 1), "y")
    graph = apply("merge-equal", finish(b, y))
    done = apply("split-wide", graph, lut_size=size)
    assert max(n.attrs["indices"].shape[1] for n in done.nodes) <= size or inputs <= size
    worst = (2 << max(inputs - size, 0)) - 1
    assert sum(table_counts(done).values()) <= 20 * worst


def test_split_finds_the_exclusive_or(b, apply):
    x = b.input("x", BIT, (5,))
    parity = sum((bin(m).count("1") & 1) << m for m in range(32))
    done = apply("split-wide", finish(b, lut(b, [x], [[0, 1, 2, 3, 4]], [parity], "y")))
    assert sum(table_counts(done).values()) == 2


def test_fold_sums(b, apply, shown):
    x = b.input("x", BIT, (2,))
    s = b.node("group_sum", [x], offsets=np.array([0, 1, 2]), indices=np.array([0, 1], np.int32), name="s")
    t = b.node("group_sum", [x], offsets=np.array([0, 1, 2]), indices=np.array([1, 0], np.int32), name="t")
    c = b.const(np.array([3, 4]), name="c")
    less = b.node("sub", [c, s], name="less")
    both = b.node("sub", [less, t], name="both")
    assert shown(apply("fold-sums", finish(b, both)))[1:] == [
        "%both = group_sum(%x, %x) bias=[3,4] indices=[0,3,1,2] offsets=[0,2,4] weights=[-1,-1,-1,-1] : u3[2]"
    ]


def test_fold_sums_leaves_a_sum_that_is_read_twice(b, apply, shown):
    x = b.input("x", BIT, (2,))
    s = total(b, x)
    y = b.node("add", [s, b.const(np.array([3]), name="c")], name="y")
    graph = finish(b, y, s)
    assert shown(apply("fold-sums", graph)) == shown(graph)


def test_kept_values_and_level_zero(b):
    x = b.input("x", BIT, (4,))
    a = lut(b, [x], [[0, 1], [2, 3], [0, 0]], [8, 14, 8], "a")
    y = lut(b, [a], [[0, 1]], [6], "y")
    graph = finish(b, y)
    done = compile_graph(graph, Options(keep=("a",)))
    kept = done.values()["a"]
    assert kept == graph.values()["a"]
    assert "a" not in compile_graph(graph).values()
    plain = compile_graph(graph, Options(level=0))
    assert [n.name for n in plain.nodes] == ["a", "y"] and plain.records["options"]["level"] == 0


def test_the_input_graph_is_not_changed(random_graph):
    graph, again = random_graph(5, 40), random_graph(5, 40)
    compile_graph(graph)
    assert graph.equals(again)


def test_the_result_does_not_depend_on_the_run(random_graph):
    assert compile_graph(random_graph(7, 40)).equals(compile_graph(random_graph(7, 40)))


def test_lut_size_is_checked():
    with pytest.raises(InputError, match="lut size must be 3 to 6, not 2"):
        Options(lut_size=2)


@pytest.mark.parametrize("seed", range(25))
def test_normal_form(seed, random_graph):
    size = 3 + seed % 4
    graph = random_graph(1000 + seed, 40)
    done = compile_graph(graph, Options(lut_size=size))
    whole = {o.value for o in done.outputs}
    for node in done.nodes:
        if node.op not in ("lut", "group_sum"):
            whole.update(node.inputs)
        for region in node.regions:
            for inner in region.nodes:
                whole.update(inner.inputs)
    seen = set()
    for node in done.nodes:
        if node.op == "lut":
            indices, tables = node.attrs["indices"], node.attrs["tables"]
            assert indices.shape[1] <= size
            used = (indices >= 0).sum(axis=1)
            assert ((indices >= 0) == (np.arange(indices.shape[1]) < used[:, None])).all()
            sizes = [done.values()[i].size for i in node.inputs]
            owner = np.repeat(np.arange(len(sizes)), sizes)
            assert set(owner[indices[indices >= 0]]) == set(range(len(sizes))), "inputs that are not read"
            if node.name in whole:
                continue
            assert (used >= 1).all()
            for row, table, n in zip(indices, tables, used, strict=True):
                names = tuple((node.inputs[owner[i]], int(i)) for i in row[:n])
                assert len(set(names)) == n
                key = (tuple(node.inputs), names, int(table))
                assert key not in seen
                seen.add(key)
        elif node.op == "group_sum":
            owner = np.repeat(np.arange(len(node.attrs["offsets"]) - 1), np.diff(node.attrs["offsets"]))
            pairs = list(zip(owner.tolist(), node.attrs["indices"].tolist(), strict=True))
            assert len(set(pairs)) == len(pairs)
            assert "weights" not in node.attrs or (node.attrs["weights"] != 1).any()
    assert not {n.op for n in done.nodes} & {"lut_conv"}
    assert (
        max((int(v.max(initial=0)) for v in levels(done).values()), default=0)
        <= max((int(v.max(initial=0)) for v in levels(compile_graph(graph, Options(level=0))).values()), default=0)
        + 3 * 6
    )


def test_levels(b):
    x = b.input("x", BIT, (2,))
    a = lut(b, [x], [[0, 1], [1, -1], [-1, -1]], [8, 2, 1], "a")
    y = lut(b, [a, x], [[0, 4], [1, 2], [1, -1]], [6, 8, 1], "y")
    found = levels(finish(b, y))
    assert found["a"].tolist() == [1, 0, 0] and found["y"].tolist() == [2, 1, 1]


def test_gains_by_tagged_layer(b, apply):
    x = b.input("x", BIT, (2,))
    y = lut(b, [x], [[0, 1], [1, 0], [0, 1]], [8, 8, 6], "y", layers=np.array([1, 0, 0], np.int32))
    b.graph.records["layers"] = ["first", "second"]
    done = apply("merge-equal", finish(b, total(b, y)))
    assert gains(done) == {"first": [2, 1]}
    assert table_counts(done) == {"second": 1, "first": 1}


def test_use_thresholds(b, apply, shown):
    x = b.input("x", Type(8), (2,))
    # x0 >= 3, x0 >= 5, x1 >= 3
    c = b.node("compare", [x], indices=np.array([0, 0, 1], np.int32), thresholds=np.array([3, 5, 3]), name="c")
    # both met: the higher alone; neither: not the lower; exactly one: stays; a higher one alone: never
    y = lut(b, [c], [[0, 1], [0, 1], [0, 1], [1, 0]], [8, 1, 6, 2], "y")
    # the lower chooses between the higher and x1: needs all three; or of all three: without the higher
    z = lut(b, [c], [[1, 2, 0], [0, 1, 2]], [0b11001010, 0b11111110], "z")
    done = apply("use-thresholds", finish(b, y, z))
    assert shown(done)[1:] == [
        "%y.luts = lut(%c) indices=[[0,-1],[0,1]] tables=[1,2] : bit[2]",
        "%y = lut(%c, %y.luts) indices=[[1],[3],[4],[-1]] tables=[2,2,2,0] : bit[4]",
        "%z = lut(%c) indices=[[0,2],[0,2]] tables=[8,14] : bit[2]",
    ]


def test_thresholds_of_different_integers_imply_nothing(b, apply, shown):
    x = b.input("x", Type(8), (2,))
    c = b.node("compare", [x], indices=np.array([0, 1], np.int32), thresholds=np.array([3, 5]), name="c")
    y = lut(b, [c], [[0, 1]], [8], "y")
    graph = finish(b, y)
    assert shown(apply("use-thresholds", graph)) == shown(graph)
