"""Convolutions of logic trees: the same tables at every position of an image, and OR pooling.

Images lie flattened row-major with channels last, as wires: ``[rows * columns * channels, batch]``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from examples.training.hardened import OrPool, Trees
from examples.training.kernels import max_backward, max_forward
from examples.training.layers import LookUp, draw_candidates, initial_tables, rounded


class TreeConvolution(nn.Module):
    """``kernels`` trees of ``depth`` levels of ``rank``-input tables over windows of an image.

    A leaf reads ``rank`` wires of the window, each one of ``candidates`` that are drawn at random once, the choice
    being learned; tables and wiring are shared over all positions. Stride and zero padding are the same on both axes.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        kernels: int,
        window: int,
        *,
        rank: int = 4,
        depth: int = 2,
        stride: int = 1,
        pad: int = 0,
        candidates: int = 1,
        generator: np.random.Generator,
        copy_strength: float = 1.0,
        noise: float = 0.5,
    ) -> None:
        super().__init__()
        self.image_shape, self.kernels, self.window = image_shape, kernels, window
        self.rank, self.depth, self.stride, self.pad, self.hard = rank, depth, stride, pad, False
        height, width, channels = image_shape
        self.rows, self.columns = ((size + 2 * pad - window) // stride + 1 for size in (height, width))
        leaves = rank ** (depth - 1)
        patch = window * window * channels
        self.choices = draw_candidates(patch, kernels * leaves, rank, candidates, generator)
        self.logits = nn.Parameter(torch.zeros(self.choices.shape)) if candidates > 1 else None
        levels = [rank**level for level in range(depth - 1, -1, -1)]
        self.table = nn.Parameter(initial_tables(kernels * sum(levels), rank, copy_strength, noise, generator))
        # Wire read by each (position, window element); what lies outside the image reads the zero row behind it.
        row = (np.arange(self.rows) * stride - pad)[:, None] + np.arange(window)
        column = (np.arange(self.columns) * stride - pad)[:, None] + np.arange(window)
        wire = (row[:, None, :, None, None] * width + column[None, :, None, :, None]) * channels + np.arange(channels)
        inside = ((row >= 0) & (row < height))[:, None, :, None, None] & ((column >= 0) & (column < width))[
            None, :, None, :, None
        ]
        self._wire = np.where(inside, wire, height * width * channels).reshape(-1, patch).astype(np.int32)
        positions = len(self._wire)
        table = np.arange(kernels * sum(levels), dtype=np.int32).reshape(kernels, -1)
        self._table_of, start = [], 0
        for count in levels:
            part = table[:, start : start + count].reshape(-1)
            self._table_of.append(np.tile(part, positions))
            start += count
        self._upper = [
            np.arange(positions * kernels * count * rank, dtype=np.int32).reshape(-1, rank) for count in levels[1:]
        ]
        self._candidates = None if self.logits is None else self._everywhere(self.choices)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        return self.rows, self.columns, self.kernels

    @property
    def outputs(self) -> int:
        return self.rows * self.columns * self.kernels

    def _everywhere(self, of_window: np.ndarray) -> np.ndarray:
        """Window elements [kernels * leaves, ...] to wires [positions * kernels * leaves, ...]."""
        return np.ascontiguousarray(self._wire[:, of_window].reshape(-1, *of_window.shape[1:]))

    def _chosen(self) -> np.ndarray:
        if self.logits is None:
            return self.choices[:, :, 0]
        choice = self.logits.detach().numpy().argmax(-1)[..., None]
        return np.take_along_axis(self.choices, choice, -1)[..., 0]

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = torch.cat([x, torch.zeros(1, x.shape[1])])
        tables = torch.sigmoid(self.table)
        used = rounded(tables, self.hard)
        indices = self._everywhere(self._chosen())
        h = LookUp.apply(x, tables, used, self.logits, indices, self._table_of[0], self._candidates)
        for indices, table_of in zip(self._upper, self._table_of[1:], strict=True):
            h = LookUp.apply(h, tables, used, None, indices, table_of, None)
        return h

    def freeze(self) -> Trees:
        tables = rounded(torch.sigmoid(self.table), True).numpy().astype(np.uint8)
        return Trees(
            self._chosen().astype(np.int64).reshape(self.kernels, -1, self.rank),
            tables.reshape(self.kernels, -1, tables.shape[-1]),
            self.image_shape,
            (self.window, self.window),
            (self.stride, self.stride),
            (self.pad,) * 4,
        )


class _Maximum(torch.autograd.Function):
    """The maximum over groups of wires ``indices`` [M, P]; ties share the gradient."""

    @staticmethod
    def forward(ctx, x, indices):
        out = torch.empty((len(indices), x.shape[1]))
        max_forward(x.detach().numpy(), indices, out.numpy())
        ctx.save_for_backward(x, out)
        ctx.indices = indices
        return out

    @staticmethod
    def backward(ctx, gout):
        x, out = ctx.saved_tensors
        gx = torch.zeros_like(x)
        max_backward(x.numpy(), ctx.indices, out.numpy(), gout.contiguous().numpy(), gx.numpy())
        return gx, None


class Pool(nn.Module):
    """OR over ``size`` x ``size`` windows that do not overlap, trained as their maximum."""

    def __init__(self, image_shape: tuple[int, int, int], size: int = 2) -> None:
        super().__init__()
        self.image_shape, self.size = image_shape, size
        height, width, channels = self.output_shape
        wires = np.arange(np.prod(image_shape), dtype=np.int32).reshape(image_shape)
        wires = wires[: height * size, : width * size].reshape(height, size, width, size, channels)
        self._indices = np.ascontiguousarray(wires.transpose(0, 2, 4, 1, 3).reshape(-1, size * size))

    @property
    def output_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.image_shape
        return height // self.size, width // self.size, channels

    @property
    def outputs(self) -> int:
        return int(np.prod(self.output_shape))

    def forward(self, x: Tensor) -> Tensor:
        return _Maximum.apply(x, self._indices)

    def freeze(self) -> OrPool:
        return OrPool(self.image_shape, (self.size, self.size))
