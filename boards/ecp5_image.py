"""Images of ECP5 as ``ecppack`` writes them: which chip they are for, whether they lead to another one, whether they are whole.

Source: Project Trellis, "Bitstream format", and Lattice FPGA-TN-02039 (ECP5 sysCONFIG). Frames are compressed and carry a CRC each,
so only a full decoder could check them; an image that is one of several has its length and CRC-32 in its record instead.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from neuroloom.compiler.errors import InputError

PREAMBLE = b"\xff\xff\xbd\xb3"
SEARCH_BYTES = 1024
"""Bytes of comments, at most, in front of the preamble."""

IDCODES: Mapping[str, int] = {"25k": 0x41111043, "45k": 0x41112043, "85k": 0x41113043}
"""Of the LFE5U chips, by the name that nextpnr has for them."""

MULTI_BOOT = 1 << 20
"""Bit of control register 0: PROGRAMN loads the image at the boot address, not the one at 0."""

_RESET_CRC, _VERIFY_ID, _CONTROL0, _DUMMY, _SPI_MODE = 0x3B, 0xE2, 0x22, 0xFF, 0x79


@dataclass(frozen=True)
class Head:
    """What an image says before its frames: the chip's id code, and control register 0."""

    idcode: int
    control0: int


def is_image(data: bytes) -> bool:
    """Whether data begin with the comment and preamble of an ECP5 image."""
    return PREAMBLE in data[: SEARCH_BYTES + len(PREAMBLE)]


def read_head(data: bytes) -> Head:
    """Read the commands in front of the frames; raises InputError where there are none, or others."""
    if not is_image(data):
        raise InputError(
            f"ECP5 bitstream must contain the preamble FF FF BD B3 in its first {SEARCH_BYTES} bytes, and does not"
        )
    at = data.index(PREAMBLE) + len(PREAMBLE)
    idcode = None
    while at + 8 <= len(data):
        command, value = data[at], int.from_bytes(data[at + 4 : at + 8], "big")
        if command == _DUMMY:
            at += 1
        elif command in (_RESET_CRC, _SPI_MODE):
            at += 4
        elif command == _VERIFY_ID:
            idcode, at = value, at + 8
        elif command == _CONTROL0 and idcode is not None:
            return Head(idcode, value)
        else:
            raise InputError(
                f"ECP5 bitstream must begin with id code and control register, not with command {command:#04x} at {at:#x}"
            )
    raise InputError("ECP5 bitstream must not end before its frames; build it again")


def check_head(data: bytes, device: str, board: str) -> Head:
    """The head of an image for a chip; raises InputError for another chip's."""
    head = read_head(data)
    if head.idcode != IDCODES[device]:
        names = {code: name for name, code in IDCODES.items()}
        raise InputError(
            f"image must be for the {device} of {board}, not for another ECP5 ({names.get(head.idcode, hex(head.idcode))});"
            f" build it with: --board {board}"
        )
    return head


def seal_of(body: bytes) -> dict[str, str]:
    """What a record says of the bytes behind it."""
    return {"bytes": str(len(body)), "crc32": f"{zlib.crc32(body):08x}"}


def check_seal(body: bytes, seal: Mapping[str, str]) -> None:
    """Raise InputError unless the bytes behind a record are those that it was made for."""
    if seal != seal_of(body):
        what = "truncated" if len(body) < int(seal.get("bytes", "0") or 0) else "damaged"
        raise InputError(
            f"image must be as it was built, by the length and CRC-32 in its record, but it is {what}; build it again"
        )
