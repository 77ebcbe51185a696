"""Walks a model's nodes in order, folds constants, expands functions, and hands the rest to the operator handlers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from neuroloom.compiler.errors import GraphError, InputError, UnsupportedError
from neuroloom.compiler.ir import Builder, Type, Value
from onnx import AttributeProto, defs

from . import fold
from .reader import tensor_array
from .registry import HANDLERS, WHOLE, Call
from .tensors import Const, Opaque, Sym, Tensor

MAX_FUNCTION_DEPTH = 32
MAX_ELEMENTS = 1 << 27
"""Largest tensor that an import may create, in elements."""
MIN_OPSET = 7
"""Operator set from which on :data:`BROADCAST` operators broadcast like numpy; before, attributes said how."""
BROADCAST = frozenset("Add Sub Mul Div Pow And Or Xor Greater Less Equal Gemm Sum Max Min Clip Slice".split())


CUSTOM_VERSIONS = {"qonnx.custom_op.lnn": 3, "neuroloom": 1}
"""Newest known version of each domain whose operators have a handler."""


@dataclass
class Scope:
    """The names visible to the nodes of the model or of one function's body."""

    tensors: dict[str, Tensor]
    opsets: dict[str, int]
    prefix: str = ""
    attributes: dict[str, AttributeProto] = field(default_factory=dict)
    depth: int = 0
    stack: tuple[tuple[str, str, str], ...] = ()


class NarrowInput(Exception):
    """An operator defined only on a part of its input type is fed by a model input: import again with these bounds."""

    def __init__(self, name: str, bounds: tuple[int, int], where: str) -> None:
        super().__init__(f"{where} needs input {name!r} in {bounds[0]}..{bounds[1]}")
        self.name, self.bounds, self.where = name, bounds, where


class Importer:
    """Builds the graph of one model; ``batch_size`` is None when the number of samples is open."""

    handlers = HANDLERS
    whole = WHOLE
    producer = ""
    """The program that wrote the file, as the file says."""

    def __init__(
        self,
        name: str,
        functions: Iterable[onnx.FunctionProto],
        *,
        batch: bool,
        batch_size: int | None,
        expand: frozenset[tuple[str, str]] = frozenset(),
        folder: Path | None = None,
    ) -> None:
        self.folder = folder
        self.builder = self.new_builder(name)
        self.functions = {(f.domain, f.name, f.overload): f for f in functions}
        self.batch = batch
        self.batch_size = batch_size
        self.expand = expand
        self.notes: dict[str, None] = {}
        self.sources: dict[str, str] = {}
        self.source = ""

    def new_builder(self, name: str) -> Any:
        """What the handlers append to."""
        return Builder(name)

    # ---- emitting

    def emit(self, op: str, inputs: Sequence[str], part: str = "", **attrs: Any) -> str:
        """Append a node to the graph for the source node in work; ``part`` names an intermediate value of it."""
        return self.emit_many(op, inputs, part, **attrs)[0]

    def emit_many(self, op: str, inputs: Sequence[str], part: str = "", **attrs: Any) -> list[str]:
        """:meth:`emit` for operations with several outputs."""
        name = f"{self.source}.{part}" if part else self.source
        return self.builder.nodes(op, inputs, name=name, source=self.source, **attrs)

    def constant(self, data: np.ndarray, type_: Type | None = None, part: str = "const") -> str:
        """Append a constant of the graph."""
        return self.builder.const(np.asarray(data), type_, name=f"{self.source}.{part}", source=self.source)

    def value(self, name: str) -> Value:
        """The graph's value ``name``."""
        return self.builder[name]

    def range(self, name: str) -> tuple[int, int]:
        """Proven bounds of a value."""
        return self.builder.ranges[name]

    def note(self, text: str) -> None:
        """Keep a remark for the graph's records, once."""
        self.notes[text] = None

    def stored(self, tensor: onnx.TensorProto, where: str) -> np.ndarray:
        """A tensor stored in an attribute."""
        return tensor_array(tensor, self.folder, where)

    # ---- walking

    def run(self, nodes: Sequence[onnx.NodeProto], scope: Scope, wanted: Iterable[str]) -> None:
        """Import every node that the ``wanted`` tensors need, in dependency order, into ``scope``."""
        for node, source in self._ordered(nodes, scope, wanted):
            self._node(node, source, scope)

    def _ordered(
        self, nodes: Sequence[onnx.NodeProto], scope: Scope, wanted: Iterable[str]
    ) -> list[tuple[onnx.NodeProto, str]]:
        producers = self._producers(nodes, scope)
        needed: set[int] = set()
        pending: list[tuple[str, str]] = [(name, "") for name in wanted]
        while pending:
            name, reader = pending.pop()
            if name in scope.tensors:
                continue
            if name not in producers:
                who = f"node {reader!r}: input" if reader else "output"
                raise InputError(f"{who} {name!r} must be computed by a node, but none does; the model is incomplete")
            at = producers[name]
            if at not in needed:
                needed.add(at)
                label = self._source(nodes[at], scope)
                pending.extend((i, label) for i in nodes[at].input if i)
                pending.extend((i, label) for i in _captured(nodes[at]) if i in producers)
        order = sorted(needed)
        if not self._in_order(nodes, order, producers):
            order = self._sort(nodes, order, producers, scope)
        return [(nodes[i], self._source(nodes[i], scope)) for i in order]

    def _producers(self, nodes: Sequence[onnx.NodeProto], scope: Scope) -> dict[str, int]:
        producers: dict[str, int] = {}
        for number, node in enumerate(nodes):
            for name in node.output:
                if not name:
                    continue
                if name in producers or name in scope.tensors:
                    raise InputError(
                        f"node {self._source(node, scope)!r}: output {name!r} must be computed once, this is the second time"
                    )
                producers[name] = number
        return producers

    @staticmethod
    def _in_order(nodes: Sequence[onnx.NodeProto], order: list[int], producers: dict[str, int]) -> bool:
        return all(producers.get(name, -1) < i for i in order for name in nodes[i].input)

    def _sort(
        self, nodes: Sequence[onnx.NodeProto], order: list[int], producers: dict[str, int], scope: Scope
    ) -> list[int]:
        """Topological order of nodes that the file stores out of order; raises InputError on a cycle."""
        waiting = {i: {producers[n] for n in nodes[i].input if n in producers} for i in order}
        readers: dict[int, list[int]] = {i: [] for i in order}
        for i, sources in waiting.items():
            for s in sources:
                readers[s].append(i)
        ready = [i for i in reversed(order) if not waiting[i]]
        out = []
        while ready:
            i = ready.pop()
            out.append(i)
            for r in sorted(readers[i], reverse=True):
                waiting[r].discard(i)
                if not waiting[r]:
                    ready.append(r)
        if len(out) < len(order):
            at = min(i for i in order if waiting[i])
            seen: list[int] = []
            while at not in seen:
                seen.append(at)
                at = min(waiting[at])
            cycle = [repr(self._source(nodes[i], scope)) for i in reversed(seen[seen.index(at) :])]
            raise InputError(
                f"nodes must not form a cycle, but {' -> '.join([*cycle, cycle[0]])} do; "
                "recurrence must be written with Scan or as a clocked model"
            )
        return out

    def _source(self, node: onnx.NodeProto, scope: Scope) -> str:
        name = node.name or next((o for o in node.output if o), node.op_type)
        return f"{scope.prefix}{name}"

    def _node(self, node: onnx.NodeProto, source: str, scope: Scope) -> None:
        outer, self.source = self.source, source
        try:
            results = self._evaluate(node, source, scope)
        except GraphError as e:
            reason = re.sub(r"^node %\S+ = \w+( \(from .*?\))?: ", "", str(e))  # the source node is named already
            raise UnsupportedError(f"node {source!r} ({node.op_type}): {reason}") from e
        except OverflowError as e:
            raise UnsupportedError(f"node {source!r} ({node.op_type}): its integers exceed 63 bits") from e
        except UnsupportedError as e:
            if source in str(e):
                raise
            raise UnsupportedError(f"node {source!r} ({node.op_type}): {e}") from e
        finally:
            self.source = outer
        if len(results) < len([o for o in node.output if o]) and len(results) < len(node.output):
            raise InputError(
                f"node {source!r} ({node.op_type}): outputs must be at most {len(results)}, not {len(node.output)}"
            )
        for name, tensor in zip(node.output, results, strict=False):
            if name:
                scope.tensors[name] = tensor
        shown = results[0] if results else None
        if isinstance(shown, Sym) and shown.name != source:
            self.sources[source] = shown.name

    def _evaluate(self, node: onnx.NodeProto, source: str, scope: Scope) -> Sequence[Tensor]:
        node = _bind(node, scope)
        domain = "" if node.domain == "ai.onnx" else node.domain
        key = (domain, node.op_type)
        inputs = [scope.tensors[i] if i else None for i in node.input]
        function = self.functions.get((node.domain, node.op_type, node.overload))
        handler = self.handlers.get(key)
        if function is not None and (handler is None or key in self.expand or not domain):
            return self._expand(node, function, inputs, source, scope)
        if key == ("", "If") and inputs and isinstance(inputs[0], Const) and inputs[0].array.size == 1:
            return self._branch(node, bool(inputs[0].array.reshape(-1)[0]), source, scope)
        version = self._version(domain, source, node, scope)
        call = Call(self, node, inputs, source, version)
        if key not in self.whole and not domain and all(isinstance(i, Const) or i is None for i in inputs):
            folded = fold.fold(call)
            if folded is not None:
                return folded
        if handler is None:
            self._unknown(call)
        result = handler(call)
        return [result] if isinstance(result, (Const, Sym, Opaque)) else list(result)

    def _version(self, domain: str, source: str, node: onnx.NodeProto, scope: Scope) -> int:
        version = scope.opsets.get(domain)
        newest = CUSTOM_VERSIONS.get(domain)
        if version is not None and newest is not None and version > newest:
            raise UnsupportedError(
                f"node {source!r} ({node.op_type}): version {version} of the domain {domain!r} is newer than {newest}, "
                "the newest known here; write the model for that version"
            )
        if version is None:
            if domain:
                return 1
            raise InputError(
                f"node {source!r} ({node.op_type}): the model must import an operator set for ONNX's domain"
            )
        low = 1 if node.op_type not in BROADCAST else MIN_OPSET
        if not domain and not low <= version <= defs.onnx_opset_version():
            raise UnsupportedError(
                f"node {source!r} ({node.op_type}): operator set {version} is not in {low}.."
                f"{defs.onnx_opset_version()}; convert the model with onnx.version_converter"
            )
        return version

    def _unknown(self, call: Call) -> NoReturn:
        known = sorted(name for domain, name in self.handlers if domain == call.domain)
        if not call.domain and defs.has(call.op):
            call.refuse(
                f"operator {call.op} is not supported on values computed from the inputs",
                "only operators with an exact integer meaning are",
            )
        where = f"domain {call.domain!r}" if call.domain else "ONNX's own domain"
        hint = f"known there: {', '.join(known)}" if call.domain and known else "store its definition as a function"
        call.refuse(f"operator {call.op!r} of {where} is unknown", hint)

    def _branch(self, node: onnx.NodeProto, taken: bool, source: str, scope: Scope) -> Sequence[Tensor]:
        """Import the branch of an If whose condition is constant; it sees the names around it."""
        name = "then_branch" if taken else "else_branch"
        found = [a.g for a in node.attribute if a.name == name and a.type == AttributeProto.GRAPH]
        if len(found) != 1:
            raise InputError(f"node {source!r} (If): {name} must be given once, as a graph")
        if scope.depth >= MAX_FUNCTION_DEPTH:
            raise InputError(f"node {source!r} (If): at most {MAX_FUNCTION_DEPTH} graphs may be nested")
        tensors = dict(scope.tensors)
        for t in found[0].initializer:
            tensors[t.name] = Const(self.stored(t, f"node {source!r}: initializer"))
        inner = Scope(tensors, scope.opsets, f"{source}/", scope.attributes, scope.depth + 1, scope.stack)
        wanted = [o.name for o in found[0].output]
        self.run(found[0].node, inner, wanted)
        return [inner.tensors[o] for o in wanted]

    def _expand(
        self,
        node: onnx.NodeProto,
        function: onnx.FunctionProto,
        inputs: list[Tensor | None],
        source: str,
        scope: Scope,
    ) -> Sequence[Tensor]:
        """Import the body of a model-local function in a scope of its own."""
        key = (function.domain, function.name, function.overload)
        where = f"node {source!r} ({node.op_type})"
        if key in scope.stack or scope.depth >= MAX_FUNCTION_DEPTH:
            raise InputError(f"{where}: function {function.domain}.{function.name} must not call itself")
        if len(inputs) > len(function.input):
            raise InputError(f"{where}: inputs must be at most {len(function.input)}, not {len(inputs)}")
        attributes = {a.name: a for a in function.attribute_proto}
        known = {*attributes, *function.attribute}
        for a in node.attribute:
            if a.name not in known:
                raise InputError(f"{where}: function {function.name} has no attribute {a.name!r}")
            attributes[a.name] = a
        tensors = {name: value for name, value in zip(function.input, inputs, strict=False) if value is not None}
        absent = set(function.input) - set(tensors)
        inner = Scope(
            tensors,
            {("" if o.domain == "ai.onnx" else o.domain): o.version for o in function.opset_import},
            f"{source}/",
            attributes,
            scope.depth + 1,
            (*scope.stack, key),
        )
        body = [_without(n, absent) for n in function.node] if absent else list(function.node)
        wanted = [o for o, given in zip(function.output, node.output, strict=False) if given]
        self.run(body, inner, wanted)
        return [inner.tensors.get(o, Opaque(f"{where}: output {o!r} is not used")) for o in function.output]


def _bind(node: onnx.NodeProto, scope: Scope) -> onnx.NodeProto:
    """The node with references to its function's attributes replaced by their values."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    bound = onnx.NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    for a in node.attribute:
        if not a.ref_attr_name:
            bound.attribute.append(a)
        elif a.ref_attr_name in scope.attributes:
            given = bound.attribute.add()
            given.CopyFrom(scope.attributes[a.ref_attr_name])
            given.name = a.name
    return bound


def _without(node: onnx.NodeProto, absent: set[str]) -> onnx.NodeProto:
    """The node with inputs that the caller did not give left empty."""
    if not absent.intersection(node.input):
        return node
    out = onnx.NodeProto()
    out.CopyFrom(node)
    out.input[:] = ["" if i in absent else i for i in node.input]
    return out


def _captured(node: onnx.NodeProto) -> list[str]:
    """Names that the node's subgraphs read from outside."""
    out: list[str] = []
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            for inner in a.g.node:
                out.extend(inner.input)
                out.extend(_captured(inner))
    return out
