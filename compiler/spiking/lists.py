"""What a builder is given, as checked synapse lists: every refusal names the projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import need_finite
from .parts import MAX_DELAY, MAX_SIZE
from .plasticity import Learning, Plasticity, RealRule


def unknown(kind: str, name: object, known: Mapping[str, object]) -> str:
    """The sentence for a part that does not exist."""
    return f"{kind} must be one of {', '.join(known) or '(none yet)'}, not {name!r}"


def need_size(name: str, size: Any) -> int:
    """A size as int; raises InputError outside 1..2**20."""
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or not 1 <= size <= MAX_SIZE:
        raise InputError(f"size of {name!r} must be an integer in 1..{MAX_SIZE}, not {size!r}")
    return int(size)


def lists_of_matrix(
    what: str, weights: Any, delay: Any, rows: int, columns: int, keep_zeros: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Synapse lists of a weight matrix."""
    matrix = np.asarray(weights)
    if matrix.shape != (rows, columns):
        turned = "; transpose it (rows are sources)" if matrix.shape == (columns, rows) else ""
        raise InputError(f"weights of {what} must have the shape [{rows}, {columns}], not {list(matrix.shape)}{turned}")
    pre, post = np.indices(matrix.shape).reshape(2, -1) if keep_zeros else np.nonzero(matrix)
    delays = np.asarray(delay)
    if delays.ndim:
        if delays.shape != matrix.shape:
            raise InputError(f"delays of {what} must be one number or [{rows}, {columns}], not {list(delays.shape)}")
        delay = delays[pre, post]
    return pre, post, matrix[pre, post], delay


def index_list(what: str, values: Any, size: int, of: str) -> np.ndarray:
    """Indices as int32 [n_syn], checked against the ``size`` of the part called ``of``."""
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise InputError(f"{what} must be a list of integers, not {array.dtype} of shape {list(array.shape)}")
    if array.size and not (0 <= array.min() and array.max() < size):
        bad = array[(array < 0) | (array >= size)][0]
        raise InputError(f"{what} must be in 0..{size - 1} (neurons of {of!r}), not {bad}")
    return array.astype(np.int32)


def number_list(what: str, values: Any, count: int) -> np.ndarray:
    """One number or ``count`` of them as int64 or float64 [count]."""
    array = np.asarray(values)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != count):
        raise InputError(f"{what} must be one number or {count}, not {list(array.shape)}")
    kind = np.int64 if array.dtype.kind in "iub" else np.float64
    return np.broadcast_to(array, (count,)).astype(kind)


def delay_list(what: str, delay: Any, count: int) -> np.ndarray:
    """Delays as int32 [count], checked against the longest."""
    need_finite(f"delays of {what}", delay)
    array = np.asarray(delay)
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(f"delays of {what} must be integers in steps, not {array.dtype}")
    array = number_list(f"delays of {what}", array, count)
    if array.size and not (0 <= array.min() and array.max() <= MAX_DELAY):
        bad = int(array[(array < 0) | (array > MAX_DELAY)][0])
        raise InputError(
            f"delays of {what} must be in 0..{MAX_DELAY} steps, not {bad}; insert a relay population for more"
        )
    return array.astype(np.int32)


def with_enable(what: str, rule: Plasticity | None, count: int) -> Plasticity | None:
    """The rule with its per-synapse enable as bool [count]."""
    if rule is None:
        return None
    if not isinstance(rule, (Learning, RealRule)):
        raise InputError(f"plasticity of {what} must be a rule such as STDP(), not {rule!r}")
    if rule.enable is None:
        return rule
    enable = np.asarray(rule.enable).reshape(-1)
    if len(enable) != count or not np.isin(enable, (0, 1)).all():
        raise InputError(f"enable of {what} must be {count} times 0 or 1, one per synapse, not {len(enable)} values")
    return replace(rule, enable=enable.astype(bool))
