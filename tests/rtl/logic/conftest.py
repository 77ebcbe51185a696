"""Graphs to build hardware from, and a plain evaluation of a netlist, so that structure is tested without a simulator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.rtl.logic.lower import Lowered
from neuroloom.rtl.logic.netlist import LutBlock


def _evaluate(lowered: Lowered, samples: np.ndarray) -> np.ndarray:
    """Output bits [N, outputs] of a netlist for input bits [N, inputs]; cells by their documented meaning."""
    net = lowered.netlist
    state = np.zeros((len(samples), net.bits), np.int64)
    state[:, 1] = 1
    state[:, lowered.input_bits] = samples

    def number(word: tuple[int, ...]) -> np.ndarray:
        return (state[:, list(word)].astype(object) << np.arange(len(word))).sum(axis=1) if word else 0

    for part in net.parts:
        if isinstance(part, LutBlock):
            shift = np.arange(part.inputs.shape[1], dtype=np.int64)
            address = (state[:, part.inputs] << shift).sum(axis=2).astype(np.uint64)
            state[:, part.first : part.first + len(part.tables)] = (part.tables >> address) & np.uint64(1)
            continue
        o = [number(word) for word in part.operands]
        result = {
            "add": lambda o=o: o[0] + o[1] + o[2],
            "gt": lambda o=o: (o[0] > o[1]).astype(object),
            "at_least": lambda o=o, p=part: (o[0] >= p.value).astype(object),
            "mul": lambda o=o: o[0] * o[1],
            "rom": lambda o=o, p=part: np.array([p.value[int(a)] for a in o[0]], object),
        }[part.kind]()
        for i in range(part.width):
            state[:, part.first + i] = (result >> i) & 1
    return state[:, lowered.output_bits]


@pytest.fixture(scope="session")
def evaluate() -> Callable[[Lowered, np.ndarray], np.ndarray]:
    """Return ``evaluate(lowered, input bits)``."""
    return _evaluate


def _network(
    seed: int,
    *,
    inputs: int = 12,
    hi: int = 16,
    compares: int = 40,
    layers: tuple[int, ...] = (60, 50),
    groups: int = 5,
    k: int = 4,
    last: bool = False,
) -> Graph:
    """A random network in the normal form of classifiers: thresholds, tables, weighted group sums, arg-max."""
    rng = np.random.default_rng(seed)
    b = Builder(f"network {seed}")
    x = b.input("x", Type(8), (inputs,), bounds=(0, hi))
    v = b.node(
        "compare",
        [x],
        indices=rng.integers(0, inputs, compares).astype(np.int32),
        thresholds=rng.integers(-1, hi + 2, compares),
        source="encoder",
    )
    for number, count in enumerate(layers):
        indices = rng.integers(-1, b[v].size, (count, k)).astype(np.int32)
        tables = rng.integers(0, 1 << (1 << k), count, dtype=np.uint64)
        v = b.node("lut", [v], indices=indices, tables=tables, source=f"layers.{number}")
    size = b[v].size
    weights = rng.choice([1, 1, 1, 1, 2, -1, 3], size)
    s = b.node(
        "group_sum",
        [v],
        offsets=np.linspace(0, size, groups + 1).astype(np.int64),
        indices=rng.permutation(size).astype(np.int32),
        weights=weights,
        bias=rng.integers(-9, 10, groups),
    )
    b.output("scores", s)
    b.output("class", b.node("argmax", [s], axis=0, last=last))
    return b.finish()


@pytest.fixture(scope="session")
def network() -> Callable[..., Graph]:
    """Return ``network(seed, ...)``, a random classifier."""
    return _network


def _zoo() -> Graph:
    """Every operation that the engine supports, in one graph with two inputs and many outputs."""
    rng = np.random.default_rng(7)
    b = Builder("zoo")
    x = b.input("x", Type(6, signed=True), (3, 4), bounds=(-20, 25))
    y = b.input("y", Type(4), (4,))
    z = b.input("z", Type(11, signed=True), (2,))
    w = b.input("w", Type(13), (2,))
    v = b.input("v", Type(8, signed=True), (1,))
    bit = b.input("flag", BIT, (1,))
    shown: dict[str, str] = {}
    shown["add"] = b.node("add", [x, y])
    shown["sub"] = b.node("sub", [y, x])
    shown["mul"] = b.node("mul", [x, y])
    shown["max"] = b.node("max", [x, y])
    shown["min"] = b.node("min", [y, x])
    shown["shift"] = b.node("shift", [x], amount=3)
    shown["sum"] = b.node("sum", [x], axes=(0,))
    shown["total"] = b.node("sum", [y], axes=(0,))
    shown["matvec"] = b.node(
        "matvec", [x], weights=rng.integers(-9, 10, (3, 4)), bias=np.array([5, -100, 0]), weight_frac=0
    )
    for rounding in ("floor", "half_up", "half_even", "toward_zero"):
        for overflow in ("saturate", "wrap"):
            narrow = {"type": "s4", "rounding": rounding, "overflow": overflow}
            shown[f"{rounding}_{overflow}_table"] = b.node("requantize", [x], factor="3/7", **narrow)
            shown[f"{rounding}_{overflow}"] = b.node("requantize", [z], factor="-5/16", **{**narrow, "type": "s7"})
            shown[f"{rounding}_{overflow}_tiny"] = b.node("requantize", [z], factor="1/4096", **narrow)
    shown["select"] = b.node("select", [bit, x, y])
    for kind in ("ge", "gt", "eq"):
        shown[kind] = b.node("relation", [x, y], kind=kind)
        shown[f"{kind}_wide"] = b.node("relation", [z, w], kind=kind)
    shown["argmax"] = b.node("argmax", [x], axis=0, last=False)
    shown["argmax_last"] = b.node("argmax", [x], axis=1, last=True)
    shown["argmax_wide"] = b.node("argmax", [w], axis=0, last=False)
    shown["top_values"], shown["top_indices"] = b.nodes("topk", [x], axis=1, k=3, largest=True)
    shown["low_values"], shown["low_indices"] = b.nodes("topk", [x], axis=0, k=2, largest=False)
    shown["table"] = b.node("table", [y], entries=rng.integers(-99, 100, 16), lo=0, type="s8")
    shown["rom"] = b.node("table", [v], entries=rng.integers(0, 8, 256), lo=-128, type="u3")
    bits = b.node("bits", [x])
    shown["bits"] = bits
    shown["unbits"] = b.node("unbits", [bits], type="s6")
    for kind in ("and", "or", "xor"):
        shown[kind] = b.node("bitwise", [x, b.node("slice", [x], starts=(1, 0), stops=(2, 4), steps=(1, 1))], kind=kind)
    shown["not"] = b.node("bitwise", [x], kind="not")
    shown["transpose"] = b.node("transpose", [x], perm=(1, 0))
    shown["gather"] = b.node("gather", [x], indices=np.array([[2, 0], [1, 1]]), axis=0)
    shown["concat"] = b.node("concat", [x, b.const(np.array([[-3, 1, 0, 20]]), Type(6, signed=True))], axis=0)
    shown["broadcast"] = b.node("broadcast", [y], shape=(2, 4))
    shown["reshape"] = b.node("reshape", [x], shape=(12,))
    shown["compare"] = b.node(
        "compare", [z], indices=np.array([0, 1, 0, 1], np.int32), thresholds=np.array([-1024, -5, 77, 1023])
    )
    shown["compare_wide"] = b.node(
        "compare", [w], indices=np.array([0, 1], np.int32), thresholds=np.array([4097, 8191])
    )
    flat = b.node("reshape", [bits], shape=(72,))
    k6 = rng.integers(0, 1 << 63, 9, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shown["lut6"] = b.node("lut", [flat], indices=rng.integers(-1, 72, (9, 6)).astype(np.int32), tables=k6)
    shown["lut1"] = b.node(
        "lut", [flat, bit], indices=np.array([[0], [72], [5], [6]], np.int32), tables=np.arange(4, dtype=np.uint64)
    )
    shown["group_sum"] = b.node(
        "group_sum",
        [flat, bit],
        offsets=np.array([0, 0, 1, 60, 90]),
        indices=rng.integers(0, 73, 90).astype(np.int32),
        weights=rng.integers(-7, 8, 90),
        bias=np.array([-4, 3, 1000, 0]),
    )
    for name, value in shown.items():
        b.output(name, value)
    return b.finish()


@pytest.fixture(scope="session")
def zoo() -> Graph:
    """Every supported operation in one graph."""
    return _zoo()
