"""Operators that change nothing the graph can see, and casts."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from neuroloom.compiler.ir import BIT
from onnx import TensorProto, helper

_FLOATS = ("float16", "float32", "float64")


@operator("Identity", "StopGradient")
def identity(call: Call) -> Tensor:
    """The input itself."""
    return call.tensor(0)


@operator("Dropout")
def dropout(call: Call) -> list[Tensor]:
    """The input itself (inference); the mask is all true."""
    if call.has(2) and bool(call.const(2, "training_mode").any()):
        call.refuse("Dropout in training mode is random", "export the model for inference")
    x = call.sym(0)
    if len(call.node.output) < 2:
        return [x]
    mask = build.constant_value(call, np.ones(x.shape, np.int64), BIT, "mask")
    return [x, Sym(mask, np.dtype(np.bool_), x.shape, x.batch)]


@operator("Cast")
def cast(call: Call) -> Sym:
    """Conversion to the element type ``to``."""
    return cast_to(call, call.sym(0), _dtype(call, call.integer("to")))


@operator("CastLike")
def cast_like(call: Call) -> Tensor:
    """Conversion to the element type of the second input."""
    x, like = call.tensor(0), call.tensor(1)
    if isinstance(x, Const):
        return Const(x.array.astype(like.dtype))
    return cast_to(call, x, like.dtype)


def _dtype(call: Call, code: int) -> np.dtype:
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(code))
    except (KeyError, ValueError):
        call.bad(f"attribute 'to' must be an element type of ONNX, not {code}")
    if dtype.kind not in "buif" or (dtype.kind == "f" and dtype.name not in _FLOATS):
        call.refuse(
            f"conversion to {TensorProto.DataType.Name(code)} is not supported", "use float32 or an integer type"
        )
    return dtype


def cast_to(call: Call, x: Sym, dtype: np.dtype) -> Sym:
    """Convert as ONNX does: to bool is != 0, float to integer truncates, integers wrap around."""
    if dtype == x.dtype:
        return x
    if dtype.kind == "f":
        if x.is_float and dtype.itemsize < x.dtype.itemsize:
            build.check_order_only(call, x)
        return x.with_(dtype=dtype, steps=(*x.steps, floats.cast_step(dtype)), data=x.data)
    build.check_order_only(call, x)
    if dtype == np.bool_:
        return _to_bool(call, x)
    if x.is_float:
        return _float_to_integer(call, x, dtype)
    lo, hi = call.importer.range(x.name)
    least, most = build.dtype_range(dtype)
    if least <= lo and hi <= most:
        return x.with_(dtype=dtype)
    return build.integers(call, x.name, dtype, x.batch)


def _to_bool(call: Call, x: Sym) -> Sym:
    lo, hi = call.importer.range(x.name)
    if not x.is_float and call.importer.value(x.name).type.is_bit:
        return x.with_(dtype=np.dtype(np.bool_), origin=None)
    if not x.is_float and lo >= 0:
        flat = build.flat_index(x)
        name = call.importer.emit(
            "compare",
            [x.name],
            indices=flat.reshape(-1).astype(np.int32),
            thresholds=np.ones(flat.size, np.int64),
            shape=x.shape,
        )
        return Sym(name, np.dtype(np.bool_), x.shape, x.batch)
    if not x.is_float:
        same = call.importer.emit("relation", [x.name, build.constant_value(call, np.array(0))], "is_zero", kind="eq")
        return Sym(call.importer.emit("bitwise", [same], kind="not"), np.dtype(np.bool_), x.shape, x.batch)
    return build.tabulated(call, x, lambda v: (v != 0).astype(np.int64), np.dtype(np.bool_))


def _float_to_integer(call: Call, x: Sym, dtype: np.dtype) -> Sym:
    rule = floats.exact(x.steps, call.importer.range(x.name))
    if rule is not None and all(v.denominator == 1 for part in rule for v in part.reshape(-1).tolist()):
        scale, offset = (np.array([int(v) for v in p.reshape(-1)], np.int64).reshape(p.shape) for p in rule)
        name = build._linear(call, x.name, scale, offset)
        lo, hi = call.importer.range(name)
        _need_inside(call, lo, hi, dtype)
        return Sym(name, dtype, call.importer.value(name).shape, x.batch)
    result = build.tabulated(call, x, np.trunc, np.dtype(np.int64))
    lo, hi = call.importer.range(result.name)
    _need_inside(call, lo, hi, dtype)
    return result.with_(dtype=dtype)


def _need_inside(call: Call, lo: int, hi: int, dtype: np.dtype) -> None:
    least, most = build.dtype_range(dtype)
    if lo < least or hi > most:
        call.refuse(f"a float of {lo}..{hi} has no defined conversion to {dtype}", "clip it to the type's range first")
