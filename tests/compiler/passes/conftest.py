"""A generator of random graphs over every operation that the logic passes touch, and the comparison with the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.passes.manager import Options, all_passes, run_passes
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.sim import reference


def lut_attrs(rng: np.random.Generator, size: int, count: int, k: int) -> dict:
    """Random tables, some constant, wire-like or symmetric, over inputs that repeat and are sometimes unconnected."""
    indices = rng.integers(-1 if rng.random() < 0.3 else 0, size, (count, k)).astype(np.int32)
    tables = rng.integers(0, 1 << 63, count, dtype=np.uint64) * 2 + rng.integers(0, 2, count, dtype=np.uint64)
    mask = np.uint64((1 << (1 << k)) - 1)
    special = np.array([0, 0xFFFFFFFFFFFFFFFF, 0xAAAAAAAAAAAAAAAA, 0x5555555555555555, 0x6666666666666666], np.uint64)
    pick = rng.random(count) < 0.3
    tables[pick] = rng.choice(special, int(pick.sum()))
    if count > 3:  # twins and their inverses
        twins = rng.integers(0, count, count // 3)
        indices[: len(twins)], tables[: len(twins)] = (
            indices[twins],
            tables[twins] ^ rng.choice(special[:2], len(twins)),
        )
    return {"indices": indices, "tables": tables & mask}


class Random:
    """Builds one random graph."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.b = rng, Builder("random")
        self.bits: list[str] = []
        self.ints: list[str] = []
        u8 = self.b.input("pixels", Type(8), (3, 4), bounds=(0, int(rng.integers(10, 255))))
        self.ints += [u8, self.b.input("signed", Type(4, True), (5,)), self.b.input("nibble", Type(2), (6,))]
        self.bits += [self.b.input("flags", BIT, (2, 5)), self.b.const(rng.integers(0, 2, 4), BIT)]
        thresholds = rng.integers(-2, 258, 12)
        self.bits.append(
            self.b.node("compare", [u8], indices=rng.integers(0, 12, 12).astype(np.int32), thresholds=thresholds)
        )
        steps = [getattr(self, n) for n in dir(self) if n.startswith("op_")]
        for _ in range(size):
            steps[int(rng.integers(len(steps)))]()
        self.op_group_sum()
        self.ints.append(self.b.node("argmax", [self.flat_int()], axis=0, last=bool(rng.integers(2))))
        shown = {self.pick(self.bits), self.pick(self.ints), self.ints[-1], self.bits[-1]}
        for number, name in enumerate(sorted(shown)):
            self.b.output(f"out{number}", name)

    def pick(self, names: list[str]) -> str:
        return names[int(self.rng.integers(max(len(names) - 8, 0), len(names)))]

    def bit(self, least: int = 1) -> str:
        for _ in range(20):
            name = self.pick(self.bits)
            if self.b[name].size >= least:
                return name
        return self.bits[0]

    def flat_int(self) -> str:
        name = self.pick(self.ints)
        return name if self.b[name].shape else self.b.node("reshape", [name], shape=(1,))

    def add(self, name: str) -> None:
        value = self.b[name]
        if value.size == 0 or value.size > 400:
            return
        (self.bits if value.type.is_bit else self.ints).append(name)

    def op_lut(self) -> None:
        inputs = [self.bit() for _ in range(int(self.rng.integers(1, 4)))]
        size = sum(self.b[i].size for i in inputs)
        count, k = int(self.rng.integers(1, 30)), int(self.rng.integers(0, 7))
        self.add(self.b.node("lut", inputs, source=f"layer{len(self.bits)}", **lut_attrs(self.rng, size, count, k)))

    op_lut_again = op_lut
    op_lut_more = op_lut

    def op_lut_conv(self) -> None:
        rng, x = self.rng, self.bit(8)
        groups, channels, kernels = int(rng.integers(1, 3)), 2, 2
        need = int(np.prod([3, 4, channels]))
        flat = self.b.node("reshape", [x], shape=(self.b[x].size,))
        x = self.b.node("gather", [flat], indices=rng.integers(0, self.b[x].size, need), axis=0)
        x = self.b.node("reshape", [x], shape=(3, 4, channels))
        k, leaves = [(2, 1), (2, 2), (2, 4), (3, 3), (4, 4), (6, 1)][int(rng.integers(6))]
        nodes = leaves + (leaves // k if leaves > 1 else 0) + (1 if (k, leaves) == (2, 4) else 0)
        tables = lut_attrs(rng, 4, kernels * nodes, k)["tables"].reshape(kernels, nodes)
        kernel = (2, 3)
        indices = rng.integers(0, 6 * channels // groups, (kernels, leaves, k)).astype(np.int32)
        pads, strides = tuple(int(p) for p in rng.integers(0, 3, 4)), (1, int(rng.integers(1, 3)))
        self.add(
            self.b.node(
                "lut_conv",
                [x],
                indices=indices,
                tables=tables,
                kernel=kernel,
                strides=strides,
                pads=pads,
                groups=groups,
            )
        )

    def op_compare(self) -> None:
        x = self.flat_int() if self.rng.random() < 0.7 else self.bit()
        lo, hi = self.b.ranges[x]
        count = int(self.rng.integers(1, 12))
        indices = self.rng.integers(0, self.b[x].size, count).astype(np.int32)
        self.add(self.b.node("compare", [x], indices=indices, thresholds=self.rng.integers(lo - 1, hi + 3, count)))

    def op_move(self) -> None:
        rng = self.rng
        x = self.bit() if rng.random() < 0.6 else self.flat_int()
        shape = self.b[x].shape
        kind = int(rng.integers(6))
        if kind == 0 or not shape:
            self.add(self.b.node("reshape", [x], shape=(self.b[x].size,)))
        elif kind == 1:
            axis = int(rng.integers(len(shape)))
            indices = rng.integers(0, shape[axis], (2, int(rng.integers(1, 4))))
            self.add(self.b.node("gather", [x], indices=indices, axis=axis))
        elif kind == 2:
            self.add(self.b.node("transpose", [x], perm=tuple(int(p) for p in rng.permutation(len(shape)))))
        elif kind == 3:
            self.add(self.b.node("concat", [x, x, x], axis=int(rng.integers(len(shape)))))
        elif kind == 4:
            starts = tuple(int(rng.integers(0, s)) for s in shape)
            steps = tuple(int(rng.integers(1, 3)) for _ in shape)
            self.add(self.b.node("slice", [x], starts=starts, stops=shape, steps=steps))
        else:
            self.add(self.b.node("broadcast", [x], shape=(2, *shape)))

    op_move_again = op_move

    def same(self, x: str) -> str:
        """Another bit value of the shape of ``x``, or one element that broadcasts."""
        y = self.bit()
        flat = self.b.node("reshape", [y], shape=(self.b[y].size,))
        size = self.b[x].size if self.rng.random() < 0.6 else 1
        flat = self.b.node("gather", [flat], indices=self.rng.integers(0, self.b[y].size, size), axis=0)
        return self.b.node("reshape", [flat], shape=self.b[x].shape) if size > 1 else flat

    def op_bitwise(self) -> None:
        x = self.bit()
        kind = ["and", "or", "xor", "not"][int(self.rng.integers(4))]
        self.add(self.b.node("bitwise", [x] if kind == "not" else [x, self.same(x)], kind=kind))

    def op_choose(self) -> None:
        x = self.bit()
        kind = int(self.rng.integers(5))
        if kind == 0:
            self.add(self.b.node("select", [self.same(x), x, self.same(x)]))
        elif kind == 1:
            name = ["ge", "gt", "eq"][int(self.rng.integers(3))]
            self.add(self.b.node("relation", [x, self.same(x)], kind=name))
        elif kind == 2:
            self.add(self.b.node(["mul", "max", "min"][int(self.rng.integers(3))], [x, self.same(x)]))
        elif kind == 3:
            one = self.b.const(np.ones(self.b[x].shape, np.int64), BIT)
            self.add(self.b.node("sub", [one, x]))
        else:
            self.add(self.b.node("table", [x], entries=self.rng.integers(0, 2, 3), lo=-1, type="bit"))

    def op_relation(self) -> None:
        x = self.flat_int()
        lo, hi = self.b.ranges[x]
        limit = self.b.const(self.rng.integers(lo - 1, hi + 2, self.b[x].shape))
        name = ["ge", "gt", "eq"][int(self.rng.integers(3))]
        self.add(self.b.node("relation", [x, limit] if self.rng.random() < 0.5 else [limit, x], kind=name))

    def op_bits(self) -> None:
        x = self.pick(self.ints)
        if self.b[x].type.width <= 12:
            bits = self.b.node("bits", [x])
            self.add(bits)
            if self.rng.random() < 0.5:
                self.add(self.b.node("unbits", [bits], type=str(self.b[x].type)))

    def op_unbits(self) -> None:
        x = self.bit(4)
        size = self.b[x].size // 4 * 4
        flat = self.b.node("reshape", [x], shape=(self.b[x].size,))
        cut = self.b.node("slice", [flat], starts=(0,), stops=(size,), steps=(1,))
        kind = ["u4", "s4", "u2", "s2"][int(self.rng.integers(4))]
        width = int(kind[1])
        self.add(self.b.node("unbits", [self.b.node("reshape", [cut], shape=(size // width, width))], type=kind))

    def op_lookup(self) -> None:
        rng = self.rng
        x = self.bit() if rng.random() < 0.4 else self.flat_int()
        lo, hi = self.b.ranges[x]
        field = max(hi.bit_length(), 1) + int(rng.integers(2))
        if lo < 0 or field > 8:
            return
        k = int(rng.integers(1, max(9 // field, 1) + 1))
        kind = ["bit", "u2", "s3"][int(rng.integers(3))]
        low, high = Type.parse(kind).range
        count = int(rng.integers(1, 10))
        indices = rng.integers(0, self.b[x].size, (count, k)).astype(np.int32)
        tables = rng.integers(low, high + 1, (count, 1 << (k * field)))
        self.add(self.b.node("lookup", [x], indices=indices, tables=tables, input_bits=field, type=kind))

    def op_sum(self) -> None:
        x = self.bit()
        shape = self.b[x].shape
        if not shape:
            return
        axes = tuple(a for a in range(len(shape)) if self.rng.random() < 0.6)
        total = self.b.node("sum", [x], axes=axes)
        if self.b[total].shape:
            constant = self.b.const(self.rng.integers(-3, 4, self.b[total].shape))
            kind = ["add", "sub"][int(self.rng.integers(2))]
            total = self.b.node(kind, [total, constant] if self.rng.random() < 0.5 else [constant, total])
            if self.rng.random() < 0.4:
                total = self.b.node(kind, [total, self.b.node("sum", [x], axes=axes)])
        self.add(total)

    def op_matvec(self) -> None:
        x = self.bit()
        if not self.b[x].shape:
            return
        weights = self.rng.integers(-3, 4, (4, self.b[x].shape[-1]))
        bias = self.rng.integers(-9, 9, 4) if self.rng.random() < 0.5 else None
        self.add(self.b.node("matvec", [x], weights=weights, bias=bias, weight_frac=0))

    def op_group_sum(self) -> None:
        rng, inputs = self.rng, [self.bit(), self.bit()]
        size = sum(self.b[i].size for i in inputs)
        counts = rng.integers(0, 9, 3)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        n = int(offsets[-1])
        weights = rng.integers(-3, 4, n) if rng.random() < 0.5 else None
        bias = rng.integers(-9, 9, 3) if rng.random() < 0.5 else None
        indices = rng.integers(0, size, n).astype(np.int32)
        self.add(self.b.node("group_sum", inputs, offsets=offsets, indices=indices, weights=weights, bias=bias))

    def op_when(self) -> None:
        x = self.bit()
        flat = self.b.node("reshape", [x], shape=(self.b[x].size,))
        condition = self.b.node("gather", [flat], indices=np.zeros(1, np.int64), axis=0)

        def side(kind: str) -> list[str]:
            inner = self.b.node("bitwise", [flat, flat], kind=kind)
            attrs = lut_attrs(self.rng, self.b[flat].size, 5, 3)
            return [self.b.node("lut", [self.b.node("reshape", [inner], shape=self.b[flat].shape)], **attrs)]

        regions = [self.b.region(lambda: side("and")), self.b.region(lambda: side("xor"))]
        self.add(self.b.node("when", [condition], regions=regions))


@pytest.fixture(scope="session")
def random_graph() -> Callable[[int, int], Graph]:
    """``random_graph(seed, steps)``: a verified random graph of about that many operations."""

    def make(seed: int, steps: int) -> Graph:
        return Random(np.random.default_rng(seed), steps).b.finish()

    return make


def random_inputs(graph: Graph, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
    """Uniform samples within the inputs' ranges, the ends of the ranges first."""
    out = {}
    for item in graph.inputs:
        lo, hi = item.range
        x = rng.integers(lo, hi + 1, (samples, *item.value.shape))
        x[0], x[-1] = lo, hi
        out[item.name] = x
    return out


@pytest.fixture(scope="session")
def same_answers() -> Callable[..., Graph]:
    """``same_answers(graph, options, samples=64, seed=0)``: compile, compare every output and kept value, return the graph."""

    def check(graph: Graph, options: Options, samples: int = 64, seed: int = 0) -> Graph:
        done = compile_graph(graph, options)
        inputs = random_inputs(graph, np.random.default_rng(seed), samples)
        probes = [k for k in options.keep if k in {v.name for n in graph.nodes for v in n.outputs}]
        before = reference.run(graph, inputs, probes=probes)
        after = reference.run(done, inputs, probes=probes)
        assert before.keys() == after.keys()
        for name, expected in before.items():
            assert (expected == after[name]).all(), f"{name} differs, {options}"
        return done

    return check


def _inline(value: object) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray) else value).replace(" ", "")


@pytest.fixture(scope="session")
def shown() -> Callable[[Graph], list[str]]:
    """``shown(graph)``: one line per node, tensors written out: the golden form of these tests."""

    def show(graph: Graph) -> list[str]:
        lines = []
        for node in graph.nodes:
            attrs = "".join(f" {k}={_inline(v)}" for k, v in sorted(node.attrs.items()))
            out = ", ".join(f"%{v.name}" for v in node.outputs)
            types = ", ".join(f"{v.type}{_inline(list(v.shape))}" for v in node.outputs)
            lines.append(f"{out} = {node.op}({', '.join(f'%{i}' for i in node.inputs)}){attrs} : {types}")
        return lines

    return show


@pytest.fixture(scope="session")
def apply() -> Callable[..., Graph]:
    """``apply(name, graph, **options)``: run one pass, verify, compare all answers with the graph before, return the graph."""

    def run(name: str, graph: Graph, **options: object) -> Graph:
        chosen = [p for p in all_passes() if p.name == name]
        assert len(chosen) == 1, f"no pass {name}"
        done = run_passes(graph, Options(**options), passes=chosen)  # type: ignore[arg-type]
        inputs = random_inputs(graph, np.random.default_rng(1), 200)
        before, after = reference.run(graph, inputs), reference.run(done, inputs)
        for key, expected in before.items():
            assert (expected == after[key]).all(), f"{key} differs after {name}"
        return done

    return run
