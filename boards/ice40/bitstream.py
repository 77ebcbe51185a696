"""The iCE40 configuration file: a small command language that writes four banks of CRAM and four of block RAM.

Source of the format: Project IceStorm, "Bitstream File Format Documentation". Every command of the file is interpreted;
one that is not known, a bad CRC, or a chunk that runs past the end of the file is an :class:`InputError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import InputError

PREAMBLE = b"\x7e\xaa\x99\x7e"
SEARCH_BYTES = 1024
"""How far into an image its preamble may lie, behind comments: a later one belongs to another image of the same flash."""

DEVICES = {(332, 144): "1k", (872, 272): "8k", (692, 336): "5k"}
"""Device by (width, height) in bits of its largest CRAM bank."""

_FREQUENCIES = {0: "low", 1: "medium", 2: "high"}
_WARMBOOT = {0: (False, False), 1: (False, True), 32: (True, False), 33: (True, True)}


@dataclass(frozen=True)
class Chunk:
    """Where a block of data lies: its first byte in the file, memory ("cram" or "bram"), bank, first row, and shape."""

    position: int
    memory: str
    bank: int
    offset: int
    height: int
    width: int


@dataclass
class Bitstream:
    """What a configuration file writes.

    ``cram[bank]`` and ``bram[bank]`` are bool arrays indexed [y, x]; ``bram`` is empty when the file does not
    initialise block RAM. ``warmboot`` and ``nosleep`` are the two option flags, ``frequency`` the SPI clock range that the
    device uses while it loads.
    """

    device: str = ""
    frequency: str = "low"
    warmboot: bool = False
    nosleep: bool = False
    cram: dict[int, np.ndarray] = field(default_factory=dict)
    bram: dict[int, np.ndarray] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0
    """Bytes from the start of the file up to and including the wake-up command."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return table


_CRC = _crc_table()


def crc16(data: bytes, crc: int = 0xFFFF) -> int:
    """CRC-16 with polynomial 0x1021, most significant bit first, as the device computes it over the file's bytes."""
    table = _CRC
    for byte in data:
        crc = (table[(crc >> 8) ^ byte] ^ (crc << 8)) & 0xFFFF
    return crc


class _Reader:
    """Reads bytes, keeping track of where the running CRC started."""

    def __init__(self, data: bytes, pos: int) -> None:
        self.data, self.pos, self.crc_start = data, pos, pos

    def take(self, count: int) -> bytes:
        if self.pos + count > len(self.data):
            raise InputError(
                f"iCE40 bitstream must not end inside a command (at byte {self.pos} of {len(self.data)}, "
                f"{count} more expected); it looks truncated, build or copy it again"
            )
        piece = self.data[self.pos : self.pos + count]
        self.pos += count
        return piece

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def _write(banks: dict[int, np.ndarray], bank: int, offset: int, block: np.ndarray) -> None:
    height, width = offset + block.shape[0], block.shape[1]
    old = banks.get(bank)
    if old is None or old.shape[0] < height or old.shape[1] < width:
        shape = (max(height, 0 if old is None else old.shape[0]), max(width, 0 if old is None else old.shape[1]))
        grown = np.zeros(shape, bool)
        if old is not None:
            grown[: old.shape[0], : old.shape[1]] = old
        banks[bank] = old = grown
    old[offset:height, :width] = block


def parse(data: bytes) -> Bitstream:
    """Read a packed iCE40 configuration image up to its wake-up command (what follows is the flash's business).

    Raises :class:`InputError` when there is no preamble, the CRC is wrong or missing, a command is unknown, or the device
    is not one of :data:`DEVICES`.
    """
    start = data.find(PREAMBLE, 0, SEARCH_BYTES + len(PREAMBLE))
    if start < 0:
        raise InputError(
            f"iCE40 bitstream must contain the preamble 7E AA 99 7E in its first {SEARCH_BYTES} bytes, and this file does not"
        )
    reader = _Reader(data, start + len(PREAMBLE))
    stream = Bitstream()
    bank = width = height = offset = 0
    checked = awake = False
    while not awake:
        at = reader.pos
        command = reader.number(1)
        opcode, count = command & 0xF0, command & 0x0F
        if opcode == 0x20:  # the CRC covers the command byte and its own two bytes, which brings it to zero
            reader.number(count)
            if crc16(data[reader.crc_start : reader.pos]) != 0:
                raise InputError(f"iCE40 bitstream must match its CRC, and does not (checked at byte {at})")
            checked = True
            continue
        payload = reader.number(count)
        if opcode == 0x00 and payload in (1, 3):
            if not width or not height or bank > 3 or width * height % 8:
                raise InputError(
                    f"iCE40 bitstream data at byte {at} must follow a bank, width and height of whole bytes"
                )
            memory = "cram" if payload == 1 else "bram"
            stream.chunks.append(Chunk(reader.pos, memory, bank, offset, height, width))
            bits = np.unpackbits(np.frombuffer(reader.take(width * height // 8), np.uint8)).reshape(height, width)
            _write(getattr(stream, memory), bank, offset, bits.astype(bool))
            if reader.number(2) != 0:
                raise InputError(f"iCE40 bitstream data must end with two zero bytes, not as at byte {reader.pos - 2}")
            checked = False
        elif opcode == 0x00 and payload == 5:
            reader.crc_start = reader.pos
        elif opcode == 0x00 and payload == 6:
            awake = True
        elif opcode == 0x10:
            bank = payload
        elif opcode == 0x50 and payload in _FREQUENCIES:
            stream.frequency = _FREQUENCIES[payload]
        elif opcode == 0x60:
            width = payload + 1
        elif opcode == 0x70:
            height = payload
        elif opcode == 0x80:
            offset = payload
        elif opcode == 0x90 and payload in _WARMBOOT:
            stream.warmboot, stream.nosleep = _WARMBOOT[payload]
        else:
            raise InputError(
                f"iCE40 bitstream command {command:#04x} with payload {payload:#x} at byte {at} is not known; "
                "pack the image with icepack, one image at a time"
            )
    if not checked:
        raise InputError("iCE40 bitstream must carry a CRC after its last data, and does not")
    stream.size = reader.pos
    shape = (
        max((b.shape[1] for b in stream.cram.values()), default=0),
        max((b.shape[0] for b in stream.cram.values()), default=0),
    )
    if shape not in DEVICES or set(stream.cram) != {0, 1, 2, 3}:
        raise InputError(
            f"iCE40 bitstream must be for one of the devices {sorted(DEVICES.values())}, "
            f"and banks of {shape[0]} x {shape[1]} bits match none"
        )
    stream.device = DEVICES[shape]
    return stream


def flip(image: bytes, places: list[tuple[str, int, int, int]]) -> bytes:
    """A copy of an image with bits inverted and a matching CRC, for fault campaigns.

    ``places`` are (memory, bank, y, x) with memory "cram" or "bram", as :func:`neuroloom.boards.ice40.layout.bit_addresses`
    gives them. The image must have one CRC, at its end, as icepack writes it.
    """
    stream, data = parse(image), bytearray(image)
    for memory, bank, y, x in places:
        for chunk in stream.chunks:
            inside = 0 <= y - chunk.offset < chunk.height and x < chunk.width
            if (chunk.memory, chunk.bank) == (memory, bank) and inside:
                index = (y - chunk.offset) * chunk.width + x
                data[chunk.position + index // 8] ^= 0x80 >> index % 8
                break
        else:
            raise InputError(f"iCE40 image must contain bit ({x}, {y}) of {memory} bank {bank}, and does not")
    reset, end = data.find(b"\x01\x05", data.find(PREAMBLE)) + 2, stream.size - 2
    data[end - 2 : end] = crc16(bytes(data[reset : end - 2])).to_bytes(2, "big")
    return bytes(data)
