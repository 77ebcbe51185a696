"""Single nodes of spiking models: their operators, names, attributes, and the form they must have."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.export.spiking_functions import OPERATORS, SOURCE, Operator
from neuroloom.compiler.ir import Affine, Type
from onnx import AttributeProto, NodeProto, helper, numpy_helper

DOMAIN = "neuroloom"
BY_NAME: dict[str, Operator] = {o.name: o for o in OPERATORS.values()}
"""Operators of the domain that stand for operations of clocked graphs."""

PLAIN: dict[str, type] = {
    "axis": int,
    "low": int,
    "high": int,
    "type": str,
    "scale": str,
    "offset": str,
    "perm": list,
    "to": int,
}
"""Types of attributes that do not go through the graph's own check."""


def producers(nodes: Iterable[NodeProto]) -> dict[str, NodeProto]:
    """The node that makes each value."""
    return {name: node for node in nodes for name in node.output if name}


def check_form(node: NodeProto) -> None:
    """Refuse a node without inputs or outputs, or with more of them than its operator has."""
    if not node.input or not all(node.input) or not node.output or not all(node.output):
        raise InputError(f"{where(node)}: every node must have inputs and outputs, with names; the model is broken")
    operator = BY_NAME.get(node.op_type) if node.domain == DOMAIN else None
    one = not node.domain and node.op_type in ("Identity", "Cast", "Transpose")
    if operator is None and not one:
        return
    most = (len(operator.inputs), len(operator.outputs)) if operator else (1, 1)
    if len(node.input) > most[0] or len(node.output) > most[1]:
        raise InputError(
            f"{where(node)}: it must have at most {most[0]} inputs and {most[1]} outputs; the model is broken"
        )


def check_casts(casts: list[NodeProto], type_: Type) -> None:
    """Refuse a Cast to an element type that does not hold every integer of ``type_``."""
    for node in casts:
        try:
            to = helper.tensor_dtype_to_np_dtype(attributes(node).get("to", 0))
        except KeyError:
            to = np.dtype(object)
        least, most = (0, 1) if to.kind == "b" else (np.iinfo(to).min, np.iinfo(to).max) if to.kind in "iu" else (0, 0)
        if least > type_.lo or most < type_.hi:
            raise UnsupportedError(f"{where(node)}: the type must hold the integers of {type_}; cast to int64")


def where(node: NodeProto) -> str:
    """A node as errors name it."""
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"node {node.name or next(iter(node.output), '')!r} ({op})"


def source_name(node: NodeProto) -> str:
    """The name in the source that the exporter noted, or nothing."""
    return next((p.value for p in node.metadata_props if p.key == SOURCE), "")


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as integers, texts, lists and arrays; those of :data:`PLAIN` are checked."""
    out: dict[str, Any] = {}
    for a in node.attribute:
        if a.type == AttributeProto.TENSOR:
            out[a.name] = frozen(numpy_helper.to_array(a.t))
            continue
        value = helper.get_attribute_value(a)
        out[a.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    for key, kind in PLAIN.items():
        if not isinstance(out.get(key, kind()), kind):
            raise InputError(f"{where(node)}: attribute {key} must be {kind.__name__}, not {type(out[key]).__name__}")
    return out


def frozen(array: Any) -> Any:
    """The array in C order, never to be written."""
    if isinstance(array, np.ndarray):
        array = np.asarray(array, order="C")
        array.flags.writeable = False
    return array


def affine(given: dict[str, Any]) -> Affine:
    """What Quantity's attributes say that integers mean."""
    try:
        scale = [Fraction(text) for text in given.get("scale", "1").split(",")]
        offset = [Fraction(text) for text in given.get("offset", "0").split(",")]
    except (ValueError, ZeroDivisionError, AttributeError):
        raise InputError(
            f"scale and offset of Quantity must be rational texts, not {given.get('scale')!r} and {given.get('offset')!r}"
        ) from None
    return Affine.of(scale, offset, given.get("axis"))
