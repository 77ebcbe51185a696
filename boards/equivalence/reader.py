"""Reads one graph into bits (literals of a shared and-inverter graph) and integers (numbers of shared forms)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import NeuroloomError, UnsupportedError
from neuroloom.compiler.ir import Graph, Node, ranges
from neuroloom.compiler.ir.graph import Input
from neuroloom.compiler.ir.types import Range, smallest_type

from .aig import Aig
from .forms import Forms
from .operations import HANDLERS, Pending

SMALL = 6
"""Sums of up to this many bits are tabulated; the bits of larger ones are free variables."""


class Shared:
    """What both graphs' readings share."""

    def __init__(self) -> None:
        self.aig = Aig()
        self.forms = Forms()
        self.classes: dict[int, int] = {0: 0}
        """Variable → literal of the first known equal variable, after sweeping."""
        self.variables: dict[tuple[object, ...], int] = {}
        self.input_bits: dict[tuple[str, int], list[int]] = {}

    def variable(self, key: tuple[object, ...]) -> int:
        """The bit ``key`` that is not looked into: a free variable, the same for both graphs."""
        if key not in self.variables:
            self.variables[key] = self.aig.input()
        return self.variables[key]

    def settled(self, literals: np.ndarray) -> np.ndarray:
        """Literals replaced by those of their classes; raises Pending where a class is not known yet."""
        flat = literals.reshape(-1)
        missing = [x for x in flat.tolist() if x >> 1 not in self.classes]
        if missing:
            raise Pending(flat)
        out = [self.classes[x >> 1] ^ (x & 1) for x in flat.tolist()]
        return np.array(out, np.int64).reshape(literals.shape)

    def confined(self, raw: list[int], bounds: Range, *, signed: bool) -> list[int]:
        """The bits of an integer confined to ``bounds``: those of ``raw`` inside, of the lower bound outside."""
        lo, hi = bounds
        below = self.aig.at_least(raw, lo, signed=signed) ^ 1
        outside = self.aig.either(below, self.aig.at_least(raw, hi + 1, signed=signed))
        return [self.aig.choose(outside, lo >> place & 1, b) for place, b in enumerate(raw)]

    def graph_input(self, item: Input) -> np.ndarray:
        """Bits or forms of a graph input, confined to its range: other integers are never given to a graph."""
        value = item.value
        out = np.zeros(value.size, np.int64)
        for i in range(value.size):
            raw = [self.variable(("input", item.name, i, bit)) for bit in range(value.type.width)]
            self.input_bits[item.name, i] = raw
            bits = self.confined(raw, item.range, signed=value.type.signed)
            if value.type.is_bit:
                out[i] = bits[0]
                continue
            out[i] = self.forms.atom(("input", item.name, i))
            self.forms.bits[int(out[i])] = tuple(bits), value.type.signed
            self.forms.restrict(int(out[i]), item.range)
        return out.reshape(value.shape)

    def free_bits(self, number: int) -> tuple[tuple[int, ...], bool]:
        """Bits of an integer that is not looked into: free variables confined to its range, the same for both graphs."""
        if number not in self.forms.bits:
            bounds = self.forms.span(number)
            if bounds is None:
                raise NeuroloomError(f"the range of form {number} must be known before its bits are asked for")
            type_ = smallest_type(bounds)
            raw = [self.variable(("bit", number, place)) for place in range(type_.width)]
            self.forms.bits[number] = tuple(self.confined(raw, bounds, signed=type_.signed)), type_.signed
        return self.forms.bits[number]


class Reader:
    """Reads the nodes of one graph as far as the known classes allow."""

    def __init__(self, graph: Graph, shared: Shared) -> None:
        self.graph, self.shared = graph, shared
        self.values = graph.values()
        self.ranges = ranges(graph)
        self.env = {i.name: shared.graph_input(i) for i in graph.inputs}
        self.todo = list(graph.nodes)
        self.updates: dict[str, np.ndarray] = {}

    def advance(self) -> list[int]:
        """Read every node that can be read; returns literals whose classes the others wait for."""
        waiting, rest = [], []
        for node in self.todo:
            if any(i not in self.env for i in node.inputs):
                rest.append(node)
                continue
            try:
                self.read(node)
            except Pending as e:
                waiting += e.literals.tolist()
                rest.append(node)
        self.todo = rest
        return waiting

    def read(self, node: Node) -> None:
        """Read one node."""
        if node.op in ("when", "switch", "exit_when"):
            raise UnsupportedError(f"{node.where()}: equivalence is checked for graphs without control regions only")
        if node.op == "update":
            self.updates[node.inputs[0]] = self.exact(self.env[node.inputs[1]], node.inputs[1])
            return
        handler = HANDLERS.get(node.op)
        out = handler(self, node, [self.env[i] for i in node.inputs]) if handler else None
        outs = self.opaque(node) if out is None else [out]
        for value, array in zip(node.outputs, outs, strict=True):
            self.env[value.name] = array.reshape(value.shape)
            if not value.type.is_bit:
                for number in set(array.reshape(-1).tolist()):
                    self.shared.forms.restrict(number, self.ranges[value.name])

    def exact(self, array: np.ndarray, name: str) -> np.ndarray:
        """An array by which two graphs' values can be compared: settled literals, or forms."""
        return self.shared.settled(array) if self.values[name].type.is_bit else array

    def is_bits(self, name: str) -> bool:
        """Whether a value holds bits."""
        return self.values[name].type.is_bit

    def words(self, name: str) -> np.ndarray:
        """Forms of a value, bits taken as the integers 0 and 1."""
        array = self.env[name]
        if not self.is_bits(name):
            return array
        forms, literals = self.shared.forms, self.shared.settled(array)
        out = [forms.of_bits([x], [1]) for x in literals.reshape(-1).tolist()]
        for number, literal in zip(out, literals.reshape(-1).tolist(), strict=True):
            forms.bits.setdefault(number, ((literal,), False))
            forms.restrict(number, (0, 1))
        return np.array(out, np.int64).reshape(array.shape)

    def bits_of(self, number: int, width: int) -> list[int]:
        """The ``width`` two's-complement bits of a form."""
        forms = self.shared.forms
        constant = forms.constant(number)
        if constant is not None:
            return [constant >> place & 1 for place in range(width)]
        if number not in forms.bits and self.small(number):
            return [self.tabulated(number, _bit(place)) for place in range(width)]
        bits, signed = self.shared.free_bits(number)
        return [bits[min(p, len(bits) - 1)] if signed or p < len(bits) else 0 for p in range(width)]

    def small(self, number: int) -> bool:
        """Whether a form has few enough atoms, all bits, to be tabulated."""
        terms, _ = self.shared.forms.forms[number]
        return len(terms) <= SMALL and all(name > 0 for name, _ in terms)

    def tabulated(self, number: int, function: Callable[[int], int]) -> int:
        """The bit ``function`` (of the integer) of a small form."""
        terms, constant = self.shared.forms.forms[number]
        table = 0
        for m in range(1 << len(terms)):
            value = constant + sum(c for place, (_, c) in enumerate(terms) if m >> place & 1)
            table |= (function(value) & 1) << m
        return self.shared.aig.table(table, [name for name, _ in terms])

    def at_least(self, number: int, limit: int) -> int:
        """The bit form >= limit."""
        forms = self.shared.forms
        constant = forms.constant(number)
        if constant is not None:
            return int(constant >= limit)
        lo, hi = forms.span(number) or (limit - 1, limit)
        if limit <= lo or limit > hi:
            return int(limit <= lo)
        if number not in forms.bits and self.small(number):
            return self.tabulated(number, lambda v: int(v >= limit))
        bits, signed = self.shared.free_bits(number)
        return self.shared.aig.at_least(bits, limit, signed=signed)

    def opaque(self, node: Node) -> list[np.ndarray]:
        """Results that are known only by what they are computed from; word results are atoms, bits variables."""
        key = (node.op, tuple(sorted((k, _plain(v)) for k, v in node.attrs.items())))
        operands = tuple(tuple(self.words(i).reshape(-1).tolist()) for i in node.inputs)
        shapes = tuple(self.values[i].shape for i in node.inputs)
        whole = self.shared.forms.atom((key, operands, shapes)) if node.op != "state" else node.name
        outs = []
        for number, value in enumerate(node.outputs):
            items = [("part", whole, number, i) for i in range(value.size)]
            make = self.shared.variable if value.type.is_bit else self.shared.forms.atom
            outs.append(np.array([make(item) for item in items], np.int64))
        return outs


def _bit(place: int) -> Callable[[int], int]:
    return lambda value: value >> place & 1


def _plain(value: Any) -> object:
    return (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
