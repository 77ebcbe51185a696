"""Fixed-point graphs for the gated engine, written by hand with the builder, each with what it exercises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from neuroloom.compiler.ir import Builder, Graph, Type

RNG = np.random.default_rng
S8, S12, S16 = Type(8, True), Type(12, True), Type(16, True)


def requantize(
    b: Builder, x: str, type_: str, factor: str = "1", rounding: str = "half_up", overflow: str = "saturate"
) -> str:
    """A requantize."""
    return b.node("requantize", [x], type=type_, factor=factor, rounding=rounding, overflow=overflow)


def curve(bits: int, frac: int, out: int, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A function of a signed type's integers as a table with ``out`` fraction bits."""
    x = np.arange(-(1 << bits - 1), 1 << bits - 1) / (1 << frac)
    return np.rint(function(x) * (1 << out)).astype(np.int64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def gru_cell(
    b: Builder, x: str, h: str, inputs: int, hidden: int, rng: np.random.Generator, *, bits: int = 8, weight: int = 100
) -> str:
    """One step of a GRU (linear before reset): x s8.4, h s16.8 in and out."""
    w = rng.integers(-weight, weight, (3, hidden, inputs))
    u = rng.integers(-weight, weight, (3, hidden, hidden))
    bias = rng.integers(-80000, 80000, (3, hidden))
    low = -(1 << bits - 1)
    sig, tanh = curve(bits, bits - 4, 8, sigmoid), curve(bits, bits - 4, 8, np.tanh)

    def parts(k: int) -> tuple[str, str]:
        a = b.node("matvec", [x], weights=w[k], bias=bias[k], weight_frac=12)
        return a, b.node("matvec", [h], weights=u[k], weight_frac=8)

    def table(v: str, entries: np.ndarray) -> str:
        return b.node("table", [v], entries=entries, lo=low, type="s16.8")

    step = f"s{bits}.{bits - 4}"
    down = f"1/{1 << 16 - (bits - 4)}"
    gates = [table(requantize(b, b.node("add", list(parts(k))), step, down), sig) for k in (0, 1)]
    new_x, new_h = parts(2)
    product = b.node("mul", [gates[0], requantize(b, new_h, "s16.8", "1/256")])
    n = table(requantize(b, b.node("add", [product, new_x]), step, down), tanh)
    rest = b.node("sub", [b.const(np.array(256), Type(16, True, 8)), gates[1]])
    both = b.node("add", [b.node("mul", [gates[1], h]), b.node("mul", [rest, n])])
    return requantize(b, both, "s16.8", "1/256")


def gru_step(inputs: int = 10, hidden: int = 6, seed: int = 0, **options: int) -> Graph:
    """A clocked GRU: its state stays on the device."""
    b = Builder("gru", clocked=True)
    x = b.input("x", Type(8, True, 4), (inputs,))
    h = b.state(np.zeros(hidden, np.int64), Type(16, True, 8), "sample", name="h")
    new = gru_cell(b, x, h, inputs, hidden, RNG(seed), **options)
    b.update(h, new)
    b.output("h", new)
    return b.finish()


def gru_scan(steps: int = 4, inputs: int = 5, hidden: int = 6, seed: int = 1) -> Graph:
    """A framed GRU over a whole sequence, backwards, with every state and the last one as outputs."""
    b = Builder("gru-scan")
    xs = b.input("x", Type(8, True, 4), (steps, inputs))
    start = b.const(np.zeros(hidden, np.int64), Type(16, True, 8))

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        new = gru_cell(b, elements[0], carried[0], inputs, hidden, RNG(seed))
        return [new], [new]

    last, seen = b.scan(steps, [start], [xs], body, reverse=(1, 0))
    b.output("last", last)
    b.output("seen", seen)
    return b.finish()


def dense(seed: int = 2) -> Graph:
    """Layers of a multilayer perceptron: wide biases, a residual, a GLU, every rounding, a factor that is no power of two."""
    rng = RNG(seed)
    b = Builder("dense")
    x = b.input("x", S8, (11,))

    def layer(v: str, outs: int, bias: int = 3000) -> str:
        size = b[v].shape[-1]
        w = rng.integers(-90, 90, (outs, size))
        return b.node("matvec", [v], weights=w, bias=rng.integers(-bias, bias, outs), weight_frac=0)

    first = requantize(b, layer(x, 13), "u8", "7/1235", "half_even")
    a, gate = layer(first, 9, 100000), layer(first, 9)
    gated = b.node("mul", [requantize(b, a, "s8", "1/512", "toward_zero"), requantize(b, gate, "u7", "1/300", "floor")])
    glu = requantize(b, gated, "s10", "3/7", "half_up", "wrap")
    wide = b.node("add", [layer(glu, 9), b.node("shift", [glu], amount=3)])
    b.output("y", requantize(b, wide, "s12", "1/64", "half_even"))
    b.output("wide", wide)
    b.output("class", b.node("argmax", [wide], axis=0, last=False))
    values, indices = b.nodes("topk", [wide], axis=0, k=3, largest=False)
    b.output("least", values)
    b.output("places", indices)
    return b.finish()


def comparisons(seed: int = 3) -> Graph:
    """max, min, select, relations, bits, sums over axes, moves, and values wider than a word."""
    rng = RNG(seed)
    b = Builder("comparisons")
    x, y = b.input("x", S12, (3, 5)), b.input("y", S12, (5,))
    u = b.input("u", Type(20), (4,))
    big, small = b.node("max", [x, y]), b.node("min", [x, y])
    ge, gt, eq = (b.node("relation", [x, y], kind=k) for k in ("ge", "gt", "eq"))
    b.output("big", big)
    b.output("bits", b.node("concat", [ge, gt, eq], axis=0))
    b.output("chosen", b.node("select", [b.node("bitwise", [gt, eq], kind="or"), big, small]))
    b.output("rows", b.node("sum", [x], axes=(1,)))
    b.output("columns", b.node("sum", [b.node("mul", [x, x])], axes=(0,)))
    turned = b.node("transpose", [x], perm=(1, 0))
    flat = b.node("reshape", [turned], shape=(15,))
    picked = b.node("gather", [flat], indices=np.array([14, 2, 2, 7]), axis=0)
    b.output("wide", b.node("sub", [b.node("mul", [picked, u]), b.const(rng.integers(-(1 << 30), 1 << 30, 4))]))
    b.output("last", b.node("argmax", [x], axis=1, last=True))
    b.output("near", requantize(b, u, "s9", "5/9001", "half_up"))
    cut = b.node("slice", [x], starts=(1, 0), stops=(3, 5), steps=(1, 2))
    b.output("scaled", b.node("mul", [cut, b.const(np.array(-300))]))
    return b.finish()


def gated(seed: int = 4) -> Graph:
    """A skip gate, experts, an early exit: regions that cost nothing when they are not chosen."""
    rng = RNG(seed)
    b = Builder("gated")
    x = b.input("x", S8, (6,))
    n = b.input("n", Type(2), ())

    def layer(v: str, outs: int, type_: str = "s8") -> str:
        w = rng.integers(-90, 90, (outs, b[v].shape[-1]))
        return requantize(b, b.node("matvec", [v], weights=w, weight_frac=0), type_, "1/256")

    score = layer(x, 1)
    zero = b.const(np.array([0]), S8)
    opened = b.node("reshape", [b.node("relation", [score, zero], kind="gt")], shape=())
    skip = b.region(lambda: [layer(layer(x, 12), 6)])
    keep = b.region(lambda: [b.node("reshape", [x], shape=(6,))])
    mixed = b.node("when", [opened], regions=[skip, keep])
    sure = b.node("relation", [b.node("reshape", [layer(mixed, 1)], shape=()), b.const(np.array(20), S8)], kind="ge")
    early = layer(mixed, 3, "s9")
    b.nodes("exit_when", [sure, early, b.const(np.array(1), Type(1))])
    experts = [b.region(lambda outs=outs: [layer(layer(mixed, outs), 3, "s9")]) for outs in (4, 9, 2)]
    experts.append(
        b.region(lambda: [b.node("requantize", [early], type="s9", factor="1/2", rounding="floor", overflow="wrap")])
    )
    chosen = b.node("switch", [n], regions=experts)
    b.output("y", chosen)
    b.output("early", b.const(np.array(0), Type(1)))
    return b.finish()


def states(seed: int = 5) -> Graph:
    """Clocked: a state updated in a branch and read after it, one that outlives the sample, and a table of 8 entries."""
    rng = RNG(seed)
    b = Builder("states", clocked=True)
    x = b.input("x", S8, (4,))
    s = b.state(rng.integers(-50, 50, 4), S12, "sample", name="s")
    total = b.state(np.zeros(4, np.int64), S16, "persistent", name="total")
    cond = b.node("relation", [b.node("sum", [x], axes=(0,)), b.const(np.array(0))], kind="ge")

    def moved() -> list[str]:
        new = requantize(b, b.node("add", [s, x]), "s12")
        b.update(s, new)
        return [new]

    value = b.node("when", [cond], regions=[b.region(moved), b.region(lambda: [requantize(b, x, "s12")])])
    b.output("before", s)
    b.output("value", value)
    small = requantize(b, s, "s3", "1/32")
    b.output("table", b.node("table", [small], entries=rng.integers(-99, 99, 8), lo=-4, type="s8"))
    new_total = requantize(b, b.node("add", [total, value]), "s16")
    b.update(total, new_total)
    b.output("total", new_total)
    return b.finish()


def attention(seed: int = 6) -> Graph:
    """A matrix state per head: S <- g * S + k v^T, read by q; and a computed index."""
    b = Builder("attention", clocked=True)
    heads, keys, values = 2, 3, 4
    k, q = (b.input(name, S8, (heads, keys)) for name in "kq")
    v, g = b.input("v", S8, (heads, values)), b.input("g", Type(8), (heads,))
    which = b.input("which", Type(1), ())
    s = b.state(np.zeros((heads, keys, values), np.int64), S16, "sample", name="s")
    decayed = b.node("mul", [s, b.node("reshape", [g], shape=(heads, 1, 1))])
    added = b.node("shift", [b.node("contract", [k, v], equation="hk,hv->hkv")], amount=2)
    new = requantize(b, b.node("add", [decayed, added]), "s16", "1/256")
    b.update(s, new)
    read = b.node("contract", [new, q], equation="hkv,hk->hv")
    b.output("read", requantize(b, read, "s16", "1/128"))
    b.output("head", b.node("take", [new, which], axis=0))
    return b.finish()


def convolution(seed: int = 7) -> Graph:
    """A strided convolution with padding, one in groups, and a sum over positions."""
    rng = RNG(seed)
    b = Builder("convolution")
    x = b.input("x", S8, (2, 5, 5))
    w = rng.integers(-90, 90, (3, 2, 3, 3))
    first = b.node(
        "conv",
        [x],
        weights=w,
        bias=rng.integers(-999, 999, 3),
        weight_frac=0,
        strides=(2, 1),
        pads=(1, 1, 0, 1),
        groups=1,
    )
    small = requantize(b, first, "u7", "1/64")
    grouped = b.node(
        "conv",
        [small],
        weights=rng.integers(-90, 90, (6, 1, 2, 2)),
        weight_frac=0,
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        groups=3,
    )
    b.output("pooled", requantize(b, b.node("sum", [requantize(b, grouped, "s9", "1/16")], axes=(1, 2)), "s9", "1/4"))
    b.output("small", small)
    return b.finish()


def autoencoder(steps: int = 4, inputs: int = 5, hidden: int = 6, seed: int = 8) -> Graph:
    """LFADS in small: two GRUs over a sequence, forwards and backwards, their ends into a third one, its states into rates."""
    rng = RNG(seed)
    b = Builder("autoencoder")
    xs = b.input("x", Type(8, True, 4), (steps, inputs))
    start = b.const(np.zeros(hidden, np.int64), Type(16, True, 8))
    ends = []
    for back in (0, 1):

        def body(carried: list[str], elements: list[str], back: int = back) -> tuple[list[str], list[str]]:
            return [gru_cell(b, elements[0], carried[0], inputs, hidden, RNG(seed + back))], []

        ends += b.scan(steps, [start], [xs], body, reverse=(back,))
    both = b.node("concat", ends, axis=0)
    first = b.node("matvec", [both], weights=rng.integers(-99, 99, (hidden, 2 * hidden)), weight_frac=8)
    zeros = b.const(np.zeros((steps, 1), np.int64), Type(8, True, 4))

    def decode(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        new = gru_cell(b, elements[0], carried[0], 1, hidden, RNG(seed + 2))
        return [new], [new]

    last, seen = b.scan(steps, [requantize(b, first, "s16.8", "1/256")], [zeros], decode)
    factors = b.node("matvec", [seen], weights=rng.integers(-99, 99, (2, hidden)), weight_frac=8)
    rates = b.node(
        "matvec", [requantize(b, factors, "s16.8", "1/256")], weights=rng.integers(-99, 99, (7, 2)), weight_frac=8
    )
    address = requantize(b, rates, "s6.3", "1/8192")
    b.output("rates", b.node("table", [address], entries=curve(6, 3, 8, np.exp), lo=-32, type="u15.8"))
    b.output("last", last)
    return b.finish()


def delta_step(inputs: int = 9, hidden: int = 5, threshold: int = 12, seed: int = 9) -> Graph:
    """A recurrent layer whose products see only changes: the sum of two of them, and one alone behind it."""
    rng = RNG(seed)
    b = Builder("delta_step", clocked=True)
    x = b.input("x", S8, (inputs,))
    h = b.state(np.zeros(hidden, np.int64), S12, "sample", name="h")
    sums = []
    for name, size, least in ((x, inputs, threshold), (h, hidden, 1)):
        sent = b.state(np.zeros(size, np.int64), b[name].type, "sample", name="sent")
        new = b.node("delta", [name, sent], threshold=least)
        b.update(sent, new)
        bias = rng.integers(-9000, 9000, hidden)
        sums.append(b.node("matvec", [new], weights=rng.integers(-99, 99, (hidden, size)), bias=bias, weight_frac=0))
        alone = rng.integers(-99, 99, (3, size))
        b.output(f"y{len(sums)}", requantize(b, b.node("matvec", [new], weights=alone, weight_frac=0), "s12", "1/64"))
    new_h = requantize(b, b.node("add", sums), "s12", "1/128")
    b.update(h, new_h)
    b.output("h_new", new_h)
    return b.finish()


def delta_scan(steps: int = 6, inputs: int = 7, outputs: int = 4, threshold: int = 20, seed: int = 10) -> Graph:
    """The same over a sequence, in a loop; what was handed on is not 0 at first, and wider than a word holds changes of."""
    rng = RNG(seed)
    b = Builder("delta_scan")
    xs = b.input("x", S8, (steps, inputs))
    ys = b.input("y", S16, (steps, 2))
    starts = [b.const(np.full(inputs, 7), S8), b.const(np.zeros(2, np.int64), S16)]

    def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
        news = [
            b.node("delta", [element, sent], threshold=least)
            for element, sent, least in zip(elements, carried, (threshold, 3000), strict=True)
        ]
        sums = [
            b.node("matvec", [new], weights=rng.integers(-99, 99, (outputs, b[new].shape[0])), weight_frac=0)
            for new in news
        ]
        return news, [requantize(b, b.node("add", sums), "s16", "1/256")]

    _, _, seen = b.scan(steps, starts, [xs, ys], body)
    b.output("seen", seen)
    return b.finish()


GRAPHS: dict[str, Callable[[], Graph]] = {
    "gru_step": gru_step,
    "gru_scan": gru_scan,
    "dense": dense,
    "comparisons": comparisons,
    "gated": gated,
    "states": states,
    "attention": attention,
    "convolution": convolution,
    "autoencoder": autoencoder,
    "delta_step": delta_step,
    "delta_scan": delta_scan,
}
"""Every graph by name."""
