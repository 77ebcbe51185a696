"""From a graph to the netlist of its spatial pipeline, through one component per operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import GraphError, UnsupportedError
from neuroloom.compiler.ir import Graph, Node, Type, Value
from neuroloom.compiler.wire import Field, answer_fields, sample_fields, total_bits

from .netlist import ZERO, Netlist, Word


@dataclass(frozen=True, slots=True)
class Bits:
    """A value of the graph in the netlist: the bits int32[*shape, width] of its elements."""

    array: np.ndarray
    signed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.array.shape[:-1]

    @property
    def width(self) -> int:
        """Bits of an element."""
        return self.array.shape[-1]

    def rows(self) -> np.ndarray:
        """All elements in row-major order: int32[size, width]."""
        return self.array.reshape(-1, self.width)

    def words(self) -> list[Word]:
        """All elements in row-major order."""
        return [tuple(row) for row in self.rows().tolist()]

    def extended(self, type_: Type) -> Bits:
        """The same integers in the bits of ``type_``, which must hold them."""
        if type_.width <= self.width:
            return Bits(self.array[..., : type_.width], type_.signed)
        fill = self.array[..., -1:] if self.signed else np.full((*self.shape, 1), ZERO, np.int32)
        more = np.repeat(fill, type_.width - self.width, axis=-1)
        return Bits(np.concatenate([self.array, more], axis=-1), type_.signed)


Component = Callable[[Netlist, Node, Sequence[Bits]], Sequence[np.ndarray]]
"""Adds an operation's cells and returns the bits of each output, any array of size * width in row-major order."""

COMPONENTS: dict[str, Component] = {}


def component(*names: str) -> Callable[[Component], Component]:
    """Register the decorated function as the hardware of the operations ``names``."""

    def register(build: Component) -> Component:
        for name in names:
            if name in COMPONENTS:
                raise GraphError(f"the hardware of {name} is registered twice")
            COMPONENTS[name] = build
        return build

    return register


@dataclass(frozen=True)
class Lowered:
    """A netlist with its ports: the bits of all inputs and outputs as they lie on the wire."""

    netlist: Netlist
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    input_bits: np.ndarray
    output_bits: np.ndarray


def lower(graph: Graph, *, lut_size: int = 4, interval: int = 0) -> Lowered:
    """Build the netlist of a framed graph without state.

    Raises UnsupportedError naming the node, the reason and what to do when an operation has no spatial hardware.
    """
    _check(graph)
    net = Netlist(lut_size, interval)
    inputs, outputs = sample_fields(graph), answer_fields(graph)
    ports = net.inputs(total_bits(inputs))
    env: dict[str, Bits] = {}
    for field, item in zip(inputs, graph.inputs, strict=True):
        wires = ports[field.offset : field.offset + field.bits].reshape(*field.shape, field.type.width)
        env[item.name] = Bits(wires, field.type.signed).extended(item.value.type)
    for node in graph.nodes:
        _build(net, node, env)
    shown = []
    for field, output in zip(outputs, graph.outputs, strict=True):
        shown.append(env[output.value].extended(field.type).array.reshape(-1))
    return Lowered(net, tuple(inputs), tuple(outputs), ports, np.concatenate(shown))


def _check(graph: Graph) -> None:
    if graph.clocked:
        raise UnsupportedError(
            f"graph {graph.name!r} is clocked; the logic engine runs framed graphs only: use another engine"
        )
    if graph.states:
        raise UnsupportedError(f"{graph.states[0].where()}: the logic engine keeps no state; use another engine")


def _build(net: Netlist, node: Node, env: dict[str, Bits]) -> None:
    if node.op not in COMPONENTS:
        advice = (
            "compile with optimisation, which lowers it to lut"
            if node.op in ("lut_conv", "lookup")
            else "only graphs without it can become a spatial pipeline"
        )
        raise UnsupportedError(f"{node.where()}: the logic engine has no hardware for {node.op}; {advice}")
    net.label = node.source or node.name
    try:
        results = COMPONENTS[node.op](net, node, [env[name] for name in node.inputs])
    except UnsupportedError as e:
        raise UnsupportedError(f"{node.where()}: {e}") from None
    for value, array in zip(node.outputs, results, strict=True):
        env[value.name] = Bits(np.asarray(array, np.int32).reshape(*value.shape, value.type.width), value.type.signed)


def aligned(inputs: Sequence[Bits], value: Value) -> list[list[Word]]:
    """The elements of every input, broadcast to the shape of ``value``."""
    out = []
    for item in inputs:
        lead = (1,) * (len(value.shape) - len(item.shape))
        array = item.array.reshape(*lead, *item.array.shape)
        out.append(Bits(np.broadcast_to(array, (*value.shape, item.width)), item.signed).words())
    return out


def along(item: Bits, axis: int) -> list[list[Word]]:
    """Rows of elements along ``axis``; the rows in row-major order of the other axes."""
    moved = np.moveaxis(item.array, axis, -2)
    rows = moved.reshape(-1, moved.shape[-2], item.width)
    return [[tuple(word) for word in row] for row in rows.tolist()]
