"""One-bit logic, as :mod:`neuroloom.compiler.ir.ops.logic` defines it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Node
from neuroloom.compiler.ir.ops.logic import tree_levels

from .table import aligned, flat, function, shaped


@function("lut")
def lut(node: Node, *inputs: np.ndarray) -> np.ndarray:
    indices, tables = node.attrs["indices"], node.attrs["tables"]
    x = flat(inputs)
    x = np.concatenate([x, np.zeros((len(x), 1), x.dtype)], axis=1)  # index -1 reads this 0
    address = np.zeros((len(x), len(tables)), np.uint64)
    for k in range(indices.shape[1]):
        address |= x[:, indices[:, k]].astype(np.uint64) << np.uint64(k)
    return shaped(node, ((tables >> address) & np.uint64(1)).astype(np.int64))


@function("lut_conv")
def lut_conv(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attrs
    indices, tables, kernel, strides, pads, groups = (
        a[key] for key in ("indices", "tables", "kernel", "strides", "pads", "groups")
    )
    n = len(kernel)
    padded = np.pad(x, [(0, 0), *zip(pads[:n], pads[n:], strict=True), (0, 0)])
    out = np.zeros((len(x), *node.outputs[0].shape), np.int64)
    kernels, leaves, k = indices.shape
    channels = x.shape[-1] // groups
    for position in itertools.product(*map(range, out.shape[1:-1])):
        corner = [p * s for p, s in zip(position, strides, strict=True)]
        where = (slice(None), *(slice(c, c + size) for c, size in zip(corner, kernel, strict=True)))
        window = padded[tuple(where)]
        for m in range(kernels):
            group = m // (kernels // groups)
            seen = window[..., group * channels : (group + 1) * channels].reshape(len(x), -1)
            level, row = seen[:, indices[m]], 0  # [N, leaves, k]
            for nodes in tree_levels(leaves, k):
                address = (level.reshape(len(x), nodes, k) << np.arange(k)).sum(axis=2).astype(np.uint64)
                level = ((tables[m, row : row + nodes] >> address) & np.uint64(1)).astype(np.int64)
                row += nodes
            target: Any = (slice(None), *position, m)
            out[target] = level[:, 0]
    return out


@function("compare")
def compare(node: Node, x: np.ndarray) -> np.ndarray:
    return shaped(node, (flat([x])[:, node.attrs["indices"]] >= node.attrs["thresholds"]).astype(np.int64))


@function("group_sum")
def group_sum(node: Node, *inputs: np.ndarray) -> np.ndarray:
    offsets, indices = node.attrs["offsets"], node.attrs["indices"]
    weights = node.attrs.get("weights", np.ones(len(indices), np.int64))
    bias = node.attrs.get("bias", np.zeros(len(offsets) - 1, np.int64))
    x = flat(inputs)
    sums = [x[:, indices[a:b]] @ weights[a:b].astype(np.int64) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    return shaped(node, np.stack(sums, axis=1) + bias)


@function("bitwise")
def bitwise(node: Node, *inputs: np.ndarray) -> np.ndarray:
    kind = node.attrs["kind"]
    if kind == "not":
        type_ = node.outputs[0].type
        return ~inputs[0] if type_.signed else ~inputs[0] & type_.hi
    a, b = aligned(inputs)
    return {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[kind](a, b)
