"""Tree convolutions become plain tables, one lut node per level of the tree."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import BIT, Graph, Node
from neuroloom.compiler.ir.ops.logic import tree_levels
from neuroloom.compiler.netlist.rewrite import Rewriter

from .manager import Options, PassResult, register


def window_positions(
    shape: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
) -> np.ndarray:
    """Flat spatial position that each window element reads, int64[prod(out), prod(kernel)]; -1 where it is padding."""
    flat: np.ndarray = np.zeros((1, 1), np.int64)
    inside: np.ndarray = np.ones((1, 1), bool)
    for axis, size in enumerate(shape):
        at = np.arange(out[axis])[:, None] * strides[axis] - pads[axis] + np.arange(kernel[axis])[None, :]
        ok = (at >= 0) & (at < size)
        # outer product over axes, first axis slowest, for positions and window elements alike
        rows, columns = flat.shape[0] * len(at), flat.shape[1] * at.shape[1]
        flat = (flat[:, None, :, None] * size + at[None, :, None, :]).reshape(rows, columns)
        inside = (inside[:, None, :, None] & ok[None, :, None, :]).reshape(rows, columns)
    return np.where(inside, flat, -1)


def _lower(node: Node, rewriter: Rewriter) -> bool:
    a, out = node.attrs, node.outputs[0]
    indices, tables, kernel, groups = a["indices"].astype(np.int64), a["tables"], a["kernel"], a["groups"]
    shape = rewriter.values[node.inputs[0]].shape
    kernels, leaves, k = indices.shape
    spatial, channels = shape[:-1], shape[-1]
    positions = window_positions(spatial, out.shape[:-1], kernel, a["strides"], a["pads"])
    per_group = channels // groups
    cell, channel = indices // per_group, indices % per_group
    channel = channel + (np.arange(kernels) // (kernels // groups) * per_group)[:, None, None]
    source = positions[:, cell]  # [positions, kernels, leaves, k]
    read = np.where(source >= 0, source * channels + channel, -1)
    levels, row, below = tree_levels(leaves, k), 0, node.inputs[0]
    for number, nodes in enumerate(levels):
        last = number == len(levels) - 1
        value = out if last else rewriter.fresh(f"{out.name}.tree{number}", BIT, (*out.shape, nodes))
        level = np.broadcast_to(tables[None, :, row : row + nodes], (len(positions), kernels, nodes))
        below = rewriter.lut([below], read, level, value, node.source)
        row += nodes
        read = np.arange(len(positions) * kernels * nodes).reshape(-1, k) if not last else read
    return True


@register("lower-conv", "canonicalise", order=10)
def run(graph: Graph, options: Options) -> PassResult:
    """Unroll tree convolutions into one lut node per tree level; padding reads as unconnected."""
    return PassResult(*Rewriter(graph, options).run({"lut_conv": _lower}))
