"""Loops with a static number of steps, and the values that a step begins with."""

from __future__ import annotations

from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.graph import Node, Value
from neuroloom.compiler.ir.types import Range, Type

from .registry import Operands, Result, op

PARAMETERS = ("carried", "scanned", "step")
"""Operations that give a region of ``scan`` its step's values. They stand directly in that region, nowhere else."""

FORBIDDEN = ("state", "update", "exit_when")
"""Operations that a loop's body must not hold: its memory is what it carries, and a graph is left at the top level only."""


def _parameter_shape(o: Operands) -> tuple[int, ...]:
    shape = o.attr("shape")
    if not all(isinstance(s, int) and s >= 0 for s in shape):
        raise GraphError(f"shape must be a tuple of lengths, not {shape}")
    return tuple(shape)


@op("carried", arity=0, attrs={"index": "int", "type": "str", "shape": "tuple"})
def carried(o: Operands) -> list[Result]:
    """Carried value number ``index`` of the ``scan`` around, as the step before left it (the initial value at first).

    The declared ``type`` is the proven range, as for a state: initial and new value have exactly this type and ``shape``.
    """
    type_ = Type.parse(o.attr("type"))
    return [Result(_parameter_shape(o), type_.range, type_.frac, type_)]


@op("scanned", arity=0, attrs={"index": "int", "type": "str", "shape": "tuple", "lo": "int", "hi": "int"})
def scanned(o: Operands) -> list[Result]:
    """This step's element of sequence number ``index`` of the ``scan`` around, whose integers all lie in ``lo``..``hi``.

    ``type`` is the sequence's, ``shape`` its shape without the first axis.
    """
    type_, bounds = Type.parse(o.attr("type")), (o.attr("lo"), o.attr("hi"))
    if bounds[0] > bounds[1] or not type_.holds(bounds):
        raise GraphError(f"lo..hi must be a range inside {type_}, not {bounds[0]}..{bounds[1]}")
    return [Result(_parameter_shape(o), bounds, type_.frac, type_)]


@op("step", arity=0, attrs={"count": "int"})
def step(o: Operands) -> list[Result]:
    """Number of this step of the ``scan`` around, 0 to ``count``-1 (its ``count``), in the order in which steps run."""
    if o.attr("count") < 1:
        raise GraphError(f"count must be at least 1, not {o.attr('count')}")
    return [Result((), (0, o.attr("count") - 1))]


@op("scan", arity=(0, None), attrs={"count": "int", "carried": "int", "reverse": "tuple"}, regions=(1, 1))
def scan(o: Operands) -> list[Result]:
    """Run the region ``count`` times. Inputs: ``carried`` initial values, then sequences [count, ...].

    In the region, ``carried(index)`` is what the step before left, ``scanned(index)`` this step's element of a sequence and
    ``step`` its number. The region yields the new carried values and then one value per stacked output. Results: the carried
    values after the last step, then the stacked outputs [count, ...]. ``reverse`` holds a 0 or 1 per sequence, then per stacked
    output: 1 means that step t reads or writes element count-1-t. The region may read values from outside. Steps run in order,
    all of them; to stop early on a length, select the old carried value by ``step``.
    """
    count, carry, reverse = o.attr("count"), o.attr("carried"), o.attr("reverse")
    (results,) = o.region_results
    if count < 1:
        raise GraphError(f"count must be at least 1, not {count}")
    if not 0 <= carry <= min(len(o.values), len(results)):
        raise GraphError(
            f"carried must be at most the {len(o.values)} inputs and the {len(results)} results of the region, not {carry}"
        )
    sequences = o.values[carry:]
    places = len(sequences) + len(results) - carry
    if len(reverse) != places or any(r not in (0, 1) for r in reverse):
        raise GraphError(
            f"reverse must have a 0 or 1 for each of {places} sequences and stacked outputs, not {reverse}"
        )
    for sequence in sequences:
        if not sequence.shape or sequence.shape[0] != count:
            raise GraphError(
                f"sequence %{sequence.name} must have {count} steps on its first axis, not {list(sequence.shape)}"
            )
    for number in range(carry):
        _same("initial value", number, o.values[number], results[number][0])
    _check_parameters(o, count, carry)
    finals = [Result(v.shape, bounds, v.type.frac, v.type) for v, bounds in results[:carry]]
    return finals + [Result((count, *v.shape), bounds, v.type.frac, v.type) for v, bounds in results[carry:]]


def _same(what: str, number: int, a: Value, b: Value) -> None:
    if (a.type, a.shape) != (b.type, b.shape):
        raise GraphError(
            f"{what} {number} must be {b.type}{list(b.shape)}, the type of the new one, not {a.type}{list(a.shape)}; "
            "end the body in a requantize to the carried type"
        )


def _check_parameters(o: Operands, count: int, carry: int) -> None:
    """Compare what the region's parameters declare with what the loop gives them."""
    seen: set[tuple[str, int]] = set()
    for node in o.node.regions[0].nodes:
        if node.op not in PARAMETERS:
            continue
        number = node.attrs.get("index", 0)
        if (node.op, number) in seen:
            raise GraphError(f"{node.op} {number} must stand once in the region, {node.where()} is the second")
        seen.add((node.op, number))
        if node.op == "step":
            if node.attrs["count"] != count:
                raise GraphError(f"{node.where()}: count must be the loop's, {count}, not {node.attrs['count']}")
        elif node.op == "carried":
            if not 0 <= number < carry:
                raise GraphError(f"{node.where()}: index must be in 0..{carry - 1}, not {number}")
            _same("initial value", number, o.values[number], node.outputs[0])
        else:
            _check_scanned(o, node, carry + number, len(o.values))


def _check_scanned(o: Operands, node: Node, place: int, inputs: int) -> None:
    first = o.attr("carried")
    if not first <= place < inputs:
        raise GraphError(f"{node.where()}: index must be in 0..{inputs - first - 1}, not {place - first}")
    value, sequence, bounds = node.outputs[0], o.values[place], o.ranges[place]
    declared: Range = (node.attrs["lo"], node.attrs["hi"])
    if (value.type, value.shape) != (sequence.type, sequence.shape[1:]):
        raise GraphError(
            f"{node.where()}: an element of %{sequence.name} must be {sequence.type}{list(sequence.shape[1:])}, "
            f"not {value.type}{list(value.shape)}"
        )
    if not declared[0] <= bounds[0] <= bounds[1] <= declared[1]:
        raise GraphError(
            f"{node.where()}: lo..hi must hold the proven range {bounds[0]}..{bounds[1]} of %{sequence.name}, "
            f"not {declared[0]}..{declared[1]}"
        )
