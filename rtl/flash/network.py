"""A network in the flash, as a board loads it at its start without any host: one format for the gateware and for hosts.

The partition's first block of 64 KiB holds nothing but the *header*, a page at its end: what hosts read of the network, and behind
it, in the page's last eight bytes, what the gateware reads: the *mark* and the data's length, as a *count*. The data follow in the
next block: the very commands that a host would load the network with, and a CRC-32. So the gateware reads one run of bytes, and a
header that is erased first and programmed last, as the labels of images are, makes the network whole or none.

Unlike everything else in the flash the mark's and the count's bytes and the CRC's are the highest first, and the CRC takes the
bits of a byte from the highest on (CRC-32/BZIP2 in the catalogue of CRCs): that is how they come out of an SPI flash, and the
gateware needs neither registers nor cycles to turn them round.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from neuroloom.compiler.errors import InputError

from .layout import ERASED, PAGE_BYTES

FORMAT_VERSION = 2
MAGIC = b"NLNW"
NAME_BYTES = 48
CRC_BYTES = 4
TAIL_BYTES = 8
"""Mark and count, the header's last bytes."""
COUNT_BITS, COUNT_TAP = 20, 17
"""The counter's shift register, whose lowest bit becomes the exclusive or of the bits 20 and 17 (from 1 on): x^20 + x^17 + 1 is
primitive, so it goes through all states but 0."""
COUNT_END = (1 << COUNT_BITS) - 1
"""Its state when no byte is left."""

_FIELDS = struct.Struct(f"<4sB3xII32s32s{NAME_BYTES}s")
"""Magic, version, bytes of data, CRC-32 of the data, the engine's hash, the network's hash, its name; then the CRC-32 of these."""

HEADER_ABOUT = (
    ("magic", 4, MAGIC.decode()),
    ("version", 1, str(FORMAT_VERSION)),
    ("reserved", 3, "0"),
    ("length", 4, "bytes of commands"),
    ("data_crc", 4, "CRC-32, the usual one, of commands and their CRC"),
    ("engine", 32, "hash of the engine that the network is for, as the identity says it"),
    ("network", 32, "SHA-256 of the graph"),
    ("name", NAME_BYTES, "the graph's name, UTF-8, padded with zeros"),
    ("check", 4, "CRC-32, the usual one, of the fields above"),
)
"""Fields of the header that hosts read: name, bytes, what; numbers are little-endian."""

POLYNOMIAL = 0x04C11DB7


class Start(IntEnum):
    """What became of the network in the flash since the board's start, as the device says it."""

    LOADING = 0
    LOADED = 1
    EMPTY = 2
    OTHER = 3
    BROKEN = 4
    CHANGED = 5


START_ABOUT = {
    Start.LOADING: "it is being checked or loaded",
    Start.LOADED: "it was checked and loaded",
    Start.EMPTY: "there is none: the partition is erased",
    Start.OTHER: "there is none for this engine: it was written for another one, or its header is torn",
    Start.BROKEN: "its CRC-32 is wrong; nothing was loaded",
    Start.CHANGED: "it read differently the second time; the engine holds a part of it and waits for a host",
}


def mark(engine_hash: bytes) -> bytes:
    """The four bytes that say that a network is for the engine with this hash (32 bytes) and of this version."""
    return hashlib.sha256(MAGIC + bytes([FORMAT_VERSION]) + engine_hash).digest()[:4]


def step(state: int) -> int:
    """The counter's state one byte later."""
    bit = (state >> COUNT_BITS - 1 ^ state >> COUNT_TAP - 1) & 1
    return state << 1 & COUNT_END | bit


def count_of(length: int) -> int:
    """The state from which :data:`COUNT_END` is reached in ``length`` (1 to 2**20 - 1) bytes.

    A shift register that counts needs no logic beside its bits, and is loaded from the flash by shifting, too: in an iCE40 it takes
    half the cells of a counter that counts down.
    """
    state = COUNT_END
    for _ in range(length):
        state = (state >> 1) | ((state ^ state >> COUNT_TAP) & 1) << COUNT_BITS - 1
    return state


def crc32_highest_first(data: bytes) -> bytes:
    """CRC-32 with every byte's highest bit first, as four bytes, the highest first."""
    turned = int.from_bytes(zlib.crc32(data.translate(_TURNED)).to_bytes(4, "little").translate(_TURNED), "big")
    return turned.to_bytes(4, "big")


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class NetworkState:
    """What a header says: bytes of data (the CRC's not counted), CRC-32 of all data, hashes of engine and network, its name."""

    length: int
    crc: int
    engine_hash: bytes
    model_hash: bytes
    name: str

    @classmethod
    def from_bytes(cls, page: bytes) -> NetworkState | None:
        """Read a header page; None where it is erased, torn, or of another version."""
        body, check = page[: _FIELDS.size], page[_FIELDS.size : _FIELDS.size + 4]
        magic, version, length, crc, engine, model, name = _FIELDS.unpack(body)
        if magic != MAGIC or version != FORMAT_VERSION or int.from_bytes(check, "little") != zlib.crc32(body):
            return None
        if not 0 < length < COUNT_END or page[-TAIL_BYTES:] != mark(engine) + count_of(length).to_bytes(4, "big"):
            return None
        return cls(length, crc, engine, model, name.rstrip(b"\0").decode("utf-8", "replace"))


@dataclass(frozen=True)
class NetworkImage:
    """What stands in the flash of one network: the header page, and the data with their CRC."""

    header: bytes
    data: bytes

    @property
    def state(self) -> NetworkState:
        """What its header says."""
        state = NetworkState.from_bytes(self.header)
        assert state is not None
        return state


def network_image(commands: bytes, engine_hash: bytes, model_hash: bytes, name: str, room: int) -> NetworkImage:
    """The image of a network whose loading takes ``commands``, for the engine with a hash.

    ``room``: bytes for data; raises InputError where there are more, and where there are none.
    """
    if not 0 < len(commands) <= room - CRC_BYTES:
        raise InputError(
            f"network must take 1 to {room - CRC_BYTES:,} bytes of commands to fit the flash's partition, not {len(commands):,};"
            " make the network smaller, or load it with: neuroloom load"
        )
    tail = mark(engine_hash) + count_of(len(commands)).to_bytes(4, "big")
    data = commands + crc32_highest_first(tail + commands)
    text = name.encode("utf-8")[:NAME_BYTES].decode("utf-8", "ignore").encode("utf-8")
    body = _FIELDS.pack(MAGIC, FORMAT_VERSION, len(commands), zlib.crc32(data), engine_hash, model_hash, text)
    body += zlib.crc32(body).to_bytes(4, "little")
    return NetworkImage(body.ljust(PAGE_BYTES - TAIL_BYTES, bytes([ERASED])) + tail, data)
