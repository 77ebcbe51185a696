"""The verifier and the range analysis: one walk over the graph that proves types, shapes and accumulator widths."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError

from .graph import Graph, Node, Value
from .ops import infer
from .ops.loops import FORBIDDEN, PARAMETERS
from .ops.registry import Result
from .types import Range, Type, smallest_type


def ranges(graph: Graph) -> dict[str, Range]:
    """Proven inclusive bounds of every value, by name.

    Interval arithmetic per tensor, rows of weights considered one by one; a state's bounds are its declared type's.
    Raises GraphError when the graph breaks a rule (the analysis is part of the verifier).
    """
    return _Walk(graph).run()


def verify(graph: Graph, stage: str = "") -> None:
    """Check types, shapes, order, one writer per state, constants in range; ``stage`` names the pass in the message."""
    try:
        ranges(graph)
    except GraphError as e:
        raise GraphError(f"after {stage}: {e}" if stage else str(e)) from None


class _Walk:
    """One pass over the nodes in order, with the values seen so far."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Value] = {}
        self.ranges: dict[str, Range] = {}
        self.defined: set[str] = set()
        self.states: dict[str, bool] = {}
        self.loops = 0

    def run(self) -> dict[str, Range]:
        for item in self.graph.inputs:
            if not item.value.type.holds(item.range):
                raise GraphError(f"input %{item.name} must have bounds inside {item.value.type}, not {item.bounds}")
            self.define(item.value, item.range)
        self.block(self.graph.nodes)
        names = [o.name for o in self.graph.outputs]
        if not names or len(set(names)) != len(names):
            raise GraphError(f"outputs must have different names and be at least one, not {names}")
        for output in self.graph.outputs:
            if output.value not in self.values:
                raise GraphError(f"output {output.name!r} must show a value of the graph, not %{output.value}")
        for name, written in self.states.items():
            if not written:
                raise GraphError(f"state %{name} must have an update")
        return self.ranges

    def define(self, value: Value, bounds: Range) -> None:
        if value.name in self.defined:
            raise GraphError(f"value %{value.name} must be defined once")
        if any(s < 0 for s in value.shape):
            raise GraphError(f"shape of %{value.name} must not be negative, not {list(value.shape)}")
        self.defined.add(value.name)
        self.values[value.name] = value
        self.ranges[value.name] = bounds

    def block(self, nodes: list[Node], around: str = "") -> None:
        for node in nodes:
            self.node(node, around)

    def node(self, node: Node, around: str) -> None:
        where = node.where()
        self.check_place(node, around)
        for name in node.inputs:
            if name not in self.values:
                raise GraphError(f"{where}: input %{name} must be defined before it is used")
        inside = []
        for region in node.regions:
            outside = dict(self.values)
            self.loops += node.op == "scan"
            self.block(region.nodes, node.op)
            self.loops -= node.op == "scan"
            for name in region.results:
                if name not in self.values:
                    raise GraphError(f"{where}: region result %{name} must be defined inside or before the region")
            inside.append([(self.values[r], self.ranges[r]) for r in region.results])
            self.values = outside
        if node.op == "exit_when":
            self.check_exit(node, top=not around)
        operands = [self.values[n] for n in node.inputs]
        results = infer(node, operands, [self.ranges[n] for n in node.inputs], inside)
        if len(results) != len(node.outputs):
            raise GraphError(f"{where}: {node.op} must have {len(results)} outputs, not {len(node.outputs)}")
        for value, result in zip(node.outputs, results, strict=True):
            check_result(value, result, where)
            self.define(value, result.range)
        if node.op == "state":
            self.states[node.name] = False
        elif node.op == "update":
            self.check_update(node)

    def check_place(self, node: Node, around: str) -> None:
        if node.op in PARAMETERS and around != "scan":
            raise GraphError(f"{node.where()}: {node.op} must stand directly in the region of a scan")
        if node.op in FORBIDDEN and self.loops:
            raise GraphError(f"{node.where()}: {node.op} must not stand in a scan; a loop's memory is what it carries")

    def check_update(self, node: Node) -> None:
        target = node.inputs[0]
        if target not in self.states:
            raise GraphError(f"{node.where()}: update must write a state, not %{target}")
        if self.states[target]:
            raise GraphError(f"{node.where()}: state %{target} must have one writer, this is the second")
        self.states[target] = True

    def check_exit(self, node: Node, *, top: bool) -> None:
        if not top:
            raise GraphError(f"{node.where()}: exit_when must stand at the top level of the graph")
        shown = [self.values[n] for n in node.inputs[1:]]
        if len(shown) != len(self.graph.outputs):
            raise GraphError(f"{node.where()}: exit_when must give {len(self.graph.outputs)} outputs, not {len(shown)}")
        final = self.graph.values()
        for output, value in zip(self.graph.outputs, shown, strict=True):
            expected = final.get(output.value)
            if expected is not None and (expected.type, expected.shape) != (value.type, value.shape):
                raise GraphError(
                    f"{node.where()}: output {output.name!r} must be {expected.type}{list(expected.shape)} at every exit, "
                    f"not {value.type}{list(value.shape)}"
                )


def result_type(result: Result) -> Type:
    """The type a builder gives to a result: the operation's own, or the narrowest that holds the proven range."""
    return result.type or smallest_type(result.range, result.frac)


def check_result(value: Value, result: Result, where: str) -> None:
    """Check a declared output against the operation's rule; raises GraphError."""
    if value.shape != result.shape:
        raise GraphError(f"{where}: shape must be {list(result.shape)}, not {list(value.shape)}")
    if result.type is not None and value.type != result.type:
        raise GraphError(f"{where}: type must be {result.type}, not {value.type}")
    if value.type.frac != result.frac:
        raise GraphError(f"{where}: fraction bits must be {result.frac}, not {value.type.frac}")
    if not value.type.holds(result.range):
        lo, hi = result.range
        raise GraphError(f"{where}: type {value.type} must hold the proven range {lo}..{hi}")
