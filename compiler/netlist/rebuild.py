"""From a flat netlist back to a graph: one lut node per node that still owns tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node, Value

from .flat import Netlist, Sum
from .kernels import invert

SUFFIX = ".luts"
"""Ending of the name of a lut node that no longer holds exactly its source's tables."""


def merge_sums(net: Netlist) -> None:
    """Bring every sum to its least form: constants in the bias, each signal at most once per group."""
    for total in net.sums.values():
        _merge(total, net.literal)


def _merge(total: Sum, literal: np.ndarray) -> None:
    literals = literal[total.literals >> 1] ^ (total.literals & 1)
    groups, weights = total.groups, total.weights
    fixed = literals < 2
    np.add.at(total.bias, groups[fixed & (literals == 1)], weights[fixed & (literals == 1)])
    groups, literals, weights = groups[~fixed], literals[~fixed].astype(np.int64), weights[~fixed]
    size = len(literal)
    keys, inverse = np.unique(groups * size + (literals >> 1), return_inverse=True)
    plain, inverted = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
    odd = (literals & 1).astype(bool)
    np.add.at(plain, inverse[~odd], weights[~odd])
    np.add.at(inverted, inverse[odd], weights[odd])
    # w * (1 - x) + v * x = w + (v - w) * x, needed only where a group has both phases of x
    only = np.ones(len(keys), bool)
    only[inverse[~odd]] = False
    both = ~only & (inverted != 0)
    np.add.at(total.bias, (keys // size)[both], inverted[both])
    plain[both] -= inverted[both]
    weights = np.where(only, inverted, plain)
    kept = weights != 0
    total.groups, total.weights = (keys // size)[kept], weights[kept]
    total.literals = ((keys % size) * 2 + only)[kept].astype(np.int32)


def roots(net: Netlist) -> np.ndarray:
    """Literals that something outside the netlist reads: elements of whole values that are gates, and terms of sums."""
    parts = [total.literals for total in net.sums.values()]
    for value, maker in zip(net.values, net.makers, strict=True):
        if maker is not None and maker.op in ("lut", "const") and value.name in net.whole:
            parts.append(net.literal[net.span(value.name)])
    return np.concatenate([np.zeros(0, np.int32), *parts])


def settle_phases(net: Netlist) -> np.ndarray:
    """Give every inverted literal that is read from outside a signal of its own; returns that signal for each literal.

    A gate that is read inverted only is negated in place, its readers absorbing the change; where both phases are read, or a
    leaf inverted, the first signal that equalled the inverse becomes a gate again. The map int32[2S] holds for every
    literal in ``roots`` the signal that carries it (constants: 0 and themselves are not mapped).
    """
    read = roots(net)
    needed = np.zeros(2 * net.size, bool)
    needed[read] = True
    carrier = np.repeat(np.arange(net.size, dtype=np.int32), 2)
    inverse = np.flatnonzero(needed[3::2]) + 1  # signals read inverted, constants left out
    if len(inverse) == 0:
        return carrier
    flipped = np.zeros(net.size, bool)
    flipped[inverse] = net.gate[inverse] & ~needed[2 * inverse]
    stand_in = np.zeros(net.size, np.int32)
    equal = np.flatnonzero(net.literal & 1)[::-1].astype(np.int32)  # the first in order wins
    stand_in[net.literal[equal] >> 1] = equal
    net.flipped = flipped
    if flipped.any():
        invert(net.fanin, net.count, net.table, net.gate, flipped)
    for s in inverse[~flipped[inverse]]:
        t = stand_in[s]
        net.gate[t], net.literal[t] = True, 2 * t
        if net.gate[s]:
            n = net.count[s]
            net.count[t], net.fanin[t] = n, net.fanin[s]
            net.table[t] = ~net.table[s] & np.uint64((1 << (1 << int(n))) - 1)
        else:
            net.count[t], net.fanin[t, 0], net.table[t] = 1, s, 1
        carrier[2 * s + 1] = t
    return carrier


def rebuild(net: Netlist, carrier: np.ndarray, alive: np.ndarray | None = None) -> Graph:
    """The graph whose logic is ``net``: gates and thresholds with a literal of their own, where ``alive`` bool[S] holds.

    ``carrier`` comes from ``settle_phases``.
    """
    return _Rebuild(net, carrier, alive).run()


class _Rebuild:
    def __init__(self, net: Netlist, carrier: np.ndarray, alive: np.ndarray | None) -> None:
        self.net, self.carrier = net, carrier
        self.own = net.literal == 2 * np.arange(net.size)
        if alive is not None:
            self.own &= alive
        self.taken = set(net.graph.values())
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.at = np.full(net.size, -1, np.int32)  # number of the emitted value that holds a signal
        self.element = np.zeros(net.size, np.int32)
        self.out: list[Node] = []

    def run(self) -> Graph:
        net = self.net
        for item in net.graph.inputs:
            if item.value.type.is_bit:
                self.place(item.value, np.arange(item.value.size) + net.span(item.name).start)
        for node in net.graph.nodes:
            if node.op == "lut":
                self.lut(node)
            elif node.op == "group_sum":
                self.group_sum(node)
            elif node.op == "compare":
                self.compare(node)
            else:
                self.keep(node)
        return replace(net.graph.copy(), nodes=self.out)

    def keep(self, node: Node) -> None:
        """Append ``node``, whose bits are leaves."""
        self.out.append(node)
        for value in node.outputs:
            if value.type.is_bit:
                span = self.net.span(value.name)
                self.place(value, np.arange(span.start, span.stop))

    def place(self, value: Value, signals: np.ndarray) -> None:
        self.at[signals] = len(self.names)
        self.element[signals] = np.arange(len(signals))
        self.names.append(value.name)
        self.sizes.append(value.size)

    def partial(self, name: str, count: int) -> Value:
        """A new value for ``count`` of the elements of ``name``."""
        stem = name.removesuffix(SUFFIX)
        new, number = stem + SUFFIX, 0
        while new in self.taken and not (new == name and name not in self.net.whole):
            number += 1
            new = f"{stem}.{number}{SUFFIX}"
        self.taken.add(new)
        return Value(new, BIT, (count,))

    def compare(self, node: Node) -> None:
        span = self.net.span(node.name)
        own = np.flatnonzero(self.own[span])
        if node.name in self.net.whole or len(own) == span.stop - span.start:
            self.keep(node)
        elif len(own):
            value = self.partial(node.name, len(own))
            attrs = {key: _frozen(node.attrs[key][own]) for key in ("indices", "thresholds")}
            self.out.append(replace(node, outputs=(value,), attrs=attrs))
            self.place(value, own + span.start)

    def lut(self, node: Node) -> None:
        span, value = self.net.span(node.name), node.outputs[0]
        own = np.flatnonzero(self.own[span])
        complete = len(own) == value.size and not self.net.flipped[span].any()
        if len(own):
            target = value if complete else self.partial(node.name, len(own))
            self.gates(node, target, own + span.start, own)
            self.place(target, own + span.start)
        if node.name in self.net.whole and not complete:
            self.wires(node, span)

    def gates(self, node: Node, value: Value, signals: np.ndarray, elements: np.ndarray) -> None:
        count = self.net.count[signals]
        k = max(int(count.max()), 1)
        fanin = self.net.fanin[signals, :k]
        inputs, indices = self.read(fanin, (np.arange(k) < count[:, None]) & (fanin > 0))
        attrs: dict[str, Any] = {"indices": _frozen(indices), "tables": _frozen(self.net.table[signals])}
        if value.shape != (len(signals),):
            attrs["shape"] = value.shape
        if "layers" in node.attrs:
            attrs["layers"] = _frozen(node.attrs["layers"][elements])
        self.out.append(replace(node, inputs=inputs, outputs=(value,), attrs=attrs))

    def wires(self, node: Node, span: slice) -> None:
        """The whole value ``node`` from constants and signals that live elsewhere."""
        value, literals = node.outputs[0], self.net.literal[span]
        signals = self.carrier[literals]
        connected = literals >= 2
        if not connected.any():
            data = _frozen((literals == 1).astype(np.int64).reshape(value.shape))
            self.out.append(Node("const", (), (value,), {"data": data, "type": str(BIT)}, (), node.source))
            return
        inputs, indices = self.read(signals[:, None], connected[:, None])
        tables = np.where(connected, 2, literals == 1).astype(np.uint64)
        attrs: dict[str, Any] = {"indices": _frozen(indices), "tables": _frozen(tables)}
        if value.shape != (value.size,):
            attrs["shape"] = value.shape
        if "layers" in node.attrs:
            attrs["layers"] = node.attrs["layers"]
        self.out.append(replace(node, inputs=inputs, attrs=attrs))

    def read(self, signals: np.ndarray, connected: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """Inputs and indices that read ``signals`` (-1 where not connected)."""
        holders = self.at[signals]
        used = np.zeros(len(self.names) + 1, bool)
        used[holders[connected]] = True
        numbers = np.flatnonzero(used)
        start = np.zeros(len(used), np.int64)
        sizes = np.array([self.sizes[n] for n in numbers], np.int64)
        start[numbers] = np.cumsum(sizes) - sizes
        indices = np.where(connected, start[holders] + self.element[signals], -1)
        return tuple(self.names[n] for n in numbers), indices.astype(np.int32)

    def group_sum(self, node: Node) -> None:
        total, value = self.net.sums[node.name], node.outputs[0]
        if not len(total.groups):
            data = _frozen(total.bias.reshape(value.shape))
            self.keep(Node("const", (), (value,), {"data": data, "type": str(value.type)}, (), node.source))
            return
        signals = self.carrier[total.literals]
        inputs, indices = self.read(signals, np.ones(len(signals), bool))
        counts = np.bincount(total.groups, minlength=len(total.bias))
        attrs: dict[str, Any] = {
            "offsets": _frozen(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
            "indices": _frozen(indices),
        }
        if (total.weights != 1).any():
            attrs["weights"] = _frozen(total.weights)
        if total.bias.any():
            attrs["bias"] = _frozen(total.bias)
        if "shape" in node.attrs:
            attrs["shape"] = node.attrs["shape"]
        self.keep(replace(node, inputs=inputs, attrs=attrs))


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array, order="C")  # keeps tensors without axes as they are
    array.flags.writeable = False
    return array
