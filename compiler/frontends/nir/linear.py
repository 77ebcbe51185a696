"""NIR's nodes without state: what each does to the shape and the elements of a signal.

One function per primitive in ``LINEAR``; it takes the node and the input shape (no batch) and returns the map, the output
shape and the constant. Equations: docstrings of ``nir.ir``; convolutions and pooling as torch.nn has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.spiking import maps, unroll

from .read import Node

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """``y = map(x) + bias`` with the output's shape; ``map`` None: the elements stay as they are."""

    map: maps.LinearMap | None
    shape: Shape
    bias: np.ndarray | None = None
    gain: np.ndarray | None = None
    seconds: np.ndarray | None = None


def _matrix(node: Node, shape: Shape) -> Linear:
    """Affine and Linear: W x (+ b); a weight with more than two axes applies to the last axis of each leading element."""
    weight = np.asarray(node["weight"], np.float64)
    if weight.ndim < 2:
        raise InputError(f"weight of {node} must have at least two axes, not {weight.ndim}")
    lead, (rows, cols) = weight.shape[:-2], weight.shape[-2:]
    if shape != (*lead, cols):
        raise InputError(f"{node} must have an input of shape {[*lead, cols]}, not {list(shape)}")
    out = (*lead, rows)
    bias = None
    if node.type == "Affine":
        bias = np.asarray(node["bias"], np.float64)
        if bias.size not in (1, int(np.prod(out))):
            raise InputError(f"bias of {node} must have {int(np.prod(out))} elements, not {bias.size}")
        bias = np.broadcast_to(bias.reshape(-1), (int(np.prod(out)),))
    maps.limit(weight.size, str(node))
    blocks = int(np.prod(lead, dtype=np.int64))
    block, row, col = np.nonzero(weight.reshape(blocks, rows, cols))
    values = weight.reshape(blocks, rows, cols)[block, row, col]
    return Linear(maps.make(blocks * rows, blocks * cols, block * rows + row, block * cols + col, values), out, bias)


def _scale(node: Node, shape: Shape) -> Linear:
    return Linear(None, shape, gain=_per_element(node, "scale", shape))


def _delay(node: Node, shape: Shape) -> Linear:
    seconds = _per_element(node, "delay", shape)
    if (seconds < 0).any():
        raise InputError(f"delay of {node} must be at least 0 s, not {seconds.min():.6g}")
    return Linear(None, shape, seconds=seconds)


def _per_element(node: Node, key: str, shape: Shape) -> np.ndarray:
    """A field with one number per element of the signal, or one for all."""
    values = np.asarray(node[key], np.float64)
    size = int(np.prod(shape, dtype=np.int64))
    if values.size != 1 and values.shape != shape:
        raise InputError(f"{key} of {node} must have the shape {list(shape)} of its input, not {list(values.shape)}")
    return np.broadcast_to(values.reshape(-1), (size,))


def _flatten(node: Node, shape: Shape) -> Linear:
    start, end = node["start_dim"], node["end_dim"]
    axes = len(shape)
    first, last = (start + axes if start < 0 else start), (end + axes if end < 0 else end)
    if not 0 <= first <= last < axes:
        raise InputError(f"{node} must flatten axes of its input {list(shape)}, not {start}..{end}")
    return Linear(None, (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :]))


def _pair(node: Node, key: str) -> tuple[int, int]:
    """One or two integers as (vertical, horizontal)."""
    values = np.asarray(node[key]).reshape(-1)
    if values.dtype.kind not in "iuf" or values.size not in (1, 2) or (values != np.rint(values)).any():
        raise InputError(f"{key} of {node} must be one or two integers, not {values.tolist()}")
    return int(values[0]), int(values[-1])


def _conv(node: Node, shape: Shape) -> Linear:
    weight = np.asarray(node["weight"], np.float64)
    flat = node.type == "Conv1d"
    if weight.ndim != (3 if flat else 4):
        raise InputError(f"weight of {node} must have {3 if flat else 4} axes, not {weight.ndim}")
    if len(shape) != (2 if flat else 3):
        raise InputError(f"{node} must have an input of {'[C, N]' if flat else '[C, H, W]'}, not {list(shape)}")
    given = node.get("input_shape")
    if given is not None and tuple(np.asarray(given).reshape(-1)) != shape[1:]:
        raise InputError(
            f"input_shape of {node} must be {list(shape[1:])}, as its input, not {np.asarray(given).tolist()}"
        )
    kernel = weight.shape[2:]
    size = (1, *shape[1:]) if flat else shape[1:]
    pairs = {key: _pair(node, key) for key in ("stride", "dilation")}
    if flat:
        weight = weight[:, :, None, :]
        kernel = weight.shape[2:]
        pairs = {key: (1, value[1]) for key, value in pairs.items()}
    window = unroll.Window(
        (int(kernel[0]), int(kernel[1])),
        pairs["stride"],
        _pads(node, kernel, pairs["dilation"], flat),
        pairs["dilation"],
    )
    if node["padding"] is not None and isinstance(node["padding"], str) and node["padding"] == "same":
        if window.stride != (1, 1):
            raise InputError(f"stride of {node} must be 1 with padding 'same', not {window.stride}")
    channels = (shape[0], int(size[0]), int(size[1]))
    linear, (out, high, wide) = unroll.conv(weight, channels, window, node["groups"], str(node))
    bias = np.asarray(node["bias"], np.float64).reshape(-1)
    if bias.size not in (1, out):
        raise InputError(f"bias of {node} must have {out} elements, one per channel, not {bias.size}")
    bias = np.repeat(np.broadcast_to(bias, (out,)), high * wide)
    return Linear(linear, (out, wide) if flat else (out, high, wide), bias)


def _pads(
    node: Node, kernel: tuple[int, ...], dilation: tuple[int, int], flat: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    padding: Any = node["padding"]
    if isinstance(padding, str):
        return ((0, 0), (0, 0)) if padding == "valid" else unroll.same_pads((kernel[0], kernel[1]), dilation)
    down, right = _pair(node, "padding")
    return ((0, 0) if flat else (down, down)), (right, right)


def _pool(node: Node, shape: Shape) -> Linear:
    if len(shape) != 3:
        raise InputError(f"{node} must have an input of [C, H, W], not {list(shape)}")
    down, right = _pair(node, "padding")
    window = unroll.Window(_pair(node, "kernel_size"), _pair(node, "stride"), ((down, down), (right, right)))
    linear, out = unroll.pool((shape[0], shape[1], shape[2]), window, str(node), mean=node.type == "AvgPool2d")
    return Linear(linear, out)


def _same(node: Node, shape: Shape) -> Linear:
    """Input and Output of nested graphs."""
    given = node.get("shape")
    if given is not None and tuple(np.asarray(given).reshape(-1)) != shape:
        raise InputError(f"{node} must have the shape {list(shape)} of its input, not {np.asarray(given).tolist()}")
    return Linear(None, shape)


LINEAR: dict[str, Callable[[Node, Shape], Linear]] = {
    "Affine": _matrix,
    "Linear": _matrix,
    "Scale": _scale,
    "Delay": _delay,
    "Flatten": _flatten,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Input": _same,
    "Output": _same,
}
"""Primitives without state."""
