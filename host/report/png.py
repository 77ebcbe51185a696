"""Images as PNG inside the page: written here, so that a report needs no image library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

MOST_PIXELS = 640
"""Rows and columns of an image; larger matrices are shown by the cell of largest magnitude in each block."""


def png(rgb: np.ndarray) -> bytes:
    """A PNG file of uint8[H, W, 3]."""
    height, width, _ = rgb.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # every row begins with filter 0
    rows[:, 1:] = rgb.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def data_uri(rgb: np.ndarray) -> str:
    """``data:image/png;base64,...`` of uint8[H, W, 3]."""
    return "data:image/png;base64," + base64.b64encode(png(rgb)).decode()


def diverging(matrix: np.ndarray, reach: float, absent: np.ndarray | None = None) -> np.ndarray:
    """Blue (−reach) over white (0) to red (+reach) as uint8[H, W, 3]; cells of the mask ``absent`` are grey."""
    share = np.clip(matrix / max(reach, 1e-12), -1, 1)[..., None]
    red, blue, white = (np.array(c, float) for c in ((178, 34, 52), (33, 84, 166), (255, 255, 255)))
    rgb = white + np.where(share > 0, share * (red - white), -share * (blue - white))
    if absent is not None:
        rgb[absent] = (222, 226, 231)
    return np.rint(rgb).astype(np.uint8)


def shrink(matrix: np.ndarray, most: int = MOST_PIXELS) -> np.ndarray:
    """The matrix in at most ``most`` rows and columns: of each block the cell of largest magnitude."""
    for axis in (0, 1):
        step = -(-matrix.shape[axis] // most)
        if step > 1:
            parts = [
                np.take(matrix, range(k, min(k + step, matrix.shape[axis])), axis)
                for k in range(0, matrix.shape[axis], step)
            ]
            picked = [
                np.take_along_axis(p, np.expand_dims(np.abs(p).argmax(axis), axis), axis).squeeze(axis) for p in parts
            ]
            matrix = np.stack(picked, axis)
    return matrix
