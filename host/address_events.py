"""Address-event files as inputs of clocked graphs: lists of (step, channel[, polarity]) become rasters."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Input
from neuroloom.compiler.spiking.events import check_events, read_events, to_raster
from neuroloom.compiler.spiking.input_encoding import encodings, given_names

from .arrays import read_inputs

EVENT_ARRAYS = ({"t", "i"}, {"t", "i", "p"}, {"events"})
"""Names of the arrays in an .npz that is one event list."""


def read_clocked(
    path: str | os.PathLike[str], graph: Graph, *, steps: int | None = None
) -> dict[str, np.ndarray] | np.ndarray:
    """A clocked graph's inputs: arrays as :func:`neuroloom.host.arrays.read_inputs` gives them, or events of one sample.

    A file is an event list when it is a .csv, an .npz with arrays t and i (and p) or events, or an .npy of 2 dimensions; in an
    .npz by input name every array [events, 2 or 3] of a spike input is one. ``steps``: length of the run; up to the last
    event without it. Raises InputError for events that are no input's.
    """
    where = Path(path)
    if where.suffix == ".csv" or (where.suffix == ".npz" and _names(where) in EVENT_ARRAYS):
        item = _only(graph, where)
        return {item.name: _raster(read_events(where, _channels(item, where), steps=steps), item, steps)[None]}
    names = given_names(graph)
    analog = {e.source: int(np.prod(e.shape, dtype=np.int64)) for e in encodings(graph)}
    data = read_inputs(where, names)
    if isinstance(data, np.ndarray):
        events = data.ndim == 2 and _spikes(graph) and data.shape[1] != analog.get(names[0])
        return _events(data, _only(graph, where), steps, str(where))[None] if events else data
    by_name = {i.name: i for i in graph.inputs} | {i.source: i for i in graph.inputs if i.source}
    lists = {
        k
        for k, a in data.items()
        if a.ndim == 2 and k in by_name and _is_spikes(by_name[k]) and a.shape[1] != analog.get(k)
    }
    length = steps if steps is not None else _length(data, lists)
    return {k: _events(a, by_name[k], length, f"{where}: {k}")[None] if k in lists else a for k, a in data.items()}


def _is_spikes(item: Input) -> bool:
    return item.value.type.is_bit and len(item.value.shape) == 1


def _spikes(graph: Graph) -> list[Input]:
    return [i for i in graph.inputs if _is_spikes(i)]


def _only(graph: Graph, where: Path) -> Input:
    found = _spikes(graph)
    if len(graph.inputs) != 1 or len(found) != 1:
        names = ", ".join(i.name for i in graph.inputs)
        raise InputError(f"{where} must be an .npz with an array or event list for each of the inputs {names}")
    return found[0]


def _names(where: Path) -> set[str]:
    try:
        with where.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return set(data.files)
    except OSError as e:
        raise InputError(f"{where} cannot be read: {e.strerror or e}") from e
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as e:
        raise InputError(f"{where} must be a whole .npz file of numbers; it is damaged or something else") from e


def _channels(item: Input, where: Path) -> int:
    """Channels of an event file: half the input's when the events have a polarity."""
    if where.suffix == ".npz":
        polarity = _has_polarity_npz(where)
    else:
        polarity = _has_polarity_csv(where)
    return item.value.size // 2 if polarity else item.value.size


def _has_polarity_npz(where: Path) -> bool:
    with np.load(where, allow_pickle=False) as data:
        return "p" in data.files or (
            "events" in data.files and data["events"].ndim == 2 and data["events"].shape[1] == 3
        )


def _has_polarity_csv(where: Path) -> bool:
    try:
        with where.open(encoding="utf-8") as lines:
            rows = (line for line in lines if line.strip() and not line.startswith("#"))
            return next(rows, "").count(",") == 2
    except (OSError, UnicodeDecodeError):
        return False  # read_events says what is wrong


def _length(data: Mapping[str, np.ndarray], lists: set[str]) -> int | None:
    """Steps of a run with several inputs: those of the dense arrays, else up to the last event of any list."""
    dense = [a.shape[1] for k, a in data.items() if k not in lists and a.ndim > 1]
    if dense:
        return dense[0]
    return max((int(data[k][:, 0].max(initial=0)) + 1 for k in lists if data[k].size), default=None)


def _events(array: np.ndarray, item: Input, steps: int | None, what: str) -> np.ndarray:
    polarity = array.shape[1] == 3
    channels = item.value.size // 2 if polarity else item.value.size
    if array.shape[1] not in (2, 3):
        raise InputError(
            f"{what} must be spikes of shape (samples, steps, {item.value.size}) or events (n, 2 or 3), not {array.shape}"
        )
    return _raster(check_events(array, channels, steps=steps, what=f"events of {what}"), item, steps)


def _raster(events: np.ndarray, item: Input, steps: int | None) -> np.ndarray:
    polarity = events.shape[1] == 3
    if polarity and item.value.size % 2:
        raise InputError(f"input {item.name!r} must have an even number of channels to take events with polarity")
    return to_raster(events, item.value.size // 2 if polarity else item.value.size, steps=steps)
