"""Moves of integers, as :mod:`neuroloom.compiler.ir.ops.shape` defines them."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node, Type

from .table import function


@function("reshape")
def reshape(node: Node, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), *node.attrs["shape"])


@function("transpose")
def transpose(node: Node, x: np.ndarray) -> np.ndarray:
    return x.transpose(0, *(p + 1 for p in node.attrs["perm"]))


@function("concat")
def concat(node: Node, *inputs: np.ndarray) -> np.ndarray:
    return np.concatenate(inputs, axis=node.attrs["axis"] + 1)


@function("slice")
def slice_(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    steps = zip(a["starts"], a["stops"], a["steps"], strict=True)
    return x[(slice(None), *(slice(start, stop, step) for start, stop, step in steps))]


@function("gather")
def gather(node: Node, x: np.ndarray) -> np.ndarray:
    return np.take(x, node.attrs["indices"], axis=node.attrs["axis"] + 1)


@function("take")
def take(node: Node, x: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.stack([np.take(a, i, axis=node.attrs["axis"]) for a, i in zip(x, index, strict=True)])


@function("broadcast")
def broadcast(node: Node, x: np.ndarray) -> np.ndarray:
    shape = node.attrs["shape"]
    x = x.reshape(len(x), *[1] * (len(shape) + 1 - x.ndim), *x.shape[1:])
    return np.broadcast_to(x, (len(x), *shape))


@function("bits")
def bits(node: Node, x: np.ndarray) -> np.ndarray:
    return (x[..., None] >> np.arange(node.outputs[0].shape[-1])) & 1


@function("unbits")
def unbits(node: Node, x: np.ndarray) -> np.ndarray:
    type_ = Type.parse(node.attrs["type"])
    places = 1 << np.arange(type_.width, dtype=np.int64)
    if type_.signed:
        places[-1] = -places[-1]
    return (x * places).sum(axis=-1)
