"""Deep memories, cut into slices that one block of memory each holds from the first word to the last.

A memory deeper than a block of its width would be made of banks, with a decoder before them and a multiplexer behind their
outputs, which come late as it is. A block that is narrower is deeper: as many of them as the word needs, side by side, take the
address as it comes and give the word as it is. The price is the bits that narrow shapes leave out: ECP5 has 18,432 bits a block
where it is 9 or 18 bits wide, and 16,384 where it is narrower.
"""

from __future__ import annotations

from collections.abc import Iterator

SHAPES = ((2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Words and bits of a block of memory with two whole ports (ECP5's DP16KD), by depth; what is less deep needs no slices."""

WHOLE_DEPTH = 1024
"""Words up to which synthesis cuts a memory into blocks by itself, without banks."""


def slice_width(depth: int, width: int) -> int:
    """Bits of a slice of a memory of ``depth`` words of ``width`` bits.

    ``width`` where the memory needs no slices, and where it is deeper than any block is: then there have to be banks.
    """
    if depth <= WHOLE_DEPTH:
        return width
    return min(width, next((bits for words, bits in SHAPES if depth <= words), width))


def slices(depth: int, width: int) -> Iterator[slice]:
    """The bits of a word that each slice holds, lowest first."""
    step = slice_width(depth, width)
    for low in range(0, width, step):
        yield slice(low, min(low + step, width))
