"""Boolean and bitwise operators."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym
from neuroloom.compiler.ir import BIT, smallest_type

BOOL = np.dtype(np.bool_)


def _logical(call: Call, kind: str) -> Sym:
    """And, Or, Xor of bools, broadcast."""
    tensors = [call.tensor(0), call.tensor(1)]
    for t in tensors:
        if t.dtype != BOOL:
            call.bad(f"inputs must be bool, not {t.dtype}")
    _, batch, operands = build.align(call, tensors)
    names = [o.name if isinstance(o, Sym) else build.constant_value(call, o, BIT) for o in operands]
    name = call.importer.emit("bitwise", names, kind=kind)
    return Sym(name, BOOL, call.importer.value(name).shape, batch)


def _bitwise(call: Call, kind: str) -> Sym:
    """BitwiseAnd, BitwiseOr, BitwiseXor of integers, broadcast, at a width that holds both."""
    tensors = [call.tensor(0), call.tensor(1)]
    dtype = tensors[0].dtype
    if any(t.dtype != dtype or t.dtype.kind not in "ui" for t in tensors):
        call.bad(f"inputs must be integers of one type, not {tensors[0].dtype} and {tensors[1].dtype}")
    _, batch, operands = build.align(call, tensors)
    ranges = [
        call.importer.range(o.name) if isinstance(o, Sym) else (int(o.min()), int(o.max())) if o.size else (0, 0)
        for o in operands
    ]
    type_ = smallest_type((min(r[0] for r in ranges), max(r[1] for r in ranges)))
    names = [
        build.widened(call, o.name, type_) if isinstance(o, Sym) else build.constant_value(call, o, type_)
        for o in operands
    ]
    name = call.importer.emit("bitwise", names, kind=kind)
    return Sym(name, dtype, call.importer.value(name).shape, batch)


for _op in ("And", "Or", "Xor"):
    operator(_op)(partial(_logical, kind=_op.lower()))
    operator(f"Bitwise{_op}")(partial(_bitwise, kind=_op.lower()))


@operator("Not")
def not_(call: Call) -> Sym:
    """Logical complement."""
    x = call.sym(0)
    if x.dtype != BOOL:
        call.bad(f"input must be bool, not {x.dtype}")
    return Sym(call.importer.emit("bitwise", [x.name], kind="not"), BOOL, x.shape, x.batch)


@operator("BitwiseNot")
def bitwise_not(call: Call) -> Sym:
    """Complement of every bit, at the full width of the element type."""
    x = call.sym(0)
    if x.dtype.kind not in "ui":
        call.bad(f"input must be integers, not {x.dtype}")
    name = x.name
    if x.dtype.kind == "u":
        name = build.widened(call, name, build.dtype_type(x.dtype))
    elif not call.importer.value(name).type.signed:
        name = build.widened(call, name, smallest_type((-1, call.importer.range(name)[1])))
    return Sym(call.importer.emit("bitwise", [name], kind="not"), x.dtype, x.shape, x.batch)


@operator("BitShift")
def bit_shift(call: Call) -> Sym:
    """Shift of unsigned integers by constant amounts; left shifts drop what leaves the type."""
    x, direction = call.sym(0), call.text("direction", "")
    if x.dtype.kind != "u":
        call.bad(f"input must be unsigned, not {x.dtype}")
    if direction not in ("LEFT", "RIGHT"):
        call.bad(f"direction must be LEFT or RIGHT, not {direction!r}")
    _, batch, (x, amount) = build.align(call, [x, _constant_amount(call)])  # type: ignore[misc, assignment]
    assert isinstance(amount, np.ndarray)
    bits = 8 * x.dtype.itemsize
    if amount.size and int(amount.max()) >= bits:
        call.refuse(f"a shift by {int(amount.max())} of a {bits}-bit integer has no defined result")
    shape = build.broadcast_shape(call, [x.shape, amount.shape])
    x = build.broadcast_to(call, x, shape, batch)
    if direction == "LEFT":
        factor = build.constant_value(call, np.left_shift(1, amount.astype(np.int64)), part="factor")
        return build.integers(call, call.importer.emit("mul", [x.name, factor]), x.dtype, batch)
    amounts = np.unique(amount)
    if len(amounts) == 1:
        name = call.importer.emit(
            "requantize",
            [x.name],
            type=str(build.dtype_type(x.dtype)),
            factor=f"1/{1 << int(amounts[0])}",
            rounding="floor",
            overflow="saturate",
        )
        return Sym(name, x.dtype, x.shape, batch)
    wide = np.broadcast_to(amount.astype(np.int64), shape)
    return build.tabulated_each(call, x, lambda q: q >> wide, x.dtype)


def _constant_amount(call: Call) -> Const | Sym:
    call.const(1, "the shift amount")
    return call.tensor(1)
