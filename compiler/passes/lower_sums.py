"""Sums of bits become group sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.netlist.rewrite import Rewriter

from .manager import Options, PassResult, register

MAX_WEIGHT = 7
"""A matvec of bits with a larger weight stays one: it is a multiply-accumulate layer, not a population count."""


def _emit(rewriter: Rewriter, node: Node, counts: np.ndarray, indices: np.ndarray, **extra: np.ndarray) -> bool:
    out = node.outputs[0]
    attrs: dict[str, Any] = {"offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)}
    attrs["indices"] = np.ascontiguousarray(indices, np.int32)
    attrs.update({k: v.astype(np.int64) for k, v in extra.items()})
    if out.shape != (len(counts),):
        attrs["shape"] = out.shape
    rewriter.emit("group_sum", node.inputs, attrs, out, node.source)
    return True


def _sum(node: Node, rewriter: Rewriter) -> bool:
    x, out = rewriter.values[node.inputs[0]], node.outputs[0]
    if not x.type.is_bit or out.size == 0:
        return False
    axes = node.attrs["axes"]
    kept = [a for a in range(len(x.shape)) if a not in axes]
    indices = np.arange(x.size).reshape(x.shape).transpose([*kept, *axes]).reshape(out.size, -1)
    return _emit(rewriter, node, np.full(out.size, indices.shape[1]), indices.reshape(-1))


def _matvec(node: Node, rewriter: Rewriter) -> bool:
    x, weights = rewriter.values[node.inputs[0]], node.attrs["weights"]
    if not x.type.is_bit or node.attrs["weight_frac"] or not x.size:
        return False
    if int(np.abs(weights).max()) > MAX_WEIGHT:
        return False
    lead = x.size // x.shape[-1]
    rows, columns = np.nonzero(weights)
    counts = np.tile(np.bincount(rows, minlength=len(weights)), lead)
    indices = (np.arange(lead)[:, None] * x.shape[-1] + columns[None, :]).reshape(-1)
    extra = {"weights": np.tile(weights[rows, columns], lead)}
    if (extra["weights"] == 1).all():
        extra = {}
    if "bias" in node.attrs:
        extra["bias"] = np.tile(node.attrs["bias"], lead)
    return _emit(rewriter, node, counts, indices, **extra)


@register("lower-sums", "canonicalise", order=60)
def run(graph: Graph, options: Options) -> PassResult:
    """Turn sum of bits, and matvec of bits with weights up to 7, into group_sum."""
    return PassResult(*Rewriter(graph, options).run({"sum": _sum, "matvec": _matvec}))
