"""The importer of float models: the walk, folding, functions and shape arithmetic of the exact one, other handlers and builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.onnx import build, fold
from neuroloom.compiler.frontends.onnx.importer import Importer, Scope
from neuroloom.compiler.frontends.onnx.registry import HANDLERS, Call, Handler
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from neuroloom.compiler.real import ProgramBuilder
from onnx import defs, helper

REAL: dict[tuple[str, str], Handler] = {}
"""One handler per operator of a float model."""

REAL_WHOLE: set[tuple[str, str]] = set()

MOVES = (
    "Shape Size Reshape Flatten Squeeze Unsqueeze Transpose Split Slice Tile DepthToSpace SpaceToDepth Identity StopGradient"
).split()
"""Operators whose handlers only move elements, so that the exact importer's serve both."""

for _name in MOVES:
    REAL["", _name] = HANDLERS["", _name]
REAL_WHOLE |= {("", "Shape"), ("", "Size")}


def operator(*names: str, whole: bool = False, domain: str = "") -> Callable[[Handler], Handler]:
    """Register the decorated function for operators of float models; ``whole``: also for constant inputs."""

    def register(handler: Handler) -> Handler:
        for name in names:
            if (domain, name) in REAL:
                raise ValueError(f"operator {name} is registered twice")
            REAL[domain, name] = handler
            if whole:
                REAL_WHOLE.add((domain, name))
        return handler

    return register


DATA_SHAPED = frozenset("NonZero ScatterND Unique NonMaxSuppression Compress Bernoulli Multinomial".split())
"""Operators whose results have no fixed size, or place, before the data are known."""


class RealImporter(Importer):
    """Builds a real program; tensors are :class:`Sym` without rounding history, whose names are values of the program."""

    handlers = REAL
    whole = REAL_WHOLE
    scope: Scope
    ordered: dict[str, tuple[str, int]]
    """Values whose elements along an axis are in the order of another one's: a softmax and what it was made of."""

    def new_builder(self, name: str) -> Any:
        """A program instead of a graph."""
        self.ordered = {}
        return ProgramBuilder(name)

    def _evaluate(self, node: onnx.NodeProto, source: str, scope: Scope) -> Sequence[Tensor]:
        outer, self.scope = getattr(self, "scope", scope), scope
        moved = self._moved_grid(node, scope)
        if moved is not None:
            return moved
        try:
            body = self._defined(node, scope)
            if body is not None:
                inputs = [scope.tensors[i] if i else None for i in node.input]
                return self._expand(node, body, inputs, source, scope)
            return super()._evaluate(node, source, scope)
        except (
            ValueError,
            IndexError,
            TypeError,
            ZeroDivisionError,
        ) as e:  # a broken file: sizes that no handler foresaw
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise InputError(
                f"node {source!r} ({node.op_type}): its inputs or attributes do not fit it: {reason}"
            ) from e
        finally:
            self.scope = outer

    def _defined(self, node: onnx.NodeProto, scope: Scope) -> onnx.FunctionProto | None:
        """The body by which ONNX itself defines an operator that has no handler here, its defaults filled in."""
        if node.domain not in ("", "ai.onnx") or ("", node.op_type) in self.handlers:
            return None
        tensors = [scope.tensors.get(i) for i in node.input]
        if node.op_type in fold.FOLDED and all(isinstance(t, Const) for t in tensors if t is not None):
            return None
        version = scope.opsets.get("")
        if (
            version is None
            or not defs.has(node.op_type)
            or (node.domain, node.op_type, node.overload) in self.functions
        ):
            return None
        schema: Any = defs.get_schema(node.op_type, version, "")  # its type stubs miss the function builders
        body = onnx.FunctionProto()
        if schema.has_function:
            body.CopyFrom(schema.function_body)
        elif schema.has_context_dependent_function:
            types = [_type_of(t) for t in tensors]
            body.ParseFromString(schema.get_context_dependent_function(node.SerializeToString(), types))
        if not body.node or (node.input and not body.input):
            return None
        body.domain, body.name = "ai.onnx", node.op_type
        for name, attribute in schema.attributes.items():
            if attribute.default_value.name and name not in [a.name for a in node.attribute]:
                default = body.attribute_proto.add()
                default.CopyFrom(attribute.default_value)
        if not body.opset_import:
            body.opset_import.add(domain="", version=version)
        return body

    def _unknown(self, call: Call) -> NoReturn:
        if not call.domain and call.op in DATA_SHAPED:
            call.refuse(
                "the shape of its result depends on the data", "hardware needs fixed sizes; use Where or a mask"
            )
        if call.domain or not defs.has(call.op):
            super()._unknown(call)
        call.refuse(f"operator {call.op} is not supported in float networks", "docs/gated.md lists those that are")

    @staticmethod
    def _moved_grid(node: onnx.NodeProto, scope: Scope) -> list[Tensor] | None:
        """Quantised weights stay quantised when a node only turns them."""
        from .quantised import GridConst

        given = scope.tensors.get(node.input[0]) if node.input else None
        if not isinstance(given, GridConst):
            return None
        if node.op_type == "Identity":
            return [given]
        if node.op_type == "Transpose":
            perms = [list(a.ints) for a in node.attribute if a.name == "perm"]
            return [given.turned(perms[0] if perms else list(range(given.rank))[::-1])]
        return None

    def body(self, call: Call, graph: onnx.GraphProto, given: dict[str, Tensor]) -> list[Tensor]:
        """Import a subgraph in a scope that sees the names around it; returns its outputs. Call it inside ``builder.region``."""
        if self.scope.depth >= 32:
            call.bad("at most 32 graphs may be nested")
        tensors = {**self.scope.tensors, **given}
        for t in graph.initializer:
            tensors[t.name] = Const(self.stored(t, f"{call.where}: initializer"))
        around = self.scope
        inner = Scope(tensors, around.opsets, f"{call.source}/", around.attributes, around.depth + 1, around.stack)
        wanted = [o.name for o in graph.output]
        self.run(graph.node, inner, wanted)
        return [inner.tensors[o] for o in wanted]


def _type_of(tensor: Tensor | None) -> bytes:
    """The type of an input as ONNX' own function builders want it, without a shape."""
    kind = onnx.TypeProto()
    if isinstance(tensor, (Const, Sym)):
        kind.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(tensor.dtype)
    return kind.SerializeToString()


# ---- what handlers share


def real_data(call: Call, array: np.ndarray, what: str = "a constant") -> np.ndarray:
    """A constant of the file as float64; NaN and infinity are refused, and numbers too small for any format noted."""
    if array.dtype == object:
        call.refuse("a shape that depends on the batch size cannot meet data", "export with a fixed shape")
    data = np.asarray(array, np.float64)
    if not np.isfinite(data).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(data))[0]]
        raise InputError(
            f"{call.where}: {what} must be finite, not {data[tuple(at)]} at {at}; train or export the model again"
        )
    tiny = np.finfo(array.dtype).tiny if array.dtype.kind == "f" else 0
    subnormal = int(((data != 0) & (np.abs(data) < tiny)).sum())
    if subnormal:
        call.record(f"{what} holds {subnormal} subnormal numbers, which become 0")
    return data


def kind_of(dtype: np.dtype) -> str:
    """The program's kind for an element type."""
    return {"f": "real", "b": "bit"}.get(dtype.kind, "int")


def constant(call: Call, array: np.ndarray, part: str = "const") -> str:
    """Put a per-sample constant into the program."""
    kind = kind_of(array.dtype) if array.dtype != object else "int"
    data = real_data(call, array) if kind == "real" else array
    builder = call.importer.builder
    return builder.const(data, kind=kind, name=f"{call.source}.{part}", source=call.source)


def value_of(call: Call, operand: Sym | np.ndarray, part: str = "const") -> str:
    """The program value of an operand that ``build.align`` gave."""
    return operand.name if isinstance(operand, Sym) else constant(call, operand, part)


def result(call: Call, name: str, dtype: np.dtype, batch: int | None) -> Sym:
    """A tensor of the program as the importer carries it."""
    return Sym(name, dtype, call.importer.value(name).shape, batch)


def emit(call: Call, op: str, inputs: Sequence[str], part: str = "", **attrs: Any) -> str:
    """Append an operation for the node at hand."""
    return call.importer.emit(op, inputs, part, **attrs)


def binary(call: Call, op: str, a: Const | Sym, b: Const | Sym, part: str = "") -> Sym:
    """``op`` of two tensors, broadcast around the batch axis."""
    _, batch, operands = build.align(call, [a, b])
    dtype = next(t.dtype for t in (a, b) if isinstance(t, Sym))
    if a.dtype.kind != b.dtype.kind and "f" in (a.dtype.kind, b.dtype.kind):
        call.bad(f"inputs must have one element type, not {a.dtype} and {b.dtype}")
    names = [value_of(call, o) for o in operands]
    return result(call, emit(call, op, names, part), dtype, batch)


def function(call: Call, x: Sym, name: str, params: Sequence[float] = (), part: str = "") -> Sym:
    """A function of one real applied to every element."""
    if not x.is_float:
        call.refuse(f"{call.op} of integers is not supported", "cast to float first")
    if not all(np.isfinite(p) for p in params):
        call.bad(f"its attributes must be finite, not {', '.join(map(str, params))}")
    out = emit(call, "function", [x.name], part, function=name, params=tuple(float(p) for p in params))
    return result(call, out, x.dtype, x.batch)


def reshaped(call: Call, name: str, shape: Sequence[int], part: str = "shaped") -> str:
    """The program value under another per-sample shape."""
    shape = tuple(int(s) for s in shape)
    if call.importer.value(name).shape == shape:
        return name
    return emit(call, "reshape", [name], part, shape=shape)


def sample_axis(call: Call, x: Sym, axis: int, doing: str) -> int | None:
    """The per-sample axis; None for the batch axis of a model that takes one sample at a time (its axis then has one entry)."""
    at = call.axis(axis, x.rank)
    if x.batch is not None and at == x.batch and call.importer.batch_size == 1:
        call.record(f"{doing} the batch axis of one sample: everything behind is decided per sample")
        return None
    return call.sample_axis(x, axis, doing)


def importer_of(call: Call) -> RealImporter:
    """The importer at work."""
    assert isinstance(call.importer, RealImporter)
    return call.importer
