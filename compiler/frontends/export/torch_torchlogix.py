"""torchlogix's logic layers: dense, convolution trees, OR pooling, residual blocks and group sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .torch_registry import Context, Tensor, array, converter, describe, require_bits
from .truth_tables import light_tables, raw_tables, warp_tables


def _tables(layer: Any, weight: np.ndarray, where: str) -> np.ndarray:
    """Read the truth tables ``[..., 2**K]`` of gates from their weights ``[..., E]``, by the layer's parametrisation."""
    parametrization = layer.parametrization
    kind = type(parametrization).__name__
    if kind not in PARAMETRIZATIONS:
        raise UnsupportedError(
            f"{where}: its parametrization must be one of {', '.join(PARAMETRIZATIONS)}, not {kind}; "
            "write the layer with LogicModelWriter from its truth tables"
        )
    return PARAMETRIZATIONS[kind](parametrization, weight, int(layer.lut_rank), where)


def _warp(parametrization: Any, weight: np.ndarray, rank: int, where: str) -> np.ndarray:
    return warp_tables(weight, rank, where, ordered=not getattr(parametrization, "materialize_basis", False))


PARAMETRIZATIONS: dict[str, Callable[[Any, np.ndarray, int, str], np.ndarray]] = {
    "RawLUTParametrization": lambda _, weight, rank, where: raw_tables(weight, rank, where),
    "WarpLUTParametrization": _warp,
    "LightLUTParametrization": lambda _, weight, rank, where: light_tables(weight, rank, where),
}
"""Readers of truth tables, by the class of the parametrisation."""


def _fixed_wiring(connections: Any, where: str) -> np.ndarray:
    return array(connections.indices, where, "indices")


def _learned_wiring(connections: Any, where: str) -> np.ndarray:
    """The candidate of the largest weight, the first of equals, per slot and neuron: candidates are ``[C, K, M]``."""
    candidates = array(connections.indices, where, "indices")
    chosen = array(connections.weights, where, "connection weights").argmax(axis=0)
    return np.take_along_axis(candidates, chosen[None], axis=0)[0]


WIRINGS: dict[str, Callable[[Any, str], np.ndarray]] = {
    "FixedDenseConnections": _fixed_wiring,
    "LearnableDenseConnections": _learned_wiring,
}
"""Readers of a dense layer's wiring ``[K, M]``, by the class of its connections."""


@converter("LogicDense", needs=("weight", "parametrization", "connections", "lut_rank", "in_dim"))
def _dense(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    where = describe(module, path)
    require_bits(x, where)
    if x.shape[-1] != module.in_dim:
        raise UnsupportedError(
            f"{where}: its input must have {module.in_dim} features, not {x.shape[-1]}; check the sample"
        )
    kind = type(module.connections).__name__
    if kind not in WIRINGS:
        raise UnsupportedError(
            f"{where}: its connections must be one of {', '.join(WIRINGS)}, not {kind}; "
            "write the layer with LogicModelWriter from its indices"
        )
    indices = WIRINGS[kind](module.connections, where).T
    tables = _tables(module, array(module.weight, where, "weights"), where)
    value = context.torch_order(x, path)
    return Tensor(context.writer.lookup_table(value, indices, tables, name=path, out_bits=1))


@converter(
    "LogicConv2d",
    "LogicConv3d",
    needs=(
        "tree_weights",
        "parametrization",
        "connections",
        "lut_rank",
        "tree_depth",
        "in_dim",
        "channels",
        "receptive_field_size",
        "stride",
        "padding",
    ),
)
def _conv(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    where = describe(module, path)
    require_bits(x, where)
    expected = (int(module.channels), *(int(d) for d in module.in_dim))
    if x.shape != expected:
        raise UnsupportedError(f"{where}: its input must have shape {expected}, not {x.shape}; check the sample")
    depth, kernel = int(module.tree_depth), tuple(int(k) for k in module.receptive_field_size)
    if depth < 1:
        raise UnsupportedError(f"{where}: tree_depth must be at least 1, not {depth}; replace the layer by its wiring")
    stride, padding = int(module.stride), int(module.padding)
    indices = _conv_indices(module, kernel, stride, where)
    levels = [array(weight, where, "weights") for weight in module.tree_weights]
    tables = np.concatenate([_tables(module, weight, where) for weight in levels]).swapaxes(0, 1)
    group = getattr(module.connections, "channel_group_size", None) or 0
    value = context.writer.lookup_table_conv(
        context.channels_last(x, path),
        indices,
        tables,
        tree_depth=depth,
        kernel_shape=kernel,
        strides=[stride] * len(kernel),
        pads=[padding] * (2 * len(kernel)),
        channel_group_size=int(group),
        name=path,
    )
    return Tensor(value, channels_last=True)


def _conv_indices(module: Any, kernel: tuple[int, ...], stride: int, where: str) -> np.ndarray:
    """Return the leaves' wiring ``[M, P, R]`` within the receptive field.

    torchlogix keeps ``[R, M, positions, P, axes + 1]`` coordinates, one set per position of the window; they must all be
    one pattern, moved by the stride, to be a convolution.
    """
    wiring = [array(level, where, "indices") for level in module.connections.indices]
    rank, depth = int(module.lut_rank), int(module.tree_depth)
    for level in range(1, depth):
        size = rank ** (depth - level)
        if not np.array_equal(wiring[level], np.arange(size).reshape(-1, rank).T):
            raise UnsupportedError(
                f"{where}: level {level} of its trees must combine neighbours in order; "
                "write the layer with LogicModelWriter in that order"
            )
    coordinates = wiring[0]
    padded = [int(d) + 2 * int(module.padding) for d in module.in_dim]
    starts = [range(0, size - k + 1, stride) for size, k in zip(padded, kernel, strict=True)]
    corners = np.stack([grid.reshape(-1) for grid in np.meshgrid(*starts, indexing="ij")], axis=-1)
    leaf = coordinates[:, :, 0]
    moved = leaf[:, :, None].copy()
    moved = np.repeat(moved, len(corners), axis=2)
    moved[..., :-1] += corners[None, None, :, None, :]
    if coordinates.shape != moved.shape or not np.array_equal(coordinates, moved):
        raise UnsupportedError(
            f"{where}: its wiring must be the same at every position of the window; "
            "write the positions as dense layers with LogicModelWriter"
        )
    limits = np.array([*kernel, int(module.channels)])
    if (leaf < 0).any() or (leaf >= limits).any():
        raise UnsupportedError(
            f"{where}: its wiring must stay within the window {kernel} and {limits[-1]} channels; rebuild the layer"
        )
    flat = np.ravel_multi_index(tuple(np.moveaxis(leaf, -1, 0)), tuple(limits))
    return flat.transpose(1, 2, 0)


@converter("OrPooling2d", "OrPooling3d", needs=("kernel_size", "stride", "padding"))
def _or_pool(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    where = describe(module, path)
    require_bits(x, where)
    axes = len(x.shape) - 1
    if not type(module).__name__.endswith(f"{axes}d"):
        raise UnsupportedError(
            f"{where}: its input must be an image of that many axes with channels, not {x.shape}; check the sample"
        )
    kernel = _per_axis(module.kernel_size, axes)
    stride = kernel if module.stride is None else _per_axis(module.stride, axes)
    padding = _per_axis(module.padding, axes)
    value = context.writer.or_pool(context.channels_last(x, path), kernel, stride, [*padding, *padding], name=path)
    return Tensor(value, channels_last=True)


def _per_axis(value: Any, axes: int) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(value)] * axes


@converter("ResidualLogicBlock", needs=("main", "shortcut"), container=True)
def _residual(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    """``main(x) + shortcut(x) - main(x) * shortcut(x)``, which is OR on bits."""
    where = describe(module, path)
    require_bits(x, where)
    prefix = f"{path}." if path else ""
    main = context.convert(module.main, x, f"{prefix}main")
    shortcut = context.convert(module.shortcut, x, f"{prefix}shortcut")
    require_bits(main, where)
    require_bits(shortcut, where)
    if main.shape != shortcut.shape:
        raise UnsupportedError(
            f"{where}: both branches must have one shape, not {main.shape} and {shortcut.shape}; check its layers"
        )
    if main.channels_last:
        value = context.channels_last(shortcut, f"{prefix}shortcut")
    else:
        value = context.torch_order(shortcut, f"{prefix}shortcut")
    name = f"{prefix}or"
    return Tensor(context.writer.logical_or(main.value, value, name=name), channels_last=main.channels_last)


@converter("GroupSum", needs=("k", "tau"))
def _group_sum(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    """``(count + beta) / tau``; difflogic has no beta."""
    where = describe(module, path)
    require_bits(x, where)
    if x.shape[-1] % int(module.k):
        raise UnsupportedError(
            f"{where}: k must divide its {x.shape[-1]} inputs, not {module.k}; change the layer in front of it"
        )
    value = context.torch_order(x, path)
    beta = float(getattr(module, "beta", 0.0))
    return Tensor(context.writer.group_sum(value, int(module.k), float(module.tau), offset=beta, name=path))
