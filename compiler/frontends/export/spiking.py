"""Clocked graphs of spiking networks as ONNX: one Scan over time, one operator of domain ``neuroloom`` per operation.

The operators are those of :mod:`.spiking_functions`. Inputs are rasters ``[N, T, ...]`` (N samples of T steps), outputs
``[N, T, ...]``: the graph's integers, bits as bool. Same graph, same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.network import network_graph
from neuroloom.compiler.ir import Affine, Graph, Node, Type, Value
from neuroloom.compiler.ir.ops.registry import spec
from onnx import TensorProto, helper, numpy_helper

from .files import write_atomically
from .functions import DOMAIN_VERSIONS, NL_DOMAIN, OPSET
from .model_under_way import IR_VERSION
from .spiking_functions import (
    CHOICES,
    OPERATORS,
    PREFIX,
    RECORDS_KEY,
    SOURCE,
    STANDARD,
    Operator,
    spiking_function,
)

_LEARNING = ("trace", "stdp", "lfsr")

_INT64 = TensorProto.INT64


def export_spiking(
    source: Any, path: str | os.PathLike[str] | None = None, *, name: str | None = None
) -> onnx.ModelProto:
    """Export a spiking network as ONNX; return the model, and write it to ``path`` if given.

    ``source`` is a clocked :class:`Graph`, a compiled ``Model`` of one, or a ``Network`` in integers. ``name`` is the
    ONNX graph's name.

    Inputs are called as the graph's and are ``[N, T, *shape]``: bool for bits, else the least integer type that holds the graph's.
    Outputs are called as the graph's, ``[N, T, *shape]``, bool or int64; they are the graph's integers, and the file says
    beside them what they mean. N and T are open.

    Raises UnsupportedError for learning, for state that lives across samples and for operations without an operator (named, with
    the value), InputError for a source that is none of these or a path that cannot be written.
    """
    graph = _graph(source)
    _check(graph)
    model = _Writer(graph, name or graph.name).model()
    onnx.checker.check_model(model, full_check=True)
    if path is not None:
        write_atomically(model.SerializeToString(deterministic=True), path)
    return model


def _graph(source: Any) -> Graph:
    if isinstance(source, Graph):
        return source
    inner = getattr(source, "graph", None)
    if isinstance(inner, Graph):
        return inner
    if type(source).__name__ != "Network" or not hasattr(source, "populations"):
        raise InputError(f"source must be a Network, a Model or a clocked Graph, not {type(source).__name__}")
    if not source.exact:
        raise InputError(
            f"network {source.name!r} must be in integers to be exported; export neuroloom.compile(network) instead"
        )
    return network_graph(source)


def _check(graph: Graph) -> None:
    if not graph.clocked:
        raise UnsupportedError(f"graph {graph.name!r} must be clocked; framed networks come from ONNX or torch already")
    if not graph.inputs:
        raise UnsupportedError(f"graph {graph.name!r} must have an input, which says how many steps there are")
    for node in graph.nodes:
        if node.op in _LEARNING or (node.op == "synapses" and len(node.inputs) > 1):
            raise UnsupportedError(
                f"{node.where()}: learning cannot be written as ONNX, because weights live on from one sample to the next and ONNX "
                "runs the samples of a batch side by side; export the network with its learnt weights fixed"
            )
    values = graph.values()
    for node in graph.nodes:
        if node.op == "state" and node.attrs["lifetime"] != "sample":
            raise UnsupportedError(
                f"{node.where()}: state that lives across samples cannot be written as ONNX, which runs the samples of a batch "
                "side by side; give it the lifetime of a sample"
            )
        if node.op in STANDARD and len({len(values[i].shape) for i in node.inputs}) > 1:
            raise UnsupportedError(
                f"{node.where()}: its inputs must have the same number of axes to be written as ONNX, where the batch axis is "
                "in front; reshape them"
            )
        if node.op not in OPERATORS and node.op not in STANDARD:
            known = ", ".join(sorted({*OPERATORS, *STANDARD} - {"quantity"}))
            raise UnsupportedError(f"{node.where()}: operation {node.op} has no ONNX form; those with one are {known}")


class _Writer:
    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self.values = graph.values()
        self.states = graph.states
        self.used: set[str] = set()

    def model(self) -> onnx.ModelProto:
        graph = self.graph
        before: list[onnx.NodeProto] = []
        rasters = [self.raster(item.name, before) for item in graph.inputs]
        starts = [self.call("const", f"{s.name}/start", [graph.inputs[0].name], _start(s)) for s in self.states]
        before += starts
        stacked = [f"{o.name}/stacked" for o in graph.outputs]
        finals = [f"{s.name}/final" for s in self.states]
        scan = helper.make_node(
            "Scan",
            [*(n.output[0] for n in starts), *rasters],
            [*finals, *stacked],
            name="steps",
            body=self.body(),
            num_scan_inputs=len(rasters),
        )
        after = [node for o, s in zip(graph.outputs, stacked, strict=True) for node in self.shown(o.name, s)]
        main = helper.make_graph(
            [*before, scan, *after],
            self.name,
            [_info(i.name, _input_type(i.value.type), ["N", "T", *i.value.shape]) for i in graph.inputs],
            [_info(o.name, self.output_type(o.value), ["N", "T", *self.values[o.value].shape]) for o in graph.outputs],
        )
        model = helper.make_model(
            main,
            producer_name="neuroloom",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(NL_DOMAIN, DOMAIN_VERSIONS[NL_DOMAIN])],
            functions=[spiking_function(name) for name in sorted(self.used)],
        )
        records = json.dumps(graph.records, sort_keys=True)
        helper.set_model_props(model, {RECORDS_KEY: records})
        return model

    # around the Scan

    def raster(self, name: str, nodes: list[onnx.NodeProto]) -> str:
        """An input as int64 with time in front; says its type and meaning."""
        item = self.graph.input(name)
        bounds = {} if item.bounds is None else {"low": item.bounds[0], "high": item.bounds[1]}
        attributes = {"type": str(item.value.type), **bounds, **_meaning(item.affine)}
        node = self.call("quantity", f"{name}/integers", [name], attributes, "" if item.source == name else item.source)
        nodes.append(node)
        return self.turned(node.output[0], f"{name}/raster", self.values[name], nodes)

    def turned(self, source: str, target: str, value: Value, nodes: list[onnx.NodeProto]) -> str:
        """``source`` with its first two axes exchanged."""
        perm = [1, 0, *range(2, 2 + len(value.shape))]
        nodes.append(helper.make_node("Transpose", [source], [target], name=target, perm=perm))
        return target

    def output_type(self, value: str) -> int:
        return TensorProto.BOOL if self.values[value].type.is_bit else _INT64

    def shown(self, name: str, stacked: str) -> Iterator[onnx.NodeProto]:
        """An output: batch in front again, its meaning said, bits as bool."""
        output = next(o for o in self.graph.outputs if o.name == name)
        value = self.values[output.value]
        nodes: list[onnx.NodeProto] = []
        turned = self.turned(stacked, f"{name}/turned", value, nodes)
        yield from nodes
        meaning = {"type": str(value.type), **_meaning(output.affine)}
        yield self.call("quantity", f"{name}/integers", [turned], meaning)
        yield helper.make_node(
            "Cast", [f"{name}/integers"], [name], name=f"{name}/shown", to=self.output_type(output.value)
        )

    # the body

    def body(self) -> onnx.GraphProto:
        """One step: states and inputs in, states and outputs out."""
        graph = self.graph
        nodes: list[onnx.NodeProto] = []
        for node in graph.nodes:
            nodes += self.node(node)
        shown = []
        for number, output in enumerate(graph.outputs):
            shown.append(f"{PREFIX}{output.value}/shown{number}")
            nodes.append(helper.make_node("Identity", [PREFIX + output.value], [shown[-1]], name=shown[-1]))
        return helper.make_graph(
            nodes,
            f"{self.name}/step",
            [_step(f"{PREFIX}{s.name}/held", s.outputs[0]) for s in self.states]
            + [_step(PREFIX + i.name, i.value) for i in graph.inputs],
            [_step(f"{PREFIX}{s.name}/next", s.outputs[0]) for s in self.states]
            + [_step(name, self.values[o.value]) for name, o in zip(shown, graph.outputs, strict=True)],
        )

    def node(self, node: Node) -> Iterator[onnx.NodeProto]:
        """An operation of the graph."""
        if node.op in STANDARD:
            attributes = {"axis": node.attrs["axis"] + 1} if node.op == "concat" else {}
            names = [PREFIX + i for i in node.inputs]
            out = PREFIX + node.name
            yield _sourced(helper.make_node(STANDARD[node.op], names, [out], name=out, **attributes), node.source)
            return
        attributes = {k: _coded(node.op, k, v) for k, v in node.attrs.items()}
        if node.op == "state":
            del attributes["init"]  # it stands where the Scan starts
            inputs, outputs = [f"{PREFIX}{node.name}/held"], [PREFIX + node.name]
        elif node.op == "update":
            inputs, outputs = [PREFIX + node.inputs[1]], [f"{PREFIX}{node.inputs[0]}/next"]
        elif node.op == "const":
            inputs, outputs = [PREFIX + self.graph.inputs[0].name], [PREFIX + node.name]
        else:
            inputs, outputs = self.slots(OPERATORS[node.op], node)
        for key, number in OPERATORS[node.op].widths.items():
            attributes[key] = node.outputs[number].type.width
        yield self.call(node.op, outputs, inputs, attributes, node.source)

    def slots(self, operator: Operator, node: Node) -> tuple[list[str], list[str]]:
        """Inputs and outputs in the operator's places; absent states are given the second input."""
        given = [PREFIX + i for i in node.inputs]
        made = [PREFIX + v.name for v in node.outputs]
        for number, slot in enumerate(operator.inputs):
            if not operator.has(slot, node.attrs):
                given.insert(number, given[1])
                made.insert(number, f"{made[0]}/no_{slot}")
        return given, made

    def call(
        self, op: str, outputs: str | list[str], inputs: list[str], attributes: dict[str, Any], source: str = ""
    ) -> onnx.NodeProto:
        """A node of domain ``neuroloom``."""
        names = [outputs] if isinstance(outputs, str) else outputs
        operator = OPERATORS[op]
        self.used.add(operator.name)
        node = helper.make_node(operator.name, inputs, names, name=names[0], domain=NL_DOMAIN)
        for key in sorted(attributes):
            node.attribute.append(_attribute(key, attributes[key]))
        return _sourced(node, source)


def _start(state: Node) -> dict[str, Any]:
    return {"data": state.attrs["init"], "type": state.attrs["type"]}


def _attribute(key: str, value: Any) -> onnx.AttributeProto:
    if isinstance(value, np.ndarray):
        return helper.make_attribute(key, numpy_helper.from_array(np.asarray(value, order="C")))
    if isinstance(value, tuple):
        return helper.make_attribute(key, list(value), attr_type=onnx.AttributeProto.INTS)
    return helper.make_attribute(key, value)


def _coded(op: str, key: str, value: Any) -> Any:
    """An attribute of the graph as a file has it: choices as codes, truth as 0 or 1."""
    if (op, key) in CHOICES:
        return CHOICES[op, key].index(value)
    if spec(op).attrs[key].rstrip("?") == "bool":
        return int(value)
    return value


def _meaning(affine: Affine) -> dict[str, Any]:
    """The attributes of Quantity that say what integers mean; none for the integers themselves."""
    if affine == Affine():
        return {}
    axis = {} if affine.axis is None else {"axis": affine.axis}
    return {"scale": ",".join(map(str, affine.scale)), "offset": ",".join(map(str, affine.offset)), **axis}


def _sourced(node: onnx.NodeProto, source: str) -> onnx.NodeProto:
    if source:
        node.metadata_props.add(key=SOURCE, value=source)
    return node


def _input_type(type_: Type) -> int:
    if type_.is_bit:
        return TensorProto.BOOL
    names = [f"{'int' if type_.signed else 'uint'}{bits}" for bits in (8, 16, 32) if type_.width <= bits]
    return helper.np_dtype_to_tensor_dtype(np.dtype(names[0] if names else np.int64))


def _info(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _step(name: str, value: Value) -> onnx.ValueInfoProto:
    return _info(name, _INT64, ["N", *value.shape])


__all__ = ["export_spiking"]
