"""Convolutions and pooling over windows of float models, channels first."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from neuroloom.compiler.frontends.onnx.ops.indexing import pool_geometry
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Opaque, Sym, Tensor
from neuroloom.compiler.frontends.onnx.windows import window_pixels

from .importer import constant, emit, operator, real_data, reshaped, result
from .linear import exact_bias, weighted
from .moves import gathered
from .quantised import GridConst, weight_grid


def _image(call: Call, x: Sym | None = None) -> Sym:
    x = x or call.sym(0)
    if x.rank < 3 or x.batch != 0:
        call.refuse(
            f"input must be [N, C, D_1, ..., D_n] with the batch axis first, not {call.shape(x)}", "give --batch-axis 0"
        )
    return x


@operator("Conv")
def conv(call: Call) -> Sym:
    """Cross-correlation with any strides, pads, dilations and groups."""
    weights = call.tensor(1)
    if not isinstance(weights, Const):
        call.const(1, "the weights")
    bias = call.tensor(2) if call.has(2) else None
    if bias is not None and not isinstance(bias, Const):
        call.const(2, "the bias")
    given: np.ndarray | list[Fraction] | None = None
    if isinstance(bias, Const):
        given = exact_bias(bias) if isinstance(weights, GridConst) else real_data(call, bias.array, "the bias")
    assert isinstance(weights, Const)
    return convolved(call, call.sym(0), weights, given)


def convolved(call: Call, x: Sym, w: Const, bias: np.ndarray | list[Fraction] | None, part: str = "") -> Sym:
    """The convolution that the node's attributes describe."""
    x = _image(call, x)
    weights = real_data(call, w.array, "the weights")
    grid = weight_grid(w, 0)
    n = len(x.shape) - 1
    if weights.ndim != n + 2:
        call.bad(f"the weights must have {n + 2} axes for an input of {n} spatial axes, not {weights.ndim}")
    kernel = call.ints("kernel_shape") or list(weights.shape[2:])
    if tuple(kernel) != weights.shape[2:]:
        call.bad(f"kernel_shape must be that of the weights, {list(weights.shape[2:])}, not {kernel}")
    strides, pads = call.ints("strides") or [1] * n, call.ints("pads") or [0] * (2 * n)
    dilations, auto = call.ints("dilations") or [1] * n, call.text("auto_pad", "NOTSET")
    if (
        len(strides) != n
        or len(pads) != 2 * n
        or len(dilations) != n
        or min([*strides, *dilations]) < 1
        or min(pads) < 0
    ):
        call.bad(f"strides, pads and dilations must have {n}, {2 * n} and {n} entries, at least 1, 0 and 1")
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-d // s) - 1) * s + e - d, 0) for d, s, e in zip(x.shape[1:], strides, extent, strict=True)]
        low = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
        pads = [*low, *(t - a for t, a in zip(total, low, strict=True))]
    elif auto == "VALID":
        pads = [0] * (2 * n)
    elif auto != "NOTSET":
        call.bad(f"auto_pad must be NOTSET, SAME_UPPER, SAME_LOWER or VALID, not {auto!r}")
    if any(d > 1 for d in dilations):
        weights = _spread(weights, extent, dilations)
        grid = grid and (_spread(grid[0], extent, dilations), grid[1])
    attrs = weighted(weights, bias, grid)
    groups = call.integer("group", 1)
    name = emit(call, "conv", [x.name], part, strides=tuple(strides), pads=tuple(pads), groups=groups, **attrs)
    return result(call, name, x.dtype, 0)


def _spread(weights: np.ndarray, extent: list[int], dilations: list[int]) -> np.ndarray:
    """Kernels with zeros between their elements."""
    wide = np.zeros((*weights.shape[:2], *extent), weights.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return wide


@operator("MaxPool")
def max_pool(call: Call) -> list[Tensor]:
    """The largest element of every window."""
    x = _image(call)
    channels, spatial = x.shape[0], x.shape[1:]
    pixels = window_pixels(spatial, *pool_geometry(call, spatial))
    if (pixels.max(axis=-1) < 0).any():
        call.refuse("a window lies in the padding alone", "pad less")
    inside = np.where(pixels < 0, pixels.max(axis=-1, keepdims=True), pixels)  # padding never wins
    windows = _windows(call, x, channels, spatial, inside, 0.0)
    name = emit(call, "reduce_max", [windows], axes=(inside.ndim,))
    reason = f"{call.where}: the indices of MaxPool are not supported; use its first output only"
    return [result(call, name, x.dtype, 0), Opaque(reason)]


def _windows(call: Call, x: Sym, channels: int, spatial: tuple[int, ...], pixels: np.ndarray, fill: float) -> str:
    size = math.prod(spatial)
    index = np.arange(channels).reshape(-1, *[1] * pixels.ndim) * size + pixels
    return gathered(call, x, np.where(pixels < 0, -1, index), fill, "windows")


@operator("AveragePool")
def average_pool(call: Call) -> Sym:
    """The mean of every window; pads count only with count_include_pad."""
    x = _image(call)
    channels, spatial = x.shape[0], x.shape[1:]
    kernel, strides, pads, dilations = pool_geometry(call, spatial)
    pixels = window_pixels(spatial, kernel, strides, pads, dilations)
    windows = _windows(call, x, channels, spatial, pixels, 0.0)
    counts = (pixels >= 0).sum(axis=-1)
    if call.integer("count_include_pad", 0):
        counts = np.full(counts.shape, math.prod(kernel))
        if call.integer("ceil_mode", 0):
            call.refuse("ceil_mode together with count_include_pad is not supported", "use pads")
    if (counts == counts.reshape(-1)[0]).all() and counts.reshape(-1)[0] == pixels.shape[-1]:
        return result(call, emit(call, "mean", [windows], axes=(pixels.ndim,)), x.dtype, 0)
    total = emit(call, "sum", [windows], "total", axes=(pixels.ndim,))
    share = constant(call, 1 / np.maximum(counts, 1)[None], "share")
    return result(call, reshaped(call, emit(call, "mul", [total, share]), (channels, *counts.shape)), x.dtype, 0)
