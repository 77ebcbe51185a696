"""Which flash stands on a board: its JEDEC id, and what its SFDP table says it can do."""

from __future__ import annotations

from dataclasses import dataclass

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.flash.layout import BLOCK_BYTES, PAGE_BYTES, SECTOR_BYTES

MAKERS = {
    0x01: "Infineon",
    0x1F: "Renesas",
    0x20: "Micron",
    0x9D: "ISSI",
    0xC2: "Macronix",
    0xC8: "GigaDevice",
    0xEF: "Winbond",
}
"""Manufacturers by the first byte of the JEDEC id, for messages."""

HEADER_BYTES = 16
TABLE_WORDS = 11
"""Words of the basic parameter table that are read: JESD216 has 9, the page size came with the 11th."""


@dataclass(frozen=True)
class FlashChip:
    """JEDEC id (3 bytes), the maker's name or "", and the size in bytes."""

    jedec: bytes
    maker: str
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.maker or 'flash of an unknown maker'} {self.jedec.hex(' ')}, {self.size_bytes >> 20} MiB"


def check_id(jedec: bytes, name: str) -> None:
    """Raise DeviceError unless a flash answered."""
    if len(set(jedec)) == 1 and jedec[0] in (0x00, 0xFF):
        raise DeviceError(
            f"a flash must answer on {name}, but there is none (JEDEC id {jedec.hex(' ')}); check the jumpers of the board"
        )


def table_at(header: bytes, jedec: bytes, name: str) -> tuple[int, int]:
    """(address, bytes) of the basic table by the SFDP header; raises DeviceError for a flash that has none."""
    if header[:4] != b"SFDP":
        raise DeviceError(
            f"the flash on {name} must describe itself by an SFDP table, but JEDEC id {jedec.hex(' ')} does not and is not known;"
            " nothing was written"
        )
    return int.from_bytes(header[12:15], "little"), 4 * min(header[11], TABLE_WORDS)


def read_chip(jedec: bytes, table: bytes, needed: int, name: str) -> FlashChip:
    """The chip by its table; raises DeviceError for one that the loader cannot work with, or smaller than ``needed`` bytes.

    Source: JEDEC JESD216, basic flash parameter table.
    """
    words = [int.from_bytes(table[at : at + 4], "little") for at in range(0, len(table), 4)]
    density = words[1]
    size = (1 << (density & 0x7FFFFFFF)) // 8 if density >> 31 else (density + 1) // 8
    erases = {(word >> shift & 0xFF, word >> shift + 8 & 0xFF) for word in words[7:9] for shift in (0, 16)}
    page = 1 << (words[10] >> 4 & 15) if len(words) > 10 else PAGE_BYTES
    wanted = {(SECTOR_BYTES.bit_length() - 1, 0x20), (BLOCK_BYTES.bit_length() - 1, 0xD8)}
    if not wanted <= erases or page < PAGE_BYTES:
        raise DeviceError(
            f"the flash on {name} must erase 4 KiB by command 20 and 64 KiB by D8 and program pages of 256 bytes, and JEDEC id"
            f" {jedec.hex(' ')} does not; nothing was written"
        )
    if size < needed:
        raise DeviceError(
            f"the flash on {name} must have at least {needed:,} bytes, but JEDEC id {jedec.hex(' ')} has {size:,};"
            " nothing was written"
        )
    return FlashChip(jedec, MAKERS.get(jedec[0], ""), size)
