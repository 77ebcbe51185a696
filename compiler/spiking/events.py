"""Address events: lists of (time step, channel[, polarity]) to dense rasters and back, and their files.

An event list is an int array [n, 2] or [n, 3] with columns t, i and polarity (0 or 1), in the order of time. A raster
is uint8 [steps, channels]. With polarity, channel i has two inputs: i for polarity 1, channels + i for polarity 0.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError

MOST_STEPS = 1 << 24
"""Longest recording that is read, so that a wrong time stamp cannot ask for all memory."""


def check_events(events: np.ndarray, channels: int, *, steps: int | None = None, what: str = "events") -> np.ndarray:
    """Return ``events`` as int64 [n, 2 or 3]; raises InputError for events out of order, before step 0, at or behind
    ``steps``, on channels that do not exist, twice in one step, or with a polarity other than 0 and 1.
    """
    array = np.asarray(events)
    if array.size == 0:
        return np.zeros((0, array.shape[1] if array.ndim == 2 and array.shape[1] in (2, 3) else 2), np.int64)
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise InputError(f"{what} must be rows of t, i or t, i, polarity, not of shape {list(array.shape)}")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise InputError(f"{what} must be integers; quantise times to steps with to_steps")
    elif array.dtype.kind not in "iu":
        raise InputError(f"{what} must be integers, not {array.dtype}")
    array = array.astype(np.int64)
    t, i = array[:, 0], array[:, 1]
    late = np.flatnonzero(np.diff(t) < 0)
    if len(late):
        row = int(late[0]) + 1
        raise InputError(
            f"{what} must be in the order of time, but event {row} is at step {t[row]}, behind step {t[row - 1]}"
        )
    if t[0] < 0:
        raise InputError(f"times of {what} must be at least 0, not {t[0]}")
    most = MOST_STEPS if steps is None else steps
    if t[-1] >= most:
        raise InputError(f"times of {what} must be below {most} steps, not {t[-1]}")
    bad = np.flatnonzero((i < 0) | (i >= channels))
    if len(bad):
        raise InputError(f"channels of {what} must be in 0..{channels - 1}, not {i[bad[0]]} (event {int(bad[0])})")
    if array.shape[1] == 3 and not np.isin(array[:, 2], (0, 1)).all():
        wrong = array[:, 2][~np.isin(array[:, 2], (0, 1))][0]
        raise InputError(f"polarity of {what} must be 0 or 1, not {wrong}")
    _, count = np.unique(array, axis=0, return_counts=True)
    if (count > 1).any():
        twice = np.unique(array, axis=0)[count > 1][0]
        raise InputError(f"{what} must name a channel once per step, not twice {twice[1]} in step {twice[0]}")
    return array


def to_raster(
    events: np.ndarray, channels: int, *, steps: int | None = None, polarity: bool | None = None, what: str = "events"
) -> np.ndarray:
    """Events to a raster uint8 [steps, channels], or [steps, 2·channels] with ``polarity`` (taken from the columns
    when not given).

    ``steps`` None: up to the last event. Raises InputError as :func:`check_events`.
    """
    array = check_events(events, channels, steps=steps, what=what)
    both = array.shape[1] == 3 if polarity is None else polarity
    if both and array.shape[1] != 3:
        raise InputError(f"{what} must have a polarity column")
    length = (int(array[-1, 0]) + 1 if len(array) else 1) if steps is None else steps
    raster = np.zeros((length, channels * (1 + both)), np.uint8)
    index = array[:, 1] + (channels * (1 - array[:, 2]) if both else 0)
    raster[array[:, 0], index] = 1
    return raster


def to_events(raster: np.ndarray) -> np.ndarray:
    """A raster [steps, channels] of 0 and 1 to its events int64 [n, 2], in the order of time, then channel."""
    array = np.asarray(raster)
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise InputError(f"raster must be [steps, channels] of 0 and 1, not of shape {list(array.shape)}")
    return np.argwhere(array).astype(np.int64)


def to_steps(times: np.ndarray, dt: float) -> np.ndarray:
    """Times in seconds to steps: floor(time / dt), where a time that is a multiple of ``dt`` up to rounding counts as
    one.
    """
    array = np.asarray(times, np.float64)
    if not np.isfinite(array).all() or not dt > 0:
        raise InputError("times must be finite and dt above 0 s")
    ratio = array / dt
    near = np.rint(ratio)
    return np.where(np.abs(ratio - near) < 1e-6, near, np.floor(ratio)).astype(np.int64)


def read_events(path: str | os.PathLike[str], channels: int, *, steps: int | None = None) -> np.ndarray:
    """Read an event list and check it.

    ``.npy``: an array [n, 2 or 3]; ``.npz``: arrays ``t``, ``i`` and perhaps ``p``, or one array ``events``;
    ``.csv``: lines t,i or t,i,p, with a header line or without. Raises InputError naming the file and, where it can,
    the line.
    """
    path = Path(path)
    readers = {".npy": _npy, ".npz": _npz, ".csv": _csv}
    if path.suffix not in readers:
        raise InputError(f"event file must end in {', '.join(readers)}, not {path.name!r}")
    try:
        events = readers[path.suffix](path)
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror}") from e
    return check_events(events, channels, steps=steps, what=f"events of {path}")


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as e:
        raise InputError(f"{path} must be an .npy of numbers: {e}") from e


def _npz(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
    except (ValueError, EOFError) as e:
        raise InputError(f"{path} must be an .npz of numbers: {e}") from e
    if "events" in arrays:
        return arrays["events"]
    if "t" not in arrays or "i" not in arrays:
        raise InputError(f"{path} must hold the arrays t and i (and p), or events, not {', '.join(arrays) or 'none'}")
    columns = [arrays[key] for key in ("t", "i", "p") if key in arrays]
    if len({c.shape for c in columns}) > 1 or columns[0].ndim != 1:
        raise InputError(f"{path} must hold t, i and p of one length")
    return np.stack(columns, axis=1) if columns[0].size else np.zeros((0, len(columns)), np.int64)


def _csv(path: Path) -> np.ndarray:
    rows: list[list[int]] = []
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                cells = [c.strip() for c in line.split(",")]
                if not line.strip() or line.startswith("#"):
                    continue
                try:
                    rows.append([int(c) for c in cells])
                except ValueError:
                    if rows or number > 1:  # the first line may be a header
                        raise InputError(
                            f"line {number} of {path} must be t,i or t,i,p in integers, not {line.strip()!r}"
                        ) from None
                if rows and len(rows[-1]) != len(rows[0]):
                    raise InputError(f"line {number} of {path} must have {len(rows[0])} columns, not {len(rows[-1])}")
        except UnicodeDecodeError as e:
            raise InputError(f"{path} must be text") from e
    return np.array(rows, np.int64) if rows else np.zeros((0, 2), np.int64)
