"""The machine's memories while a program is made: what is allocated, with which initial content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

BITS, WORDS, LONGS = range(3)
"""Kinds of value memory: bits in bytes, int32, int64."""

_DTYPES = (np.uint8, np.int32, np.int64)
_WEIGHTS: tuple[type[np.signedinteger], ...] = (np.int8, np.int16, np.int32)


@dataclass(slots=True)
class Arena:
    """One growing memory; parts begin at multiples of 64 bytes and are padded with zeros."""

    dtype: type
    parts: list[tuple[int, np.ndarray]] = field(default_factory=list)
    size: int = 0

    def add(self, count: int, content: np.ndarray | None = None) -> int:
        """Allocate; returns the first element."""
        at = self.size
        unit = 64 // np.dtype(self.dtype).itemsize
        self.size += -(-max(count, 1) // unit) * unit
        if content is not None:
            self.parts.append((at, np.asarray(content).reshape(-1).astype(self.dtype)))
        return at

    def array(self) -> np.ndarray:
        """The memory as a program finds it first."""
        out: np.ndarray = np.zeros(max(self.size, 64), self.dtype)
        for at, part in self.parts:
            out[at : at + len(part)] = part
        return out


class Memory:
    """All memories of a program."""

    def __init__(self) -> None:
        self.values = tuple(Arena(d) for d in _DTYPES)
        self.weights = tuple(Arena(d) for d in _WEIGHTS)
        self.indices = Arena(np.int32)
        self.events = Arena(np.int32)
        self.counts = Arena(np.int64)
        self.rings: list[tuple[int, int, int, int]] = []

    def value(self, kind: int, count: int, content: np.ndarray | None = None) -> int:
        """Allocate values; returns the reference."""
        return self.values[kind].add(count, content) << 2 | kind

    def index(self, content: np.ndarray | Sequence[int]) -> int:
        """Allocate constant indices; returns the first element."""
        array = np.asarray(content)
        if self.indices.size + array.size >= 1 << 31:
            raise UnsupportedError(
                "the event-driven engine holds 2**31 indices of synapses, the network has more; use the reference engine"
            )
        return self.indices.add(array.size, array)

    def ring(self, slots: int, capacity: int) -> int:
        """Allocate a ring of events; returns its number."""
        self.rings.append((self.events.add(slots * capacity), slots, capacity, self.counts.add(slots)))
        return len(self.rings) - 1


def kind_of(bounds: tuple[int, int]) -> int:
    """The narrowest memory of values for integers in ``bounds``."""
    return WORDS if -(1 << 31) <= bounds[0] and bounds[1] < 1 << 31 else LONGS


def weight_kind(bounds: tuple[int, int]) -> int:
    """The narrowest memory of weights for integers in ``bounds``; raises UnsupportedError beyond 32 bits."""
    for kind, dtype in enumerate(_WEIGHTS):
        if np.iinfo(dtype).min <= bounds[0] and bounds[1] <= np.iinfo(dtype).max:
            return kind
    raise UnsupportedError(
        f"weights must fit 32 bits for the event-driven engine, not reach {bounds[0]}..{bounds[1]}; use the reference engine"
    )
