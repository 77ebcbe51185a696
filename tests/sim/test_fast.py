"""The bit-packed engine against the reference interpreter: random networks, batches, inputs of every width."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.sim.fast import BLOCK, Engine
from neuroloom.sim.fast.classes import CLASSES, FLIP_INPUTS
from neuroloom.sim.reference import run


def same(graph: Graph, inputs, **options) -> None:
    want, got = run(graph, inputs), Engine(graph).run(inputs, **options)
    assert want.keys() == got.keys()
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(random_graphs, seed: int) -> None:
    same(random_graphs(seed), np.random.default_rng(seed).integers(0, 256, (300, 20)))


@pytest.mark.parametrize("count", [1, 63, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
def test_batches_of_any_size(random_graphs, count: int) -> None:
    same(random_graphs(1), np.random.default_rng(count).integers(0, 256, (count, 20)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint32"])
def test_integer_types_of_the_caller(random_graphs, dtype: str) -> None:
    same(random_graphs(2), np.random.default_rng(0).integers(0, 256, (70, 20)).astype(dtype))


def test_threads_and_progress(random_graphs) -> None:
    graph = random_graphs(5)
    x = np.random.default_rng(5).integers(0, 256, (40 * BLOCK, 20))
    seen: list[tuple[int, int]] = []
    one = Engine(graph).run(x, progress=lambda done, total: seen.append((done, total)))
    two = Engine(graph).run(x, threads=2)
    assert all((one[n] == two[n]).all() for n in one)
    assert seen[-1] == (len(x), len(x)) and seen == sorted(seen)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 50, 343, 1000])
def test_sums_of_many_bits_inverted_or_not(count: int) -> None:
    rng = np.random.default_rng(count)
    b = Builder("sums")
    x = b.input("x", Type(1), (70,))
    inverted = b.node("lut", [x], indices=np.arange(70, dtype=np.int32)[:, None], tables=np.ones(70, np.uint64))
    offsets = np.array([0, count, count, 2 * count + 1])
    indices = rng.integers(0, 140, offsets[-1]).astype(np.int32)
    b.output("plain", b.node("group_sum", [x, inverted], offsets=offsets, indices=indices))
    b.output("all inverted", b.node("group_sum", [inverted], offsets=offsets, indices=indices % 70))
    samples = rng.integers(0, 2, (200, 70))
    samples[0], samples[1] = 0, 1
    same(b.finish(), samples)


def encoder(type_: Type, size: int, *, bounds=None, show: bool = False) -> Graph:
    rng = np.random.default_rng(size)
    b = Builder("encoder")
    x = b.input("x", type_, (size,), bounds=bounds)
    lo, hi = bounds or type_.range
    out = b.node(
        "compare",
        [x],
        indices=rng.integers(0, size, 150).astype(np.int32),
        thresholds=rng.integers(max(lo - 2, -(1 << 40)), min(hi + 3, 1 << 40), 150),
    )
    b.output("bits", out)
    if show:
        b.output("double", b.node("add", [x, x]))
        b.output("binary", b.node("bits", [x]))
    return b.finish()


@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 130])
@pytest.mark.parametrize(
    ("type_", "bounds"),
    [
        (Type(1), None),
        (Type(5), (0, 16)),
        (Type(8), None),
        (Type(8, True), None),
        (Type(4, True), (-3, 2)),
        (Type(12), None),
        (Type(17, True), None),
    ],
)
def test_inputs_of_every_width(type_: Type, bounds, size: int, show: bool) -> None:
    graph = encoder(type_, size, bounds=bounds, show=show)
    lo, hi = graph.inputs[0].range
    x = np.random.default_rng(0).integers(lo, hi, (600, size), endpoint=True)
    x[0], x[1] = lo, hi
    same(graph, x)


def test_probes(random_graphs) -> None:
    graph = random_graphs(6)
    x = np.random.default_rng(0).integers(0, 256, (100, 20))
    want, got = run(graph, x, probes=["layer0"]), Engine(graph, probes=["layer0"]).run(x)
    np.testing.assert_array_equal(got["layer0"], want["layer0"])


def test_what_has_no_gates_is_refused_by_name() -> None:
    b = Builder("product")
    x = b.input("x", Type(4), (2,))
    b.output("y", b.node("mul", [x, x], source="Mul_7"))
    with pytest.raises(UnsupportedError, match="Mul_7.*no mul; use the reference engine"):
        Engine(b.finish())
    b = Builder("clocked", clocked=True)
    b.output("y", b.input("x", Type(4), (2,)))
    with pytest.raises(UnsupportedError, match="framed graphs without state"):
        Engine(b.finish())


def test_tables_of_every_size_and_constant_or_equal_inputs() -> None:
    rng = np.random.default_rng(0)
    for k in range(1, 7):
        b = Builder("tables")
        x = b.input("x", Type(1), (7,))
        count = 300
        indices = rng.integers(-1, 7, (count, k)).astype(np.int32)  # 7 bits for up to 6 inputs: many repeats
        tables = rng.integers(0, 1 << 63, count, dtype=np.uint64) * np.uint64(2) + rng.integers(
            0, 2, count, dtype=np.uint64
        )
        b.output("y", b.node("lut", [x], indices=indices, tables=tables & np.uint64((1 << (1 << k)) - 1)))
        same(b.finish(), (np.arange(128)[:, None] >> np.arange(7)) & 1)


def test_classes_are_all_three_input_functions() -> None:
    """Every function is a class with inputs permuted and inverted and the output inverted."""
    import itertools

    reached = set()
    for table in CLASSES:
        for order in itertools.permutations(range(3)):
            g = sum((table >> a & 1) << sum((a >> i & 1) << order[i] for i in range(3)) for a in range(8))
            for mask in range(8):
                flipped = int(FLIP_INPUTS[mask, g])
                reached |= {flipped, flipped ^ 255}
    assert reached == set(range(256))
