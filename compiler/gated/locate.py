"""Where values stand in the vector memory: addresses of every element, so that moving data costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir.types import Range, smallest_type

from .code import Access, Touch
from .core import GatedConfig


@dataclass(frozen=True)
class Loc:
    """A value: ``addr`` int64[shape] of its lowest digits, digit p of all of them ``p * part_stride`` further on.

    ``reg`` int64[shape]: the offset register that is added to each address. ``bounds``: the values' proven range.
    """

    addr: np.ndarray
    reg: np.ndarray
    parts: int
    part_stride: int
    bounds: Range

    def map(self, change: object) -> Loc:
        """The value whose elements ``change`` (a function of arrays) chose and ordered."""
        return replace(self, addr=change(self.addr), reg=change(self.reg))  # type: ignore[operator]

    def part(self, number: int) -> Loc:
        """One digit."""
        return replace(self, addr=self.addr + number * self.part_stride, parts=1)


@dataclass
class Register:
    """An offset register in use: what it may add, and whether that is a multiple of a row."""

    lo: int
    hi: int
    step: int


class Space:
    """The vector memory and the offset registers while a program is made.

    ``places``: addresses of all blocks in the order in which they are asked for, when they share memory. ``bounded`` False: as
    much memory as is asked for.
    """

    def __init__(self, config: GatedConfig, places: list[int] | None = None, *, bounded: bool = True) -> None:
        self.config = config
        self.top = 0
        stamp = -(-8 // config.word_bytes[3])  # the last words tell what is loaded
        self.limit = config.vector_words - stamp if bounded else 1 << 40
        self.image: dict[int, int] = {}
        self.registers: dict[int, Register] = {0: Register(0, 0, 0)}
        self.blocks: list[tuple[int, int]] = []
        self._constants: dict[tuple[int, ...], int] = {}
        self._places = places

    def take(self, words: int, what: str) -> int:
        """Address of ``words`` words from the beginning of a row on; raises DoesNotFitError."""
        size = self.config.ports
        words = -(-max(words, 1) // size) * size
        at = self.top if self._places is None else self._places[len(self.blocks)]
        self.blocks.append((at, words))
        self.top = max(self.top, at + words)
        if self.top > self.limit:
            raise DoesNotFitError(
                f"vector memory of profile {self.config.profile!r} must hold all values and has {self.limit:,} words; {what} "
                f"ends at {self.top:,}"
            )
        return at

    def layout(self, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
        """Addresses from 0 on in row-major order, and how many words; the last axis begins a row where it is long enough."""
        size = self.config.ports
        if not shape:
            return np.zeros((), np.int64), 1
        last = shape[-1]
        padded = -(-last // size) * size if last >= size and len(shape) > 1 else last
        lead = int(np.prod(shape[:-1], dtype=np.int64))
        addr = (np.arange(lead)[:, None] * padded + np.arange(last)).reshape(shape)
        return addr, max(lead * padded, 1)

    def new(self, shape: tuple[int, ...], bounds: Range, what: str, order: tuple[int, ...] | None = None) -> Loc:
        """Room for a value; ``order``: its axes from the outermost to the innermost in memory."""
        parts = self.config.planes(signed_width(bounds))
        if order is None:
            addr, words = self.layout(shape)
        else:
            addr, words = self.layout(tuple(shape[a] for a in order))
            addr = addr.transpose(np.argsort(order))
        size = self.config.ports
        words = -(-words // size) * size
        at = self.take(words * parts, what)
        return Loc(addr + at, np.zeros(shape, np.int64), parts, words, bounds)

    def constant(self, words: tuple[int, ...]) -> int:
        """Address of these words one behind the other, at a multiple of their (power of two) number."""
        if words not in self._constants:
            at = self.take(len(words), "a constant")
            self._constants[words] = at
            self.image.update((at + n, w) for n, w in enumerate(words))
        return self._constants[words]

    def write(self, loc: Loc, data: np.ndarray) -> None:
        """Put a constant value into the memory image."""
        digit = self.config.digit
        rest = data.astype(object)
        for part in range(loc.parts):
            last = part == loc.parts - 1
            words = rest if last else rest & (1 << digit) - 1
            self.image.update(
                zip((loc.addr + part * loc.part_stride).ravel().tolist(), np.ravel(words).tolist(), strict=True)
            )
            rest = rest >> digit

    def register(self, lo: int, hi: int, step: int) -> int:
        """A free offset register for offsets ``lo..hi`` that are multiples of ``step``; raises UnsupportedError."""
        for number in range(1, self.config.offsets):
            if number not in self.registers:
                self.registers[number] = Register(lo, hi, step)
                return number
        raise UnsupportedError(
            f"loops must need at most {self.config.offsets - 1} moving addresses at once; split the network's loop, or unroll it"
        )

    def free_register(self, number: int) -> None:
        """The register is not used any more."""
        del self.registers[number]

    def aligned(self, register: int, size: int) -> bool:
        """Whether what the register adds is always a multiple of ``size``."""
        return self.registers[register].step % size == 0

    def touch(self, register: int, addr: np.ndarray, cycles: np.ndarray, job: tuple[int, int] | None = None) -> Touch:
        """What is touched when these addresses plus the register are touched in these cycles; all of them in the cycles ``job``
        where it is not known which the register makes of them.
        """
        size, moved = self.config.ports, self.registers[register]
        rows = Access.of(addr // size, cycles)
        if not register:
            return Touch(0, rows, rows)
        lo, hi = int(addr.min()) + moved.lo, int(addr.max()) + moved.hi
        whole = Access.span(lo // size, hi // size, *(job or (int(np.min(cycles)), int(np.max(cycles)))))
        return Touch(register if self.aligned(register, size) else None, rows, whole)

    def span(self, addr: np.ndarray, reg: np.ndarray) -> list[tuple[int, int]]:
        """Address ranges (lo, hi) that may be touched, one per register."""
        spans = []
        for number in np.unique(reg):
            picked, register = addr[reg == number], self.registers[int(number)]
            spans.append((int(picked.min()) + register.lo, int(picked.max()) + register.hi))
        return spans


def signed_width(bounds: Range) -> int:
    """Bits in two's complement of every integer in ``bounds``."""
    type_ = smallest_type(bounds)
    return type_.width + (not type_.signed)
