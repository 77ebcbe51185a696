"""Each canonicalising pass alone: small graphs in, expected text out; every case also runs in the reference interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Type
from neuroloom.compiler.ir.graph import walk
from neuroloom.compiler.passes.lower_conv import window_positions
from neuroloom.compiler.passes.lower_lookup import table_count


def i32(*rows):
    return np.array(rows, np.int32)


def u64(*rows):
    return np.array(rows, np.uint64)


def one_input(type_=BIT, shape=(4,), **kwargs):
    b = Builder("g")
    return b, b.input("x", type_, shape, **kwargs)


def finish(b, *names):
    for number, name in enumerate(names):
        b.output(f"o{number}", name)
    return b.finish()


def test_lut_conv_becomes_a_lut_per_level_and_padding_is_unconnected(apply, shown):
    b, x = one_input(shape=(3, 2))
    attrs = {"kernel": (2,), "strides": (2,), "pads": (1, 0), "groups": 1}
    y = b.node("lut_conv", [x], indices=i32([[0, 3], [1, 2]]), tables=u64([8, 14, 6]), name="c", source="conv", **attrs)
    assert shown(apply("lower-conv", finish(b, y))) == [
        # windows start at -1 and 1; a window is (cell 0: c0 c1, cell 1: c0 c1)
        "%c.tree0 = lut(%x) indices=[[-1,1],[-1,0],[2,5],[3,4]] shape=(2,1,2) tables=[8,14,8,14] : bit[2,1,2]",
        "%c = lut(%c.tree0) indices=[[0,1],[2,3]] shape=(2,1) tables=[6,6] : bit[2,1]",
    ]


def test_lut_conv_groups_read_their_own_channels(apply, shown):
    b, x = one_input(shape=(2, 4))
    attrs = {"kernel": (1,), "strides": (1,), "pads": (0, 0), "groups": 2}
    y = b.node("lut_conv", [x], indices=i32([[0, 1]], [[0, 1]]), tables=u64([8], [8]), name="c", **attrs)
    assert shown(apply("lower-conv", finish(b, y))) == [
        "%c = lut(%x) indices=[[0,1],[2,3],[4,5],[6,7]] shape=(2,2) tables=[8,8,8,8] : bit[2,2]"
    ]


def test_window_positions_in_three_dimensions_match_a_plain_loop():
    shape, kernel, strides, pads = (3, 4, 2), (2, 3, 1), (1, 2, 1), (1, 0, 0, 0, 1, 1)
    out = (3, 2, 3)
    expected = []
    for p in np.ndindex(*out):
        row = []
        for w in np.ndindex(*kernel):
            at = [p[a] * strides[a] - pads[a] + w[a] for a in range(3)]
            inside = all(0 <= v < s for v, s in zip(at, shape, strict=True))
            row.append((at[0] * 4 + at[1]) * 2 + at[2] if inside else -1)
        expected.append(row)
    assert window_positions(shape, out, kernel, strides, pads).tolist() == expected


def test_lookup_of_bits_to_a_bit_is_a_lut(apply, shown):
    b, x = one_input()
    y = b.node("lookup", [x], indices=i32([0, 3]), tables=np.array([[0, 1, 1, 0]]), input_bits=1, type="bit", name="t")
    assert shown(apply("lower-lookup", finish(b, y))) == ["%t = lut(%x) indices=[[0,3]] tables=[6] : bit[1]"]


def test_lookup_of_words_is_bits_lut_unbits(apply, shown):
    b, x = one_input(Type(2), (2,))
    y = b.node("lookup", [x], indices=i32([1]), tables=np.array([[-2, 1, 0, -1]]), input_bits=2, type="s2", name="t")
    assert shown(apply("lower-lookup", finish(b, y))) == [
        "%x.bits = bits(%x) : bit[2,2]",
        # two's complement of -2, 1, 0, -1: low bits 0101 reversed in time, high bits
        "%t.bits = lut(%x.bits) indices=[[2,3],[2,3]] shape=(1,2) tables=[10,9] : bit[1,2]",
        "%t = unbits(%t.bits) type=s2 : s2[1]",
    ]


def test_lookup_with_wide_fields_leaves_missing_bits_unconnected(apply, shown):
    b, x = one_input(Type(1), (2,))
    tables = np.arange(16).reshape(1, 16) % 2
    y = b.node("lookup", [x], indices=i32([0, 1]), tables=tables, input_bits=2, type="bit", name="t")
    assert shown(apply("lower-lookup", finish(b, y))) == ["%t = lut(%x) indices=[[0,-1,1,-1]] tables=[43690] : bit[1]"]


def test_wide_lookup_becomes_tables_and_multiplexers(apply):
    b, x = one_input(shape=(8,))
    tables = np.random.default_rng(0).integers(0, 2, (3, 256))
    indices = np.random.default_rng(1).integers(0, 8, (3, 8)).astype(np.int32)
    y = b.node("lookup", [x], indices=indices, tables=tables, input_bits=1, type="bit", name="t")
    done = apply("lower-lookup", finish(b, y))
    assert [n.op for n in done.nodes] == ["lut", "lut", "lut"]
    assert sum(len(n.attrs["tables"]) for n in done.nodes) == table_count(8, 3) == 21


def test_unreasonably_wide_lookup_stays():
    from neuroloom.compiler.passes.manager import Options, all_passes

    b, x = one_input(shape=(24,))
    indices = np.arange(24, dtype=np.int32)[None]
    y = b.node("lookup", [x], indices=indices, tables=np.zeros((1, 1 << 24), np.int64), input_bits=1, type="u18")
    graph = finish(b, y)
    (lower,) = [p for p in all_passes() if p.name == "lower-lookup"]
    assert not lower.run(graph, Options()).changed


@pytest.mark.parametrize(
    ("op", "attrs", "expected"),
    [
        ("reshape", {"shape": (4,)}, "[[0],[1],[2],[3]] tables=[2,2,2,2] : bit[4]"),
        ("transpose", {"perm": (1, 0)}, "[[0],[2],[1],[3]] shape=(2,2) tables=[2,2,2,2] : bit[2,2]"),
        (
            "gather",
            {"indices": np.array([1, 1, 0]), "axis": 1},
            "[[1],[1],[0],[3],[3],[2]] shape=(2,3) tables=[2,2,2,2,2,2] : bit[2,3]",
        ),
        (
            "slice",
            {"starts": (0, 1), "stops": (2, 2), "steps": (1, 1)},
            "[[1],[3]] shape=(2,1) tables=[2,2] : bit[2,1]",
        ),
        (
            "broadcast",
            {"shape": (2, 2, 2)},
            "[[0],[1],[2],[3],[0],[1],[2],[3]] shape=(2,2,2) tables=[2,2,2,2,2,2,2,2] : bit[2,2,2]",
        ),
    ],
)
def test_moves_of_bits_are_wires(apply, shown, op, attrs, expected):
    b, x = one_input(shape=(2, 2))
    y = b.node(op, [x], name="y", **attrs)
    assert shown(apply("lower-moves", finish(b, y))) == [f"%y = lut(%x) indices={expected}"]


def test_concat_of_bits_is_wires(apply, shown):
    b, x = one_input(shape=(2, 1))
    z = b.input("z", BIT, (2, 2))
    y = b.node("concat", [x, z], axis=1, name="y")
    assert shown(apply("lower-moves", finish(b, y))) == [
        "%y = lut(%x, %z) indices=[[0],[2],[3],[1],[4],[5]] shape=(2,3) tables=[2,2,2,2,2,2] : bit[2,3]"
    ]


def test_moves_of_words_stay(apply, shown):
    b, x = one_input(Type(3), (2, 2))
    y = b.node("reshape", [x], shape=(4,), name="y")
    graph = finish(b, y)
    assert shown(apply("lower-moves", graph)) == shown(graph)


def test_moves_of_constants_stay_constant(apply, shown):
    b = Builder("g")
    b.input("x", BIT, (1,))
    c = b.const(np.array([1, 0]), BIT, name="c")
    y = b.node("gather", [c], indices=np.array([1, 0, 0]), axis=0, name="y")
    assert shown(apply("lower-moves", finish(b, y)))[-1] == "%y = const() data=[0,1,1] type=bit : bit[3]"


def test_bits_cross_moves_and_undo_unbits(apply, shown):
    b, x = one_input(shape=(2, 2))
    word = b.node("unbits", [x], type="u2", name="w")
    moved = b.node("gather", [word], indices=np.array([1, 0]), axis=0, name="m")
    y = b.node("bits", [moved], name="y")
    assert shown(apply("lower-moves", finish(b, y)))[-2:] == [
        "%m.bits = lut(%x) indices=[[2],[3],[0],[1]] shape=(2,2) tables=[2,2,2,2] : bit[2,2]",
        "%y = lut(%m.bits) indices=[[0],[1],[2],[3]] shape=(2,2) tables=[2,2,2,2] : bit[2,2]",
    ]


@pytest.mark.parametrize(
    ("op", "attrs", "table"),
    [
        ("bitwise", {"kind": "and"}, 8),
        ("bitwise", {"kind": "or"}, 14),
        ("bitwise", {"kind": "xor"}, 6),
        ("relation", {"kind": "ge"}, 11),
        ("relation", {"kind": "gt"}, 2),
        ("relation", {"kind": "eq"}, 9),
        ("mul", {}, 8),
        ("max", {}, 14),
        ("min", {}, 8),
    ],
)
def test_operations_on_bits_are_tables(apply, shown, op, attrs, table):
    b, x = one_input(shape=(2, 2))
    z = b.input("z", BIT, (2,))
    y = b.node(op, [x, z], name="y", **attrs)
    t = ",".join([str(table)] * 4)
    assert shown(apply("lower-gates", finish(b, y))) == [
        f"%y = lut(%x, %z) indices=[[0,4],[1,5],[2,4],[3,5]] shape=(2,2) tables=[{t}] : bit[2,2]"
    ]


def test_select_not_and_one_minus_x(apply, shown):
    b, x = one_input(shape=(3,))
    flipped = b.node("bitwise", [x], kind="not", name="n")
    chosen = b.node("select", [x, flipped, x], name="s")
    less = b.node("sub", [b.const(np.ones(1, np.int64), BIT, name="one"), chosen], name="m")
    assert shown(apply("lower-gates", finish(b, less)))[0::1] == [
        "%n = lut(%x) indices=[[0],[1],[2]] tables=[1,1,1] : bit[3]",
        "%s = lut(%x, %n, %x) indices=[[0,3,6],[1,4,7],[2,5,8]] tables=[216,216,216] : bit[3]",
        "%one = const() data=[1] type=bit : bit[1]",
        "%m = lut(%s) indices=[[0],[1],[2]] tables=[1,1,1] : bit[3]",
    ]


@pytest.mark.parametrize(
    ("kind", "flipped", "limit", "inverted"),
    [("ge", False, 5, False), ("gt", False, 6, False), ("ge", True, 6, True), ("gt", True, 5, True)],
)
def test_relation_with_a_constant_is_compare(apply, shown, kind, flipped, limit, inverted):
    b, x = one_input(Type(4), (2,))
    c = b.const(np.array([5]), name="c")
    y = b.node("relation", [c, x] if flipped else [x, c], kind=kind, name="y")
    lines = shown(apply("lower-gates", finish(b, y)))[1:]
    name = "y.above" if inverted else "y"
    assert lines[0] == f"%{name} = compare(%x) indices=[0,1] thresholds=[{limit},{limit}] : bit[2]"
    assert lines[1:] == ["%y = lut(%y.above) indices=[[0],[1]] tables=[1,1] : bit[2]"][: len(lines) - 1]
    assert len(lines) == 1 + inverted


def test_equality_with_a_constant_is_two_thresholds(apply, shown):
    b, x = one_input(Type(4), (1,))
    y = b.node("relation", [x, b.const(np.array([5]), name="c")], kind="eq", name="y")
    assert shown(apply("lower-gates", finish(b, y)))[1:] == [
        "%y.ge = compare(%x) indices=[0] thresholds=[5] : bit[1]",
        "%y.gt = compare(%x) indices=[0] thresholds=[6] : bit[1]",
        "%y = lut(%y.ge, %y.gt) indices=[[0,1]] tables=[2] : bit[1]",
    ]


def test_compare_of_bits(apply, shown):
    b, x = one_input(shape=(2,))
    y = b.node("compare", [x], indices=i32(1, 1, 0, 0), thresholds=np.array([-3, 0, 1, 2]), name="y")
    assert shown(apply("lower-compare", finish(b, y))) == [
        "%y = lut(%x) indices=[[1],[1],[0],[0]] tables=[3,3,2,0] : bit[4]"
    ]


def test_sums_of_bits(apply, shown):
    b, x = one_input(shape=(2, 3))
    columns = b.node("sum", [x], axes=(0,), name="c")
    rows = b.node("sum", [x], axes=(1,), name="r")
    product = b.node("matvec", [x], weights=np.array([[1, 0, -2]]), bias=np.array([7]), weight_frac=0, name="p")
    assert shown(apply("lower-sums", finish(b, columns, rows, product))) == [
        "%c = group_sum(%x) indices=[0,3,1,4,2,5] offsets=[0,2,4,6] : u2[3]",
        "%r = group_sum(%x) indices=[0,1,2,3,4,5] offsets=[0,3,6] : u2[2]",
        "%p = group_sum(%x) bias=[7,7] indices=[0,2,3,5] offsets=[0,2,4] shape=(2,1) weights=[1,-2,1,-2] : u4[2,1]",
    ]


def test_matvec_with_large_weights_stays(apply, shown):
    b, x = one_input(shape=(3,))
    y = b.node("matvec", [x], weights=np.array([[1, 8, 0]]), weight_frac=0)
    graph = finish(b, y)
    assert shown(apply("lower-sums", graph)) == shown(graph)


def test_a_range_lost_by_lowering_is_wrapped_back_to_the_declared_type(apply):
    # entries 0..5 fit three bits and three of them 15, four bits; bits alone would allow 3 * 7 = 21, five bits
    b, x = one_input(shape=(3,))
    tables = np.tile(np.array([[0, 5, 2, 1]]), (3, 1))
    indices = i32([0, 1], [1, 2], [2, 0])
    y = b.node("lookup", [x], indices=indices, tables=tables, input_bits=1, type="u3", name="t")
    total = b.node("sum", [y], axes=(0,), name="s")
    table = b.node("table", [total], entries=np.arange(16) ** 2, lo=0, type="u8", name="q")
    graph = finish(b, table)
    assert str(graph.values()["s"].type) == "u4"
    done = apply("lower-lookup", graph)
    assert [str(done.values()[n].type) for n in ("t", "s", "q")] == ["u3", "u4", "u8"]
    assert "requantize" in [n.op for n in done.nodes]


def test_a_bound_that_an_operation_needs_is_restated(apply):
    # the table spans 0..5 only, which the bits of the lookup no longer prove
    b, x = one_input(shape=(3,))
    y = b.node("lookup", [x], indices=i32([0, 1]), tables=np.array([[0, 5, 2, 1]]), input_bits=1, type="u3")
    table = b.node("table", [y], entries=np.arange(6) ** 2, lo=0, type="u5", name="q")
    done = apply("lower-lookup", finish(b, table))
    assert "min" in [n.op for n in done.nodes]


def test_regions_are_lowered_too(apply):
    b, x = one_input(shape=(2,))
    c = b.input("c", BIT, (1,))
    regions = [
        b.region(lambda: [b.node("bitwise", [x], kind="not")]),
        b.region(lambda: [b.node("mul", [x, x])]),
    ]
    y = b.node("when", [c], regions=regions)
    done = apply("lower-gates", finish(b, y))
    assert [n.op for n in walk(done.nodes)] == ["when", "lut", "lut"]
