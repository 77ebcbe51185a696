"""Checks and conversions of what a caller hands to the writer: element types, indices, tables, thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.errors import InputError
from numpy.typing import ArrayLike
from onnx import helper

UNSIGNED = ("bool", "uint8", "uint16", "uint32")
"""Element types that may address a table."""

TABLE_TYPES = (*UNSIGNED, "int8", "int16", "int32")
"""Element types of a table, and so of its output."""


def require(condition: bool, message: str) -> None:
    """Raise InputError(message) unless ``condition``."""
    if not condition:
        raise InputError(message)


def dtype_name(dtype: str, where: str) -> str:
    """Return the canonical numpy name of an element type that ONNX has, or raise InputError."""
    try:
        name = np.dtype(dtype).name
        onnx_type(name)
    except (TypeError, KeyError, ValueError):
        raise InputError(f"{where}: the element type must be a numpy type that ONNX has, not {dtype!r}") from None
    return name


def onnx_type(dtype: str) -> int:
    """Return the ONNX number of a numpy element type."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def index_array(indices: ArrayLike, size: int, rank: int, where: str) -> np.ndarray:
    """Return ``indices`` as int32 (int64 where it must be), refusing any outside ``[0, size)``."""
    array = np.asarray(indices)
    require(array.dtype.kind in "iu", f"{where}: indices must be integers, not {array.dtype}")
    require(
        array.ndim == rank and all(array.shape),
        f"{where}: indices must have {rank} axes, none of them empty, not shape {array.shape}",
    )
    low, high = int(array.min()), int(array.max())
    require(0 <= low and high < size, f"{where}: indices must be in [0, {size}), not {low if low < 0 else high}")
    return array.astype(np.int32 if size <= 1 << 31 else np.int64)


def table_array(tables: ArrayLike | None, allowed: Sequence[str], where: str) -> np.ndarray:
    """Return ``tables`` as an array of an allowed type; plain Python or int64 values of 0 and 1 become bool."""
    array = np.asarray(tables)
    if array.dtype.name == "int64" and array.size and 0 <= array.min() and array.max() <= 1:
        array = array.astype(np.bool_)
    require(array.dtype.name in allowed, f"{where}: tables must be one of {', '.join(allowed)}, not {array.dtype.name}")
    return array


def threshold_array(levels: np.ndarray, dtype: str, relation: str, where: str) -> np.ndarray:
    """Return thresholds in a type that both they and every input value convert to exactly."""
    kind = np.dtype(dtype).kind
    require(kind in "buif", f"{where}: the input must be bool, integer or float, not {dtype}")
    require(levels.dtype.kind in "buif", f"{where}: thresholds must be numbers, not {levels.dtype}")
    require(not np.isnan(levels.astype(np.float64)).any(), f"{where}: thresholds must not be NaN")
    if kind == "f":
        exact = levels.astype(dtype)
        same = exact.astype(np.float64) == levels.astype(np.float64)
        require(bool(same.all()), f"{where}: thresholds must be exact in {dtype}, the input's type; round them first")
        return exact
    if levels.dtype.kind == "f":
        # x > t and x >= t decide like x > floor(t) and x >= ceil(t) on integers
        levels = np.floor(levels.astype(np.float64)) if relation == ">" else np.ceil(levels.astype(np.float64))
    low, high = (0, 1) if kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    # One past the range is enough to say never or always; it keeps infinite thresholds finite.
    clipped = np.clip(levels, int(low) - 1, int(high) + 1)
    wide = np.int32 if int(high) + 1 <= np.iinfo(np.int32).max and int(low) - 1 >= np.iinfo(np.int32).min else np.int64
    require(np.dtype(dtype).itemsize < 8, f"{where}: the input must be narrower than 64 bits, not {dtype}")
    return clipped.astype(wide)
