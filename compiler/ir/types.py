"""Types of the values in a graph: exact integers of a stated width, with an optional binary point."""

from __future__ import annotations

import re
from dataclasses import dataclass

from neuroloom.compiler.errors import GraphError

MAX_WIDTH = 63
"""Widest value: every integer of every type fits a signed 64-bit word, so no simulator can wrap in silence."""

Range = tuple[int, int]
"""Proven inclusive bounds (lo, hi) of every integer in a tensor."""


@dataclass(frozen=True, slots=True)
class Type:
    """``width``-bit integer q, two's complement when ``signed``; it stands for q * 2**-frac.

    ``bit`` is ``Type(1)``. Text form: ``bit``, ``u8``, ``s12``; ``s16.8`` has 8 fraction bits.
    """

    width: int
    signed: bool = False
    frac: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise GraphError(f"type width must be 1 to {MAX_WIDTH} bits, not {self.width}")

    @property
    def lo(self) -> int:
        """Smallest integer of the type."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest integer of the type."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def range(self) -> Range:
        """All integers of the type, inclusive."""
        return self.lo, self.hi

    @property
    def is_bit(self) -> bool:
        """Whether the type is ``bit``."""
        return self == BIT

    def holds(self, bounds: Range) -> bool:
        """Whether every integer from ``bounds[0]`` to ``bounds[1]`` is representable."""
        return self.lo <= bounds[0] and bounds[1] <= self.hi

    def __str__(self) -> str:
        if self.is_bit:
            return "bit"
        point = f".{self.frac}" if self.frac else ""
        return f"{'s' if self.signed else 'u'}{self.width}{point}"

    @classmethod
    def parse(cls, text: str) -> Type:
        """Read the text form; raises GraphError on anything else."""
        if text == "bit":
            return BIT
        match = re.fullmatch(r"([us])(\d{1,2})(?:\.(-?\d{1,4}))?", text)
        if not match:
            raise GraphError(f"type must be bit, uN, sN, uN.F or sN.F, not {text!r}")
        return cls(int(match[2]), match[1] == "s", int(match[3] or 0))


BIT = Type(1)


def smallest_type(bounds: Range, frac: int = 0) -> Type:
    """Return the narrowest type that holds ``bounds``: unsigned when nothing is negative, at least one bit."""
    lo, hi = bounds
    if lo > hi:
        raise GraphError(f"range must have lo <= hi, not {lo}..{hi}")
    signed = lo < 0
    width = max(hi.bit_length(), (-lo - 1).bit_length() if signed else 0) + signed
    if width > MAX_WIDTH:
        raise GraphError(f"values from {lo} to {hi} need {width} bits; a value must fit {MAX_WIDTH} bits")
    return Type(max(width, 1), signed, frac)
