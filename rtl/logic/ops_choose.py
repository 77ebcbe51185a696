"""Choices in hardware: trees of comparators and multiplexers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.ir import Node

from .lower import Bits, aligned, along, component
from .netlist import Netlist, Word
from .words import constant, equals, extend, greater, mux, unsigned


@component("argmax")
def argmax(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A tree of comparators that hand the larger value and its index on; the last one hands on the index only."""
    x, last, width = inputs[0], node.attrs["last"], node.outputs[0].type.width
    out = []
    for row in along(x, node.attrs["axis"]):
        words = [unsigned(net, word, x.signed) for word in row]
        out.append(extend(_best(net, words, last, True)[1], False, width))
    return [np.array(out, np.int32)]


def _best(net: Netlist, words: list[Word], last: bool, top: bool) -> tuple[Word, Word]:
    """(largest word, its index): the left part has a power of two elements, so a comparison is the index's top bit."""
    if len(words) == 1:
        return words[0], ()
    cut = 1 << ((len(words) - 1).bit_length() - 1)
    (a, i), (b, j) = _best(net, words[:cut], last, False), _best(net, words[cut:], last, False)
    right = greater(net, b, a, equal=True) if last else greater(net, b, a)
    value: Word = () if top else mux(net, right, b, a)
    return value, (*mux(net, right, extend(j, False, len(i)), i), right)


@component("topk")
def topk(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Lists of k best merged pairwise; the index is part of the key, so no two keys are equal."""
    x, k, axis = inputs[0], node.attrs["k"], node.attrs["axis"]
    values, indices = node.outputs
    smallest = not node.attrs["largest"]
    rows = along(x, axis)
    size = len(rows[0])
    bits = max(1, (size - 1).bit_length())

    def flip(word: Word) -> Word:
        return tuple(net.invert(b) for b in word) if smallest else word

    found_values, found_indices = [], []
    for row in rows:
        keys = [
            [(*constant(size - 1 - i, bits), *flip(unsigned(net, word, x.signed)))] for i, word in enumerate(row)
        ]  # of equals the lower index is the greater key
        while len(keys) > 1:
            pairs = [_merge(net, a, b, k) for a, b in zip(keys[::2], keys[1::2], strict=False)]
            keys = pairs + keys[len(pairs) * 2 :]
        best = keys[0][:k]
        found_values.append([unsigned(net, flip(key[bits:]), x.signed) for key in best])
        found_indices.append([_from_top(net, key[:bits], size, indices.type.width) for key in best])
    return [
        _placed(found, value.shape, axis, value.type.width)
        for found, value in ((found_values, values), (found_indices, indices))
    ]


def _merge(net: Netlist, a: list[Word], b: list[Word], k: int) -> list[Word]:
    """The k best of two lists sorted best first (Batcher's odd-even merge)."""
    if not a or not b:
        return (a or b)[:k]
    if len(a) == len(b) == 1:
        best = greater(net, b[0], a[0])
        return [mux(net, best, b[0], a[0]), mux(net, best, a[0], b[0])][:k]
    even, odd = _merge(net, a[::2], b[::2], k), _merge(net, a[1::2], b[1::2], k)
    out, rest = even[:1], even[1:]
    for i in range(max(len(rest), len(odd))):
        if i < len(rest) and i < len(odd):
            best = greater(net, odd[i], rest[i])
            out += [mux(net, best, odd[i], rest[i]), mux(net, best, rest[i], odd[i])]
        else:
            out.append(rest[i] if i < len(rest) else odd[i])
    return out[:k]


def _from_top(net: Netlist, word: Word, size: int, width: int) -> Word:
    """size - 1 - word."""
    bits = len(word)
    if size == 1 << bits:
        low: Word = tuple(net.invert(b) for b in word)
    else:
        table = [max(size - 1 - i, 0) for i in range(1 << bits)]
        if bits <= 6:
            low = tuple(net.lut(sum((v >> b & 1) << i for i, v in enumerate(table)), *word) for b in range(bits))
        else:
            low = net.word("rom", (word,), bits, 1 + bits - net.lut_size, tuple(table))
    return extend(low, False, width)


def _placed(rows: list[list[Word]], shape: tuple[int, ...], axis: int, width: int) -> np.ndarray:
    """Rows along ``axis`` back in the value's own order."""
    outer = shape[:axis] + shape[axis + 1 :]
    array = np.array(rows, np.int32).reshape(*outer, shape[axis], width)
    return np.moveaxis(array, -2, axis)


@component("select")
def select(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """Multiplexers."""
    value = node.outputs[0]
    cond = inputs[0]
    sides = [i.extended(value.type) for i in inputs[1:]]
    choose, yes, no = aligned([cond, *sides], value)
    return [np.array([mux(net, c[0], a, b) for c, a, b in zip(choose, yes, no, strict=True)], np.int32)]


def _comparable(net: Netlist, inputs: Sequence[Bits], node: Node) -> list[list[Word]]:
    """Both inputs as unsigned words of one width, in the same order as the integers."""
    signed = any(i.signed for i in inputs)
    width = max(i.width + (signed and not i.signed) for i in inputs)
    out = []
    for item, words in zip(inputs, aligned(inputs, node.outputs[0]), strict=True):
        out.append([unsigned(net, extend(w, item.signed, width), signed) for w in words])
    return out


@component("relation")
def relation(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A comparator per element."""
    kind = node.attrs["kind"]
    a, b = _comparable(net, inputs, node)
    if kind == "eq":
        return [np.array([equals(net, x, y) for x, y in zip(a, b, strict=True)], np.int32)]
    return [np.array([greater(net, x, y, equal=kind == "ge") for x, y in zip(a, b, strict=True)], np.int32)]


@component("max", "min")
def extreme(net: Netlist, node: Node, inputs: Sequence[Bits]) -> Sequence[np.ndarray]:
    """A comparator and a multiplexer per element."""
    value = node.outputs[0]
    keys = _comparable(net, inputs, node)
    sides = aligned([i.extended(value.type) if i.width < value.type.width else i for i in inputs], value)
    out = []
    for x, y, a, b in zip(*keys, *sides, strict=True):
        first = greater(net, x, y) if node.op == "max" else greater(net, y, x)
        out.append(mux(net, first, extend(a, False, value.type.width), extend(b, False, value.type.width)))
    return [np.array(out, np.int32)]
