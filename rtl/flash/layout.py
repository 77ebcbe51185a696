"""What stands where in a board's flash, and the loader's opcodes: one table for the gateware and for hosts.

Golden's header page and image fill the first ``golden_bytes``; behind them come ``slots`` of ``slot_bytes`` each, numbered from 1.
A slot holds an image from its first byte on and, in its last page, a *label* that says that the image is whole. The label's
sector is erased first and written last, so a slot whose label is right holds a whole image, whenever the power was cut.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from neuroloom.compiler.errors import DeviceError, InputError

PAGE_BYTES = 256
SECTOR_BYTES = 4096
BLOCK_BYTES = 65536
ERASED = 0xFF

LOADER_VERSION = 1
LABEL_MAGIC = b"NLIM"
LABEL_BYTES = 16
"""Magic, image length, CRC-32 of the image, CRC-32 of these twelve bytes; little-endian."""

FLAGS = ("attempted", "confirmed", "start", "held")
"""Bytes behind the label, 0xFF until they are programmed to 0, which needs no erasing: a boot was tried; it is known to be good;
golden boots it at power-up; it no longer does."""

HEADER_BYTES = 32
"""Of a boot header of iCE40: five of them stand at the beginning of the flash, for power-up and images 0 to 3."""


@dataclass(frozen=True)
class Opcode:
    """One loader opcode: its byte, fields behind it (name, bytes), and its answer in words and bytes (None: as asked)."""

    code: int
    name: str
    fields: tuple[tuple[str, int], ...]
    answer: str
    answer_bytes: int | None
    about: str


OPCODES = (
    Opcode(ord("M"), "MAP", (), "the map record", 16, "what this loader is and where its slots are"),
    Opcode(ord("J"), "JEDEC", (), "3 bytes", 3, "the flash's manufacturer and device, command 0x9F"),
    Opcode(
        ord("S"), "SFDP", (("address", 3), ("count", 3)), "the bytes", None, "the flash's parameter table, command 0x5A"
    ),
    Opcode(ord("R"), "READ", (("address", 3), ("count", 3)), "the bytes", None, "reads"),
    Opcode(ord("C"), "CRC", (("address", 3), ("count", 3)), "CRC-32, 4 bytes", 4, "reads without sending: verifies"),
    Opcode(
        ord("E"),
        "ERASE",
        (("address", 3), ("kind", 1)),
        "a result",
        1,
        "erases the sector (kind 0) or block of 64 KiB (1)",
    ),
    Opcode(ord("P"), "PROGRAM", (("address", 3), ("count", 2), ("data", 0)), "a result", 1, "programs up to a page"),
    Opcode(ord("B"), "BOOT", (("slot", 1),), "a result", 1, "checks label and image, journals the attempt, boots"),
)
"""Opcodes are bytes of RUN; each waits until the flash is not busy, and answers when it is done."""

RESULTS = {
    0: "done",
    1: "it is golden's own or beyond the flash's slots and was not touched",
    2: "the flash stayed busy",
    3: "the slot holds no whole image",
    4: "the slot's image is damaged",
}
"""Results of ERASE, PROGRAM and BOOT."""

MAP = struct.Struct("<BBBBIII")
"""Version, slots, blocks of 64 KiB for a network, the flash's status register, golden_bytes, slot_bytes, flash bytes."""

STATUS_AT = 3
"""Offset of the status register in the map record: it is read whenever the record is asked for."""


@dataclass(frozen=True)
class Layout:
    """The map of one board's flash, in bytes; slots are numbered from 1. Behind the last one is the partition for a network."""

    golden_bytes: int
    slot_bytes: int
    slots: int
    flash_bytes: int
    network_bytes: int = 0

    def __post_init__(self) -> None:
        if self.network_bytes % BLOCK_BYTES or not (0 <= self.network_bytes <= 255 * BLOCK_BYTES):
            raise InputError(
                f"flash map must have 0 to 255 whole 64 KiB blocks for a network, not {self.network_bytes:,} bytes"
            )
        if self.golden_bytes % BLOCK_BYTES or self.slot_bytes % BLOCK_BYTES or not 1 <= self.slots <= 3:
            raise InputError(f"flash map must have 1 to 3 slots of whole 64 KiB blocks, not {self}")
        if self.end > self.flash_bytes:
            raise InputError(f"flash map must fit into {self.flash_bytes} bytes, and {self} does not")

    @property
    def image_bytes(self) -> int:
        """The largest image: a slot without its label's sector."""
        return self.slot_bytes - SECTOR_BYTES

    @property
    def network_at(self) -> int:
        """First byte behind the last slot: the partition for a network, see :mod:`~neuroloom.rtl.flash.network`."""
        return self.golden_bytes + self.slots * self.slot_bytes

    @property
    def network_header_at(self) -> int:
        """Address of a network's header, the last page of the partition's first block."""
        return self.network_at + BLOCK_BYTES - PAGE_BYTES

    @property
    def network_data_at(self) -> int:
        """Address of a network's data, the partition's second block."""
        return self.network_at + BLOCK_BYTES

    @property
    def network_room(self) -> int:
        """Bytes for a network's data, behind the header's block; 0 where the map has no partition."""
        return max(0, self.network_bytes - BLOCK_BYTES)

    @property
    def end(self) -> int:
        """First byte behind everything that the loader writes: it writes below it and above golden."""
        return self.network_at + self.network_bytes

    def slot_at(self, slot: int) -> int:
        """Address of a slot's image; raises InputError for a slot that is none."""
        if not 1 <= slot <= self.slots:
            raise InputError(
                f"slot must be 1 to {self.slots}, not {slot}; slot 0 is golden, which the link never overwrites"
            )
        return self.golden_bytes + (slot - 1) * self.slot_bytes

    def label_at(self, slot: int) -> int:
        """Address of a slot's label."""
        return self.slot_at(slot) + self.slot_bytes - PAGE_BYTES

    def to_bytes(self) -> bytes:
        """The map record."""
        blocks = self.network_bytes // BLOCK_BYTES
        return MAP.pack(LOADER_VERSION, self.slots, blocks, 0, self.golden_bytes, self.slot_bytes, self.flash_bytes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Layout:
        """Read a map record; raises DeviceError if it is of another version."""
        version, slots, blocks, _, golden, slot, flash = MAP.unpack(data)
        if version != LOADER_VERSION:
            raise DeviceError(
                f"the loader must be of version {LOADER_VERSION}, not {version}; write a new golden image by cable"
            )
        return cls(golden, slot, slots, flash, blocks * BLOCK_BYTES)


def label(image: bytes) -> bytes:
    """The label of an image."""
    body = LABEL_MAGIC + struct.pack("<II", len(image), zlib.crc32(image))
    return body + struct.pack("<I", zlib.crc32(body))


@dataclass(frozen=True)
class SlotState:
    """What a slot's last page says: length and CRC-32 of the image if the label is right, and the flags."""

    length: int | None
    crc: int | None
    flags: frozenset[str]

    @classmethod
    def from_bytes(cls, data: bytes) -> SlotState:
        """Read a label and its flags; a flag counts as soon as one of its bits is programmed, ``confirmed`` only when all are."""
        body, check = data[: LABEL_BYTES - 4], data[LABEL_BYTES - 4 : LABEL_BYTES]
        whole = body[:4] == LABEL_MAGIC and struct.unpack("<I", check)[0] == zlib.crc32(body)
        length, crc = struct.unpack("<II", body[4:]) if whole else (None, None)
        raw = dict(zip(FLAGS, data[LABEL_BYTES : LABEL_BYTES + len(FLAGS)], strict=True))
        flags = {name for name, byte in raw.items() if byte != ERASED and (byte == 0 or name in ("attempted", "held"))}
        return cls(length, crc, frozenset(flags))

    @property
    def starts(self) -> bool:
        """Whether golden boots it at power-up: wished, not revoked, and known good or never tried."""
        wished = "start" in self.flags and "held" not in self.flags
        return self.length is not None and wished and ("confirmed" in self.flags or "attempted" not in self.flags)


def boot_header(address: int) -> bytes:
    """One header of a multi-boot iCE40 image, as icemulti writes it: set the boot address, reboot there.

    Source: Lattice TN1248 (iCE40 programming and configuration) and Project IceStorm's icemulti.
    """
    commands = bytes([0x7E, 0xAA, 0x99, 0x7E, 0x92, 0x00, 0x00, 0x44, 0x03])
    return (commands + address.to_bytes(3, "big") + bytes([0x82, 0x00, 0x00, 0x01, 0x08])).ljust(HEADER_BYTES, b"\0")


def golden_image(layout: Layout, bitstream: bytes) -> bytes:
    """What is written to address 0 by cable: the header page and golden behind it.

    Power-up and image 0 are golden, images 1 to 3 the slots. Raises InputError when golden is too large.
    """
    if PAGE_BYTES + len(bitstream) > layout.golden_bytes:
        raise InputError(f"golden must have at most {layout.golden_bytes - PAGE_BYTES} bytes, not {len(bitstream)}")
    slots = [layout.slot_at(min(n, layout.slots)) for n in (1, 2, 3)]
    headers = b"".join(boot_header(at) for at in (PAGE_BYTES, PAGE_BYTES, *slots))
    return headers.ljust(PAGE_BYTES, bytes([ERASED])) + bitstream
