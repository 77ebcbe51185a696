"""Convolutions and pooling as synapse lists: every position of the window becomes entries of a linear map.

Shapes are channels first, without batch: (C, H, W). One-dimensional layers use H = 1. The equations are torch's
(docs of ``torch.nn.Conv2d`` and ``AvgPool2d``): out = floor((in + pads − dilation·(kernel − 1) − 1) / stride) + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

from .maps import LinearMap, limit, make


@dataclass(frozen=True)
class Window:
    """A sliding window over (H, W): sizes as (vertical, horizontal), ``pads`` as ((top, bottom), (left, right))."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)

    def check(self, where: str) -> None:
        """Raise InputError on sizes that make no window."""
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.dilation) < 1:
            raise InputError(
                f"{where}: kernel, stride and dilation must be at least 1, not {self.kernel}, {self.stride}, {self.dilation}"
            )
        if min(*self.pads[0], *self.pads[1]) < 0:
            raise InputError(f"{where}: padding must be at least 0, not {self.pads}")

    def out(self, size: tuple[int, int], where: str) -> tuple[int, int]:
        """Output (H, W). Raises InputError when the window is larger than the padded input."""
        self.check(where)
        sizes = []
        for n, k, s, (low, high), d in zip(size, self.kernel, self.stride, self.pads, self.dilation, strict=True):
            room = n + low + high - d * (k - 1) - 1
            if room < 0:
                raise InputError(
                    f"{where}: window of {d * (k - 1) + 1} must fit into the padded input of {n + low + high}"
                )
            sizes.append(room // s + 1)
        return sizes[0], sizes[1]


def same_pads(kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding ``same``: dilation·(kernel − 1) in all, the odd one below and right, as torch does."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)


def conv(
    weight: np.ndarray, shape: tuple[int, int, int], window: Window, groups: int, where: str
) -> tuple[LinearMap, tuple[int, int, int]]:
    """Map and output shape of a convolution with ``weight`` (C_out, C_in/groups, kh, kw) on an input of ``shape``."""
    channels, height, width = shape
    out_channels, depth = weight.shape[:2]
    if groups < 1 or channels % groups or out_channels % groups or depth != channels // groups:
        raise InputError(
            f"{where}: weight of shape {weight.shape} with {groups} groups must fit an input of {channels} channels"
        )
    high, wide = window.out((height, width), where)
    limit(out_channels * high * wide, where)
    positions = list(_positions(window, (height, width), (high, wide)))
    limit(out_channels * depth * sum(len(oy) for *_, oy, _ in positions), where)
    rows, cols, values = [], [], []
    group = np.arange(out_channels) // (out_channels // groups)
    source = group[:, None] * depth + np.arange(depth)  # (C_out, depth): the input channel of each weight
    for ky, kx, out_place, in_place in positions:
        rows.append(_all(np.arange(out_channels)[:, None, None] * (high * wide) + out_place, (out_channels, depth)))
        cols.append(_all(source[:, :, None] * (height * width) + in_place, (out_channels, depth)))
        values.append(np.repeat(weight[:, :, ky, kx].ravel(), len(out_place)))
    joined = [np.concatenate(part) if part else np.zeros(0) for part in (rows, cols, values)]
    return make(out_channels * high * wide, channels * height * width, *joined), (out_channels, high, wide)


def pool(
    shape: tuple[int, int, int],
    window: Window,
    where: str,
    *,
    mean: bool = False,
    count_pads: bool = True,
    divisor: int = 0,
) -> tuple[LinearMap, tuple[int, int, int]]:
    """Map and output shape of sum or mean pooling.

    The mean divides by the window's size, by its part inside the input without ``count_pads``, or by ``divisor`` when given.
    """
    channels, height, width = shape
    high, wide = window.out((height, width), where)
    limit(channels * high * wide * window.kernel[0] * window.kernel[1], where)
    parts = [(out_place, in_place) for _, _, out_place, in_place in _positions(window, (height, width), (high, wide))]
    out_place, in_place = (np.concatenate([p[k] for p in parts]) for k in (0, 1))
    value = np.ones(len(out_place))
    if divisor:
        value /= divisor
    elif mean:
        inside = np.bincount(out_place, minlength=high * wide)
        value /= window.kernel[0] * window.kernel[1] if count_pads else inside[out_place]
    plane = np.arange(channels)[:, None]
    return make(
        channels * high * wide,
        channels * height * width,
        (plane * (high * wide) + out_place).ravel(),
        (plane * (height * width) + in_place).ravel(),
        np.tile(value, channels),
    ), (channels, high, wide)


def _positions(window: Window, size: tuple[int, int], out: tuple[int, int]):
    """For each kernel position (ky, kx): flat output places and the flat input places under them, inside the input."""
    for ky in range(window.kernel[0]):
        iy = np.arange(out[0]) * window.stride[0] - window.pads[0][0] + ky * window.dilation[0]
        oy = np.flatnonzero((iy >= 0) & (iy < size[0]))
        for kx in range(window.kernel[1]):
            ix = np.arange(out[1]) * window.stride[1] - window.pads[1][0] + kx * window.dilation[1]
            ox = np.flatnonzero((ix >= 0) & (ix < size[1]))
            yield (
                ky,
                kx,
                (oy[:, None] * out[1] + ox).ravel(),
                (iy[oy][:, None] * size[1] + ix[ox]).ravel(),
            )


def _all(places: np.ndarray, lead: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(places, (*lead, places.shape[-1])).ravel()
