"""Turns the graph's operations into three-input gates, one function per operation.

A value of the graph becomes an int64 array of literals [*shape, width], least significant bit first, two's complement when
its type is signed. This is a reading of the operations of its own, independent of the reference interpreter's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Node, Type, Value

from .classes import AND2, MAJ3, MUX, OR2, XOR2, XOR3
from .netlist import FALSE, TRUE, Netlist

Blaster = Callable[["Context", Node, Sequence[np.ndarray]], "np.ndarray | Sequence[np.ndarray]"]

BLASTERS: dict[str, Blaster] = {}


class Context:
    """The netlist being built and the graph's values by name."""

    def __init__(self, net: Netlist, values: dict[str, Value]) -> None:
        self.net = net
        self.values = values

    def types(self, node: Node) -> list[Type]:
        """Types of the node's inputs."""
        return [self.values[name].type for name in node.inputs]


def blaster(name: str) -> Callable[[Blaster], Blaster]:
    """Register the decorated function for operation ``name``."""

    def register(run: Blaster) -> Blaster:
        BLASTERS[name] = run
        return run

    return register


def blast(context: Context, node: Node, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Literals of the node's outputs, each cut or extended to its declared width; raises UnsupportedError."""
    run = BLASTERS.get(node.op)
    if run is None:
        raise UnsupportedError(f"{node.where()}: the bit-packed engine has no {node.op}; use the reference engine")
    result = run(context, node, inputs)
    outputs = [result] if isinstance(result, np.ndarray) else list(result)
    return [extend(o, v.type.signed, v.type.width) for o, v in zip(outputs, node.outputs, strict=True)]


def extend(x: np.ndarray, signed: bool, width: int) -> np.ndarray:
    """Cut, or extend by the sign or zeros, to ``width`` bits."""
    if x.shape[-1] >= width:
        return x[..., :width]
    fill = x[..., -1:] if signed else np.full((*x.shape[:-1], 1), FALSE, np.int64)
    return np.concatenate([x, np.repeat(fill, width - x.shape[-1], axis=-1)], axis=-1)


def _flat(inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([x.reshape(-1) for x in inputs])


def _wide(context: Context, node: Node, inputs: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """Operands extended to ``width`` bits and broadcast to one shape."""
    grown = [extend(x, t.signed, width) for x, t in zip(inputs, context.types(node), strict=True)]
    ndim = max(g.ndim for g in grown)
    return list(np.broadcast_arrays(*[g.reshape(*[1] * (ndim - g.ndim), *g.shape) for g in grown]))


def _common_width(context: Context, node: Node, names: slice = slice(None)) -> int:
    """Bits in which all operands fit as two's complement."""
    return max(t.width + (not t.signed) for t in context.types(node)[names])


def constant(value: np.ndarray | int, width: int) -> np.ndarray:
    """Literals of constant integers."""
    return (np.asarray(value, np.int64)[..., None] >> np.arange(width)) & 1


def add_bits(net: Netlist, a: np.ndarray, b: np.ndarray, carry: int = FALSE) -> np.ndarray:
    """a + b + carry modulo 2**width."""
    c: np.ndarray = np.asarray(carry)
    out = []
    for i in range(a.shape[-1]):
        x, y = a[..., i], b[..., i]
        out.append(net.gates(XOR3, x, y, np.broadcast_to(c, x.shape)))
        if i + 1 < a.shape[-1]:
            c = net.gates(MAJ3, x, y, np.broadcast_to(c, x.shape))
    return np.stack(out, axis=-1)


def less(net: Netlist, a: np.ndarray, b: np.ndarray, *, or_equal: bool) -> np.ndarray:
    """a < b (or a <= b) of two's-complement numbers of equal width: the borrow of a - b."""
    x, y = a.copy(), b.copy()
    x[..., -1] ^= 1  # offset binary turns the signed order into the unsigned one
    y[..., -1] ^= 1
    borrow = np.full(x.shape[:-1], TRUE if or_equal else FALSE, np.int64)
    for i in range(x.shape[-1]):
        borrow = net.gates(MAJ3, x[..., i] ^ 1, y[..., i], borrow)
    return borrow


def mux(net: Netlist, cond: np.ndarray, yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """cond ? yes : no over literals of equal shape; cond without the bit axis."""
    return net.gates(MUX, no, yes, np.broadcast_to(cond[..., None], yes.shape))


def tables(net: Netlist, table: np.ndarray, lits: np.ndarray) -> np.ndarray:
    """Lookup tables uint64[M] over literals [M, K], K <= 6, by cofactors on the input that simplifies most."""
    k = lits.shape[1]
    if k <= 3:
        grown = table.copy()
        for i in range(k, 3):
            grown |= grown << np.uint64(1 << i)
        return net.gates(grown.astype(np.uint8), *lits.T)
    table, lits = _best_input_last(table, lits)
    half = np.uint64(1 << (k - 1))
    mask = np.uint64((1 << (1 << (k - 1))) - 1)
    low, high = table & mask, table >> half
    first = tables(net, low, lits[:, :-1])
    opposite = high == low ^ mask  # f = low xor top: the second cofactor costs nothing
    simple = opposite | (high == 0) | (high == mask) | (high == low)
    second = np.where(opposite, first ^ 1, np.where(high == 0, FALSE, np.where(high == mask, TRUE, first)))
    rest = np.flatnonzero(~simple)
    second[rest] = tables(net, high[rest], lits[rest, :-1])
    return net.gates(MUX, first, second, lits[:, -1])


def _swap_last(table: np.ndarray, i: int, k: int) -> np.ndarray:
    """Tables with inputs i and k-1 exchanged."""
    out = np.zeros_like(table)
    for address in range(1 << k):
        bit_i, bit_k = address >> i & 1, address >> (k - 1) & 1
        other = address & ~((1 << i) | (1 << (k - 1))) | bit_k << i | bit_i << (k - 1)
        out |= ((table >> np.uint64(address)) & np.uint64(1)) << np.uint64(other)
    return out


def _best_input_last(table: np.ndarray, lits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Permute each table so that the cofactors on its last input are the simplest pair."""
    k = lits.shape[1]
    half, mask = np.uint64(1 << (k - 1)), np.uint64((1 << (1 << (k - 1))) - 1)
    unique, back = np.unique(table, return_inverse=True)
    best = np.full(len(unique), 99)
    choice = np.zeros(len(unique), np.int64)
    swapped = np.zeros((k, len(unique)), np.uint64)
    for i in range(k):
        swapped[i] = _swap_last(unique, i, k)
        low, high = swapped[i] & mask, swapped[i] >> half
        constants = ((low == 0) | (low == mask)).astype(int) + ((high == 0) | (high == mask))
        cost = np.where(low == high, 0, np.where((low == high ^ mask), 1, 2 - constants))
        better = cost < best
        best[better], choice[better] = cost[better], i
    choice = choice[back]
    out = swapped[choice, back]
    lits = lits.copy()
    rows = np.arange(len(lits))
    chosen = lits[rows, choice]
    lits[rows, choice] = lits[:, k - 1]
    lits[:, k - 1] = chosen
    return out, lits


@blaster("const")
def const(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return constant(node.attrs["data"], node.outputs[0].type.width)


@blaster("lut")
def lut(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    x = np.append(_flat(inputs), FALSE)  # index -1 reads the 0 at the end
    lits = x[node.attrs["indices"]]
    return tables(c.net, node.attrs["tables"], lits).reshape(*node.outputs[0].shape, 1)


@blaster("compare")
def compare(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_ = c.types(node)[0]
    x = inputs[0].reshape(-1, type_.width)[node.attrs["indices"]]
    thresholds = node.attrs["thresholds"].astype(np.int64)
    width = type_.width + 1
    limit = constant(np.clip(thresholds, type_.lo, type_.hi), width)
    result = less(c.net, limit, extend(x, type_.signed, width), or_equal=True)
    result = np.where(thresholds <= type_.lo, TRUE, np.where(thresholds > type_.hi, FALSE, result))
    return result.reshape(*node.outputs[0].shape, 1)


@blaster("group_sum")
def group_sum(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    offsets, indices = node.attrs["offsets"].astype(np.int64), node.attrs["indices"]
    groups, width = len(offsets) - 1, node.outputs[0].type.width
    weights = node.attrs.get("weights", np.ones(len(indices), np.int64)).astype(np.int64)
    bias = node.attrs.get("bias", np.zeros(groups, np.int64)).astype(np.int64)
    lits = _flat(inputs)[indices]
    group = np.repeat(np.arange(groups), np.diff(offsets))
    # -w*x = w*(not x) - w: every weight becomes positive, the rest goes into the bias
    np.add.at(bias := bias.copy(), group, np.minimum(weights, 0))
    lits, weights = lits ^ (weights < 0), np.abs(weights)
    columns = []
    for p in range(width):
        used = (weights >> p & 1) == 1
        fixed = (bias >> p & 1) == 1  # modulo 2**width, the declared type's range makes it exact
        columns.append(
            (np.append(group[used], np.flatnonzero(fixed)), np.append(lits[used], np.full(fixed.sum(), TRUE)))
        )
    return _compress(c.net, columns, groups).reshape(*node.outputs[0].shape, width)


def _compress(net: Netlist, columns: list[tuple[np.ndarray, np.ndarray]], groups: int) -> np.ndarray:
    """Add up bits given per weight 2**p as (group, literal) arrays: full adders until one bit per group and weight."""
    out = np.zeros((groups, len(columns)), np.int64)
    for p in range(len(columns)):
        group, lits = columns[p]
        while True:
            order = np.argsort(group, kind="stable")
            group, lits = group[order], lits[order]
            counts = np.bincount(group, minlength=groups)
            if counts.max(initial=0) <= 1:
                break
            place = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
            triples = np.flatnonzero((place % 3 == 0) & (place + 2 < counts[group]))
            pairs = np.flatnonzero((counts[group] == 2) & (place == 0))
            taken = np.concatenate([triples, triples + 1, triples + 2, pairs, pairs + 1])
            rest = np.ones(len(group), bool)
            rest[taken] = False
            x, y, z = lits[triples], lits[triples + 1], lits[triples + 2]
            a, b = lits[pairs], lits[pairs + 1]
            sums = np.concatenate([net.gates(XOR3, x, y, z), net.gates(XOR2, a, b)])
            if p + 1 < len(columns):
                carries = np.concatenate([net.gates(MAJ3, x, y, z), net.gates(AND2, a, b)])
                to = np.concatenate([group[triples], group[pairs]])
                columns[p + 1] = (np.append(columns[p + 1][0], to), np.append(columns[p + 1][1], carries))
            lits = np.concatenate([lits[rest], sums])
            group = np.concatenate([group[rest], group[triples], group[pairs]])
        out[group, p] = lits
    return out


@blaster("bitwise")
def bitwise(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    kind = node.attrs["kind"]
    if kind == "not":
        return inputs[0] ^ 1
    a, b = _wide(c, node, inputs, inputs[0].shape[-1])
    return c.net.gates({"and": AND2, "or": OR2, "xor": XOR2}[kind], a, b)


@blaster("add")
def add(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = _wide(c, node, inputs, node.outputs[0].type.width)
    return add_bits(c.net, a, b)


@blaster("sub")
def sub(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = _wide(c, node, inputs, node.outputs[0].type.width)
    return add_bits(c.net, a, b ^ 1, TRUE)


@blaster("shift")
def shift(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    zeros = np.full((*inputs[0].shape[:-1], node.attrs["amount"]), FALSE, np.int64)
    return extend(np.concatenate([zeros, inputs[0]], axis=-1), c.types(node)[0].signed, node.outputs[0].type.width)


@blaster("sum")
def sum_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    axes, x = node.attrs["axes"], inputs[0]
    width = node.outputs[0].type.width
    terms = extend(np.moveaxis(x, axes, range(len(axes))), c.types(node)[0].signed, width)
    terms = terms.reshape(-1, *terms.shape[len(axes) :])
    while len(terms) > 1:
        half = len(terms) // 2
        terms = np.concatenate([add_bits(c.net, terms[:half], terms[half : 2 * half]), terms[2 * half :]])
    return terms[0]


@blaster("max")
def max_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = _wide(c, node, inputs, _common_width(c, node))
    return mux(c.net, less(c.net, a, b, or_equal=False), b, a)


@blaster("min")
def min_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = _wide(c, node, inputs, _common_width(c, node))
    return mux(c.net, less(c.net, a, b, or_equal=False), a, b)


@blaster("relation")
def relation(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a, b = _wide(c, node, inputs, _common_width(c, node))
    kind = node.attrs["kind"]
    if kind == "eq":
        same = np.full(a.shape[:-1], TRUE, np.int64)
        for i in range(a.shape[-1]):
            same = c.net.gates(AND2, same, c.net.gates(XOR2, a[..., i], b[..., i]) ^ 1)
        return same[..., None]
    return less(c.net, b, a, or_equal=kind == "ge")[..., None]


@blaster("select")
def select(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    width = _common_width(c, node, slice(1, None))
    cond, yes, no = _wide(c, node, inputs, width)
    return mux(c.net, cond[..., 0], yes, no)


@blaster("argmax")
def argmax(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_ = c.types(node)[0]
    best = extend(np.moveaxis(inputs[0], node.attrs["axis"], 0), type_.signed, type_.width + 1)
    shape = (len(best), *best.shape[1:-1])
    width = node.outputs[0].type.width
    index = constant(np.broadcast_to(np.arange(len(best)).reshape(-1, *[1] * (len(shape) - 1)), shape), width)
    while len(best) > 1:  # neighbours play, so the left one always has the lower index
        pairs = len(best) // 2 * 2
        left, right = best[0:pairs:2], best[1:pairs:2]
        wins = less(c.net, left, right, or_equal=node.attrs["last"])
        winner = mux(c.net, wins, right, left)
        place = mux(c.net, wins, index[1:pairs:2], index[0:pairs:2])
        best, index = np.concatenate([winner, best[pairs:]]), np.concatenate([place, index[pairs:]])
    return index[0]


@blaster("requantize")
def requantize(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    factor, rounding = Fraction(node.attrs["factor"]), node.attrs["rounding"]
    down = factor.denominator.bit_length() - 1
    up = abs(factor.numerator).bit_length() - 1
    if factor != Fraction(1 << up, 1 << down):
        raise UnsupportedError(
            f"{node.where()}: the bit-packed engine has powers of two only, not {factor}; use the reference engine"
        )
    source, type_ = c.types(node)[0], Type.parse(node.attrs["type"])
    x = extend(inputs[0], source.signed, max(source.width, down) + 2)
    x = np.concatenate([np.full((*x.shape[:-1], up), FALSE, np.int64), x], axis=-1)
    if down:
        x = _round(c.net, x, down, rounding)
    return _bound(c.net, x, type_, node.attrs["overflow"])


def _round(net: Netlist, x: np.ndarray, down: int, rounding: str) -> np.ndarray:
    """x / 2**down of two's-complement literals, rounded: add what rounding adds, then floor."""
    sign, odd = x[..., -1], x[..., down]
    half = constant((1 << (down - 1)), x.shape[-1])
    addend = np.broadcast_to(np.full(x.shape[-1], FALSE, np.int64), x.shape).copy()
    if rounding == "half_up":
        addend = np.broadcast_to(half, x.shape)
    elif rounding == "half_even":  # half - 1 + (is the floor odd)
        addend = add_bits(
            net,
            np.broadcast_to(constant(((1 << (down - 1)) - 1), x.shape[-1]), x.shape).copy(),
            np.concatenate([odd[..., None], addend[..., 1:]], axis=-1),
        )
    elif rounding == "toward_zero":  # a negative number gets 2**down - 1
        addend[..., :down] = sign[..., None]
    return add_bits(net, x, addend)[..., down:]


def _bound(net: Netlist, x: np.ndarray, type_: Type, overflow: str) -> np.ndarray:
    """Saturate or wrap two's-complement literals to ``type_``."""
    width = max(x.shape[-1], type_.width + 2)
    x = extend(x, True, width)
    if overflow == "saturate":
        for limit, above in ((type_.hi, True), (type_.lo, False)):
            bound = np.broadcast_to(constant((limit), width), x.shape)
            beyond = less(net, bound, x, or_equal=False) if above else less(net, x, bound, or_equal=False)
            x = mux(net, beyond, bound, x)
    return x[..., : type_.width]


@blaster("lookup")
def lookup(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    indices, entries, bits = node.attrs["indices"], node.attrs["tables"].astype(np.int64), node.attrs["input_bits"]
    type_ = c.types(node)[0]
    x = extend(inputs[0], type_.signed, max(bits, type_.width))[..., :bits].reshape(-1, bits)
    address = x[indices].reshape(len(indices), -1)
    width = node.outputs[0].type.width
    planes = [_mux_tree(c.net, entries >> j & 1, address) for j in range(width)]
    return np.stack(planes, axis=-1).reshape(*node.outputs[0].shape, width)


def _mux_tree(net: Netlist, entries: np.ndarray, address: np.ndarray) -> np.ndarray:
    """One bit per row: entries[row, address[row]], by 6-input tables and multiplexers above them."""
    low = min(address.shape[1], 6)
    words = (entries.reshape(len(entries), -1, 1 << low).astype(np.uint64) << np.arange(1 << low, dtype=np.uint64)).sum(
        axis=2, dtype=np.uint64
    )
    count = words.shape[1]
    lits = np.repeat(address[:, None, :low], count, axis=1).reshape(-1, low)
    level = tables(net, words.reshape(-1), lits).reshape(len(entries), count)
    for i in range(low, address.shape[1]):
        level = net.gates(
            MUX, level[:, 0::2], level[:, 1::2], np.broadcast_to(address[:, i : i + 1], level[:, 0::2].shape)
        )
    return level[:, 0]


@blaster("table")
def table(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    type_, entries = c.types(node)[0], node.attrs["entries"].astype(np.int64)
    codes = np.arange(1 << type_.width)
    values = np.where(codes > type_.hi, codes - (1 << type_.width), codes)
    by_code = entries[np.clip(values - node.attrs["lo"], 0, len(entries) - 1)]
    address = inputs[0].reshape(-1, type_.width)
    width = node.outputs[0].type.width
    planes = [
        _mux_tree(c.net, np.broadcast_to(by_code >> j & 1, (len(address), len(codes))), address) for j in range(width)
    ]
    return np.stack(planes, axis=-1).reshape(*node.outputs[0].shape, width)


@blaster("bits")
def bits(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0][..., None]


@blaster("unbits")
def unbits(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0][..., 0]


@blaster("reshape")
def reshape(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0].reshape(*node.attrs["shape"], inputs[0].shape[-1])


@blaster("transpose")
def transpose(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return inputs[0].transpose(*node.attrs["perm"], inputs[0].ndim - 1)


@blaster("concat")
def concat(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(inputs, axis=node.attrs["axis"])


@blaster("slice")
def slice_(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    a = node.attrs
    return inputs[0][tuple(slice(*s) for s in zip(a["starts"], a["stops"], a["steps"], strict=True))]


@blaster("gather")
def gather(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.take(inputs[0], node.attrs["indices"], axis=node.attrs["axis"])


@blaster("broadcast")
def broadcast(c: Context, node: Node, inputs: Sequence[np.ndarray]) -> np.ndarray:
    return np.broadcast_to(inputs[0], (*node.attrs["shape"], inputs[0].shape[-1]))
