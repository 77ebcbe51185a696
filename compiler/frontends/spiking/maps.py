"""Linear maps between layers as lists of synapses: what lies between two layers of neurons folds into one of these.

Everything is float64 on flattened (C order) signals; a map is a sum of entries, entry k adds ``value[k]`` times the element
``col[k]`` of ``delay[k]`` steps ago to the element ``row[k]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

MOST_ENTRIES = 1 << 24
"""Synapses one map may unroll to; far above any core, but small enough to be held in memory."""


@dataclass(frozen=True)
class LinearMap:
    """``y[row] += value · x[col] (delay steps ago)`` for every entry; ``rows`` × ``cols`` is its shape."""

    rows: int
    cols: int
    row: np.ndarray
    col: np.ndarray
    delay: np.ndarray
    value: np.ndarray

    @property
    def size(self) -> int:
        """Number of entries, that is of synapses."""
        return len(self.value)

    def dense(self) -> np.ndarray:
        """The matrix (rows, cols) with the delays left out; entries of one place add up."""
        out = np.zeros((self.rows, self.cols))
        np.add.at(out, (self.row, self.col), self.value)
        return out

    def scaled(self, factor: np.ndarray | float) -> LinearMap:
        """Every row times ``factor`` (a number, or one per row)."""
        gain = np.broadcast_to(np.asarray(factor, np.float64), (self.rows,))
        return LinearMap(self.rows, self.cols, self.row, self.col, self.delay, self.value * gain[self.row])

    def delayed(self, steps: np.ndarray | int) -> LinearMap:
        """Every row later by ``steps`` (a number, or one per row)."""
        late = np.broadcast_to(np.asarray(steps, np.int64), (self.rows,))
        return LinearMap(self.rows, self.cols, self.row, self.col, self.delay + late[self.row], self.value)

    def plus(self, other: LinearMap) -> LinearMap:
        """The sum of two maps of one shape."""
        parts = [np.concatenate([getattr(self, f), getattr(other, f)]) for f in ("row", "col", "delay", "value")]
        return _merged(self.rows, self.cols, *parts)

    def take(self, rows: np.ndarray) -> LinearMap:
        """The rows of the given indices, in that order."""
        place = np.full(self.rows, -1, np.int64)
        place[rows] = np.arange(len(rows))
        keep = place[self.row] >= 0
        return LinearMap(
            len(rows), self.cols, place[self.row[keep]], self.col[keep], self.delay[keep], self.value[keep]
        )

    def take_cols(self, cols: np.ndarray) -> LinearMap:
        """The columns of the given indices, in that order."""
        place = np.full(self.cols, -1, np.int64)
        place[cols] = np.arange(len(cols))
        keep = place[self.col] >= 0
        return LinearMap(
            self.rows, len(cols), self.row[keep], place[self.col[keep]], self.delay[keep], self.value[keep]
        )


def make(rows: int, cols: int, row: np.ndarray, col: np.ndarray, value: np.ndarray) -> LinearMap:
    """A map without delays from entries, sorted by row and column, entries of one place added, zeros left out."""
    row, col = np.asarray(row, np.int64), np.asarray(col, np.int64)
    return _merged(rows, cols, row, col, np.zeros(len(row), np.int64), np.asarray(value, np.float64))


def identity(n: int) -> LinearMap:
    """The map that leaves ``n`` elements as they are."""
    return make(n, n, np.arange(n), np.arange(n), np.ones(n))


def from_matrix(matrix: np.ndarray) -> LinearMap:
    """The map of a matrix (rows, cols); zero weights are no synapses."""
    row, col = np.nonzero(matrix)
    return make(matrix.shape[0], matrix.shape[1], row, col, np.asarray(matrix, np.float64)[row, col])


def compose(after: LinearMap, before: LinearMap, where: str = "map") -> LinearMap:
    """``after`` of ``before``: delays add up, weights multiply. Raises UnsupportedError when it would be too large."""
    start = np.searchsorted(before.row, np.arange(before.rows))  # before is sorted by row
    end = np.searchsorted(before.row, np.arange(before.rows), side="right")
    counts = (end - start)[after.col]
    total = int(counts.sum())
    limit(total, where)
    left = np.repeat(np.arange(after.size), counts)
    offset = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    right = start[after.col[left]] + offset
    return _merged(
        after.rows,
        before.cols,
        after.row[left],
        before.col[right],
        after.delay[left] + before.delay[right],
        after.value[left] * before.value[right],
    )


def limit(entries: int, where: str) -> None:
    """Raise UnsupportedError when a map of ``entries`` synapses must not be unrolled."""
    if entries > MOST_ENTRIES:
        raise UnsupportedError(
            f"{where} would unroll to {entries:,} synapses, above {MOST_ENTRIES:,}; make the layer or its input smaller"
        )


def _merged(rows: int, cols: int, row: np.ndarray, col: np.ndarray, delay: np.ndarray, value: np.ndarray) -> LinearMap:
    """Sorted by row, column, delay; entries of one place and delay added; exact zeros dropped."""
    order = np.lexsort((delay, col, row))
    row, col, delay, value = row[order], col[order], delay[order], value[order]
    if len(row):
        new = np.r_[True, (np.diff(row) != 0) | (np.diff(col) != 0) | (np.diff(delay) != 0)]
        first = np.flatnonzero(new)
        value = np.add.reduceat(value, first)
        row, col, delay = row[first], col[first], delay[first]
    keep = value != 0
    return LinearMap(rows, cols, row[keep], col[keep], delay[keep], value[keep])
