"""What handlers share: broadcasting around the batch axis, integer wrap-around, moves, tables, common grids of floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from neuroloom.compiler.ir import BIT, Type, smallest_type

from . import floats
from .registry import Call
from .tensors import Const, Sym

MAX_TABLE = 1 << 20
"""Entries of one tabulated function (a wider range is refused)."""
MAX_TABLES = 1 << 23
"""Entries of a tabulated function that differs from element to element, all together."""


def dtype_type(dtype: np.dtype) -> Type:
    """The graph type that holds every number of an integer or bool element type; GraphError for 64 bits."""
    return BIT if dtype == np.bool_ else Type(8 * dtype.itemsize, dtype.kind == "i")


def dtype_range(dtype: np.dtype) -> tuple[int, int]:
    """Least and greatest number of an integer or bool element type."""
    return (0, 1) if dtype == np.bool_ else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


# ---- constants


def sample_constant(call: Call, array: np.ndarray, rank: int, batch: int | None) -> np.ndarray:
    """A constant aligned to a result of ``rank`` axes, without its axis at the batch position (which must not vary)."""
    if array.dtype == object:
        call.refuse("a shape that depends on the batch size cannot meet data", "export with a fixed shape")
    if batch is None or array.ndim < rank - batch:
        return array
    at = batch - (rank - array.ndim)
    if array.shape[at] != 1:
        first = array.take([0], axis=at)
        if array.shape[at] != call.importer.batch_size or not (array == first).all():
            call.refuse(
                f"a constant of shape {list(array.shape)} has {array.shape[at]} rows along the batch axis, so a sample's "
                "result would depend on its place in the batch"
            )
    return np.asarray(array.take(0, axis=at))


def number_constant(call: Call, array: np.ndarray) -> np.ndarray:
    """A constant that takes part in arithmetic or a comparison: NaN is refused."""
    if array.dtype.kind not in "buif":
        call.refuse(f"a constant of type {array.dtype} is not supported")
    if array.dtype.kind == "f" and np.isnan(array).any():
        at = [int(i) for i in np.argwhere(np.isnan(array))[0]]
        call.bad(f"constant must not hold NaN, but does at {at}")
    return array


def constant_value(call: Call, data: np.ndarray, type_: Type | None = None, part: str = "const") -> str:
    """Put integers into the graph as a constant."""
    return call.importer.constant(np.asarray(data).astype(np.int64), type_, part)


# ---- broadcasting


def align(call: Call, tensors: Sequence[Const | Sym]) -> tuple[tuple[int, ...], int | None, list[Sym | np.ndarray]]:
    """Broadcast tensors: the per-sample result shape, its batch axis, and the operands (constants as per-sample arrays)."""
    first = tensors[0]
    if isinstance(first, Sym) and all(
        isinstance(t, Sym) and t.shape == first.shape and t.batch == first.batch for t in tensors
    ):
        return first.shape, first.batch, list(tensors)  # type: ignore[arg-type]
    rank = max(t.rank for t in tensors)
    positions = {t.batch + rank - t.rank for t in tensors if isinstance(t, Sym) and t.batch is not None}
    if len(positions) > 1:
        call.refuse("the batch axes of its inputs meet other axes when broadcast", "reshape them to the same rank")
    batch = positions.pop() if positions else None
    operands: list[Sym | np.ndarray] = [
        t if isinstance(t, Sym) else sample_constant(call, t.array, rank, batch) for t in tensors
    ]
    return broadcast_shape(call, [o.shape for o in operands]), batch, operands


def broadcast_shape(call: Call, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Numpy's broadcast of per-sample shapes."""
    try:
        shape = tuple(int(s) for s in np.broadcast_shapes(*shapes))
    except ValueError:
        call.bad(f"shapes must broadcast, not {' and '.join(str(list(s)) for s in shapes)}")
    size_guard(call, shape)
    return shape


def size_guard(call: Call, shape: Sequence[int]) -> None:
    """Refuse tensors that no machine here could hold."""
    from .importer import MAX_ELEMENTS

    count = 1
    for s in shape:
        count *= int(s)
    if count > MAX_ELEMENTS:
        call.refuse(f"a tensor of shape {list(shape)} has {count} elements; the limit is {MAX_ELEMENTS}")


# ---- results


def integers(call: Call, name: str, dtype: np.dtype, batch: int | None) -> Sym:
    """A result of integer type ``dtype``: wrapped around when the exact result may leave the type, as the source does."""
    lo, hi = call.importer.range(name)
    least, most = dtype_range(dtype)
    if lo < least or hi > most:
        type_ = dtype_type(dtype)
        name = call.importer.emit(
            "requantize", [name], "wrapped", type=str(type_), factor="1", rounding="floor", overflow="wrap"
        )
        call.record(f"the exact result {lo}..{hi} wraps around to {dtype}")
    return Sym(name, dtype, call.importer.value(name).shape, batch)


def need_integers(call: Call, x: Sym, what: str) -> None:
    """Refuse a float tensor where integers or bools are needed."""
    if x.is_float:
        call.bad(f"{what} must be integer or bool, not {x.dtype}")


def check_order_only(call: Call, x: Sym) -> None:
    """Refuse a value of which only the order is known."""
    if x.order_of:
        call.refuse(
            f"its input comes from {x.order_of}, which has no exact integer form; only the arg-max of it along its own axis "
            "can be used",
            "end the model in ArgMax, or take the output before that node",
        )


# ---- moves


def move(call: Call, x: Sym, name: str, batch: int | None, index: Callable[[np.ndarray], np.ndarray]) -> Sym:
    """The result ``name`` of moving the elements of ``x``; ``index`` does the same move to a numpy array per sample."""
    if x.order_axis is not None:
        check_order_only(call, x)  # the axis would have to move along
    steps = floats.moved(x.steps, x.shape, index)
    data = None if x.data is None else index(x.data)
    return x.with_(name=name, shape=call.importer.value(name).shape, batch=batch, steps=steps, data=data)


def reshaped(call: Call, x: Sym, shape: tuple[int, ...], batch: int | None, part: str = "") -> Sym:
    """``x`` under another per-sample shape."""
    if shape == x.shape:
        return x.with_(batch=batch)
    name = call.importer.emit("reshape", [x.name], part, shape=shape)
    return move(call, x, name, batch, lambda a: a.reshape(shape))


def gathered(call: Call, x: Sym, index: np.ndarray, batch: int | None, fill: int | None = None) -> Sym:
    """Elements of ``x`` by flat index, in the shape of ``index``; -1 reads the integer ``fill``."""
    size_guard(call, index.shape)
    index = index.astype(np.int64)
    emit, size = call.importer.emit, int(np.prod(x.shape, dtype=np.int64))
    flat = x.name if len(x.shape) == 1 else emit("reshape", [x.name], "flat", shape=(size,))
    if fill is not None and (index < 0).any():
        type_ = call.importer.value(flat).type
        if not type_.holds((fill, fill)):
            lo, hi = call.importer.range(flat)
            type_ = smallest_type((min(lo, fill), max(hi, fill)))
            flat = widened(call, flat, type_)
        extra = constant_value(call, np.array([fill]), type_, "fill")
        flat = emit("concat", [flat, extra], "padded", axis=0)
        index = np.where(index < 0, size, index)
    name = emit("gather", [flat], indices=index.astype(np.int32 if size < 1 << 31 else np.int64), axis=0)

    def same(a: np.ndarray) -> np.ndarray:
        values = a.reshape(-1)
        if fill is not None and values.size:
            values = np.append(values, values[:1])
        return values[index]

    result = move(call, x, name, batch, same)
    return result.with_(data=None, origin=None)


def widened(call: Call, name: str, type_: Type) -> str:
    """The same integers in a wider type."""
    if call.importer.value(name).type == type_:
        return name
    return call.importer.emit(
        "requantize", [name], "widened", type=str(type_), factor="1", rounding="floor", overflow="saturate"
    )


def flat_index(x: Sym) -> np.ndarray:
    """The flat index of every element of ``x``, in its shape."""
    return np.arange(int(np.prod(x.shape, dtype=np.int64))).reshape(x.shape)


def broadcast_to(call: Call, x: Sym, shape: tuple[int, ...], batch: int | None) -> Sym:
    """``x`` repeated to a larger per-sample shape."""
    if shape == x.shape:
        return x.with_(batch=batch)
    name = call.importer.emit("broadcast", [x.name], "broadcast", shape=shape)
    moved = move(call, x, name, batch, lambda a: np.broadcast_to(a, shape))
    return moved


# ---- tables


def tabulated(call: Call, x: Sym, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype) -> Sym:
    """Apply ``function`` (float or integer values of ``x`` to integers) through a table over every q of the proven range."""
    lo, hi = call.importer.range(x.name)
    span = hi - lo + 1
    if span > MAX_TABLE:
        call.refuse(
            f"its input takes {span} values ({lo}..{hi}), too many for a table of at most {MAX_TABLE}",
            "narrow the input's range",
        )
    q = np.arange(lo, hi + 1)
    if floats.uniform(x.steps):
        entries = integer_values(call, function(floats.evaluate(x.steps, q)))
        type_ = smallest_type((int(entries.min()), int(entries.max())))
        name = call.importer.emit("table", [x.name], entries=entries, lo=lo, type=str(type_))
        return integers(call, name, dtype, x.batch)
    size = int(np.prod(x.shape, dtype=np.int64))
    bits = max((span - 1).bit_length(), 1)
    if size << bits > MAX_TABLES:
        call.refuse(
            f"a table for each of {size} elements with {span} values each is larger than {MAX_TABLES} entries",
            "use one scale and offset for all elements",
        )
    column = q.reshape(-1, *[1] * len(x.shape))
    values = np.broadcast_to(function(floats.evaluate(x.steps, column)), (span, *x.shape))
    return element_tables(call, x, integer_values(call, values).reshape(span, size).T, dtype)


def tabulated_each(call: Call, x: Sym, function: Callable[[np.ndarray], np.ndarray], dtype: np.dtype) -> Sym:
    """Apply an integer function that differs from element to element: it gets q[span, 1, ...] and gives [span, *shape]."""
    lo, hi = call.importer.range(x.name)
    size = int(np.prod(x.shape, dtype=np.int64))
    if size << max((hi - lo).bit_length(), 1) > MAX_TABLES:
        call.refuse(
            f"tables of {hi - lo + 1} values for each of {size} elements are too large",
            "use one constant for all elements",
        )
    q = np.arange(lo, hi + 1).reshape(-1, *[1] * len(x.shape))
    values = np.broadcast_to(function(q), (hi - lo + 1, *x.shape))
    return element_tables(call, x, integer_values(call, values).reshape(hi - lo + 1, size).T, dtype)


def element_tables(call: Call, x: Sym, entries: np.ndarray, dtype: np.dtype) -> Sym:
    """Look every element up in a row of its own: entries[element, q - lo]."""
    lo, hi = call.importer.range(x.name)
    bits = max((hi - lo).bit_length(), 1)
    full = np.concatenate([entries, np.repeat(entries[:, -1:], (1 << bits) - entries.shape[1], axis=1)], axis=1)
    name = x.name
    if lo:
        name = call.importer.emit("sub", [name, constant_value(call, np.array(lo))], "from_zero")
    type_ = smallest_type((int(full.min()), int(full.max())))
    name = call.importer.emit(
        "lookup",
        [name],
        indices=np.arange(len(full), dtype=np.int32)[:, None],
        tables=full.astype(np.int64),
        input_bits=bits,
        type=str(type_),
        shape=x.shape,
    )
    return integers(call, name, dtype, x.batch)


def integer_values(call: Call, values: np.ndarray) -> np.ndarray:
    """Integral numbers as int64; others are refused."""
    values = np.asarray(values)
    if values.dtype.kind in "bui":
        return values.astype(np.int64)
    if not np.isfinite(values).all() or (np.abs(values) >= float(1 << 62)).any():
        call.refuse("a result is not finite or exceeds 62 bits for some input in the proven range")
    return values.astype(np.int64)


# ---- floats on a common grid


def grid(call: Call, operands: Sequence[Sym | np.ndarray], dtype: np.dtype) -> tuple[list[str], Fraction] | None:
    """Graph values k with real = unit * k for every operand, when all are exact in the float type; else None.

    Every operand then is a multiple of one unit, so sums, maxima and comparisons of the k are those of the floats.
    """
    rules: list[tuple[np.ndarray, np.ndarray]] = []
    for o in operands:
        if isinstance(o, np.ndarray):
            if not np.isfinite(o).all():
                return None
            rules.append((np.array(Fraction(0), object), floats._fractions(np.asarray(o))))
            continue
        found = floats.exact(o.steps, call.importer.range(o.name)) if not o.order_of else None
        if found is None:
            return None
        rules.append(found)
    numbers = {f for scale, offset in rules for f in (*scale.reshape(-1).tolist(), *offset.reshape(-1).tolist())}
    unit = floats.rational_gcd(sorted(numbers)) or Fraction(1)
    if max((abs(n / unit) for n in numbers), default=0) >= 1 << 53:
        return None  # no float type holds such multiples exactly
    names = []
    for o, (scale, offset) in zip(operands, rules, strict=True):
        add = _over(offset, unit)
        if isinstance(o, np.ndarray):
            names.append(constant_value(call, add))
            continue
        names.append(_linear(call, o.name, _over(scale, unit), add))
    return names, unit


def _over(values: np.ndarray, unit: Fraction) -> np.ndarray:
    out = np.array([int(v / unit) for v in values.reshape(-1)], object).reshape(values.shape)
    return out.astype(np.int64)


def _linear(call: Call, name: str, factor: np.ndarray, add: np.ndarray) -> str:
    """name * factor + add, leaving out what does nothing."""
    if (factor != 1).any():
        name = call.importer.emit("mul", [name, constant_value(call, factor, part="factor")], "scaled")
    if add.any():
        name = call.importer.emit("add", [name, constant_value(call, add, part="offset")], "shifted")
    return name


def on_grid(call: Call, name: str, unit: Fraction, dtype: np.dtype, batch: int | None, reason: str) -> Sym:
    """The float tensor unit * k; refused with ``reason`` when the float type would have rounded some k."""
    lo, hi = call.importer.range(name)
    if not floats.grid_fits(unit, max(abs(lo), abs(hi)) * abs(unit), dtype):
        call.refuse(
            f"{reason}: {dtype} would round sums of {lo}..{hi} times {unit}",
            "use integers, or values that are exact in the float type",
        )
    steps: tuple[floats.Step, ...] = (floats.cast_step(dtype),)
    if unit != 1:
        if not floats.grid_fits(unit, unit, dtype) or max(abs(lo), abs(hi)) > 1 << floats.MANTISSA[dtype.name]:
            call.refuse(f"{reason}: {dtype} cannot hold the integers {lo}..{hi} exactly")
        steps += (floats.constant_step("mul", np.array(float(unit)), dtype),)
    return Sym(name, dtype, call.importer.value(name).shape, batch, steps)


# ---- order


def ordered(call: Call, x: Sym) -> tuple[str, int]:
    """A graph value with exactly the order (ties included) of the floats of ``x``, and +1, -1 or 0.

    +1: it is q itself; -1: it is -q; 0: another integer code.
    """
    if not x.is_float:
        return x.name, 1
    bounds = call.importer.range(x.name)
    if floats.uniform(x.steps):
        if floats.strictly_monotone(x.steps, bounds):
            if int(floats.direction(x.steps)) > 0:
                return x.name, 1
            zero = constant_value(call, np.array(0))
            return call.importer.emit("sub", [zero, x.name], "negated"), -1
    else:
        found = grid(call, [x], x.dtype)
        if found is not None:
            return found[0][0], 0
    return ranked(call, [x])[0].name, 0


def ranked(call: Call, xs: Sequence[Sym]) -> list[Sym]:
    """Integer codes with the order of the floats of all tensors together: the rank among the values that occur."""
    tables = []
    for x in xs:
        lo, hi = call.importer.range(x.name)
        if (hi - lo + 1) * max(int(np.prod(x.shape)) if not floats.uniform(x.steps) else 1, 1) > MAX_TABLES:
            call.refuse(
                f"the float values of its input ({hi - lo + 1} integers) are too many to compare exactly",
                "narrow the input's range",
            )
        column = np.arange(lo, hi + 1).reshape(-1, *[1] * len(x.shape))
        tables.append(floats.evaluate(x.steps, column))
    levels = np.unique(np.concatenate([t.reshape(-1) for t in tables]))
    call.record(f"float values are compared by their rank among {len(levels)} (they round, or differ by element)")
    return [tabulated(call, x, lambda v: np.searchsorted(levels, v), np.dtype(np.int64)) for x in xs]
