"""One-bit logic: lookup tables, tree convolutions, threshold encoders, group sums."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir.types import smallest_type

from .registry import Operands, Result, need_bits, need_indices, op, out_shape

MAX_LUT_INPUTS = 6
"""A truth table of up to 6 inputs fits one 64-bit word."""


@op("lut", arity=(1, None), attrs={"indices": "tensor", "tables": "tensor", "shape": "tuple?", "layers": "tensor?"})
def lut(o: Operands) -> list[Result]:
    """A layer of M lookup tables of up to 6 bits each.

    The inputs are flattened and concatenated to one list of bits x. ``indices`` int32[M,K] names the K <= 6 inputs of
    each table, -1 an unconnected one, which reads 0. Input 0 is the address LSB:
    out[m] = (tables[m] >> sum_k(x[indices[m,k]] << k)) & 1, with ``tables`` uint64[M].
    ``layers`` int32[M] optionally gives each table's source as an index into the graph's ``records["layers"]``.
    """
    size = need_bits(o)
    indices, tables = o.tensor("indices", 2), o.tensor("tables", 1)
    count, k = indices.shape
    if k > MAX_LUT_INPUTS:
        raise GraphError(f"a lut must have at most {MAX_LUT_INPUTS} inputs, not {k}; use lookup for more")
    if tables.shape != (count,) or tables.dtype != np.uint64:
        raise GraphError(f"tables must be uint64[{count}], not {tables.dtype}{list(tables.shape)}")
    if k < MAX_LUT_INPUTS and count and int(tables.max()) >> (1 << k):
        raise GraphError(f"tables of {k} inputs must be at most {1 << k} bits wide")
    need_indices(indices, size, least=-1)
    layers = o.node.attrs.get("layers")
    if isinstance(layers, np.ndarray) and layers.shape != (count,):
        raise GraphError(f"layers must be one index per table, not {list(layers.shape)}")
    return [Result(out_shape(o, count), (0, 1))]


@op(
    "lut_conv",
    attrs={
        "indices": "tensor",
        "tables": "tensor",
        "kernel": "tuple",
        "strides": "tuple",
        "pads": "tuple",
        "groups": "int",
    },
)
def lut_conv(o: Operands) -> list[Result]:
    """A convolution whose kernels are trees of lookup tables, shared over all positions.

    Input bit[D1,..,Dn,C] (channels last, n = 2 or 3), zero-padded by ``pads`` (begin of each axis, then end of each),
    windows of ``kernel`` every ``strides``. ``indices`` int32[M,P,K] are positions in the flattened window
    (kernel axes, then channel of the group: C/groups channels; kernel m belongs to group m // (M/groups)), P leaves per
    kernel. ``tables`` uint64[M,nodes] hold the tree bottom-up: P leaves first, then P/K nodes, ..., the root last; node j
    of a level reads nodes j*K..j*K+K-1 of the level below, the first as address LSB. Output bit[O1,..,On,M].
    """
    x = o.values[0]
    need_bits(o)
    indices, tables = o.tensor("indices", 3), o.tensor("tables", 2)
    kernel, strides, pads, groups = o.attr("kernel"), o.attr("strides"), o.attr("pads"), o.attr("groups")
    n = len(x.shape) - 1
    if n < 1 or len(kernel) != n or len(strides) != n or len(pads) != 2 * n:
        raise GraphError(f"kernel, strides and pads must have {n}, {n} and {2 * n} entries for input {list(x.shape)}")
    kernels, leaves, k = indices.shape
    channels = x.shape[-1]
    if groups < 1 or channels % groups or kernels % groups:
        raise GraphError(f"groups must divide {channels} channels and {kernels} kernels, not {groups}")
    if not 1 <= k <= MAX_LUT_INPUTS:
        raise GraphError(f"lut rank must be 1 to {MAX_LUT_INPUTS}, not {k}")
    levels = tree_levels(leaves, k)
    if tables.shape != (kernels, sum(levels)) or tables.dtype != np.uint64:
        raise GraphError(f"tables must be uint64[{kernels},{sum(levels)}], not {tables.dtype}{list(tables.shape)}")
    need_indices(indices, int(np.prod(kernel)) * (channels // groups))
    return [Result((*conv_shape(x.shape[:-1], kernel, strides, pads), kernels), (0, 1))]


def tree_levels(leaves: int, k: int) -> list[int]:
    """Nodes per level of a k-ary tree with ``leaves`` leaf tables, leaves first; raises GraphError unless it ends in one."""
    levels = [leaves]
    while levels[-1] > 1:
        if k < 2 or levels[-1] % k:
            raise GraphError(f"a tree of rank {k} must have a power of {k} leaves, not {leaves}")
        levels.append(levels[-1] // k)
    return levels


def conv_shape(
    spatial: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...]
) -> tuple[int, ...]:
    """Spatial output shape of a convolution or pooling; raises GraphError when a window does not fit."""
    n = len(spatial)
    out = []
    for axis, (size, window, stride) in enumerate(zip(spatial, kernel, strides, strict=True)):
        padded = size + pads[axis] + pads[n + axis]
        if window < 1 or stride < 1 or padded < window:
            raise GraphError(f"window {window} with stride {stride} must fit the padded axis of {padded}")
        out.append((padded - window) // stride + 1)
    return tuple(out)


@op("compare", attrs={"indices": "tensor", "thresholds": "tensor", "shape": "tuple?"})
def compare(o: Operands) -> list[Result]:
    """A threshold encoder: out[m] = 1 if x[indices[m]] >= thresholds[m] else 0, on the flattened integers of x.

    ``indices`` int32[M], ``thresholds`` int64[M]. A thermometer code is T thresholds per element.
    """
    indices, thresholds = o.tensor("indices", 1), o.tensor("thresholds", 1)
    if thresholds.shape != indices.shape:
        raise GraphError(f"thresholds must be as many as indices, not {len(thresholds)} and {len(indices)}")
    need_indices(indices, o.values[0].size)
    return [Result(out_shape(o, len(indices)), (0, 1))]


@op(
    "group_sum",
    arity=(1, None),
    attrs={"offsets": "tensor", "indices": "tensor", "weights": "tensor?", "bias": "tensor?", "shape": "tuple?"},
)
def group_sum(o: Operands) -> list[Result]:
    """Weighted population counts of bits: out[g] = bias[g] + sum of weights[j] * x[indices[j]], offsets[g] <= j < offsets[g+1].

    x is the flattened concatenation of all inputs; ``offsets`` int64[G+1], ``indices`` int32[n], ``weights`` int64[n]
    (1 without), ``bias`` int64[G] (0 without).
    """
    size = need_bits(o)
    offsets, indices = o.tensor("offsets", 1), o.tensor("indices", 1)
    groups = len(offsets) - 1
    if groups < 1 or offsets[0] != 0 or offsets[-1] != len(indices) or (np.diff(offsets) < 0).any():
        raise GraphError(f"offsets must rise from 0 to {len(indices)}")
    need_indices(indices, size)
    weights, bias = o.node.attrs.get("weights"), o.node.attrs.get("bias")
    w = np.ones(len(indices), np.int64) if weights is None else o.tensor("weights", 1)
    b = np.zeros(groups, np.int64) if bias is None else o.tensor("bias", 1)
    if w.shape != indices.shape or b.shape != (groups,):
        raise GraphError("weights must be one per index and bias one per group")
    lows = _segment_sums(np.minimum(w, 0), offsets) + b.astype(object)
    highs = _segment_sums(np.maximum(w, 0), offsets) + b.astype(object)
    bounds = int(min(lows)), int(max(highs))
    smallest_type(bounds)
    return [Result(out_shape(o, groups), bounds)]


def _segment_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Exact sums (Python integers) of values[offsets[g]:offsets[g+1]]."""
    if len(values) and int(np.abs(values).max()) < 1 << 31:
        totals = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        return (totals[offsets[1:]] - totals[offsets[:-1]]).astype(object)
    big = values.astype(object)
    return np.array([sum(big[a:b], 0) for a, b in zip(offsets[:-1], offsets[1:], strict=True)], object)


@op("bitwise", arity=(1, 2), attrs={"kind": "str"})
def bitwise(o: Operands) -> list[Result]:
    """``and``, ``or``, ``xor`` of two, or ``not`` of one, on the two's-complement bits; all of the same type, broadcast."""
    from .shape import broadcast_shape

    kind = o.attr("kind")
    if kind not in ("and", "or", "xor", "not") or len(o.values) != (1 if kind == "not" else 2):
        raise GraphError(f"bitwise must be and, or, xor of two inputs or not of one, not {kind!r} of {len(o.values)}")
    types = {v.type for v in o.values}
    if len(types) > 1:
        raise GraphError(f"bitwise inputs must have one type, not {' and '.join(sorted(map(str, types)))}")
    type_ = o.values[0].type
    return [Result(broadcast_shape([v.shape for v in o.values]), type_.range, type_.frac, type_)]
