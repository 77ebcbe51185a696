"""Clocked graphs out of ONNX: a Scan over time whose body is made of the spiking operators of domain ``neuroloom``.

The operators are known by domain and name, as :mod:`neuroloom.compiler.frontends.export.spiking_functions` defines them; bodies of
functions in the file are not read. What is not of that form is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import GraphError, InputError, UnsupportedError
from neuroloom.compiler.frontends.export.spiking_functions import (
    CHOICES,
    OPERATORS,
    PREFIX,
    RECORDS_KEY,
    STANDARD,
)
from neuroloom.compiler.ir import Affine, Graph, Input, Node, Output, Type, Value, verify
from neuroloom.compiler.ir.ops.registry import infer, spec
from neuroloom.compiler.ir.structured import clean_name
from neuroloom.compiler.ir.types import Range
from neuroloom.compiler.ir.verify import result_type
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

from .inputs import declared
from .spiking_nodes import (
    BY_NAME,
    DOMAIN,
    affine,
    attributes,
    check_casts,
    check_form,
    frozen,
    producers,
    source_name,
    where,
)

VERSION = 1
MOST_NEURONS = 1 << 24
"""Largest population that is read."""

_STANDARD = {name: op for op, name in STANDARD.items()}
_KINDS: dict[str, type] = {"int": int, "bool": int, "str": str, "tuple": list, "tensor": np.ndarray}
"""How an attribute of the graph stands in a file."""


def is_clocked(model: ModelProto) -> bool:
    """Whether the model holds a Scan with a spiking operator in its body."""
    bodies = [a.g for n in model.graph.node if n.op_type == "Scan" for a in n.attribute if a.name == "body"]
    return any(n.domain == DOMAIN and n.op_type in BY_NAME for body in bodies for n in body.node)


def read_clocked(model: ModelProto, name: str = "") -> Graph:
    """The clocked graph of a model for which :func:`is_clocked` holds.

    Names, sources, meanings of inputs and outputs, and records are those that the file gives. Raises UnsupportedError for what is
    not of the form that ``neuroloom.export`` writes, naming the node; InputError for a broken file.
    """
    for item in model.opset_import:
        if item.domain == DOMAIN and item.version > VERSION:
            raise UnsupportedError(
                f"version {item.version} of the domain {DOMAIN!r} is newer than {VERSION}, the newest known here; "
                "write the model for that version"
            )
    try:
        return _Reader(model, name).graph()
    except GraphError as e:
        raise InputError(f"the clocked model is broken: {e}") from e


class _Reader:
    def __init__(self, model: ModelProto, name: str) -> None:
        self.model, self.main = model, model.graph
        self.out = Graph(name or model.graph.name or "model", clocked=True)
        self.values: dict[str, Value] = {}
        self.ranges: dict[str, Range] = {}
        self.env: dict[str, str] = {}  # name in the body -> value of the graph
        scans = [n for n in self.main.node if n.op_type == "Scan" and n.domain in ("", "ai.onnx")]
        if len(scans) != 1:
            raise UnsupportedError(
                f"a clocked model must have one Scan, not {len(scans)}; write it as one loop over time"
            )
        self.scan = scans[0]
        self.makers = producers(self.main.node)
        attributes = {a.name: a for a in self.scan.attribute}
        for key, attribute in attributes.items():
            if key not in ("body", "num_scan_inputs") and any(attribute.ints):
                raise UnsupportedError(
                    f"{where(self.scan)}: {key} must be 0 everywhere, not {list(attribute.ints)}; put time in front with Transpose"
                )
        if "body" not in attributes or "num_scan_inputs" not in attributes:
            raise InputError(f"{where(self.scan)}: body and num_scan_inputs must be given; the model is incomplete")
        self.body: GraphProto = attributes["body"].g
        self.states = len(self.scan.input) - attributes["num_scan_inputs"].i
        wrong_in = self.states < 0 or len(self.body.input) != len(self.scan.input)
        if wrong_in or len(self.body.output) != len(self.scan.output):
            raise InputError(f"{where(self.scan)}: inputs and outputs must be those of its body; the model is broken")

        for node in [*self.main.node, *self.body.node]:
            check_form(node)

    def graph(self) -> Graph:
        """Inputs, the body's nodes in the file's order, outputs."""
        self.inputs()
        held = {v.name: k for k, v in enumerate(self.body.input[: self.states])}
        written = {v.name: k for k, v in enumerate(self.body.output[: self.states])}
        names: dict[int, str] = {}
        for node in self.body.node:
            if node.domain == DOMAIN and node.op_type == "State" and node.input[0] in held:
                number = held[node.input[0]]
                names[number] = self.state(node, number)
            elif node.domain == DOMAIN and node.op_type == "Update":
                number = written.get(node.output[0], -1)
                if number not in names:
                    raise UnsupportedError(
                        f"{where(node)}: Update must write a state that a State in front of it reads"
                    )
                self.append(
                    Node("update", (names[number], self.value(node, 0)), (), {}, (), source_name(node)), node, []
                )
            else:
                self.node(node)
        self.outputs()
        self.records()
        try:
            verify(self.out)
        except GraphError as e:
            raise UnsupportedError(f"{where(self.scan)}: {e}") from e
        return self.out

    # ---- around the Scan

    def inputs(self) -> None:
        """The model's inputs, in order; each must be one raster of the Scan."""
        rasters: dict[str, str] = {}
        notes: dict[str, NodeProto] = {}
        behind: dict[str, list[NodeProto]] = {}
        for number in range(self.states, len(self.scan.input)):
            source, note, casts = self.back(self.scan.input[number], {i.name for i in self.main.input})
            if source in rasters:
                raise UnsupportedError(f"{where(self.scan)}: input {source!r} must be scanned once")
            rasters[source], behind[source] = self.body.input[number].name, casts
            if note is not None:
                notes[source] = note
        for info in self.main.input:
            if info.name not in rasters:
                raise UnsupportedError(f"input {info.name!r} must be scanned over time; drop it, or scan it")
            self.input(info, rasters[info.name], notes.get(info.name))
            check_casts(behind[info.name], self.out.inputs[-1].value.type)

    def input(self, info: ValueInfoProto, inner: str, note: NodeProto | None) -> None:
        dtype, dims = declared(info, "input")
        given = attributes(note) if note is not None else {}
        if dims is None or len(dims) < 2 or not all(isinstance(d, int) for d in dims[2:]):
            raise UnsupportedError(
                f"input {info.name!r} must have the shape [N, T, ...] with fixed sizes behind N and T"
            )
        if dtype.kind == "f":
            raise UnsupportedError(f"input {info.name!r} must be bool or integer, not {dtype}")
        width = 1 if dtype.kind == "b" else dtype.itemsize * 8
        type_ = Type.parse(given["type"]) if "type" in given else Type(min(width, 63), dtype.kind == "i")
        bounds = (given["low"], given["high"]) if "low" in given and "high" in given else None
        value = Value(clean_name(info.name), type_, tuple(int(d) for d in dims[2:]))  # type: ignore[arg-type]
        source = (source_name(note) if note is not None else "") or info.name
        item = Input(value, affine(given), bounds, source)
        self.out.inputs.append(item)
        self.define(value, item.range, f"input {info.name!r}")
        self.env[inner] = value.name

    def back(self, name: str, ends: set[str]) -> tuple[str, NodeProto | None, list[NodeProto]]:
        """From a raster with time in front back to one of ``ends``, over one Transpose; also the Quantity and the Casts on
        the way."""
        turned, note = 0, None
        casts: list[NodeProto] = []
        while name not in ends:
            node = self.makers.get(name)
            if node is None:
                raise InputError(f"{name!r} must be computed by a node, but none does; the model is incomplete")
            if node.op_type == "Transpose" and not node.domain:
                perm = list(attributes(node).get("perm", ()))
                if perm != [1, 0, *range(2, len(perm))]:
                    raise UnsupportedError(f"{where(node)}: perm must exchange samples and time, not be {perm}")
                turned += 1
            elif node.domain == DOMAIN and node.op_type == "Quantity":
                note = node
            elif node.op_type == "Cast" and not node.domain:
                casts.append(node)
            elif node.domain or node.op_type != "Identity":
                raise UnsupportedError(
                    f"{where(node)}: only Transpose, Cast and Quantity may stand between the Scan and the model's border"
                )
            name = node.input[0]
        if turned % 2 == 0:
            raise UnsupportedError(
                f"{where(self.scan)}: {name!r} must have samples in front, with a Transpose before or behind the Scan"
            )
        return name, note, casts

    def outputs(self) -> None:
        """The model's outputs: what the body shows, with its meaning."""
        shown = {name: k for k, name in enumerate(self.scan.output)}
        for info in self.main.output:
            name, note, casts = self.back(info.name, set(shown))
            number = shown[name]
            if number < self.states:
                raise UnsupportedError(f"output {info.name!r} must be a value of every step, not the last state")
            inner = self.body.output[number].name
            if inner not in self.env:
                raise InputError(f"output {info.name!r} must be computed in the Scan's body; the model is incomplete")
            check_casts(casts, self.values[self.env[inner]].type)
            meaning = affine(attributes(note)) if note is not None else Affine()
            self.out.outputs.append(Output(info.name, self.env[inner], meaning))

    def records(self) -> None:
        for item in self.model.metadata_props:
            if item.key == RECORDS_KEY:
                try:
                    records = json.loads(item.value)
                except ValueError:
                    records = None
                if not isinstance(records, dict):
                    raise InputError(f"metadata {RECORDS_KEY!r} must be a JSON object; drop it, it is only a remark")
                self.out.records.update(records)

    # ---- the body

    def value(self, node: NodeProto, number: int) -> str:
        """The graph's value that is input ``number`` of a node in the body."""
        if number >= len(node.input) or node.input[number] not in self.env:
            given = repr(node.input[number]) if number < len(node.input) else "missing"
            raise InputError(f"{where(node)}: input {number} must be computed before it in the body, but is {given}")
        return self.env[node.input[number]]

    def state(self, node: NodeProto, number: int) -> str:
        """A state; its first value is the tensor with which the Scan starts."""
        fill = self.makers.get(self.scan.input[number])
        if fill is None or (fill.domain, fill.op_type) != (DOMAIN, "Fill"):
            raise UnsupportedError(f"{where(node)}: the state must start with a Fill in front of the Scan")
        attrs = {**self.attrs("state", node), "init": frozen(self.attrs("const", fill).get("data"))}
        return self.append(Node("state", (), (), attrs, (), source_name(node)), node, node.output)[0]

    def node(self, node: NodeProto) -> None:
        """Any other node of the body."""
        if node.op_type == "Identity" and not node.domain:
            self.env[node.output[0]] = self.value(node, 0)
            return
        if node.op_type in _STANDARD and not node.domain:
            attrs = {}
            if node.op_type == "Concat":
                attrs["axis"] = attributes(node).get("axis", 0) - 1
            inputs = tuple(self.value(node, k) for k in range(len(node.input)))
            if len({len(self.values[i].shape) for i in inputs}) > 1:
                raise UnsupportedError(
                    f"{where(node)}: its inputs must have the same number of axes; put a Reshape in front"
                )
            self.append(Node(_STANDARD[node.op_type], inputs, (), attrs, (), source_name(node)), node, node.output)
            return
        operator = BY_NAME.get(node.op_type) if node.domain == DOMAIN else None
        if operator is None or operator.op in ("quantity", "state", "update"):
            known = ", ".join(sorted({*BY_NAME, *_STANDARD} - {"Quantity"}))
            raise UnsupportedError(
                f"{where(node)}: this operator has no meaning in a spiking network's step; the ones that have are {known}"
            )
        attrs = self.attrs(operator.op, node)
        if attrs.get("n_post", 0) > MOST_NEURONS:
            raise UnsupportedError(f"{where(node)}: n_post must be at most {MOST_NEURONS}, not {attrs['n_post']}")
        absent = [k for k, slot in enumerate(operator.inputs) if not operator.has(slot, attrs)]
        inputs = (
            ()
            if operator.op == "const"
            else tuple(self.value(node, k) for k in range(len(operator.inputs)) if k not in absent)
        )
        outputs = [o for k, o in enumerate(node.output) if k not in absent]
        made = self.append(Node(operator.op, inputs, (), attrs, (), source_name(node)), node, outputs)
        given = attributes(node)
        for key, number in operator.widths.items():
            width = self.values[made[number]].type.width
            if given.get(key) != width:
                raise UnsupportedError(
                    f"{where(node)}: {key} must be {width}, the width of its state, not {given.get(key)}"
                )

    def attrs(self, op: str, node: NodeProto) -> dict[str, Any]:
        """The graph's attributes out of a node's."""
        kinds = {k: v.rstrip("?") for k, v in spec(op).attrs.items()}
        out: dict[str, Any] = {}
        for key, value in attributes(node).items():
            if key in OPERATORS[op].widths:
                continue
            if key not in kinds:
                raise UnsupportedError(
                    f"{where(node)}: {node.op_type} has no attribute {key!r}; known are {', '.join(kinds)}"
                )
            choices = CHOICES.get((op, key))
            if choices is not None:
                if not isinstance(value, int) or not 0 <= value < len(choices):
                    raise InputError(f"{where(node)}: {key} must be in 0..{len(choices) - 1}, not {value!r}")
                value = choices[value]
            elif not isinstance(value, _KINDS[kinds[key]]):
                raise InputError(f"{where(node)}: attribute {key} must be {kinds[key]}, not {type(value).__name__}")
            elif kinds[key] == "bool":
                value = bool(value)
            elif kinds[key] == "tuple":
                value = tuple(value)  # type: ignore[arg-type]
            out[key] = value
        return out

    def append(self, node: Node, source: NodeProto, names: Iterable[str]) -> list[str]:
        """Infer a node's results, give them the file's names, and append it."""
        label = [clean_name(n.removeprefix(PREFIX)) for n in names]
        node.outputs = (Value(label[0] if label else node.op, Type(1), ()),)
        try:
            results = infer(node, [self.values[i] for i in node.inputs], [self.ranges[i] for i in node.inputs])
            types = [result_type(r) for r in results]
        except GraphError as e:
            reason = re.sub(r"^node %\S+ = \w+( \(from .*?\))?: ", "", str(e))
            raise UnsupportedError(f"{where(source)}: {reason}") from e
        if len(results) != len(label):
            raise InputError(f"{where(source)}: {source.op_type} must have {len(results)} outputs, not {len(label)}")
        node.outputs = tuple(Value(n, t, r.shape) for n, t, r in zip(label, types, results, strict=True))
        for given, value, result in zip(names, node.outputs, results, strict=True):
            self.define(value, result.range, where(source))
            self.env[given] = value.name
        self.out.nodes.append(node)
        return label

    def define(self, value: Value, bounds: Range, where: str) -> None:
        if value.name in self.values:
            raise InputError(f"{where}: name {value.name!r} must be given once in the model")
        self.values[value.name], self.ranges[value.name] = value, bounds
