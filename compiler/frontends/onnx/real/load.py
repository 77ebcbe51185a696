"""From a float ONNX model to a real program: the entry point of this frontend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx.importer import Scope
from neuroloom.compiler.frontends.onnx.inputs import InputRule
from neuroloom.compiler.frontends.onnx.tensors import Const, Opaque, Sym, Tensor
from neuroloom.compiler.ir.types import Range
from neuroloom.compiler.real import Program
from neuroloom.compiler.real.fold import fold
from onnx import ModelProto

from .importer import RealImporter, kind_of

INTEGER_BOUNDS = {"int64": None, "uint64": None}
"""Integer types whose range no graph can carry: an input of them needs bounds."""


def load_program(reader: Any, state: Mapping[str, str] | None = None) -> Program:
    """The program of a model that ``reader`` (see ``onnx/load.py``) has parsed, with constants folded into weights.

    ``state`` maps inputs that are memory to the outputs that give their next values.

    Raises InputError for a broken file, UnsupportedError naming the node that cannot be carried.
    """
    model: ModelProto = reader.model
    importer = RealImporter(
        reader.name,
        model.functions,
        batch=any(a is not None for a in reader.batch.axes.values()),
        batch_size=reader.batch.size,
        expand=reader.expand,
        folder=reader.folder,
    )
    importer.producer = model.producer_name
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    scope = Scope(dict(reader.constants), opsets)
    for key, (dtype, dims) in reader.inputs.items():
        batch = reader.batch.axes[key]
        shape = tuple(int(d) for i, d in enumerate(dims) if i != batch)
        kind = kind_of(dtype)
        bounds = _bounds(key, dtype, reader.rules.get(key)) if kind == "int" else None
        name = importer.builder.input(key, shape, kind, bounds)
        scope.tensors[key] = Sym(name, dtype, shape, batch)
    outputs = [o.name for o in model.graph.output]
    if not outputs:
        raise InputError(f"{reader.label} must have an output")
    importer.run(model.graph.node, scope, outputs)
    places = {n: a for n, a in reader.batch.axes.items() if a}
    for output in outputs:
        sym = _shown(importer, scope.tensors[output], output)
        importer.builder.output(output, sym.name)
        if sym.batch:
            places[output] = sym.batch
    importer.builder.program.states = _states(importer, scope, dict(state or {}))
    program: Program = fold(importer.builder.program)
    records: dict[str, Any] = {"source": "onnx", "opset": opsets.get("", 0)}
    if model.producer_name:
        records["producer"] = f"{model.producer_name} {model.producer_version}".strip()
    if places:
        records["batch_axes"] = places
    if not importer.batch:
        records["batch"] = "none"
    notes = list(importer.notes)
    warnings = [n.replace("warning: ", "") for n in notes if "warning: " in n]
    if notes:
        records["notes"] = [n for n in notes if "warning: " not in n]
    if warnings:
        records["warnings"] = warnings
    program.records = records
    return program


def _states(importer: RealImporter, scope: Scope, state: dict[str, str]) -> dict[str, str]:
    """Memory by value name; raises InputError where an input and its output do not match."""
    program: Program = importer.builder.program
    inputs = {v.name: v for v in program.inputs}
    outputs = {o.name: importer.builder[o.value] for o in program.outputs}
    out = {}
    for given, after in state.items():
        tensor = scope.tensors.get(given)
        name = tensor.name if isinstance(tensor, Sym) else given
        if name not in inputs:
            raise InputError(f"state must name one of the inputs {', '.join(inputs)}, not {given!r}")
        if after not in outputs:
            raise InputError(f"state {given!r} must go on from one of the outputs {', '.join(outputs)}, not {after!r}")
        old, new = inputs[name], outputs[after]
        if (old.shape, old.kind) != (new.shape, new.kind):
            raise InputError(
                f"state {given!r} must be like output {after!r}, {new.kind}{list(new.shape)}, not {old.kind}{list(old.shape)}"
            )
        out[name] = after
    if out and len(out) == len(inputs):
        raise InputError("a clocked model must have an input that is not state")
    if len(set(out.values())) != len(out):
        raise InputError("every state must go on from an output of its own")
    return out


def _bounds(name: str, dtype: np.dtype, rule: InputRule | None) -> Range | None:
    """Bounds of an integer input: by its rule, or its element type's; None where neither says (then a node may refuse it)."""
    if rule is not None and rule.bounds is not None:
        return rule.bounds
    if dtype.name in INTEGER_BOUNDS:
        raise UnsupportedError(f"input {name!r} is {dtype} and needs bounds; give --input-bounds {name}=LO..HI")
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _shown(importer: RealImporter, tensor: Tensor, name: str) -> Sym:
    where = f"output {name!r}"
    if isinstance(tensor, Opaque):
        raise UnsupportedError(f"{where}: {tensor.reason}")
    if isinstance(tensor, Const):
        raise UnsupportedError(f"{where} does not depend on any input; drop it")
    if importer.batch and tensor.batch is None and importer.batch_size != 1:
        raise UnsupportedError(f"{where} has no batch axis; every output must be computed per sample")
    return tensor
