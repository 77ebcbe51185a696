"""The dataflow graph: nodes in topological order over typed values, explicit state, nothing implicit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .affine import IDENTITY, Affine
from .types import Range, Type

Attr = Any
"""An attribute: a scalar, a (nested) tuple of scalars, or an integer tensor. Which one is the operation registry's business,
checked when a node is verified, so readers need no casts."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor on an edge: a name unique in its graph, a type, and a shape without the batch axis."""

    name: str
    type: Type
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        return f"%{self.name} : {self.type}{list(self.shape)}".replace(" ", "").replace(":", " : ")


@dataclass(slots=True)
class Region:
    """A body of a control node: its nodes may read every value defined before the control node outside."""

    nodes: list[Node]
    results: tuple[str, ...]


@dataclass(slots=True)
class Node:
    """One operation.

    ``op`` names an entry of the operation registry, which gives the attributes and their meaning. ``source`` is the name
    of the ONNX/NIR/torch node that this one came from, kept through every pass to the reports.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    attrs: dict[str, Attr] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    source: str = ""

    @property
    def name(self) -> str:
        """The first output's name, or the state's for an update; unique in the graph."""
        return self.outputs[0].name if self.outputs else f"{self.op}:{','.join(self.inputs)}"

    def attr(self, name: str, default: Attr = None) -> Attr:
        """The attribute ``name``, or ``default`` where the node has none."""
        return self.attrs.get(name, default)

    def where(self) -> str:
        """How messages name this node: operation, value and source node."""
        source = f" (from {self.source!r})" if self.source else ""
        return f"node %{self.name} = {self.op}{source}"


@dataclass(frozen=True, slots=True)
class Input:
    """A graph input. ``bounds`` narrows the type's range when the source promises less (pixels 0..16 in a u8)."""

    value: Value
    affine: Affine = IDENTITY
    bounds: Range | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """Name of the input and of its value."""
        return self.value.name

    @property
    def range(self) -> Range:
        """Inclusive bounds of the integers accepted."""
        return self.bounds or self.value.type.range


@dataclass(frozen=True, slots=True)
class Output:
    """A graph output: a public name, the value shown there, and what its integers mean."""

    name: str
    value: str
    affine: Affine = IDENTITY


@dataclass(slots=True)
class Graph:
    """A network.

    *framed* graphs take one sample and give one answer; *clocked* graphs are called once per time step and keep their
    state in between. ``records`` holds JSON-able facts worth keeping in the file (calibration, dialect, producer).
    """

    name: str
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    clocked: bool = False
    records: dict[str, Any] = field(default_factory=dict)

    def walk(self) -> Iterator[Node]:
        """Every node, those inside control regions too, in program order."""
        yield from walk(self.nodes)

    def values(self) -> dict[str, Value]:
        """Every value by name, inputs first."""
        out = {i.name: i.value for i in self.inputs}
        for node in self.walk():
            out.update((v.name, v) for v in node.outputs)
        return out

    def input(self, name: str) -> Input:
        """The input called ``name``; KeyError when there is none."""
        return next(i for i in self.inputs if i.name == name)

    @property
    def states(self) -> list[Node]:
        """The ``state`` nodes, in order."""
        return [n for n in self.walk() if n.op == "state"]

    def copy(self) -> Graph:
        """A graph whose lists and nodes can be changed freely; tensors are shared (they are never written)."""
        return replace(
            self,
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            nodes=_copy_nodes(self.nodes),
            records=dict(self.records),
        )

    def equals(self, other: Graph) -> bool:
        """Whether both graphs are the same, tensors compared element by element."""
        return (
            (self.name, self.inputs, self.outputs, self.clocked, self.records)
            == (other.name, other.inputs, other.outputs, other.clocked, other.records)
        ) and _same_nodes(self.nodes, other.nodes)


def walk(nodes: list[Node]) -> Iterator[Node]:
    """Every node of a list and of the regions below, in program order."""
    for node in nodes:
        yield node
        for region in node.regions:
            yield from walk(region.nodes)


def _copy_nodes(nodes: list[Node]) -> list[Node]:
    return [
        replace(n, attrs=dict(n.attrs), regions=tuple(Region(_copy_nodes(r.nodes), r.results) for r in n.regions))
        for n in nodes
    ]


def _same_attr(a: Attr | None, b: Attr | None) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    return type(a) is type(b) and bool(a == b)


def _same_nodes(a: list[Node], b: list[Node]) -> bool:
    return len(a) == len(b) and all(
        (x.op, x.inputs, x.outputs, x.source) == (y.op, y.inputs, y.outputs, y.source)
        and x.attrs.keys() == y.attrs.keys()
        and all(_same_attr(x.attrs[k], y.attrs[k]) for k in x.attrs)
        and len(x.regions) == len(y.regions)
        and all(
            r.results == s.results and _same_nodes(r.nodes, s.nodes) for r, s in zip(x.regions, y.regions, strict=True)
        )
        for x, y in zip(a, b, strict=True)
    )
