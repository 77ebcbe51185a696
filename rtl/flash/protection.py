"""The flash's own block protection of golden: which chips have one that golden may use, and what it writes.

Golden sets it whenever it starts, by the *volatile* write of the status register (command 0x50 before 0x01): it holds until the
power goes, wears nothing out, and no power cut can leave it half written, because at the next power-up it is gone and golden is
what starts. So nothing that runs later, a slot's image gone wild included, can erase golden without taking it back first.

Chips that cannot: Micron's N25Q (iCE40-HX8K-EVN) has no volatile status register; written for good at every power-up it would wear,
and a cut in that write could leave any bits set. ISSI's IS25LP (ULX3S) protects from the top, and its switch to the bottom
(TBS) is one-time programmable. Both are left as they are: there the loader's own refusal to write golden is all there is.
Source: data sheets of Winbond W25Q128JV (7.1, block protection), Micron N25Q032A, ISSI IS25LP128F.
"""

from __future__ import annotations

from .layout import Layout

WINBOND = 0xEF
_TYPES = (0x40, 0x70)
"""Memory types of W25QxxJV: quad enabled by a bit, or for good."""

_PARTS = 64
"""The smallest protected part of a W25Q is its size divided by so many."""

_BOTTOM, _LEVEL_AT = 0x20, 2
MASK = 0x7C
"""Bits of the status register that protect: SEC, TB, BP2 to BP0."""

ENABLE, WRITE = 0x50, 0x01
"""Commands: the next write of the status register is volatile; write it."""

WHY_NOT = {
    0x20: "Micron's N25Q has no volatile status register",
    0x9D: "ISSI's IS25LP protects from the top, and its switch to the bottom is one-time programmable",
}
"""By the JEDEC id's first byte."""


def protection(layout: Layout) -> tuple[tuple[bytes, ...], int] | None:
    """JEDEC ids of the chips that protect exactly golden of a map, and the status register that does; None where none does."""
    unit = layout.flash_bytes // _PARTS
    level = (layout.golden_bytes // unit).bit_length() if unit and layout.golden_bytes % unit == 0 else 0
    if not 1 <= level <= 6 or layout.golden_bytes != unit << (level - 1):
        return None
    capacity = layout.flash_bytes.bit_length() - 1
    return tuple(bytes([WINBOND, kind, capacity]) for kind in _TYPES), _BOTTOM | level << _LEVEL_AT


def protects(layout: Layout, jedec: bytes, status: int) -> bool:
    """Whether a chip with this status register protects golden."""
    found = protection(layout)
    return found is not None and jedec in found[0] and status & MASK == found[1]


def why_not(layout: Layout, jedec: bytes) -> str:
    """Why a chip does not protect golden, or that it should."""
    found = protection(layout)
    if found is not None and jedec in found[0]:
        return "it did not take it, or an older golden did not set it"
    return WHY_NOT.get(jedec[0], "this chip's block protection is not known here")
