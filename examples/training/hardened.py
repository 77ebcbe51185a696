"""A trained network as integers, and what it computes, in plain numpy.

This is the independent reading of an example: it shares nothing with the training kernels or with the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoder:
    """Wire f*T + t of the output says whether feature f >= thresholds[f, t]. ``thresholds`` is int [F, T]."""

    thresholds: np.ndarray

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Integers [N, F] to bool [N, F*T]."""
        return (x[:, :, None] >= self.thresholds[None]).reshape(len(x), -1)


@dataclass(frozen=True)
class Tables:
    """Node m reads wires ``indices[m]`` as an address (slot 0 is bit 0) into ``tables[m]``; [M, K] and [M, 2^K]."""

    indices: np.ndarray
    tables: np.ndarray

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Bool [N, W] to bool [N, M]."""
        address = np.zeros((len(x), len(self.indices)), np.uint8)
        for slot in range(self.indices.shape[1]):
            address |= x[:, self.indices[:, slot]].astype(np.uint8) << np.uint8(slot)
        return self.tables[np.arange(len(self.tables)), address].astype(bool)


@dataclass(frozen=True)
class Trees:
    """Trees of tables slid over an image, channels last.

    ``indices`` is [M, R^(depth-1), R], addressing the flattened window [rows, columns, channels]; ``tables`` is
    [M, nodes, 2^R], leaves first, root last; node q of a level reads nodes q*R .. q*R+R-1 of the level below.
    Padding (top, left, bottom, right) reads as 0.
    """

    indices: np.ndarray
    tables: np.ndarray
    image_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def depth(self) -> int:
        leaves, rank = self.indices.shape[1:]
        return 1 + round(np.log(leaves) / np.log(rank))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Bool [N, H*W*C] to bool [N, H'*W'*M]."""
        top, left, bottom, right = self.pads
        image = np.pad(x.reshape(len(x), *self.image_shape), ((0, 0), (top, bottom), (left, right), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(image, self.kernel, axis=(1, 2))
        windows = windows[:, :: self.strides[0], :: self.strides[1]]  # [N, H', W', C, rows, columns]
        patch = np.moveaxis(windows, 3, 5).reshape(*windows.shape[:3], -1)
        level, row = patch[..., self.indices], 0
        rank = self.indices.shape[2]
        while True:
            weights = (1 << np.arange(rank)).astype(np.uint8)
            address = (level * weights).sum(-1, dtype=np.uint8)
            kernels, nodes = np.indices(address.shape[-2:])
            bits = self.tables[kernels, row + nodes, address].astype(bool)
            row += address.shape[-1]
            if bits.shape[-1] == 1:
                return bits.reshape(len(x), -1)
            level = bits.reshape(*bits.shape[:-1], -1, rank)


@dataclass(frozen=True)
class OrPool:
    """OR over windows that do not overlap, channels last; positions beyond the last whole window are dropped."""

    image_shape: tuple[int, int, int]
    kernel: tuple[int, int]

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Bool [N, H*W*C] to bool [N, H'*W'*C]."""
        (height, width, channels), (rows, columns) = self.image_shape, self.kernel
        h, w = height // rows, width // columns
        image = x.reshape(len(x), height, width, channels)[:, : h * rows, : w * columns]
        return image.reshape(len(x), h, rows, w, columns, channels).any((2, 4)).reshape(len(x), -1)


@dataclass(frozen=True)
class Sum:
    """Class c sums the c-th run of wires. ``tau`` only scales the scores, so it never changes the class."""

    groups: int
    tau: float

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Bool [N, W] to int64 [N, groups]."""
        return x.reshape(len(x), self.groups, -1).sum(2, dtype=np.int64)


@dataclass(frozen=True)
class Hardened:
    """Layers applied in order; the class is the first of the highest scores."""

    layers: tuple

    def scores(self, x: np.ndarray, chunk: int = 500) -> np.ndarray:
        """Integer features [N, F] to int64 scores [N, classes], ``chunk`` samples at a time to bound memory."""
        parts = []
        for start in range(0, len(x), chunk):
            h = x[start : start + chunk]
            for layer in self.layers:
                h = layer.evaluate(h)
            parts.append(h)
        return np.concatenate(parts)

    def correct(self, x: np.ndarray, y: np.ndarray) -> int:
        """Number of samples whose class is ``y``."""
        return int((self.scores(x).argmax(1) == y).sum())
