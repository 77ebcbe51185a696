"""Arithmetic: exact on integers; on floats a step of the value's meaning, or sums on a common grid."""

from __future__ import annotations

from fractions import Fraction
from functools import partial, reduce

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.common import common
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym
from neuroloom.compiler.ir import Type, smallest_type


def binary(call: Call, kind: str, a: Const | Sym, b: Const | Sym, part: str = "") -> Sym:
    """``add``, ``sub`` or ``mul`` of two tensors, broadcast."""
    _numbers(call, a, b)
    _, batch, (p, q) = build.align(call, [a, b])
    if a.dtype.kind == "f":
        if isinstance(p, Sym) and isinstance(q, Sym):
            return _float_pair(call, kind, p, q, batch)
        return _float_constant(call, kind, p, q, batch)
    names = [
        o.name if isinstance(o, Sym) else build.constant_value(call, build.number_constant(call, o)) for o in (p, q)
    ]
    return build.integers(call, call.importer.emit(kind, names, part), a.dtype, batch)


def _numbers(call: Call, *tensors: Const | Sym) -> None:
    for t in tensors:
        if t.dtype.kind not in "uif":
            call.bad(f"inputs must be numbers, not {t.dtype}")
        if t.dtype != tensors[0].dtype:
            call.bad(f"inputs must have one element type, not {tensors[0].dtype} and {t.dtype}")
        if isinstance(t, Sym):
            build.check_order_only(call, t)


def _finite(call: Call, c: np.ndarray) -> np.ndarray:
    if not np.isfinite(build.number_constant(call, c)).all():
        call.refuse("arithmetic with an infinite constant is not supported")
    return c


def _float_constant(call: Call, kind: str, p: Sym | np.ndarray, q: Sym | np.ndarray, batch: int | None) -> Sym:
    x, c = (p, q) if isinstance(p, Sym) else (q, p)
    assert isinstance(x, Sym) and isinstance(c, np.ndarray)
    _finite(call, c)
    step = "rsub" if kind == "sub" and x is q else kind
    shape = build.broadcast_shape(call, [x.shape, c.shape])
    x = build.broadcast_to(call, x, shape, batch)
    steps = (*x.steps, floats.constant_step(step, c, x.dtype))
    lo, hi = call.importer.range(x.name)
    if not np.isfinite(floats.evaluate(steps, np.array([lo, hi]).reshape(-1, *[1] * len(shape)))).all():
        call.refuse(f"the result is not a finite {x.dtype} for some input in {lo}..{hi}")
    return x.with_(batch=batch, steps=steps, origin=None)


def _float_pair(call: Call, kind: str, p: Sym, q: Sym, batch: int | None) -> Sym:
    reason = f"{kind} of two computed {p.dtype} tensors is not exact"
    if kind == "mul":
        left, right = (build.grid(call, [o], p.dtype) for o in (p, q))
        if left is None or right is None:
            call.refuse(f"{reason}: an input is rounded", "scale by powers of two, or after this node")
        (a, ua), (b, ub) = left, right
        return build.on_grid(call, call.importer.emit("mul", [*a, *b]), ua * ub, p.dtype, batch, reason)
    found = build.grid(call, [p, q], p.dtype)
    if found is None:
        call.refuse(f"{reason}: an input is rounded", "scale by powers of two, or after this node")
    names, unit = found
    return build.on_grid(call, call.importer.emit(kind, names), unit, p.dtype, batch, reason)


@operator("Add")
def add(call: Call) -> Sym:
    """a + b."""
    return binary(call, "add", call.tensor(0), call.tensor(1))


@operator("Sub")
def sub(call: Call) -> Sym:
    """a - b."""
    return binary(call, "sub", call.tensor(0), call.tensor(1))


@operator("Mul")
def mul(call: Call) -> Sym:
    """a * b."""
    return binary(call, "mul", call.tensor(0), call.tensor(1))


@operator("Sum")
def sum_(call: Call) -> Sym | Const:
    """The sum of any number of tensors, added from left to right."""
    tensors = [call.tensor(i) for i in range(len(call.inputs))]
    total: Const | Sym = tensors[0]
    for t in tensors[1:]:
        if isinstance(total, Const) and isinstance(t, Const):
            total = Const(np.asarray(total.array + t.array))
        else:
            total = binary(call, "add", total, t)
    return total


@operator("Neg")
def neg(call: Call) -> Sym:
    """-x."""
    x = call.sym(0)
    return binary(call, "sub", Const(np.zeros((), x.dtype)), x)


@operator("Div")
def div(call: Call) -> Sym:
    """a / b with a constant b; integers are rounded toward zero."""
    a, b = call.sym(0), call.tensor(1)
    _numbers(call, a, b)
    if not isinstance(b, Const):
        call.refuse("division by a computed tensor is not supported", "divide by a constant")
    if not b.array.astype(bool).all():
        call.bad("the divisor must not be 0")
    _, batch, (x, c) = build.align(call, [a, b])
    assert isinstance(x, Sym) and isinstance(c, np.ndarray)
    if x.is_float:
        return _float_constant(call, "div", x, c, batch)
    return _divided(call, x, c, "toward_zero", batch)


def _divided(call: Call, x: Sym, c: np.ndarray, rounding: str, batch: int | None, part: str = "") -> Sym:
    shape = build.broadcast_shape(call, [x.shape, c.shape])
    x = build.broadcast_to(call, x, shape, batch)
    divisors = np.unique(c)
    if len(divisors) != 1:
        wide = np.broadcast_to(c.astype(np.int64), shape)
        return build.tabulated_each(call, x, lambda q: np.trunc(q / wide).astype(np.int64), x.dtype)
    divisor = int(divisors[0])
    ends = sorted(int(abs(q) // abs(divisor)) + 1 for q in call.importer.range(x.name))
    name = call.importer.emit(
        "requantize",
        [x.name],
        part,
        type=str(smallest_type((-ends[-1], ends[-1])) if x.dtype.kind == "i" else build.dtype_type(x.dtype)),
        factor=str(Fraction(1, divisor)),
        rounding=rounding,
        overflow="saturate",
    )
    return build.integers(call, name, x.dtype, batch)


@operator("Mod")
def mod(call: Call) -> Sym:
    """Remainder by a constant, with the divisor's sign (fmod = 0) or the dividend's (fmod = 1)."""
    a, b = call.sym(0), call.tensor(1)
    _numbers(call, a, b)
    if not isinstance(b, Const) or a.is_float:
        call.refuse("Mod is supported for integers with a constant divisor only")
    if not b.array.astype(bool).all():
        call.bad("the divisor must not be 0")
    _, batch, (x, c) = build.align(call, [a, b])
    assert isinstance(x, Sym) and isinstance(c, np.ndarray)
    shape = build.broadcast_shape(call, [x.shape, c.shape])
    x = build.broadcast_to(call, x, shape, batch)
    divisors = np.unique(c)
    lo, hi = call.importer.range(x.name)
    divisor = int(divisors[0])
    if len(divisors) == 1 and divisor > 0 and (lo >= 0 or not call.integer("fmod", 0)):
        if divisor & (divisor - 1) == 0 and divisor > 1:
            type_ = Type(divisor.bit_length() - 1)
            name = call.importer.emit(
                "requantize", [x.name], type=str(type_), factor="1", rounding="floor", overflow="wrap"
            )
            return build.integers(call, name, x.dtype, batch)
    wide = np.broadcast_to(c.astype(np.int64), shape)
    function = np.fmod if call.integer("fmod", 0) else np.mod
    if len(divisors) == 1:
        return build.tabulated(call, x, lambda q: function(q, divisor), x.dtype).with_(batch=batch)
    return build.tabulated_each(call, x, lambda q: function(q, wide), x.dtype).with_(batch=batch)


@operator("Pow")
def pow_(call: Call) -> Sym:
    """Integer powers with a constant base or exponent."""
    a, b = call.tensor(0), call.tensor(1)
    if isinstance(b, Const) and isinstance(a, Sym) and b.array.size == 1:
        exponent = float(b.array.reshape(-1)[0])
        if exponent == 1:
            return a
        if exponent == 2:
            return binary(call, "mul", a, a)
        if not a.is_float and exponent >= 0 and exponent.is_integer():
            return build.tabulated(call, a, lambda q: q ** int(exponent), a.dtype)
    if isinstance(a, Const) and isinstance(b, Sym) and a.array.size == 1 and a.dtype.kind in "ui" and not b.is_float:
        base = int(a.array.reshape(-1)[0])
        if call.importer.range(b.name)[0] >= 0:
            return build.tabulated(call, b, lambda q: np.power(base, q), a.dtype)
    call.refuse("this power is not supported", "use integers with a constant exponent")


@operator("Abs")
def abs_(call: Call) -> Sym:
    """|x|."""
    x = call.sym(0)
    if x.dtype.kind == "u":
        return x
    minus = binary(call, "sub", Const(np.zeros((), x.dtype)), x, "negated") if not x.is_float else None
    if minus is not None:
        return build.integers(call, call.importer.emit("max", [x.name, minus.name]), x.dtype, x.batch)
    found = build.grid(call, [x], x.dtype)
    if found is None:
        call.refuse("its float input is rounded, so no integers stand for it exactly")
    (name,), unit = found
    zero = build.constant_value(call, np.array(0))
    minus_name = call.importer.emit("sub", [zero, name], "negated")
    return build.on_grid(call, call.importer.emit("max", [name, minus_name]), unit, x.dtype, x.batch, "not exact")


@operator("Sign")
def sign(call: Call) -> Sym:
    """-1, 0 or 1: x limited to those, for integers."""
    x = call.sym(0)
    if x.is_float:
        result = build.tabulated(call, x, np.sign, np.dtype(np.int64))
        return result.with_(dtype=x.dtype, steps=(floats.cast_step(x.dtype),))
    name = call.importer.emit("min", [x.name, build.constant_value(call, np.array(1))], "limited")
    return Sym(call.importer.emit("max", [name, build.constant_value(call, np.array(-1))]), x.dtype, x.shape, x.batch)


def _extreme(call: Call, kind: str, tensors: list[Const | Sym], part: str = "") -> Sym:
    if any(t.dtype.kind == "b" for t in tensors):
        call.bad("inputs must be numbers, not bool")
    _, batch, operands = build.align(call, tensors)
    names, make = common(call, operands)
    history = next(o for o in operands if isinstance(o, Sym)).steps
    result = make(names[0], batch)
    falling = (
        result.is_float and floats.same_steps(result.steps, history) and int(np.min(floats.direction(history))) < 0
    )
    real = {"max": "min", "min": "max"}[kind] if falling else kind
    return make(reduce(lambda a, b: call.importer.emit(real, [a, b], part), names), batch)


@operator("Max")
def max_(call: Call) -> Sym:
    """The largest of any number of tensors, broadcast."""
    return _extreme(call, "max", [call.tensor(i) for i in range(len(call.inputs))])


@operator("Min")
def min_(call: Call) -> Sym:
    """The smallest of any number of tensors, broadcast."""
    return _extreme(call, "min", [call.tensor(i) for i in range(len(call.inputs))])


@operator("Relu")
def relu(call: Call) -> Sym:
    """max(x, 0)."""
    x = call.sym(0)
    return _extreme(call, "max", [x, Const(np.zeros((), x.dtype))])


@operator("Clip")
def clip(call: Call) -> Sym:
    """x limited to a constant range."""
    x = call.sym(0)
    for number, name, kind in ((1, "min", "max"), (2, "max", "min")):
        bound: np.ndarray | None = None
        if call.has(number):
            bound = np.asarray(call.const(number, name)).reshape(())
        elif name in call.attributes:
            bound = np.array(call.real(name, 0), x.dtype)
        if bound is not None and not (bound.dtype.kind == "f" and np.isinf(bound)):
            x = _extreme(call, kind, [x, Const(bound)], "lower" if number == 1 and call.has(2) else "")
    return x


def _rounded(call: Call, function: np.ufunc) -> Sym:
    """Floor, Ceil, Round of floats: integers, tabulated unless the input holds integers already."""
    x = call.sym(0)
    build.check_order_only(call, x)
    rule = floats.exact(x.steps, call.importer.range(x.name))
    if rule is not None and all(v.denominator == 1 for part in rule for v in part.reshape(-1).tolist()):
        return x
    result = build.tabulated(call, x, function, np.dtype(np.int64))
    return result.with_(dtype=x.dtype, steps=(floats.cast_step(x.dtype),))


for _op, _function in {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint}.items():
    operator(_op)(partial(_rounded, function=_function))
