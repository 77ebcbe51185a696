"""What the model's inputs mean: which axis is the batch, and which integers stand for float values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Affine, Range, Type, smallest_type
from onnx import helper

from . import floats
from .build import dtype_range, dtype_type

MAX_INPUT = 1 << 26
"""Elements that one sample of an input may have."""
MAX_RULE_BITS = 20
"""Widest integer that may stand for a float input: its values are tabulated."""
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class InputRule:
    """How a model input is carried: real = scale * q + offset with q of ``type``, in ``bounds`` if given.

    ``scale`` and ``offset`` are rationals, integers, text like "1/255", or floats (their exact value). For inputs of integer type
    only ``type`` and ``bounds`` may be given. A float input then holds the correctly rounded float of scale * q + offset.
    """

    type: Type | str | None = None
    scale: Fraction | int | float | str = 1
    offset: Fraction | int | float | str = 0
    bounds: Range | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """An input as the graph takes it."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    batch: int | None
    type: Type
    affine: Affine
    bounds: Range | None
    steps: floats.Steps


def declared(info: onnx.ValueInfoProto, kind: str) -> tuple[np.dtype, list[int | str | None] | None]:
    """Element type and dims of a model input or output: an int, a symbol's name, or None when open; no list without shape."""
    if info.type.WhichOneof("value") != "tensor_type":
        found = info.type.WhichOneof("value") or "no type"
        raise UnsupportedError(f"{kind} {info.name!r} must be a dense tensor, not {found}")
    tensor = info.type.tensor_type
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except (KeyError, ValueError):
        raise InputError(f"{kind} {info.name!r} must have an element type of ONNX, not {tensor.elem_type}") from None
    if dtype.kind not in "buif" or (dtype.kind == "f" and dtype.name not in _FLOATS):
        name = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise UnsupportedError(
            f"{kind} {info.name!r} has the element type {name}; use bool, an integer type or float32"
        )
    if not tensor.HasField("shape"):
        return dtype, None
    dims: list[int | str | None] = []
    for d in tensor.shape.dim:
        which = d.WhichOneof("value")
        dims.append(
            d.dim_value if which == "dim_value" else d.dim_param if which == "dim_param" and d.dim_param else None
        )
    return dtype, dims


@dataclass(frozen=True, slots=True)
class Batch:
    """Where the batch axis of each input is (None: nowhere, the model is one sample) and its size (None: open)."""

    axes: dict[str, int | None]
    size: int | None


def find_batch(shapes: Mapping[str, list[int | str | None]], given: Mapping[str, int] | int | str | None) -> Batch:
    """Decide the batch axis of every input, or refuse when the file leaves it open.

    ``given``: an axis for all inputs, one per input by name, "none" for a model that is one sample, or None: every input's first
    dimension must then be symbolic. Raises UnsupportedError naming the input and the option.
    """
    if given == "none":
        for name, dims in shapes.items():
            _need_fixed(name, dims, None)
        return Batch(dict.fromkeys(shapes), None)
    if isinstance(given, str):
        raise InputError(f"batch axis must be an integer, one integer per input, or 'none', not {given!r}")
    if isinstance(given, Mapping):
        unknown = set(given) - set(shapes)
        if unknown:
            raise InputError(f"batch axis must name inputs of the model, not {sorted(unknown)[0]!r}")
    axes: dict[str, int | None] = {}
    sizes: dict[str, Any] = {}
    for name, dims in shapes.items():
        axis = given.get(name) if isinstance(given, Mapping) else given
        if axis is None:
            axis = _open_first(name, dims)
        if not -len(dims) <= axis < len(dims):
            raise InputError(f"batch axis of input {name!r} must be in {-len(dims)}..{len(dims) - 1}, not {axis}")
        axis %= len(dims)
        _need_fixed(name, dims, axis)
        axes[name], sizes[name] = axis, dims[axis]
    return Batch(axes, _one_size(sizes, explicit=given is not None))


def _open_first(name: str, dims: list[int | str | None]) -> int:
    if dims and not isinstance(dims[0], int):
        return 0
    text = ", ".join("?" if d is None else str(d) for d in dims)
    raise UnsupportedError(
        f"input {name!r} has the shape [{text}], which does not say which axis counts samples; "
        "give --batch-axis 0 (or another axis), or --batch-axis none if the model is one sample"
    )


def _need_fixed(name: str, dims: list[int | str | None], batch: int | None) -> None:
    for i, d in enumerate(dims):
        if i != batch and not isinstance(d, int):
            raise UnsupportedError(
                f"input {name!r}: axis {i} ({d or 'unnamed'}) must have a fixed size, because only the batch axis may be open; "
                "export the model with a fixed size, or give --batch-axis"
            )


def _one_size(sizes: dict[str, Any], *, explicit: bool) -> int | None:
    fixed = {s for s in sizes.values() if isinstance(s, int)}
    symbols = {s for s in sizes.values() if isinstance(s, str)}
    if len(fixed) > 1 or (fixed and len(fixed) < len(set(sizes.values()))):
        text = ", ".join(f"{n}: {s if s is not None else '?'}" for n, s in sizes.items())
        raise UnsupportedError(
            f"inputs must have the same batch size, not {text}; export the model with one open batch axis"
        )
    if len(symbols) > 1 and not explicit:
        text = ", ".join(f"{n}: {s}" for n, s in sizes.items())
        raise UnsupportedError(
            f"inputs have batch axes of different names ({text}), which need not be the same number of samples; "
            "give --batch-axis 0 if they are"
        )
    size = fixed.pop() if fixed else None
    if size is not None and size < 1:
        raise InputError(f"batch axis must have at least one sample, not {size}")
    return size


def resolve(
    name: str,
    dtype: np.dtype,
    dims: list[int | str | None],
    batch: int | None,
    rule: InputRule | None,
    data: np.ndarray | None,
    narrow: Range | None,
    records: dict[str, Any],
) -> Resolved:
    """Decide type, affine rule and float meaning of one input; ``narrow`` are bounds that an operator behind it needs."""
    shape = tuple(int(d) for i, d in enumerate(dims) if i != batch)  # type: ignore[arg-type]
    count = 1
    for d in shape:
        if d < 0:
            raise InputError(f"input {name!r} must not have a negative dimension, not {list(shape)}")
        count *= d
    if count > MAX_INPUT:
        raise UnsupportedError(
            f"input {name!r} has {count} elements per sample; the limit is {MAX_INPUT}, so check its shape {list(shape)}"
        )
    if dtype.kind != "f":
        type_, bounds = _integer_rule(name, dtype, rule)
        if narrow is not None:
            low, high = bounds or type_.range
            if rule is not None and (low < narrow[0] or high > narrow[1]):
                raise UnsupportedError(
                    f"input {name!r} has the bounds {low}..{high} by its rule, but a node behind it is defined for "
                    f"{narrow[0]}..{narrow[1]} only; narrow the rule"
                )
            bounds = max(low, narrow[0]), min(high, narrow[1])
        if bounds is not None and smallest_type(bounds).is_bit:
            type_, bounds = Type(1), None  # a bit on the wire whatever the file's element type
        return Resolved(name, dtype, shape, batch, type_, Affine(), bounds, ())
    if rule is None and data is not None:
        rule = calibrated(name, dtype, np.asarray(data), records)
    if rule is None:
        raise UnsupportedError(
            f"input {name!r} is {dtype}, and the file does not say which values occur; give a rule for it "
            "(type, scale and offset, e.g. u8 with scale 1/255), or data to calibrate with"
        )
    return _float_rule(name, dtype, shape, batch, rule)


def _type(name: str, rule: InputRule) -> Type | None:
    type_ = Type.parse(rule.type) if isinstance(rule.type, str) else rule.type
    if type_ is not None and type_.frac:
        raise InputError(f"rule of input {name!r} must have a type without fraction bits, not {type_}; use scale")
    return type_


def _integer_rule(name: str, dtype: np.dtype, rule: InputRule | None) -> tuple[Type, Range | None]:
    if rule is None:
        if dtype.itemsize == 8:
            raise UnsupportedError(
                f"input {name!r} is {dtype}, wider than the graph's integers; give a rule with its type or bounds"
            )
        return dtype_type(dtype), None
    if Fraction(rule.scale) != 1 or Fraction(rule.offset) != 0:
        raise InputError(f"rule of input {name!r} must leave scale 1 and offset 0, because its type is {dtype}")
    type_ = _type(name, rule)
    if type_ is None:
        if rule.bounds is None:
            raise InputError(f"rule of input {name!r} must give a type or bounds")
        type_ = smallest_type(rule.bounds)
    low, high = rule.bounds or type_.range
    least, most = dtype_range(dtype)
    if low < least or high > most or not type_.holds((low, high)) or low > high:
        raise InputError(f"rule of input {name!r} must keep bounds {low}..{high} inside {dtype} and {type_}")
    return type_, rule.bounds


def numbers(name: str, rule: InputRule) -> tuple[Type, Fraction, Fraction, Range | None]:
    """Type, scale, offset and bounds of a float input's rule; raises InputError for one that is none."""
    type_ = _type(name, rule) or Type(8)
    try:
        scale, offset = Fraction(rule.scale), Fraction(rule.offset)
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InputError(
            f"rule of input {name!r} must have a rational scale and offset, not {rule.scale} and {rule.offset}"
        ) from None
    if scale == 0:
        raise InputError(f"rule of input {name!r} must have a scale other than 0")
    bounds = rule.bounds or type_.range
    if not type_.holds(bounds) or bounds[0] > bounds[1]:
        raise InputError(f"rule of input {name!r} must keep bounds {bounds[0]}..{bounds[1]} inside {type_}")
    return type_, scale, offset, rule.bounds


def _float_rule(name: str, dtype: np.dtype, shape: tuple[int, ...], batch: int | None, rule: InputRule) -> Resolved:
    type_, scale, offset, _ = numbers(name, rule)
    bounds = rule.bounds or type_.range
    if bounds[1] - bounds[0] >= 1 << MAX_RULE_BITS:
        raise UnsupportedError(
            f"rule of input {name!r} must have at most 2**{MAX_RULE_BITS} values, not {bounds[0]}..{bounds[1]}"
        )
    if scale == 1 and offset == 0 and max(abs(b) for b in bounds) <= 1 << floats.MANTISSA[dtype.name]:
        steps: floats.Steps = (floats.cast_step(dtype),)
    else:
        values = floats.round_table(scale, offset, bounds, dtype)
        steps = (floats.Step("table", dtype, values, bounds[0], (scale, offset)),)
        if not np.isfinite(values).all():
            raise InputError(f"rule of input {name!r} must give finite {dtype} values, not {scale} * q + {offset}")
    return Resolved(name, dtype, shape, batch, type_, Affine.of(scale, offset), rule.bounds, steps)


def calibrated(name: str, dtype: np.dtype, data: np.ndarray, records: dict[str, Any]) -> InputRule:
    """A rule from sample data: the grid it lies on exactly, or 256 steps from least to greatest with the error recorded."""
    values = np.unique(data.astype(np.float64 if data.dtype.kind != "f" else data.dtype))
    if not values.size:
        raise InputError(f"calibration data of input {name!r} must hold at least one sample, not none")
    if not np.isfinite(values).all():
        raise InputError(f"calibration data of input {name!r} must be finite; it holds NaN or infinity")
    rule = _on_grid(values.astype(dtype), dtype)
    error = 0.0
    if rule is None:
        low, high = Fraction(float(values[0])), Fraction(float(values[-1]))
        rule = InputRule(Type(8), (high - low) / 255 or Fraction(1), low)
        scale, offset = float(Fraction(rule.scale)), float(low)
        back = np.rint((values - offset) / scale).clip(0, 255) * scale + offset
        error = float(np.abs(back - values).max())
    records.setdefault("calibration", {})[name] = {
        "type": str(rule.type),
        "scale": str(rule.scale),
        "offset": str(rule.offset),
        "values": int(values.size),
        "largest_error": repr(error),
    }
    return rule


def on_grid(data: np.ndarray, dtype: np.dtype) -> InputRule | None:
    """The rule of the grid that samples lie on exactly; None where they are real numbers of any kind."""
    values = np.unique(data.astype(np.float64 if data.dtype.kind != "f" else data.dtype))
    return _on_grid(values.astype(dtype), dtype) if values.size and np.isfinite(values).all() else None


def _on_grid(values: np.ndarray, dtype: np.dtype) -> InputRule | None:
    """The rule k/d with integer k when every value is exactly its rounded float, for the smallest such d; else None."""
    candidates = [1, 2, 4, 8, 15, 16, 32, 64, 127, 128, 255, 256]
    if len(values) > 1:
        gap = float(np.diff(values.astype(np.float64)).min())
        if gap > 0 and 0.5 < 1 / gap < 1 << 16:
            candidates.append(round(1 / gap))
    for d in sorted(set(candidates)):
        k = np.rint(values.astype(np.float64) * d)
        if np.abs(k).max() >= 1 << 16 or (np.abs(k / d - values) > 1e-3 * np.maximum(np.abs(values), 1e-6)).any():
            continue
        bounds = int(k.min()), int(k.max())
        exact = floats.round_table(Fraction(1, d), Fraction(0), bounds, dtype)[k.astype(np.int64) - bounds[0]]
        if (exact == values).all():
            type_ = smallest_type(bounds)
            wide = Type(8, type_.signed) if type_.width <= 8 else Type(type_.width, type_.signed)
            return InputRule(wide, Fraction(1, d), 0)
    return None
