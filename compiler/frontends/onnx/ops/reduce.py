"""Reductions over axes, and products with constant integer matrices (population counts)."""

from __future__ import annotations

import math

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from neuroloom.compiler.frontends.onnx.windows import extreme


def _axes(call: Call, x: Sym) -> tuple[list[int], bool, int | None]:
    """Per-sample axes to reduce, whether they stay as size one, and where the batch axis ends up."""
    axes = call.ints_either(1, "axes")
    keep = bool(call.integer("keepdims", 1))
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return [], True, x.batch
        axes = list(range(x.rank))
    source = {call.axis(int(a), x.rank) for a in axes}
    inner = sorted(call.sample_axis(x, a, "reducing") for a in source)
    batch = x.batch if keep or x.batch is None else x.batch - sum(a < x.batch for a in source)
    return inner, keep, batch


def _shape(x: Sym, axes: list[int], keep: bool) -> tuple[int, ...]:
    if keep:
        return tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return tuple(d for i, d in enumerate(x.shape) if i not in axes)


def _rows(x: Sym, axes: list[int]) -> np.ndarray:
    """Flat indices of the elements that are reduced together: one row per result."""
    index = build.flat_index(x)
    kept = [i for i in range(len(x.shape)) if i not in axes]
    moved = index.transpose(*kept, *axes)
    return moved.reshape(math.prod(x.shape[i] for i in kept), -1)


def summed(call: Call, name: str, x: Sym, axes: list[int], shape: tuple[int, ...]) -> str:
    """Sum the graph's integers ``name`` (of the shape of ``x``): a group sum for bits."""
    emit = call.importer.emit
    if call.importer.value(name).type.is_bit and x.shape:
        rows = _rows(x, axes)
        return emit(
            "group_sum",
            [name],
            offsets=np.arange(len(rows) + 1, dtype=np.int64) * rows.shape[1],
            indices=rows.reshape(-1).astype(np.int32),
            shape=shape,
        )
    kept = tuple(d for i, d in enumerate(x.shape) if i not in axes)
    out = emit("sum", [name], "" if kept == shape else "sum", axes=tuple(axes))
    return out if kept == shape else emit("reshape", [out], shape=shape)


@operator("ReduceSum")
def reduce_sum(call: Call) -> Tensor:
    """Sum over axes; a float sum must be exact, so that its order does not matter."""
    x = call.sym(0)
    build.check_order_only(call, x)
    axes, keep, batch = _axes(call, x)
    if not axes:
        return x
    shape = _shape(x, axes, keep)
    if not x.is_float:
        return build.integers(call, summed(call, x.name, x, axes, shape), x.dtype, batch)
    found = build.grid(call, [x], x.dtype)
    if found is None:
        call.refuse("a sum of rounded floats depends on its order", "sum before scaling, or scale by powers of two")
    (name,), unit = found
    return build.on_grid(call, summed(call, name, x, axes, shape), unit, x.dtype, batch, "the sum is not exact")


@operator("ReduceMean")
def reduce_mean(call: Call) -> Tensor:
    """The exact float sum, divided by the number of elements."""
    x = call.sym(0)
    if not x.is_float:
        call.refuse("the mean of integers rounds", "use ReduceSum, or cast to float32 first")
    axes, _, _ = _axes(call, x)
    total = reduce_sum(call)
    if not axes:
        return x
    assert isinstance(total, Sym)
    count = math.prod(x.shape[a] for a in axes)
    return total.with_(steps=(*total.steps, floats.constant_step("div", np.array(count), x.dtype)))


def _reduce_extreme(call: Call, kind: str) -> Tensor:
    x = call.sym(0)
    build.check_order_only(call, x)
    axes, keep, batch = _axes(call, x)
    if not axes:
        return x
    shape = _shape(x, axes, keep)
    if math.prod(x.shape[a] for a in axes) == 0:
        call.bad("a reduced axis must not be empty")
    name, steps = x.name, x.steps
    if x.is_float and floats.uniform(x.steps):
        if int(floats.direction(x.steps)) < 0:
            kind = {"max": "min", "min": "max"}[kind]
    elif x.is_float:
        found = build.grid(call, [x], x.dtype)
        if found is None:
            call.refuse("its float elements have different scales that round", "use one scale for all elements")
        (name,), unit = found
        steps = build.on_grid(call, name, unit, x.dtype, batch, "not exact").steps
    source = x.with_(name=name)
    result = extreme(call, source, _rows(x, axes), kind, shape)
    return Sym(result, x.dtype, shape, batch, steps)


@operator("ReduceMax")
def reduce_max(call: Call) -> Tensor:
    """The largest element over axes."""
    return _reduce_extreme(call, "max")


@operator("ReduceMin")
def reduce_min(call: Call) -> Tensor:
    """The smallest element over axes."""
    return _reduce_extreme(call, "min")


@operator("ReduceProd")
def reduce_prod(call: Call) -> Tensor:
    """The product over axes, for integers that are 0 or 1 (their AND)."""
    x = call.sym(0)
    axes, keep, batch = _axes(call, x)
    if not axes:
        return x
    if x.is_float or not call.importer.value(x.name).type.is_bit:
        call.refuse("ReduceProd is supported for integers in 0..1 only")
    shape = _shape(x, axes, keep)
    return Sym(extreme(call, x, _rows(x, axes), "min", shape), x.dtype, shape, batch)


# ---- matrices


def matrix(call: Call, x: Sym, weights: np.ndarray, bias: np.ndarray | None) -> Sym:
    """x[..., i] @ weights[i, o] + bias[o], exactly: a weighted population count for bits, else a matrix-vector product."""
    if not x.shape or x.batch == x.rank - 1 or x.shape[-1] != weights.shape[0]:
        call.bad(
            f"the last axis must have {weights.shape[0]} elements for weights {list(weights.shape)}, not {call.shape(x)}"
        )
    build.check_order_only(call, x)
    if not x.is_float:
        build.number_constant(call, weights)
        name = _product(call, x, weights.astype(np.int64), None if bias is None else bias.astype(np.int64))
        return build.integers(call, name, x.dtype, x.batch)
    # floats: exact when x, the weights and every partial sum are multiples of one unit below the mantissa
    found = build.grid(call, [x], x.dtype)
    numbers = [build.number_constant(call, weights)] + ([] if bias is None else [build.number_constant(call, bias)])
    if found is None or not all(np.isfinite(n).all() for n in numbers):
        call.refuse("a product with rounded floats depends on its order", "use integer inputs and weights")
    (name,), unit = found
    fractions = floats._fractions(np.unique(weights))
    step = floats.rational_gcd(fractions.tolist()) or build.Fraction(1)
    total = unit * step
    if bias is not None:
        offsets = floats._fractions(np.unique(bias)).tolist()
        total = floats.rational_gcd([total, *offsets])
    factor = (unit * step) / total
    if factor.denominator != 1 or factor.numerator != 1:
        step = total / unit
    exact_weights = np.array([int(v / step) for v in floats._fractions(weights).reshape(-1)], object).reshape(
        weights.shape
    )
    exact_bias = None
    if bias is not None:
        exact_bias = np.array([int(v / total) for v in floats._fractions(bias).reshape(-1)], object)
    lo, hi = call.importer.range(name)
    largest = (np.abs(exact_weights).sum(axis=0) * max(abs(lo), abs(hi))).max() if weights.size else 0
    largest += 0 if exact_bias is None else max(abs(b) for b in exact_bias)
    if not floats.grid_fits(total, largest * abs(total), x.dtype):
        call.refuse(
            f"{x.dtype} would round sums of up to {largest} times {total}, and the result would depend on their order",
            "use integer weights, or a quantised model",
        )
    out = _product(
        call,
        x.with_(name=name, steps=()),
        exact_weights.astype(np.int64),
        None if exact_bias is None else exact_bias.astype(np.int64),
    )
    return build.on_grid(call, out, total, x.dtype, x.batch, "the product is not exact")


def _product(call: Call, x: Sym, weights: np.ndarray, bias: np.ndarray | None) -> str:
    if not call.importer.value(x.name).type.is_bit:
        return call.importer.emit("matvec", [x.name], weights=weights.T, bias=bias, weight_frac=0)
    places, (inputs, outputs) = math.prod(x.shape[:-1]), weights.shape
    used = [np.flatnonzero(weights[:, o]) for o in range(outputs)]
    counts = np.tile([len(u) for u in used], places)
    one = np.concatenate(used) if used else np.zeros(0, np.int64)
    corner = np.arange(places)[:, None] * inputs
    factors = np.concatenate([weights[u, o] for o, u in enumerate(used)]) if used else one
    return call.importer.emit(
        "group_sum",
        [x.name],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        indices=(corner + one).reshape(-1).astype(np.int32),
        weights=None if (factors == 1).all() else np.tile(factors, places),
        bias=None if bias is None else np.tile(bias, places),
        shape=(*x.shape[:-1], outputs),
    )


@operator("MatMul")
def mat_mul(call: Call) -> Sym:
    """x @ W with a constant matrix W."""
    x, w = call.tensor(0), call.tensor(1)
    if not isinstance(x, Sym) or not isinstance(w, Const) or w.array.ndim != 2:
        call.refuse("MatMul is supported for a computed tensor times a constant matrix only")
    if x.dtype != w.dtype:
        call.bad(f"inputs must have one element type, not {x.dtype} and {w.dtype}")
    return matrix(call, x, w.array, None)


@operator("Gemm")
def gemm(call: Call) -> Sym:
    """alpha * x @ W + beta * C with constant W and C."""
    x, w = call.sym(0), call.const(1, "the second input of Gemm")
    if call.integer("transA", 0) or w.ndim != 2:
        call.refuse("Gemm is supported for a computed tensor times a constant matrix only")
    if x.dtype != w.dtype:
        call.bad(f"inputs must have one element type, not {x.dtype} and {w.dtype}")
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    if alpha != 1 or beta != 1:
        call.refuse(f"alpha and beta must be 1, not {alpha} and {beta}", "fold them into the weights")
    w = w.T if call.integer("transB", 0) else w
    bias = None
    if call.has(2):
        c = call.const(2, "the third input of Gemm")
        try:
            bias = np.broadcast_to(c.reshape(-1) if c.size in (1, w.shape[1]) else c, (w.shape[1],))
        except ValueError:
            call.refuse(f"the third input of Gemm must be one number per output, not of shape {list(c.shape)}")
    return matrix(call, x, w, bias)
