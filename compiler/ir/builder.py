"""Builds a graph node by node, inferring types and shapes, so that frontends never state them twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError

from .affine import IDENTITY, Affine
from .graph import Attr, Graph, Input, Node, Output, Region, Value
from .ops import infer
from .structured import StructuredBuilder
from .types import Range, Type, smallest_type
from .verify import result_type, verify


class Builder(StructuredBuilder[Value, Node, Region]):
    """Appends verified nodes to a graph.

    Values are referred to by name; ``self[name]`` gives the Value. Names are made legal and unique, and the source name is
    kept beside (``source``).
    """

    def __init__(self, name: str, *, clocked: bool = False) -> None:
        self.graph = Graph(name, clocked=clocked)
        super().__init__(self.graph.nodes)
        self.ranges: dict[str, Range] = {}

    def input(
        self,
        name: str,
        type_: Type,
        shape: Sequence[int],
        *,
        affine: Affine = IDENTITY,
        bounds: Range | None = None,
        source: str = "",
    ) -> str:
        """Add a graph input; returns its value name."""
        value = Value(self.unique(name), type_, tuple(int(s) for s in shape))
        item = Input(value, affine, bounds, source or name)
        self.graph.inputs.append(item)
        self.values[value.name], self.ranges[value.name] = value, item.range
        return value.name

    def nodes(
        self,
        op: str,
        inputs: Sequence[str] = (),
        *,
        name: str = "",
        source: str = "",
        regions: Sequence[Region] = (),
        **attrs: Any,
    ) -> list[str]:
        """Append a node with any number of outputs; returns their value names. Attributes that are None are left out."""
        kept: dict[str, Attr] = {k: _plain(v) for k, v in attrs.items() if v is not None}
        probe = Node(op, tuple(inputs), (), kept, tuple(regions), source)
        probe_value = Value(name or op, Type(1), ())
        probe.outputs = (probe_value,)
        for key in inputs:
            if key not in self.values:
                raise GraphError(f"{probe.where()}: input %{key} must be defined before it is used")
        inside = [[(self.values[r], self.ranges[r]) for r in region.results] for region in regions]
        results = infer(probe, [self.values[i] for i in inputs], [self.ranges[i] for i in inputs], inside)
        outputs = []
        for number, result in enumerate(results):
            hint = name or op
            value = Value(self.unique(hint if number == 0 else f"{hint}.{number}"), result_type(result), result.shape)
            outputs.append(value)
            self.values[value.name], self.ranges[value.name] = value, result.range
        probe.outputs = tuple(outputs)
        self._nodes.append(probe)
        return [v.name for v in outputs]

    def const(self, data: np.ndarray, type_: Type | None = None, *, name: str = "const", source: str = "") -> str:
        """Append a constant; its type is the narrowest that holds it unless given."""
        data = np.asarray(data)
        if type_ is None:
            type_ = smallest_type((int(data.min()), int(data.max())) if data.size else (0, 0))
        return self.node("const", name=name, source=source, data=data.astype(np.int64), type=str(type_))

    def state(self, init: np.ndarray, type_: Type, lifetime: str, *, name: str = "state", source: str = "") -> str:
        """Append a state; write it with ``update``."""
        init = np.asarray(init, np.int64)
        return self.node("state", name=name, source=source, init=init, type=str(type_), lifetime=lifetime)

    def update(self, state: str, value: str, *, source: str = "") -> None:
        """Append the state's one update."""
        self.nodes("update", [state, value], source=source)

    def _region(self, nodes: list[Node], results: tuple[str, ...]) -> Region:
        return Region(nodes, results)

    def _carried(self, value: Value, loop: str, source: str) -> dict[str, Any]:
        return {"name": value.name, "type": value.type, "shape": value.shape, "source": source}

    def _scanned(self, value: Value, source: str) -> dict[str, Any]:
        lo, hi = self.ranges[value.name]
        shape = value.shape[1:]
        return {"name": value.name, "type": value.type, "shape": shape, "lo": lo, "hi": hi, "source": source}

    def output(self, name: str, value: str, affine: Affine = IDENTITY) -> None:
        """Show ``value`` under the public name ``name``."""
        self.graph.outputs.append(Output(name, value, affine))

    def finish(self) -> Graph:
        """Verify the graph and return it."""
        verify(self.graph)
        return self.graph


def _plain(value: Any) -> Attr:
    """Attributes as the graph stores them: numpy scalars become Python's, lists tuples, tensors contiguous and read-only."""
    if isinstance(value, np.ndarray):
        array = np.asarray(value, order="C")  # ascontiguousarray would give a scalar an axis
        if array is value and value.flags.writeable:
            array = value.copy()
        array.flags.writeable = False
        return array
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, Type):
        return str(value)
    raise GraphError(f"attribute must be an integer, string, bool, tuple or tensor, not {type(value).__name__}")
