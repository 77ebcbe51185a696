"""Operators of neuroloom's own domain, recognised so that they become one node each (their functions give the same).

Their definition is the docstring of :mod:`neuroloom.compiler.frontends.export.functions`.
"""

from __future__ import annotations

import math

import numpy as np
from neuroloom.compiler.frontends.onnx import build, floats
from neuroloom.compiler.frontends.onnx.registry import Call, operator
from neuroloom.compiler.frontends.onnx.tensors import Sym
from neuroloom.compiler.frontends.onnx.windows import bit_tree, geometry, window_pixels

from .compare import with_constant
from .lnn import need_range
from .noop import cast_to
from .reduce import summed

DOMAIN = "neuroloom"


@operator("Thermometer", domain=DOMAIN, whole=True, inputs=(2, 2), attributes=("inclusive",))
def thermometer(call: Call) -> Sym:
    """Y[..., f*T + t] = X[..., f] >= thresholds[f, t], or > without inclusive."""
    thresholds = call.const(1, "thresholds")
    x = cast_to(call, call.sym(0), thresholds.dtype)
    build.number_constant(call, thresholds)
    if not x.shape or x.batch == x.rank - 1:
        call.bad("input must have an axis of features behind the batch axis")
    features = x.shape[-1]
    if thresholds.ndim != 2 or thresholds.shape[0] != features:
        call.bad(f"thresholds must be [{features}, T] for {features} features, not {list(thresholds.shape)}")
    inclusive = call.integer("inclusive", 1)
    shape = (*x.shape, thresholds.shape[1])
    wide = x.with_(shape=(*x.shape, 1), steps=floats.moved(x.steps, x.shape, lambda a: a[..., None]))
    flat = (*x.shape[:-1], features * thresholds.shape[1])
    return with_constant(call, wide, thresholds, "ge" if inclusive else "gt", shape, x.batch, flat)


@operator("GroupSum", domain=DOMAIN, whole=True, attributes=("groups", "tau", "beta", "offset"))
def group_sum(call: Call) -> Sym:
    """Y[..., g] = (float32(count) + offset) / tau + beta over ``groups`` equal consecutive parts."""
    x = call.sym(0)
    groups = call.integer("groups")
    if x.is_float:
        call.bad(f"input must be bool or integer, not {x.dtype}")
    if not x.shape or x.batch == x.rank - 1 or groups < 1 or x.shape[-1] % groups:
        call.bad(f"groups must divide the last axis of {call.shape(x)}, not {groups}")
    tau, beta, offset = call.real("tau", 1.0), call.real("beta", 0.0), call.real("offset", 0.0)
    if not np.isfinite([tau, beta, offset]).all() or tau == 0:
        call.bad(f"tau must be finite and not 0, beta and offset finite, not {tau}, {beta} and {offset}")
    shape = (*x.shape[:-1], groups)
    grouped = x.with_(shape=(*shape, x.shape[-1] // groups))
    name = x.name
    if not call.importer.value(name).type.is_bit:
        name = call.importer.emit("reshape", [name], "grouped", shape=grouped.shape)
    name = summed(call, name, grouped, [len(shape)], shape)
    count = build.integers(call, name, np.dtype(np.int32), x.batch)
    f32 = np.dtype(np.float32)
    steps: list[floats.Step] = [floats.cast_step(f32)]
    for kind, value, nothing in (("add", offset, 0), ("div", tau, 1), ("add", beta, 0)):
        if value != nothing:
            steps.append(floats.constant_step(kind, np.array(value), f32))
    return count.with_(dtype=f32, steps=tuple(steps))


@operator("OrPool", domain=DOMAIN, whole=True, attributes=("kernel_shape", "strides", "pads"))
def or_pool(call: Call) -> Sym:
    """The OR over every window of a channels-last image of bits; padding reads as 0."""
    x = call.sym(0)
    if x.dtype.name not in ("bool", "uint8"):
        call.bad(f"input must be bool or uint8, not {x.dtype}")
    if x.batch not in (0, None) or (x.batch is None and x.rank and x.shape[0] != 1) or x.rank < 4:
        call.bad("input must be [N, D_1, ..., D_n, C] with the batch axis first")
    need_range(call, x, 1)
    lead = () if x.batch is not None else (1,)
    spatial, channels = x.shape[len(lead) : -1], x.shape[-1]
    kernel, strides, pads = geometry(call, spatial)
    pixels = window_pixels(spatial, kernel, strides, pads)
    build.size_guard(call, (*pixels.shape, channels))
    flat = np.where(pixels < 0, -channels, pixels * channels)[..., None, :] + np.arange(channels)[:, None]
    index = np.where(flat < 0, -1, flat).reshape(-1, math.prod(kernel))
    shape = (*lead, *pixels.shape[:-1], channels)
    name = bit_tree(call, x, index, "or")
    name = call.importer.emit("reshape", [name], "image", shape=shape)
    return Sym(name, x.dtype, shape, x.batch)
