"""Choices among values, as :mod:`neuroloom.compiler.ir.ops.choose` defines them."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Node

from .table import aligned, function


@function("select")
def select(node: Node, cond: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cond, a, b = aligned([cond, a, b])
    return np.where(cond == 1, a, b)


@function("delta")
def delta(node: Node, x: np.ndarray, sent: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x - sent) >= node.attrs["threshold"], x, sent)


@function("relation")
def relation(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = aligned([a, b])
    return {"ge": np.greater_equal, "gt": np.greater, "eq": np.equal}[node.attrs["kind"]](a, b).astype(np.int64)


@function("argmax")
def argmax(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attrs["axis"] + 1
    if node.attrs["last"]:
        return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis)
    return np.argmax(x, axis=axis)


@function("topk")
def topk(node: Node, x: np.ndarray) -> list[np.ndarray]:
    axis, k = node.attrs["axis"] + 1, node.attrs["k"]
    order = np.argsort(-x if node.attrs["largest"] else x, axis=axis, kind="stable")
    index = np.take(order, np.arange(k), axis=axis)
    return [np.take_along_axis(x, index, axis=axis), index]
