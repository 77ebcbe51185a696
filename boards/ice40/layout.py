"""Where each tile's configuration bits lie in the CRAM banks, and each block RAM's content in the BRAM banks.

The chip is four quadrants; each is one bank whose address 0 is the chip's corner, so coordinates are mirrored in the
upper and right halves. Tiles are 16 rows of 18 (I/O), 42 (block RAM) or 54 (everything else) bits. The top and bottom I/O
tiles' bits are permuted inside their column. Source: Project IceStorm, "Organization of the CRAM", and icepack's behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .bitstream import Bitstream

_IO_COLUMN = (23, 25, 26, 27, 16, 17, 18, 19, 20, 14, 32, 33, 34, 35, 36, 37, 4, 5)
_IO_ROW = (0, 1, 3, 2, 4, 5, 7, 6, 8, 9, 11, 10, 12, 13, 15, 14)


@dataclass(frozen=True)
class Geometry:
    """Inner width and height in tiles, widths in bits of a bank's tile columns from the chip's edge inwards, and the
    last row of the lower half."""

    width: int
    height: int
    columns: tuple[int, ...]
    lower: int

    def tile(self, x: int, y: int) -> tuple[bool, bool, int, int, int]:
        """(right half, top half, bank column offset, bank row offset, column width) of the tile at x, y."""
        right, top = x > self.width // 2, y > self.lower
        tx = self.width + 1 - x if right else x
        ty = self.height + 1 - y if top else y
        return right, top, sum(self.columns[:tx]), 16 * ty, self.columns[tx]


GEOMETRY = {
    "1k": Geometry(12, 16, (18, 54, 54, 42, 54, 54, 54), 8),
    "5k": Geometry(24, 30, (54, 54, 54, 54, 54, 54, 42, 54, 54, 54, 54, 54, 54), 20),
    "8k": Geometry(32, 32, (18, 54, 54, 54, 54, 54, 54, 54, 42, 54, 54, 54, 54, 54, 54, 54, 54), 16),
}
WIDTH = {"io": 18, "ramb": 42, "ramt": 42}
"""Bits per row of each tile kind; all others have 54."""


@lru_cache(maxsize=4096)
def bit_addresses(device: str, kind: str, x: int, y: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Bank, and the bank's y and x of every bit of a tile, each an array [16, width of the tile]."""
    geometry = GEOMETRY[device]
    right, top, xoff, yoff, column = geometry.tile(x, y)
    rows, cols = np.mgrid[0:16, 0 : WIDTH.get(kind, 54)]
    if kind == "io" and 0 < x < geometry.width + 1:  # top or bottom edge
        rows = 15 - np.array(_IO_ROW)[rows]
        cols = np.array(_IO_COLUMN)[cols]
        cols = column - 1 - cols if right else cols
    else:
        rows = 15 - rows if top else rows
        mirrored = True if kind == "io" else right
        cols = column - 1 - cols if mirrored else cols
    return int(top) | int(right) << 1, yoff + rows, xoff + cols


def tile_bits(stream: Bitstream, kinds: dict[tuple[int, int], str]) -> dict[tuple[int, int], np.ndarray]:
    """The configuration bits of every tile in ``kinds`` as bool arrays [16, width]."""
    result = {}
    for (x, y), kind in kinds.items():
        bank, ys, xs = bit_addresses(stream.device, kind, x, y)
        result[x, y] = stream.cram[bank][ys, xs]
    return result


def stray_bits(stream: Bitstream, kinds: dict[tuple[int, int], str]) -> list[tuple[int, int, int]]:
    """(bank, x, y) of the set CRAM bits that belong to no tile ("extra bits")."""
    rest = {bank: bits.copy() for bank, bits in stream.cram.items()}
    for (x, y), kind in kinds.items():
        bank, ys, xs = bit_addresses(stream.device, kind, x, y)
        rest[bank][ys, xs] = False
    return sorted((bank, int(x), int(y)) for bank, bits in rest.items() for y, x in zip(*np.nonzero(bits), strict=True))


def bram_words(stream: Bitstream, x: int, y: int) -> np.ndarray | None:
    """The 256 16-bit words that block RAM (x, y of its lower tile) holds after configuration, or None if not written."""
    geometry = GEOMETRY[stream.device]
    right, top, *_ = geometry.tile(x, y)
    bank = int(top) | int(right) << 1
    if bank not in stream.bram:
        return None
    column = 16 * ((y - (geometry.lower if top else 1)) // 2)
    bits = stream.bram[bank][:256, column : column + 16]
    if bits.shape != (256, 16):
        return None
    return bits @ (1 << np.arange(15, -1, -1))
