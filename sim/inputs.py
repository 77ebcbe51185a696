"""What a user may hand to a simulator or a board: checked once, turned into the graph's integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Input
from neuroloom.compiler.spiking.input_encoding import encode


def prepare(graph: Graph, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """As :func:`check`, with every array as int64."""
    return {name: array.astype(np.int64, copy=False) for name, array in check(graph, inputs).items()}


def check(graph: Graph, inputs: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """Return the inputs as integer arrays, samples first, in the graph's order; integers keep their type and memory.

    A single array serves a graph with one input. Analog values become steps by the encoders that the graph declares (see
    ``compiler/spiking/input_encoding.py``). Integers are taken as they are and must lie in the input's range; real
    numbers are quantised by the input's affine rule (round half to even, saturate). Raises InputError naming the input.
    """
    given = _named(graph, encode(graph, inputs))
    out = {item.name: _integers(item, np.asarray(given[item.name]), graph.clocked) for item in graph.inputs}
    counts = {name: a.shape[: 1 + graph.clocked] for name, a in out.items()}
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{n}: {list(c)}" for n, c in counts.items())
        raise InputError(f"inputs must have the same number of samples (and steps), not {text}")
    return out


def _named(graph: Graph, inputs: Mapping[str, np.ndarray] | np.ndarray) -> Mapping[str, np.ndarray]:
    names = [i.name for i in graph.inputs]
    if not isinstance(inputs, Mapping):
        if len(names) != 1:
            raise InputError(f"inputs must be given by name, because the graph has {len(names)}: {', '.join(names)}")
        return {names[0]: inputs}
    by_source = {i.source: i.name for i in graph.inputs}
    given = {k if k in names else by_source.get(k, k): v for k, v in inputs.items()}
    if set(given) != set(names):
        raise InputError(f"inputs must be {', '.join(names)}, not {', '.join(given) or 'none'}")
    return given


def _integers(item: Input, array: np.ndarray, clocked: bool) -> np.ndarray:
    what = f"input {item.source or item.name!r}"
    lead, axes = (2, "samples, steps") if clocked else (1, "samples")
    shape = item.value.shape
    if array.ndim == lead + 1 and len(shape) != 1 and array.shape[lead:] == (item.value.size,):
        array = array.reshape(*array.shape[:lead], *shape)  # rows of a flat file
    elif array.ndim > lead + 1 and len(shape) == 1 and np.prod(array.shape[lead:]) == item.value.size:
        array = array.reshape(*array.shape[:lead], *shape)  # images for a network that flattens them
    if array.ndim != lead + len(shape) or array.shape[lead:] != shape:
        wanted = ", ".join([axes, *map(str, shape)])
        raise InputError(f"{what} must have the shape ({wanted}), not {array.shape}")
    if 0 in array.shape[:lead]:
        raise InputError(f"{what} must hold at least one sample{' and one step' if clocked else ''}, not none")
    if array.dtype.kind == "f":
        flat = array.reshape(math.prod(array.shape[:lead]), *shape)
        return item.affine.quantize(flat, item.range, what).reshape(array.shape)
    if array.dtype.kind not in "iub":
        raise InputError(f"{what} must be an array of integers or reals, not of {array.dtype}")
    lo, hi = item.range
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    info = np.iinfo(array.dtype)
    if lo <= info.min and info.max <= hi:
        return array
    least, most = int(array.min()), int(array.max())
    if least < lo or most > hi:
        bad = least if least < lo else most
        where = tuple(int(i) for i in np.argwhere(array == bad)[0])
        raise InputError(f"{what} must be in {lo}..{hi}, not {bad} (at {list(where)})")
    return array


def batches(inputs: Mapping[str, np.ndarray], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Cut the samples into parts of at most ``size``."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in inputs.items()}
