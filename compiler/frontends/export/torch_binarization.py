"""torchlogix's binarisations: thresholds that turn numbers into bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .torch_registry import Context, Tensor, array, converter, describe


@converter("DummyBinarization")
def _dummy(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    return x


@converter("FixedBinarization", "SoftBinarization", "LearnableBinarization", needs=("thresholds", "feature_dim"))
def _binarization(context: Context, module: Any, x: Tensor, path: str) -> Tensor:
    """``x > thresholds`` with the threshold axis merged into ``feature_dim``; at inference all three kinds are alike."""
    where = describe(module, path)
    dims = x.shape
    levels = _broadcast(_thresholds(module, where), dims, where)
    bits = levels.shape[-1]
    feature = int(module.feature_dim)
    axis = (feature + len(dims) + 2 if feature < 0 else feature) - 1
    if not 0 <= axis < len(dims):
        raise UnsupportedError(
            f"{where}: feature_dim must name an axis of the input {dims} after the batch axis, not {feature}; check the sample"
        )
    others = tuple(a for a in range(len(dims)) if a != axis)
    first = levels[tuple(slice(None) if a == axis else 0 for a in range(len(dims)))]
    spread = np.expand_dims(first, others)
    if np.array_equal(np.broadcast_to(spread, levels.shape), levels):
        return _per_feature(context, x, first, axis, path)
    # A threshold of its own for every element: encode the flat sample, then move the bits next to their feature.
    flat = context.writer.flatten(context.torch_order(x, path), name=f"{path}.flat")
    encoded = context.writer.thermometer(flat, levels.reshape(-1, bits), ">", name=path)
    grid = context.writer.reshape(encoded, (*dims, bits), name=f"{path}.grid")
    order = [*range(axis + 1), len(dims), *range(axis + 1, len(dims))]
    near = context.writer.transpose(grid, order, name=f"{path}.near")
    merged = (*dims[:axis], dims[axis] * bits, *dims[axis + 1 :])
    return Tensor(context.writer.reshape(near, merged, name=f"{path}.merged"))


def _per_feature(context: Context, x: Tensor, levels: np.ndarray, axis: int, path: str) -> Tensor:
    """Thresholds ``[F, T]`` that depend on the feature axis alone: make that axis the last, and encode it."""
    writer = context.writer
    last = len(x.shape) - 1
    if axis == 0 and last > 0:
        return Tensor(writer.thermometer(context.channels_last(x, path), levels, ">", name=path), channels_last=True)
    value = context.torch_order(x, path)
    if axis == last:
        return Tensor(writer.thermometer(value, levels, ">", name=path))
    to_last = [a for a in range(last + 1) if a != axis] + [axis]
    encoded = writer.thermometer(writer.transpose(value, to_last, name=f"{path}.last"), levels, ">", name=path)
    back = [*range(axis), last, *range(axis, last)]
    return Tensor(writer.transpose(encoded, back, name=f"{path}.back"))


def _thresholds(module: Any, where: str) -> np.ndarray:
    """The thresholds in use.  Learned ones come from torch's own softplus and sum, since rounding is part of them."""
    if module.thresholds is None:
        raise UnsupportedError(f"{where}: it must have thresholds; fit it to data before exporting")
    if not hasattr(module, "raw_diffs"):
        return array(module.thresholds, where, "thresholds")
    import torch

    with torch.no_grad():
        steps = module.raw_diffs
        if steps.shape[-1] > 1:
            scale = module.temperature_softplus + 1e-6
            rest = scale * torch.nn.functional.softplus(steps[..., 1:] / scale)
            steps = torch.cat([steps[..., :1], rest], dim=-1)
        return array(torch.cumsum(steps, dim=-1), where, "thresholds")


def _broadcast(levels: np.ndarray, dims: tuple[int, ...], where: str) -> np.ndarray:
    """Spread thresholds over a sample of shape ``dims`` as torchlogix does: ``[*dims, T]``.

    ``[C, T]`` on an image ``[C, H, W]`` is per channel; everything else aligns with the last axes.
    """
    if levels.ndim == 2 and len(dims) == 3:
        levels = levels.reshape(-1, 1, 1, levels.shape[-1])
    try:
        return np.broadcast_to(levels, (*dims, levels.shape[-1]))
    except (ValueError, IndexError):
        raise UnsupportedError(
            f"{where}: thresholds must spread over samples of shape {dims}, not have shape {levels.shape}; "
            "check the sample, or give thresholds per feature or per channel"
        ) from None
