"""Parts of the pool as they travel: runs of words to write or to read, and a partly known pool to look things up in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from neuroloom.compiler.spiking.core import CoreConfig

from .protocol import Call, Space, read, write

GAP = 4
"""Unneeded pool words that are read along rather than asked around."""


def spans(words: np.ndarray, gap: int = 0) -> list[tuple[int, int]]:
    """Runs (first, end) that cover the pool words, those at most ``gap`` words apart joined."""
    if not len(words):
        return []
    found = np.unique(words)
    cuts = np.flatnonzero(np.diff(found) > gap + 1)
    starts, ends = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [len(found) - 1]])
    return [(int(found[a]), int(found[b]) + 1) for a, b in zip(starts, ends, strict=True)]


def words_of(config: CoreConfig, at: np.ndarray, width: int) -> np.ndarray:
    """Pool words that hold fields of ``width`` bits at bit addresses ``at``."""
    return np.unique(np.concatenate([at // config.word_bits, (at + width - 1) // config.word_bits]))


def write_words(config: CoreConfig, first: int, words: np.ndarray, limit: int) -> list[Call]:
    """Write uint32 [n, lanes] from pool word ``first`` on."""
    return write(Space.POOL, first * config.word_bits // 8, np.ascontiguousarray(words, "<u4").tobytes(), limit)


def read_words(config: CoreConfig, span: tuple[int, int], limit: int) -> list[Call]:
    """Read the pool words of a span."""
    size = config.word_bits // 8
    return read(Space.POOL, span[0] * size, (span[1] - span[0]) * size, limit)


def fill(words: np.ndarray, known: Sequence[tuple[int, int]], data: bytes, config: CoreConfig) -> None:
    """Put the bytes read from the spans into ``words`` uint32 [pool words, lanes]."""
    rows = np.frombuffer(data, "<u4").reshape(-1, config.lanes)
    at = 0
    for first, end in known:
        words[first:end] = rows[at : at + end - first]
        at += end - first
