"""Exact arithmetic, as :mod:`neuroloom.compiler.ir.ops.arith` defines it."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Node, Type

from .table import aligned, function


@function("add")
def add(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = aligned([a, b])
    return a + b


@function("sub")
def sub(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = aligned([a, b])
    return a - b


@function("mul")
def mul(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = aligned([a, b])
    return a * b


@function("max")
def max_(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum(*aligned([a, b]))


@function("min")
def min_(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.minimum(*aligned([a, b]))


@function("shift")
def shift(node: Node, x: np.ndarray) -> np.ndarray:
    return x << node.attrs["amount"]


@function("sum")
def sum_(node: Node, x: np.ndarray) -> np.ndarray:
    return x.sum(axis=tuple(a + 1 for a in node.attrs["axes"]))


def _bias(node: Node) -> np.ndarray:
    weights = node.attrs["weights"]
    return node.attrs.get("bias", np.zeros(weights.shape[0])).astype(np.int64)


@function("matvec")
def matvec(node: Node, x: np.ndarray) -> np.ndarray:
    return x @ node.attrs["weights"].astype(np.int64).T + _bias(node)


@function("conv")
def conv(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    weights, strides, pads, groups = a["weights"].astype(np.int64), a["strides"], a["pads"], a["groups"]
    n = len(strides)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
    out = np.zeros((len(x), *node.outputs[0].shape), np.int64)
    channels, kernels = x.shape[1] // groups, len(weights) // groups
    for position in itertools.product(*map(range, out.shape[2:])):
        where = [slice(p * s, p * s + k) for p, s, k in zip(position, strides, weights.shape[2:], strict=True)]
        for g in range(groups):
            window = padded[(slice(None), slice(g * channels, (g + 1) * channels), *where)].reshape(len(x), -1)
            rows = slice(g * kernels, (g + 1) * kernels)
            target: Any = (slice(None), rows, *position)
            out[target] = window @ weights[rows].reshape(kernels, -1).T
    return out + _bias(node).reshape(-1, *[1] * n)


@function("requantize")
def requantize(node: Node, x: np.ndarray) -> np.ndarray:
    type_ = Type.parse(node.attrs["type"])
    factor = Fraction(node.attrs["factor"])
    p, q = factor.numerator, factor.denominator
    wide = x.astype(object) * p  # Python integers: no product can overflow
    rounded = {
        "floor": lambda v: v // q,
        "half_up": lambda v: (2 * v + q) // (2 * q),
        "half_even": lambda v: round(Fraction(v, q)),
        "toward_zero": lambda v: abs(v) // q * (1 if v >= 0 else -1),
    }[node.attrs["rounding"]]
    lo, hi = type_.range
    bound = {
        "saturate": lambda v: min(max(v, lo), hi),
        "wrap": lambda v: (v - lo) % (hi - lo + 1) + lo,
    }[node.attrs["overflow"]]
    return np.array([bound(rounded(v)) for v in wide.ravel()], np.int64).reshape(x.shape)
