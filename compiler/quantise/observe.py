"""What the values of a program are on the calibration samples: ends, and where asked a histogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.real import Program, evaluate

BINS = 2048
"""Bins of a histogram between the least and the greatest value seen."""


@dataclass
class Observed:
    """Least and greatest value of a tensor, how many there were, and their counts in ``BINS`` equal bins (None: not counted).

    ``taken`` is False where no sample took the branch: then it is what the branch would have given for all samples.
    """

    lo: float
    hi: float
    count: int = 0
    bins: np.ndarray | None = None
    taken: bool = True

    def percentile(self, share: float) -> tuple[float, float]:
        """Ends between which ``share`` percent of the values lie, the rest shared by both sides, to the width of a bin."""
        if self.bins is None or self.lo == self.hi:
            return self.lo, self.hi
        tail = self.count * (100 - share) / 200
        width = (self.hi - self.lo) / BINS
        below, above = np.cumsum(self.bins), np.cumsum(self.bins[::-1])
        first, last = int(np.searchsorted(below, tail, "right")), int(np.searchsorted(above, tail, "right"))
        return self.lo + first * width, self.hi - last * width

    def squared_error(self, scale: float, least: int, most: int) -> float:
        """Sum of squared errors of rounding to scale * q, q in least..most, with every value at the middle of its bin."""
        if self.bins is None:
            return 0.0
        middle = self.lo + (np.arange(BINS) + 0.5) * (self.hi - self.lo) / BINS
        near = np.clip(np.rint(middle / scale), least, most) * scale
        inside = (middle >= least * scale) & (middle <= most * scale)
        rounding = np.where(inside, scale * scale / 12, 0.0)  # a bin may be narrower or wider than a step
        clipped = np.where(inside, 0.0, (near - middle) ** 2)
        return float((self.bins * (rounding + clipped)).sum())


def observe(program: Program, data: Mapping[str, np.ndarray], *, histograms: bool) -> dict[str, Observed]:
    """Run the program in float64 on ``data`` and describe every real value, those in branches and loops too.

    What stands in branches that no sample takes is observed as if all samples took them. Raises InputError naming the first value
    that is not finite.
    """
    kinds = {n: v for n, v in program.values().items() if v.kind == "real"}
    sources = {v.name: node.source for node in program.walk() for v in node.outputs}
    seen: dict[str, Observed] = {}

    def ends(name: str, array: np.ndarray) -> None:
        if name not in kinds or not array.size:
            return
        lo, hi = float(array.min()), float(array.max())
        if not (np.isfinite(lo) and np.isfinite(hi)):
            where = f"node {sources[name]!r}" if sources.get(name) else f"input {name!r}"
            raise InputError(
                f"{where}: value {name!r} must be finite on every calibration sample, but reaches "
                f"{'NaN' if np.isnan(lo) or np.isnan(hi) else 'infinity'}; check the samples and the weights"
            )
        item = seen.get(name)
        if item is None:
            seen[name] = Observed(lo, hi, array.size)
        else:
            item.lo, item.hi, item.count = min(item.lo, lo), max(item.hi, hi), item.count + array.size

    def count(name: str, array: np.ndarray) -> None:
        item = seen.get(name)
        if item is None or item.lo == item.hi or not array.size:
            return
        counts = np.histogram(array, BINS, (item.lo, item.hi))[0]
        item.bins = counts if item.bins is None else item.bins + counts

    evaluate(program, data, observe=ends)
    untaken = set(kinds) - set(seen)

    def if_untaken(then: Callable[[str, np.ndarray], None]) -> Callable[[str, np.ndarray], None]:
        return lambda name, array: then(name, array) if name in untaken else None

    if untaken:
        evaluate(program, data, observe=if_untaken(ends), all_branches=True)
        for name in untaken.intersection(seen):
            seen[name].taken = False
    if histograms:
        evaluate(program, data, observe=lambda name, array: None if name in untaken else count(name, array))
        if untaken:
            evaluate(program, data, observe=if_untaken(count), all_branches=True)
    return seen


def merged(parts: Sequence[Observed]) -> Observed:
    """What was seen of several tensors together; histograms are counted again into the bins of the whole range."""
    lo, hi = min(p.lo for p in parts), max(p.hi for p in parts)
    out = Observed(lo, hi, sum(p.count for p in parts))
    if lo == hi or all(p.bins is None for p in parts):
        return out
    bins = np.zeros(BINS, np.int64)
    for p in parts:
        if p.bins is None:
            where = np.array([p.lo])
            counts = np.array([p.count])
        else:
            where, counts = p.lo + (np.arange(BINS) + 0.5) * (p.hi - p.lo) / BINS, p.bins
        at = np.clip(((where - lo) / (hi - lo) * BINS).astype(np.int64), 0, BINS - 1)
        np.add.at(bins, at, counts)
    out.bins = bins
    return out
