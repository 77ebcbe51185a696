"""Branches of float models: only the taken one runs, decided per sample."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Opaque, Sym, Tensor
from neuroloom.compiler.real import RealRegion
from onnx import AttributeProto, GraphProto

from .importer import constant, importer_of, operator, reshaped, result


def subgraph(call: Call, name: str) -> GraphProto:
    """The graph stored in attribute ``name``."""
    found = call.attributes.get(name)
    if found is None or found.type != AttributeProto.GRAPH:
        call.bad(f"{name} must be given, as a graph")
    return found.g


def as_value(call: Call, tensor: Tensor, like: Sym | None) -> Sym:
    """A branch's result as a value of the program; a constant takes its batch axis from the other branch's."""
    if isinstance(tensor, Opaque):
        call.refuse(tensor.reason)
    if isinstance(tensor, Sym):
        return tensor
    data, batch = tensor.array, None
    if like is not None and like.batch is not None and data.ndim == like.rank:
        batch = like.batch
        if data.shape[batch] != 1 and not (data == data.take([0], axis=batch)).all():
            call.refuse("a constant result that differs from sample to sample depends on the place in the batch")
        data = data.take(0, axis=batch)
    return result(call, constant(call, data, "constant"), tensor.dtype, batch)


@operator("If")
def if_(call: Call) -> list[Tensor]:
    """then_branch or else_branch; the condition is one truth value per sample."""
    importer = importer_of(call)
    cond = call.sym(0)
    if cond.dtype != np.bool_:
        call.bad(f"the condition must be bool, not {cond.dtype}")
    if int(np.prod(cond.shape)) != 1:
        call.refuse(f"the condition must be one truth value per sample, not {list(cond.shape)}")
    if importer.batch and cond.batch is None and importer.batch_size != 1:
        call.refuse("the condition must be computed per sample", "export the model for one sample, with --batch-axis 0")
    decision = reshaped(call, cond.name, (), "decision")
    regions: list[RealRegion] = []
    results: list[list[Sym]] = []
    for name in ("then_branch", "else_branch"):
        regions.append(importer.builder.region(lambda n=name: _branch(call, n, results)))
    first, second = results
    for number, (a, b) in enumerate(zip(first, second, strict=False)):
        if (a.shape, a.dtype.kind) != (b.shape, b.dtype.kind):
            call.refuse(
                f"result {number} must have one shape in both branches, not {list(a.shape)} and {list(b.shape)}",
                "pad the smaller one",
            )
    if len(first) != len(second):
        call.bad(f"both branches must give as many results, not {len(first)} and {len(second)}")
    names = importer.emit_many("when", [decision], regions=regions)
    call.record("the branch is decided per sample; only the taken one runs")
    out: list[Tensor] = []
    for name, a, b in zip(names, first, second, strict=True):
        if importer.batch_size != 1 and a.batch != b.batch:
            call.refuse("both branches must have their batch axis at the same place")
        out.append(result(call, name, a.dtype, a.batch if a.batch is not None else b.batch))
    return out


def _branch(call: Call, name: str, results: list[list[Sym]]) -> list[str]:
    tensors = importer_of(call).body(call, subgraph(call, name), {})
    known = next((t for t in tensors if isinstance(t, Sym)), results[0][0] if results and results[0] else None)
    mine = [as_value(call, t, known) for t in tensors]
    results.append(mine)
    return [s.name for s in mine]


def static(tensor: Tensor | None) -> bool:
    """Whether a tensor is constant (or absent)."""
    return tensor is None or isinstance(tensor, Const)
