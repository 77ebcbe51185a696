"""Masks of minus infinity: what may not be chosen, or gets no weight, as attention and routers write it.

A masked tensor is no tensor of numbers, and whatever does arithmetic on it is refused. Softmax, arg-max, the maximum and top-k only
leave the masked places out, which is exact without an infinity. Where the mask is constant, every masked place reads another one of
its line that is not masked: the maximum is the same, the powers that must be 0 are put in as zeros, an index is the copy's own.
Where the mask is computed, masked places read the least element of the line, or, for the index, something less than all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.arguments import best_count, kept
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Opaque, Sym, Tensor

from .importer import binary, constant, emit, result, value_of
from .moves import gathered

READERS = "Softmax, ArgMax, TopK and ReduceMax along one axis"


@dataclass(frozen=True, slots=True)
class Masked(Opaque):
    """``x`` where ``allowed`` (bool of its per-sample shape, or truth values of the program), minus infinity elsewhere."""

    x: Sym
    allowed: np.ndarray | Sym


def masked(call: Call, x: Sym, allowed: np.ndarray | Sym) -> Masked:
    """A masked tensor; whatever reads it and is none of the readers refuses with its reason."""
    reason = (
        f"{call.where}: its result is minus infinity where it is masked, which only {READERS} can read; "
        "mask with a finite number, such as -1e4, for others"
    )
    return Masked(reason, x, allowed)


LOWEST = -1e37
"""What is less counts as minus infinity: exporters write the least float32 for it."""


def _infinite(t: Tensor | None) -> bool:
    """Whether a tensor is a constant with minus infinities (plus infinity is refused like any other number)."""
    return isinstance(t, Const) and t.dtype.kind == "f" and bool((t.array < LOWEST).any())


def masked_sum(call: Call) -> Masked | None:
    """x + mask, the mask constant, finite where x is let through; None when no operand is such a mask."""
    for this, other in ((0, 1), (1, 0)):
        mask, x = call.inputs[this], call.inputs[other]
        if _infinite(mask) and isinstance(x, Sym):
            assert isinstance(mask, Const)
            open_ = ~(mask.array < LOWEST)
            rest = Const(np.where(open_, mask.array, 0).astype(mask.dtype))
            total = binary(call, "add", x, rest, "unmasked") if rest.array.any() else x
            return _by_constant(call, total, open_)
    return None


def _by_constant(call: Call, x: Sym, allowed: np.ndarray) -> Masked:
    shape, batch, (given, mask) = build.align(call, [x, Const(allowed)])
    assert isinstance(given, Sym) and isinstance(mask, np.ndarray)
    spread = given.name if given.shape == shape else emit(call, "broadcast", [given.name], "spread", shape=shape)
    return masked(call, result(call, spread, x.dtype, batch), np.broadcast_to(mask, shape))


def masked_choice(call: Call) -> Masked | None:
    """Where(cond, x, -inf) or Where(cond, -inf, x); None when neither side is minus infinity throughout."""
    for side, other in ((1, 2), (2, 1)):
        mask, x, cond = call.inputs[side], call.inputs[other], call.inputs[0]
        if not _infinite(mask) or not isinstance(x, Sym):
            continue
        assert isinstance(mask, Const)
        if not (mask.array < LOWEST).all():
            call.refuse(
                "a side with minus infinities must hold nothing else",
                "add the mask, or choose by a mask of truth values",
            )
        if isinstance(cond, Const):
            return _by_constant(call, x, cond.array if side == 2 else ~cond.array)
        _, batch, operands = build.align(call, [call.sym(0), x])
        bit, data = (value_of(call, o) for o in operands)
        if side == 1:
            bit = emit(call, "logic", [bit], "allowed", kind="not")
        shape = np.broadcast_shapes(*(call.importer.value(n).shape for n in (bit, data)))
        if call.importer.value(data).shape != shape:
            data = emit(call, "broadcast", [data], "spread", shape=shape)
        return masked(call, result(call, data, x.dtype, batch), result(call, bit, np.dtype(np.bool_), batch))
    return None


# ---- readers


def _lines(call: Call, m: Masked, axis: int) -> np.ndarray:
    """The constant mask with ``axis`` last; refused where nothing is left of a line."""
    assert isinstance(m.allowed, np.ndarray)
    allowed = np.moveaxis(m.allowed, axis, -1)
    empty = np.argwhere(~allowed.any(axis=-1))
    if len(empty):
        call.refuse(f"everything is masked in line {[int(i) for i in empty[0]]}", "leave one place unmasked")
    return allowed


def _copied(call: Call, m: Masked, axis: int, last: bool = False) -> tuple[str, np.ndarray]:
    """The tensor with masked places reading the first (or last) unmasked one of their line, and where that is (axis last)."""
    allowed = _lines(call, m, axis)
    assert isinstance(m.allowed, np.ndarray)
    size = allowed.shape[-1]
    place = size - 1 - np.argmax(allowed[..., ::-1], axis=-1) if last else np.argmax(allowed, axis=-1)
    flat = np.moveaxis(np.arange(m.allowed.size).reshape(m.x.shape), axis, -1)
    index = np.where(allowed, flat, np.take_along_axis(flat, place[..., None], axis=-1))
    return gathered(call, m.x, np.moveaxis(index, -1, axis), part="open"), place


def _filled(call: Call, m: Masked, axis: int, *, below: bool) -> str:
    """The tensor with masked places at the least element of their line, or ``below`` it by more than all of them differ."""
    keep = tuple(1 if i == axis else d for i, d in enumerate(m.x.shape))

    def end(op: str) -> str:
        return emit(call, "reshape", [emit(call, op, [m.x.name], f"{op}.flat", axes=(axis,))], op, shape=keep)

    fill = least = end("reduce_min")
    if below:
        gap = emit(call, "sub", [end("reduce_max"), least], "spread")
        fill = emit(call, "sub", [emit(call, "sub", [least, gap], "under"), constant(call, np.array(1.0))], "below")
    assert isinstance(m.allowed, Sym)
    return emit(call, "select", [m.allowed.name, m.x.name, fill], "open")


def masked_softmax(call: Call, m: Masked, axis: int) -> Sym:
    """exp(x - max) / sum over what is not masked, 0 elsewhere."""
    if call.op == "LogSoftmax":
        call.refuse("LogSoftmax of a masked tensor has minus infinities", "take the Softmax")
    keep = tuple(1 if i == axis else d for i, d in enumerate(m.x.shape))

    def line(op: str, value: str, part: str) -> str:
        return emit(call, "reshape", [emit(call, op, [value], f"{part}.flat", axes=(axis,))], part, shape=keep)

    constant_mask = isinstance(m.allowed, np.ndarray)
    x = _copied(call, m, axis)[0] if constant_mask else _filled(call, m, axis, below=False)
    centred = emit(call, "sub", [x, line("reduce_max", x, "max")], "centred")
    powers = emit(call, "function", [centred], "exp", function="exp")
    if isinstance(m.allowed, np.ndarray):
        flat = np.arange(m.allowed.size).reshape(m.allowed.shape)
        index = np.where(m.allowed, flat, -1)
        powers = gathered(call, replace(m.x, name=powers), index, part="weights") if (index < 0).any() else powers
    else:
        zero = constant(call, np.zeros(()), "zero")
        powers = emit(call, "select", [m.allowed.name, powers, zero], "weights")
    inverse = emit(call, "function", [line("sum", powers, "total")], "inverse", function="reciprocal")
    return result(call, emit(call, "mul", [powers, inverse]), m.x.dtype, m.x.batch)


def masked_arg_max(call: Call, m: Masked) -> Sym:
    """Position of the largest that is not masked; a copy stands for its own place, which no other one of that size precedes."""
    axis = call.sample_axis(m.x, call.integer("axis", 0), "choosing along")
    keep, shape, batch = kept(call, m.x, axis)
    last = bool(call.integer("select_last_index", 0))
    if isinstance(m.allowed, np.ndarray):
        name, place = _copied(call, m, axis, last)
        index = emit(call, "argmax", [name], "index", axis=axis, last=last)
        bound = constant(call, place.astype(np.int64), "place")
        index = emit(call, "min" if last else "max", [index, bound], "unmasked" if keep else "")
    else:
        index = emit(call, "argmax", [_filled(call, m, axis, below=True)], "index", axis=axis, last=last)
    if call.importer.value(index).shape != tuple(shape):
        index = emit(call, "reshape", [index], "", shape=tuple(shape))
    return result(call, index, np.dtype(np.int64), batch)


def masked_maximum(call: Call, m: Masked, axes: Sequence[int]) -> Sym:
    """The tensor whose maximum along one of ``axes`` is that of what is not masked."""
    if not isinstance(m.allowed, np.ndarray):
        call.refuse(
            "the maximum under a computed mask is minus infinity where all is masked", "mask with a finite number"
        )
    if len(axes) != 1:
        call.refuse(f"the maximum of a masked tensor must be along one axis, not {list(axes)}", "reduce axis by axis")
    axis = call.sample_axis(m.x, axes[0], "reducing along")
    return replace(m.x, name=_copied(call, m, axis)[0])


def masked_top_k(call: Call, m: Masked) -> list[Tensor]:
    """The k best of what is not masked, the same places in every line."""
    axis = call.sample_axis(m.x, call.integer("axis", -1), "choosing along")
    if not call.integer("largest", 1):
        call.refuse(
            "the smallest of a masked tensor are minus infinities", "negate it, and mask what is to be left out"
        )
    if not isinstance(m.allowed, np.ndarray):
        call.refuse(
            "top-k under a computed mask gives minus infinities where fewer than k are left",
            "mask with a finite number",
        )
    allowed = _lines(call, m, axis).reshape(-1, m.x.shape[axis])
    if not (allowed == allowed[:1]).all():
        call.refuse("top-k must be under a mask that is the same in every line", "mask with a finite number")
    open_ = np.flatnonzero(allowed[0])
    k = best_count(call, m.x, axis)
    if k > len(open_):
        call.refuse(f"k must be at most the {len(open_)} places that are not masked, not {k}", "choose fewer")
    name = emit(call, "gather", [m.x.name], "open", indices=open_.astype(np.int32), axis=axis)
    values, index = call.importer.emit_many("topk", [name], axis=axis, k=k, largest=True)
    index = emit(call, "take", [constant(call, open_.astype(np.int64), "places"), index], "unmasked", axis=0)
    return [result(call, values, m.x.dtype, m.x.batch), result(call, index, np.dtype(np.int64), m.x.batch)]
