"""Comparisons with constants, which become thresholds on the integers, and between tensors."""

from __future__ import annotations

from functools import partial

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.common import common
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Sym
from neuroloom.compiler.ir import BIT

BOOL = np.dtype(np.bool_)
_MIRROR = {"gt": "lt", "lt": "gt", "ge": "le", "le": "ge", "eq": "eq"}


def compare(call: Call, kind: str) -> Sym:
    """``gt``, ``ge``, ``lt``, ``le``, ``eq`` of two tensors, broadcast, exactly as the source's element type decides."""
    tensors = [call.tensor(0), call.tensor(1)]
    if tensors[0].dtype != tensors[1].dtype:
        call.bad(f"inputs must have one element type, not {tensors[0].dtype} and {tensors[1].dtype}")
    shape, batch, (a, b) = build.align(call, tensors)
    if isinstance(a, np.ndarray) and isinstance(b, Sym):
        a, b, kind = b, a, _MIRROR[kind]
    assert isinstance(a, Sym)
    build.check_order_only(call, a)
    if isinstance(b, Sym):
        return between(call, a, b, kind, batch)
    return with_constant(call, a, build.number_constant(call, b), kind, shape, batch)


for _op, _kind in {"Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "Equal": "eq"}.items():
    operator(_op)(partial(compare, kind=_kind))


def between(call: Call, a: Sym, b: Sym, kind: str, batch: int | None) -> Sym:
    """Compare two computed tensors on integers of one scale."""
    build.check_order_only(call, b)
    if kind in ("lt", "le"):
        a, b, kind = b, a, _MIRROR[kind]
    names = _comparable(call, a, b)
    name = call.importer.emit("relation", names, kind=kind)
    return Sym(name, BOOL, call.importer.value(name).shape, batch)


def _comparable(call: Call, a: Sym, b: Sym) -> list[str]:
    if not a.is_float:
        return [a.name, b.name]
    ranges = [call.importer.range(s.name) for s in (a, b)]
    bounds = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if floats.uniform(a.steps) and floats.same_steps(a.steps, b.steps) and floats.strictly_monotone(a.steps, bounds):
        return [a.name, b.name] if int(floats.direction(a.steps)) > 0 else [b.name, a.name]
    found = build.grid(call, [a, b], a.dtype)
    if found is not None:
        return found[0]
    return [s.name for s in build.ranked(call, [a, b])]


def with_constant(
    call: Call,
    x: Sym,
    c: np.ndarray,
    kind: str,
    shape: tuple[int, ...],
    batch: int | None,
    out: tuple[int, ...] | None = None,
) -> Sym:
    """Compare with constants: the integer from which on the source's comparison holds, found per element.

    ``shape`` is the broadcast shape, ``out`` the shape of the result where it is to differ.
    """
    out = shape if out is None else out
    bounds = call.importer.range(x.name)
    if kind == "eq":
        if not x.is_float:
            return _equal_integer(call, x, c, batch)
        reached = _bits(call, x, _thresholds(x, c, bounds, False), shape, out, "reached")
        passed = _bits(call, x, _thresholds(x, c, bounds, True), shape, out, "passed")
        inside = call.importer.emit("bitwise", [passed], "not_passed", kind="not")
        return Sym(call.importer.emit("bitwise", [reached, inside], kind="and"), BOOL, out, batch)
    sign = np.sign(floats.direction(x.steps)) if x.is_float else np.array(1)
    up = sign > 0
    # on a rising element v > c and v >= c hold from a threshold on, v < c and v <= c up to one; falling ones mirror that
    from_there = np.where(up, kind in ("gt", "ge"), kind in ("lt", "le"))
    strict = np.where(from_there, kind in ("gt", "lt"), kind in ("ge", "le"))
    low, high = _thresholds(x, c, bounds, False), _thresholds(x, c, bounds, True)
    where = np.broadcast_shapes(strict.shape, low.shape)
    thresholds = np.where(np.broadcast_to(strict, where), high, low)
    # an up-to relation is the complement: v <= c iff not v > c, v < c iff not v >= c
    complement = np.broadcast_to(~from_there, shape)
    if not complement.any():
        return Sym(_bits(call, x, thresholds, shape, out, ""), BOOL, out, batch)
    bits = _bits(call, x, thresholds, shape, out, "reached")
    if complement.all():
        return Sym(call.importer.emit("bitwise", [bits], kind="not"), BOOL, out, batch)
    flips = build.constant_value(call, complement.reshape(out), BIT, "falling")
    return Sym(call.importer.emit("bitwise", [bits, flips], kind="xor"), BOOL, out, batch)


def _thresholds(x: Sym, c: np.ndarray, bounds: tuple[int, int], strict: bool) -> np.ndarray:
    """Per element the least q of the range (or one past it) with value >= c, > c when strict; mirrored on falling elements."""
    lo, hi = bounds
    if x.is_float:
        sign = floats.direction(x.steps)
        return floats.first_reaching(x.steps, sign, c, bounds, strict)
    wide = np.asarray(np.clip(c.astype(object), lo - 1, hi + 1), np.int64) + int(strict)
    return np.clip(wide, lo, hi + 1)


def _bits(call: Call, x: Sym, thresholds: np.ndarray, shape: tuple[int, ...], out: tuple[int, ...], part: str) -> str:
    index = np.broadcast_to(build.flat_index(x), shape).reshape(-1)
    levels = np.broadcast_to(thresholds, shape).reshape(-1)
    return call.importer.emit(
        "compare",
        [x.name],
        part,
        indices=index.astype(np.int32),
        thresholds=np.ascontiguousarray(levels, np.int64),
        shape=out,
    )


def _equal_integer(call: Call, x: Sym, c: np.ndarray, batch: int | None) -> Sym:
    lo, hi = call.importer.range(x.name)
    clipped = np.asarray(np.clip(c.astype(object), lo - 1, hi + 1), np.int64)  # one outside the range never matches
    name = call.importer.emit("relation", [x.name, build.constant_value(call, clipped)], kind="eq")
    return Sym(name, BOOL, call.importer.value(name).shape, batch)


def where(call: Call) -> Sym:
    """cond ? a : b, broadcast."""
    cond, a, b = (call.tensor(i) for i in range(3))
    if cond.dtype != BOOL:
        call.bad(f"condition must be bool, not {cond.dtype}")
    if a.dtype != b.dtype:
        call.bad(f"both sides must have one element type, not {a.dtype} and {b.dtype}")
    _, batch, (c, p, q) = build.align(call, [cond, a, b])
    condition = c.name if isinstance(c, Sym) else build.constant_value(call, c, BIT, "condition")
    names, make = common(call, [p, q])
    return make(call.importer.emit("select", [condition, *names]), batch)


operator("Where")(where)
