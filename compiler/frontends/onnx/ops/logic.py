"""Boolean and bitwise operators."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Sym
from neuroloom.compiler.ir import BIT, Type, smallest_type

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
    if kind == "and" and sum(isinstance(o, Sym) for o in operands) == 1:
        x, mask = operands if isinstance(operands[0], Sym) else operands[::-1]
        if isinstance(x, Sym) and not isinstance(mask, Sym) and mask.size and int(mask.min()) >= 0:
            return _masked(call, x, mask, dtype, batch)
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


def _masked(call: Call, x: Sym, mask: np.ndarray, dtype: np.dtype, batch: int | None) -> Sym:
    """x AND a constant that is not negative: the low bits, so that the result's range is proven."""
    bits = max(int(mask.max()).bit_length(), 1)
    all_ones = bool((mask == (1 << bits) - 1).all())
    shape = build.broadcast_shape(call, [x.shape, mask.shape])
    if all_ones:
        x = build.broadcast_to(call, x, shape, batch)
    low = call.importer.emit(
        "requantize",
        [x.name],
        "" if all_ones else "low",
        type=str(Type(bits)),
        factor="1",
        rounding="floor",
        overflow="wrap",
    )
    if not all_ones:
        low = call.importer.emit("bitwise", [low, build.constant_value(call, mask, Type(bits), "mask")], kind="and")
    return Sym(low, dtype, shape, batch)


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
    """Shift integers by constant or computed amounts: left shifts drop what leaves the type, right shifts copy the sign.

    Amounts outside 0..bits-1 shift everything out, as operator set 28 defines it; older sets leave that open.
    """
    x, amount, direction = call.tensor(0), call.tensor(1), call.text("direction", "")
    if x.dtype.kind not in "ui" or amount.dtype != x.dtype:
        call.bad(f"inputs must be integers of one type, not {x.dtype} and {amount.dtype}")
    if direction not in ("LEFT", "RIGHT"):
        call.bad(f"direction must be LEFT or RIGHT, not {direction!r}")
    shape, batch, (p, a) = build.align(call, [x, amount])
    if not isinstance(p, Sym):
        call.refuse("a constant shifted by computed amounts is not supported", "use a Gather from a table")
    bits = 8 * x.dtype.itemsize
    lo, hi = call.importer.range(a.name) if isinstance(a, Sym) else (int(a.min()), int(a.max())) if a.size else (0, 0)
    if call.version < 28 and (lo < 0 or hi >= bits):
        call.refuse(f"a shift by {lo if lo < 0 else hi} of a {bits}-bit integer has no defined result")
    p = build.broadcast_to(call, p, shape, batch)
    if isinstance(a, np.ndarray) and len(np.unique(a)) == 1:
        return _shifted(call, p, int(a.reshape(-1)[0]), direction, batch)
    # one result per amount that can occur, chosen by comparing the amount
    lengths = range(max(lo, 0), min(hi, bits - 1) + 1) if isinstance(a, Sym) else sorted({int(v) for v in np.unique(a)})
    amount_name = a.name if isinstance(a, Sym) else build.constant_value(call, a, part="amount")
    result = _shifted(call, p, -1 if lo < 0 or hi >= bits or not len(lengths) else lengths[-1], direction, batch)
    for n in lengths:
        chosen = call.importer.emit(
            "relation", [amount_name, build.constant_value(call, np.array(n))], "chosen", kind="eq"
        )
        name = call.importer.emit(
            "select", [chosen, _shifted(call, p, n, direction, batch).name, result.name], "choice"
        )
        result = Sym(name, x.dtype, shape, batch)
    return result


def _shifted(call: Call, x: Sym, n: int, direction: str, batch: int | None) -> Sym:
    """All elements shifted by ``n``; an ``n`` outside the type shifts everything out."""
    bits, emit = 8 * x.dtype.itemsize, call.importer.emit
    if direction == "LEFT" and not 0 <= n < bits:
        return Sym(emit("mul", [x.name, build.constant_value(call, np.array(0))], "out"), x.dtype, x.shape, batch)
    if direction == "LEFT":
        return build.integers(call, emit("shift", [x.name], "left", amount=n), x.dtype, batch)
    n = n if 0 <= n < bits else bits
    name = emit(
        "requantize",
        [x.name],
        "right",
        type=str(build.dtype_type(x.dtype)),
        factor=f"1/{1 << n}",
        rounding="floor",
        overflow="saturate",
    )
    return Sym(name, x.dtype, x.shape, batch)
