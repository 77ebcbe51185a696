"""Products of digits: what one TERM of a VEC does for every element."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Product:
    """``a * b * 2**(digit * level)`` of every element; with ``reduced`` summed over the last axis of the addresses.

    ``reach`` is at least the largest |a * b|.
    """

    a: np.ndarray
    a_reg: np.ndarray
    b: np.ndarray
    b_reg: np.ndarray
    level: int
    negate: bool = False
    reduced: bool = False
    reach: int = 0

    def shaped(self, shape: tuple[int, ...]) -> Product:
        """Broadcast to the result's shape (and the summed axis)."""
        if self.reduced:
            shape = (*shape, max(self.a.shape[-1], self.b.shape[-1]))
        arrays = (np.broadcast_to(x, shape) for x in (self.a, self.a_reg, self.b, self.b_reg))
        a, a_reg, b, b_reg = arrays
        return replace(self, a=a, a_reg=a_reg, b=b, b_reg=b_reg)

    def split(self, most: int, reach: int) -> list[Product]:
        """Products whose summed axis goes in equal steps of at most ``reach``, at most ``most`` of them."""
        if not self.reduced:
            return [self]
        count = self.a.shape[-1]
        steps = [np.diff(x.reshape(-1, count), axis=1) for x in (self.a, self.b, self.a_reg, self.b_reg)]
        straight = all((s == s[:1]).all() for s in steps) and not steps[2].any() and not steps[3].any()
        out, at = [], 0
        while at < count:
            end = at + 1
            if straight and end < count:
                a, b = int(steps[0][0, at]), int(steps[1][0, at])
                fits = abs(a) < reach and abs(b) < reach
                while (
                    fits and end < count and end - at < most and (steps[0][0, end - 1], steps[1][0, end - 1]) == (a, b)
                ):
                    end += 1
            cut = (Ellipsis, slice(at, end))
            out.append(replace(self, a=self.a[cut], a_reg=self.a_reg[cut], b=self.b[cut], b_reg=self.b_reg[cut]))
            at = end
        return out
