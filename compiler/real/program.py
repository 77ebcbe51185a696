"""A network over real numbers, typed by shape and kind, in topological order; the float counterpart of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.structured import StructuredBuilder
from neuroloom.compiler.ir.types import Range

KINDS = ("real", "int", "bit")
"""What a value's elements are: reals, exact integers in proven bounds (indices, lengths), or truth values 0 and 1."""


@dataclass(frozen=True, slots=True)
class RealValue:
    """A tensor of a program: its name, its shape without the batch axis, its kind, and for integers their proven bounds."""

    name: str
    shape: tuple[int, ...]
    kind: str = "real"
    bounds: Range | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(slots=True)
class RealRegion:
    """The body of a ``when``, ``switch`` or ``scan``; it may read every value defined before that node."""

    nodes: list[RealNode]
    results: tuple[str, ...]


@dataclass(slots=True)
class RealNode:
    """One operation of :data:`.registry.OPERATIONS`; ``source`` names the node of the source model it came from."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[RealValue, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    regions: tuple[RealRegion, ...] = ()
    source: str = ""

    @property
    def name(self) -> str:
        """Name of the first output."""
        return self.outputs[0].name if self.outputs else self.op

    def where(self) -> str:
        """How messages name this node."""
        return f"node {self.source!r}" if self.source else f"value {self.name!r}"


@dataclass(frozen=True, slots=True)
class RealOutput:
    """A public name and the value shown under it."""

    name: str
    value: str


@dataclass(slots=True)
class Program:
    """A float network. ``states`` maps inputs that are memory to the outputs that give their next values: then the program is one
    step of a clocked network, whose memory starts at 0."""

    name: str
    inputs: list[RealValue] = field(default_factory=list)
    outputs: list[RealOutput] = field(default_factory=list)
    nodes: list[RealNode] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)

    @property
    def clocked(self) -> bool:
        """Whether the program is one step of a network with memory."""
        return bool(self.states)

    @property
    def signals(self) -> list[RealValue]:
        """The inputs that are not memory."""
        return [v for v in self.inputs if v.name not in self.states]

    def walk(self) -> Iterator[RealNode]:
        """Every node, those inside regions too, in program order."""
        yield from walk(self.nodes)

    def values(self) -> dict[str, RealValue]:
        """Every value by name, inputs first."""
        out = {v.name: v for v in self.inputs}
        for node in self.walk():
            out.update((v.name, v) for v in node.outputs)
        return out


def walk(nodes: Sequence[RealNode]) -> Iterator[RealNode]:
    """Every node of a list and of the regions below, in program order."""
    for node in nodes:
        yield node
        for region in node.regions:
            yield from walk(region.nodes)


class ProgramBuilder(StructuredBuilder[RealValue, RealNode, RealRegion]):
    """Appends nodes to a program, inferring shapes and kinds; the counterpart of :class:`neuroloom.compiler.ir.Builder`."""

    def __init__(self, name: str) -> None:
        self.program = Program(name)
        super().__init__(self.program.nodes)
        self.producers: dict[str, RealNode] = {}

    @property
    def ranges(self) -> dict[str, Range]:
        """Proven bounds of the values that are integers or bits."""
        return {n: v.bounds for n, v in self.values.items() if v.bounds is not None}

    def input(self, name: str, shape: Sequence[int], kind: str = "real", bounds: Range | None = None) -> str:
        """Add an input; returns its value name."""
        value = RealValue(self.unique(name), tuple(int(s) for s in shape), kind, (0, 1) if kind == "bit" else bounds)
        self.program.inputs.append(value)
        self.values[value.name] = value
        return value.name

    def nodes(
        self,
        op: str,
        inputs: Sequence[str] = (),
        *,
        name: str = "",
        source: str = "",
        regions: Sequence[RealRegion] = (),
        **attrs: Any,
    ) -> list[str]:
        """Append a node; returns the names of its outputs. Raises GraphError where shapes or kinds do not fit."""
        from .registry import infer

        for key in inputs:
            if key not in self.values:
                raise GraphError(f"value {key!r} must be defined before it is used")
        node = RealNode(
            op, tuple(inputs), (), {k: v for k, v in attrs.items() if v is not None}, tuple(regions), source
        )
        inside = [[self.values[r] for r in region.results] for region in regions]
        outputs = []
        for number, (shape, kind, bounds) in enumerate(infer(node, [self.values[i] for i in inputs], inside)):
            hint = name or op
            value = RealValue(self.unique(hint if number == 0 else f"{hint}.{number}"), shape, kind, bounds)
            outputs.append(value)
            self.values[value.name] = value
            self.producers[value.name] = node
        node.outputs = tuple(outputs)
        self._nodes.append(node)
        return [v.name for v in outputs]

    def const(self, data: np.ndarray, *, kind: str = "real", name: str = "const", source: str = "") -> str:
        """Append a constant: float64 for reals, int64 else."""
        data = np.asarray(data, np.float64 if kind == "real" else np.int64)
        return self.node("const", name=name, source=source, data=data, kind=kind)

    def _region(self, nodes: list[RealNode], results: tuple[str, ...]) -> RealRegion:
        return RealRegion(nodes, results)

    def _carried(self, value: RealValue, loop: str, source: str) -> dict[str, Any]:
        name = f"{loop or value.name}.carried"
        return {"name": name, "shape": value.shape, "kind": value.kind, "bounds": value.bounds}

    def _scanned(self, value: RealValue, source: str) -> dict[str, Any]:
        name, shape = f"{value.name}.step", value.shape[1:]
        return {"name": name, "shape": shape, "kind": value.kind, "bounds": value.bounds, "source": source}

    def output(self, name: str, value: str) -> None:
        """Show ``value`` under the public name ``name``."""
        self.program.outputs.append(RealOutput(name, value))
