"""The operation registry: one entry says an operation's attributes, its shapes and its exact result range."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.graph import Node, Value
from neuroloom.compiler.ir.types import Range, Type


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation's rule says about one output: shape, proven range, fraction bits.

    ``type`` is given only by operations that fix their output type themselves (requantize, const, state).
    """

    shape: tuple[int, ...]
    range: Range
    frac: int = 0
    type: Type | None = None


@dataclass(frozen=True, slots=True)
class Operands:
    """What a rule sees: the node, its input values and their proven ranges, and the control regions' results."""

    node: Node
    values: tuple[Value, ...]
    ranges: tuple[Range, ...]
    region_results: tuple[tuple[tuple[Value, Range], ...], ...] = ()

    def attr(self, name: str) -> Any:
        """The attribute ``name`` (typed by the registry, so callers know what it is)."""
        return self.node.attrs[name]

    def tensor(self, name: str, dims: int) -> np.ndarray:
        """The integer tensor ``name`` with ``dims`` axes; raises GraphError otherwise."""
        array = self.node.attrs[name]
        if not isinstance(array, np.ndarray) or array.ndim != dims:
            raise GraphError(f"{name} must be a tensor of {dims} axes")
        return array


Rule = Callable[[Operands], Sequence[Result]]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of the graph.

    ``attrs`` maps each attribute to its kind: ``int``, ``str``, ``bool``, ``tuple`` or ``tensor``, with a trailing ``?``
    when it may be absent. ``arity`` is (least, most) inputs; most is None without limit.
    """

    name: str
    rule: Rule
    attrs: dict[str, str]
    arity: tuple[int, int | None]
    regions: tuple[int, int | None] = (0, 0)
    summary: str = ""


REGISTRY: dict[str, Op] = {}

_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "str": (str,),
    "bool": (bool,),
    "tuple": (tuple,),
    "tensor": (np.ndarray,),
}


def op(
    name: str,
    *,
    arity: int | tuple[int, int | None] = 1,
    attrs: dict[str, str] | None = None,
    regions: tuple[int, int | None] = (0, 0),
) -> Callable[[Rule], Rule]:
    """Register the decorated rule as operation ``name``; the rule's docstring is the operation's definition."""

    def register(rule: Rule) -> Rule:
        if name in REGISTRY:
            raise GraphError(f"operation {name} is registered twice")
        span = (arity, arity) if isinstance(arity, int) else arity
        REGISTRY[name] = Op(name, rule, attrs or {}, span, regions, (rule.__doc__ or "").strip())
        return rule

    return register


def spec(name: str) -> Op:
    """The registry entry of operation ``name``; raises GraphError when there is none."""
    try:
        return REGISTRY[name]
    except KeyError:
        raise GraphError(f"operation must be one of {', '.join(sorted(REGISTRY))}, not {name!r}") from None


def check_form(node: Node) -> Op:
    """Check arity and attributes of ``node`` against the registry and return its entry; raises GraphError."""
    entry = spec(node.op)
    least, most = entry.arity
    if len(node.inputs) < least or (most is not None and len(node.inputs) > most):
        raise GraphError(f"{node.op} must have {_span(least, most)} inputs, not {len(node.inputs)}")
    least, most = entry.regions
    if len(node.regions) < least or (most is not None and len(node.regions) > most):
        raise GraphError(f"{node.op} must have {_span(least, most)} regions, not {len(node.regions)}")
    for key, kind in entry.attrs.items():
        if key not in node.attrs:
            if not kind.endswith("?"):
                raise GraphError(f"{node.op} must have the attribute {key}")
            continue
        kind = kind.rstrip("?")
        value = node.attrs[key]
        if not isinstance(value, _KINDS[kind]) or (kind == "int" and isinstance(value, bool)):
            raise GraphError(f"attribute {key} must be {kind}, not {type(value).__name__}")
        if isinstance(value, np.ndarray) and value.dtype.kind not in "iu":
            raise GraphError(f"attribute {key} must be an integer tensor, not {value.dtype}")
    for key in node.attrs:
        if key not in entry.attrs:
            raise GraphError(f"{node.op} has no attribute {key}")
    return entry


def _span(least: int, most: int | None) -> str:
    return f"at least {least}" if most is None else str(least) if least == most else f"{least} to {most}"


def infer(
    node: Node,
    values: Sequence[Value],
    ranges: Sequence[Range],
    region_results: Sequence[Sequence[tuple[Value, Range]]] = (),
) -> list[Result]:
    """Apply the rule of ``node``'s operation; raises GraphError naming the node when a rule is broken."""
    try:
        entry = check_form(node)
        operands = Operands(node, tuple(values), tuple(ranges), tuple(tuple(r) for r in region_results))
        return list(entry.rule(operands))
    except GraphError as e:
        raise GraphError(f"{node.where()}: {e}") from None


def need_bits(operands: Operands) -> int:
    """Total number of elements of all inputs, which must be bits (they are read as one flat concatenation)."""
    for value in operands.values:
        if not value.type.is_bit:
            raise GraphError(f"input %{value.name} must be bit, not {value.type}")
    return sum(v.size for v in operands.values)


def need_indices(indices: np.ndarray, size: int, *, least: int = 0) -> None:
    """Check that every entry of ``indices`` lies in ``least``..size-1; raises GraphError naming the first that does not."""
    if indices.size == 0:
        return
    bad = (indices < least) | (indices >= size)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise GraphError(f"index {int(indices[first])} at {list(first)} must be in {least}..{size - 1}")


def out_shape(operands: Operands, count: int) -> tuple[int, ...]:
    """The ``shape`` attribute, or one axis of ``count``; raises GraphError when the sizes differ."""
    shape = operands.node.attrs.get("shape", (count,))
    if not isinstance(shape, tuple) or int(np.prod(shape, dtype=np.int64)) != count:
        raise GraphError(f"shape {shape} must hold {count} elements")
    return shape
