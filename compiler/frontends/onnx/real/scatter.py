"""ScatterElements: one element of ``updates`` for every index, written over, or combined with, one of ``data``."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor

from .importer import constant, emit, operator, result
from .moves import checked_index

COMBINED = {"add": "add", "mul": "mul", "max": "max", "min": "min"}
"""Values of ``reduction`` beside "none", and the operation of each."""


@operator("ScatterElements")
def scatter_elements(call: Call) -> Sym:
    """out[index[i, j], j] = updates[i, j] (along axis 0), else data: every place asks each index whether it is meant.

    Without a reduction the last of equal indices counts, as in onnx's reference evaluator; ONNX forbids them.
    """
    data, indices, updates = (call.tensor(place) for place in range(3))
    whole = next((t for t in (data, indices, updates) if isinstance(t, Sym)), None)
    assert whole is not None  # what is all constant was computed before
    axis = call.sample_axis(whole, call.integer("axis", 0), "scattering along")
    for tensor in (data, indices, updates):
        if isinstance(tensor, Sym) and (tensor.batch, tensor.rank) != (whole.batch, whole.rank):
            call.refuse("data, indices and updates must have the batch axis at the same place")
    reduction = call.text("reduction", "none")
    if reduction != "none" and reduction not in COMBINED:
        call.refuse(f"reduction {reduction!r} is not known", f"use none, {', '.join(COMBINED)}")

    def shape_of(tensor: Tensor) -> tuple[int, ...]:
        if isinstance(tensor, Const):
            return build.sample_constant(call, tensor.array, whole.rank, whole.batch).shape
        assert isinstance(tensor, Sym)
        return tuple(tensor.shape)

    def name_of(tensor: Tensor, part: str) -> str:
        if isinstance(tensor, Const):
            return constant(call, build.sample_constant(call, tensor.array, whole.rank, whole.batch), part)
        assert isinstance(tensor, Sym)
        return tensor.name

    shape, places = shape_of(data), shape_of(indices)
    if shape_of(updates) != places:
        call.bad(f"updates must be as large as the indices, {list(places)} a sample, not {list(shape_of(updates))}")
    if shape[:axis] + shape[axis + 1 :] != places[:axis] + places[axis + 1 :]:
        call.refuse(
            f"indices of {list(places)} into data of {list(shape)} leave out some places of other axes",
            "slice the data first, scatter, and concatenate the rest",
        )
    size = shape[axis]
    if isinstance(indices, Const):
        fixed = build.sample_constant(call, indices.array, whole.rank, whole.batch).astype(np.int64)
        chosen = constant(call, np.where(fixed < 0, fixed + size, fixed), "indices")
        if fixed.size and not -size <= fixed.min() <= fixed.max() < size:
            call.bad(f"indices must lie in {-size}..{size - 1}, not {fixed.min()}..{fixed.max()}")
    else:
        assert isinstance(indices, Sym)
        if indices.is_float:
            call.bad(f"indices must be integers, not {indices.dtype}")
        chosen = checked_index(call, indices, size)
    here = constant(call, np.arange(size).reshape(-1, *[1] * (len(shape) - axis - 1)), "places")
    out, new = name_of(data, "data"), name_of(updates, "updates")
    for number in range(places[axis]):
        index, value = (
            emit(call, "gather", [name], f"{part}{number}", indices=np.array([number]), axis=axis)
            for name, part in ((chosen, "index"), (new, "update"))
        )
        meant = emit(call, "relation", [index, here], f"meant{number}", kind="eq")
        if reduction != "none":
            value = emit(call, COMBINED[reduction], [out, value], f"combined{number}")
        last = number == places[axis] - 1
        out = emit(call, "select", [meant, value, out], "" if last else f"step{number}")
    return result(call, out, data.dtype, whole.batch)
