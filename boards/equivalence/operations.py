"""How each operation is read, one function each; an operation without one, or that returns None, is not looked into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from neuroloom.compiler.ir import Node, Type

from .aig import Aig

if TYPE_CHECKING:
    from .reader import Reader


class Pending(Exception):
    """A node needs to know which of these literals are equal before it can be read."""

    def __init__(self, literals: np.ndarray) -> None:
        super().__init__()
        self.literals = literals


Handler = Callable[["Reader", Node, list[np.ndarray]], np.ndarray | None]
HANDLERS: dict[str, Handler] = {}


def _handles(*names: str) -> Callable[[Handler], Handler]:
    def wrap(run: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, run))
        return run

    return wrap


def _flat(arrays: Sequence[np.ndarray]) -> list[int]:
    return [x for a in arrays for x in a.reshape(-1).tolist()]


@_handles("const")
def _const(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    data = node.attrs["data"].astype(np.int64)
    if node.outputs[0].type.is_bit:
        return data
    return np.array([r.shared.forms.intern({}, v) for v in data.reshape(-1).tolist()], np.int64)


@_handles("lut")
def _lut(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    bits = [*_flat(x), 0]  # index -1 reads the last
    rows, tables = node.attrs["indices"].tolist(), node.attrs["tables"].tolist()
    table = r.shared.aig.table
    return np.array([table(t, [bits[i] for i in row]) for row, t in zip(rows, tables, strict=True)], np.int64)


@_handles("lut_conv")
def _lut_conv(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    a, (image,) = node.attrs, x
    kernel, strides, pads, rows = a["kernel"], a["strides"], a["pads"], a["indices"]
    n = len(kernel)
    image = np.pad(image, [*zip(pads[:n], pads[n:], strict=True), (0, 0)])  # literal 0 is constant 0
    kernels, _, k = rows.shape
    channels, out = image.shape[-1] // a["groups"], np.zeros(node.outputs[0].shape, np.int64)
    for at in itertools.product(*map(range, out.shape[:-1])):
        window = image[tuple(slice(p * s, p * s + w) for p, s, w in zip(at, strides, kernel, strict=True))]
        for m in range(kernels):
            first = m // (kernels // a["groups"]) * channels
            seen = window[..., first : first + channels].reshape(-1)
            level, tables = seen[rows[m]].reshape(-1).tolist(), iter(a["tables"][m].tolist())
            while True:
                level = [r.shared.aig.table(next(tables), level[j : j + k]) for j in range(0, len(level), k)]
                if len(level) == 1:
                    break
            out[(*at, m)] = level[0]
    return out


@_handles("lookup")
def _lookup(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    field, type_ = node.attrs["input_bits"], node.outputs[0].type
    name = node.inputs[0]
    source = [[b] + [0] * (field - 1) for b in _flat(x)] if r.is_bits(name) else [r.bits_of(w, field) for w in _flat(x)]
    out = []
    for row, entries in zip(node.attrs["indices"].tolist(), node.attrs["tables"].tolist(), strict=True):
        address = [bit for i in row for bit in source[i]]
        out += [_select(r.shared.aig, [e >> place & 1 for e in entries], address) for place in range(type_.width)]
    literals = np.array(out, np.int64).reshape(-1, type_.width)
    return literals if type_.is_bit else _join(r, literals, type_)


def _select(aig: Aig, entries: list[int], address: list[int]) -> int:
    """entries[address], the first bit of the address as its LSB."""
    for bit in address:
        entries = [aig.choose(bit, entries[j + 1], entries[j]) for j in range(0, len(entries), 2)]
    return entries[0]


def _join(r: Reader, literals: np.ndarray, type_: Type) -> np.ndarray:
    """Forms of integers from their bits [count, width]."""
    weights = [1 << place for place in range(type_.width)]
    if type_.signed:
        weights[-1] = -weights[-1]
    out = []
    for row in r.shared.settled(literals).tolist():
        number = r.shared.forms.of_bits(row, weights)
        r.shared.forms.bits.setdefault(number, (tuple(row), type_.signed))
        out.append(number)
    return np.array(out, np.int64)


@_handles("bits")
def _bits(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    if r.is_bits(node.inputs[0]):
        return x[0]
    return np.array([r.bits_of(w, node.outputs[0].shape[-1]) for w in _flat(x)], np.int64)


@_handles("unbits")
def _unbits(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    type_ = node.outputs[0].type
    return x[0] if type_.is_bit else _join(r, x[0].reshape(-1, type_.width), type_)


@_handles("compare")
def _compare(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    pairs = zip(node.attrs["indices"].tolist(), node.attrs["thresholds"].tolist(), strict=True)
    source = _flat(x)
    if r.is_bits(node.inputs[0]):
        return np.array([1 if t <= 0 else source[i] if t == 1 else 0 for i, t in pairs], np.int64)
    return np.array([r.at_least(source[i], t) for i, t in pairs], np.int64)


@_handles("relation")
def _relation(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    a, b = (np.broadcast_to(r.words(i), node.outputs[0].shape) for i in node.inputs)
    forms, aig = r.shared.forms, r.shared.aig
    out = []
    for u, v in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True):
        left, right = forms.constant(u), forms.constant(v)
        if right is not None:
            pair = r.at_least(u, right), r.at_least(u, right + 1) ^ 1
        elif left is not None:
            pair = r.at_least(v, left + 1) ^ 1, r.at_least(v, left)
        else:
            difference = forms.combine([(u, 1), (v, -1)])
            if all(w in forms.bits and len(forms.bits[w][0]) == 1 for w in (u, v)):
                p, q = forms.bits[u][0][0], forms.bits[v][0][0]
                pair = aig.either(p, q ^ 1), aig.either(p ^ 1, q)
            else:
                pair = r.at_least(difference, 0), r.at_least(difference, 1) ^ 1
        # pair is (u >= v, u <= v)
        kind = node.attrs["kind"]
        out.append(pair[0] if kind == "ge" else pair[1] ^ 1 if kind == "gt" else aig.both(*pair))
    return np.array(out, np.int64)


@_handles("reshape", "transpose", "concat", "slice", "gather", "broadcast")
def _moves(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    a = node.attrs
    if node.op == "transpose":
        return x[0].transpose(a["perm"])
    if node.op == "concat":
        return np.concatenate(x, axis=a["axis"])
    if node.op == "slice":
        return x[0][tuple(map(slice, a["starts"], a["stops"], a["steps"]))]
    if node.op == "gather":
        return x[0].take(a["indices"], axis=a["axis"])
    return np.broadcast_to(x[0], a["shape"]) if node.op == "broadcast" else x[0]


@_handles("bitwise", "select", "mul", "max", "min", "sub", "add")
def _elementwise(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray | None:
    arrays = np.broadcast_arrays(*x)
    kind = node.attrs.get("kind", node.op)
    if kind in BIT_OPERATIONS and node.outputs[0].type.is_bit and all(map(r.is_bits, node.inputs)):
        bits = zip(*(a.reshape(-1).tolist() for a in arrays), strict=True)
        return np.array([BIT_OPERATIONS[kind](r.shared.aig, *row) for row in bits], np.int64)
    words = np.broadcast_arrays(*(r.words(i) for i in node.inputs)) if node.op != "bitwise" else []
    forms = r.shared.forms
    rows = list(zip(*(a.reshape(-1).tolist() for a in words), strict=True))
    if node.op in ("add", "sub"):
        sign = 1 if node.op == "add" else -1
        numbers = [forms.combine([(a, 1), (b, sign)]) for a, b in rows]
        return _as_result(r, node, numbers)
    if node.op in ("max", "min"):
        sign = 1 if node.op == "max" else -1
        found = [_extreme(r, a, b, sign) for a, b in rows]
        numbers = [number for number in found if number is not None]
        return _as_result(r, node, numbers) if len(numbers) == len(found) else None
    return None


BIT_OPERATIONS: dict[object, Callable[..., int]] = {
    "and": Aig.both,
    "mul": Aig.both,
    "min": Aig.both,
    "or": Aig.either,
    "max": Aig.either,
    "xor": lambda aig, a, b: aig.choose(a, b ^ 1, b),
    "not": lambda aig, a: a ^ 1,
    "select": Aig.choose,
}


def _extreme(r: Reader, a: int, b: int, sign: int) -> int | None:
    """max (sign 1) or min (sign -1) of two forms where ranges decide it."""
    ra, rb = r.shared.forms.span(a), r.shared.forms.span(b)
    if ra is None or rb is None:
        return None
    if ra[0] >= rb[1]:
        return a if sign == 1 else b
    if rb[0] >= ra[1]:
        return b if sign == 1 else a
    return None


def _as_result(r: Reader, node: Node, numbers: list[int]) -> np.ndarray:
    """Forms as the node's output: where it is of type bit, the bit of each form."""
    if not node.outputs[0].type.is_bit:
        return np.array(numbers, np.int64)
    return np.array([r.at_least(n, 1) for n in numbers], np.int64)


@_handles("requantize")
def _requantize(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray | None:
    """Looked through only where it changes nothing: factor 1 and every integer proven to fit."""
    type_ = Type.parse(node.attrs["type"])
    numbers = _flat([r.words(node.inputs[0])])
    known = [r.shared.forms.span(n) for n in numbers]
    if Fraction(node.attrs["factor"]) != 1 or any(k is None or not type_.holds(k) for k in known):
        return None
    return _as_result(r, node, numbers)


@_handles("shift")
def _shift(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    factor = 1 << node.attrs["amount"]
    return _as_result(r, node, [r.shared.forms.combine([(n, factor)]) for n in _flat([r.words(node.inputs[0])])])


@_handles("table")
def _table(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray | None:
    if not (r.is_bits(node.inputs[0]) and node.outputs[0].type.is_bit):
        return None
    entries, lo = node.attrs["entries"].tolist(), node.attrs["lo"]
    table = sum(entries[v - lo] << v for v in (0, 1) if 0 <= v - lo < len(entries))
    return np.array([r.shared.aig.table(table, [b]) for b in _flat(x)], np.int64)


@_handles("group_sum")
def _group_sum(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    a = node.attrs
    offsets, indices = a["offsets"].tolist(), a["indices"]
    literals = r.shared.settled(np.array(_flat(x), np.int64)[indices]).tolist()
    weights = a["weights"].tolist() if "weights" in a else [1] * len(literals)
    bias = a["bias"].tolist() if "bias" in a else [0] * (len(offsets) - 1)
    spans = zip(offsets[:-1], offsets[1:], bias, strict=True)
    return _as_result(r, node, [r.shared.forms.of_bits(literals[i:j], weights[i:j], c) for i, j, c in spans])


@_handles("sum")
def _sum(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    words, axes, out = r.words(node.inputs[0]), node.attrs["axes"], node.outputs[0]
    kept = [d for d in range(words.ndim) if d not in axes]
    rows = words.transpose([*kept, *axes]).reshape(out.size, -1).tolist()
    return _as_result(r, node, [r.shared.forms.combine([(n, 1) for n in row]) for row in rows])


@_handles("matvec")
def _matvec(r: Reader, node: Node, x: list[np.ndarray]) -> np.ndarray:
    words, weights = r.words(node.inputs[0]), node.attrs["weights"].tolist()
    bias = node.attrs["bias"].tolist() if "bias" in node.attrs else [0] * len(weights)
    out = []
    for row in words.reshape(-1, words.shape[-1]).tolist():
        for line, constant in zip(weights, bias, strict=True):
            out.append(r.shared.forms.combine(list(zip(row, line, strict=True)), constant))
    return _as_result(r, node, out)
