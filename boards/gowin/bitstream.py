"""The Gowin configuration file (.fs): lines of ``0`` and ``1``, commands around the frames of the fuses and of block RAM's content.

Source of the format: Project Apicula, "Command structure" and "Filestructure". Every line is interpreted; one that is not known, a
bad CRC or a frame of another length is an :class:`InputError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError

DEVICES = {0x1100481B: "GW1N-9C"}
"""Device by the identity that a file must name; each with the fuses' rows and columns in :data:`SIZES`."""

SIZES = {"GW1N-9C": (712, 2836)}
CONTENT_ROWS = 256
"""Frames of block RAM content for each of the chip's rows of them."""

COMPRESSED = 1 << 13
"""In command 0x10: the frames are compressed."""

_TAIL = 8
"""Bytes of a frame behind its fuses: the CRC and six of ones, which count to the next frame's CRC."""


@dataclass(frozen=True)
class Bitstream:
    """What a configuration file writes: ``fuses[row, column]`` of the chip and ``content`` of its block RAMs, both of bools.

    ``content`` is None where the file has none. ``settings`` is the word of command 0x10.
    """

    device: str
    fuses: np.ndarray
    content: np.ndarray | None
    settings: int
    size: int


def crc(data: Iterable[int], value: int = 0) -> int:
    """CRC-16/ARC, which guards each frame."""
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


_TABLE = [crc([byte]) for byte in range(256)]


def _crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value


def _lines(data: bytes) -> list[bytes]:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise InputError("Gowin bitstream must be text of zeros and ones, and is not; is it an .fs file?") from None
    result = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("//"):
            continue
        if set(line) - {"0", "1"} or len(line) % 8:
            raise InputError(f"Gowin bitstream line {number} must be whole bytes of zeros and ones, and is not")
        result.append(int(line, 2).to_bytes(len(line) // 8, "big"))
    return result


def parse(data: bytes) -> Bitstream:
    """Read a configuration file; raises :class:`InputError` where it is not one that this reader knows in full."""
    lines = _lines(data)
    device, settings, guarded, at = _header(lines)
    rows, columns = SIZES[device]
    frames = int.from_bytes(lines[at][2:], "big")
    content_rows = 2 * CONTENT_ROWS  # two rows of block RAMs
    if frames not in (rows, rows + content_rows):
        raise InputError(
            f"Gowin bitstream of a {device} must have {rows} frames, or {rows + content_rows} with block RAM, not {frames}"
        )
    width = (columns + 7) // 8
    body = lines[at + 1 : at + 1 + frames]
    for number, frame in enumerate(body):
        if len(frame) != width + _TAIL:
            raise InputError(f"Gowin bitstream frame {number} must have {width + _TAIL} bytes, not {len(frame)}")
        if int.from_bytes(frame[width : width + 2], "little") != _crc(guarded + frame[:width]):
            raise InputError(f"Gowin bitstream frame {number} must fit its CRC, and does not; is the file damaged?")
        guarded = frame[width + 2 :]
        if guarded != b"\xff" * 6:
            raise InputError(f"Gowin bitstream frame {number} must end in ones, and does not")
    if len(body) != frames:
        raise InputError(f"Gowin bitstream must have {frames} frames, and ends after {len(body)}; is the file cut?")
    bits = np.unpackbits(np.frombuffer(b"".join(f[:width] for f in body), np.uint8).reshape(frames, width), axis=1)
    padding = 8 * width - columns
    if not bits[:, :padding].all():
        raise InputError(f"Gowin bitstream frames must begin with {padding} ones, and do not")
    grid = bits[:, padding:][:, ::-1].astype(bool)
    _footer(lines[at + 1 + frames :], bits[:rows, padding:])
    return Bitstream(device, grid[:rows], grid[rows:] if frames > rows else None, settings, len(data))


def _header(lines: list[bytes]) -> tuple[str, int, bytes, int]:
    """(device, settings, bytes that count to the first frame's CRC, index of the line that tells the number of frames)."""
    if len(lines) < 4 or set(lines[0]) != {0xFF} or lines[2] != b"\xa5\xc3":
        raise InputError("Gowin bitstream must begin with ones and its preamble, and does not; is it an .fs file?")
    device, settings, guarded = "", 0, b""
    for at, line in enumerate(lines[3:], 3):
        command = line[0]
        if command != 0xD2:  # the address in flash
            guarded += line
        if command == 0x06:
            identity = int.from_bytes(line[4:], "big")
            if identity not in DEVICES:
                raise InputError(
                    f"Gowin bitstream must be for a {', '.join(DEVICES.values())}, not for {identity:#010x}"
                )
            device = DEVICES[identity]
        elif command == 0x10:
            settings = int.from_bytes(line[1:], "big")
            if settings & COMPRESSED:
                raise InputError("Gowin bitstream must not be compressed to be read back; pack it without -c")
        elif command == 0x3B:
            if not device:
                break
            return device, settings, guarded, at
        elif command not in (0x51, 0x0B, 0xD2, 0x12):
            raise InputError(f"Gowin bitstream must have known commands in its header, not {command:#04x}")
    raise InputError("Gowin bitstream must name its device and the number of its frames, and does not")


def _footer(lines: list[bytes], bits: np.ndarray) -> None:
    """Check the commands behind the frames, among them the sum over all fuses, 16 bits at a time."""
    checked = False
    for line in lines:
        if line[0] == 0x0A:
            checked = True
            if int.from_bytes(line[-2:], "big") != checksum(bits):
                raise InputError(
                    "Gowin bitstream must fit the checksum of its fuses, and does not; is the file damaged?"
                )
        elif line[0] not in (0xFF, 0x08):
            raise InputError(f"Gowin bitstream must have known commands behind its frames, not {line[0]:#04x}")
    if not checked:
        raise InputError("Gowin bitstream must have a checksum behind its frames, and does not; is the file cut?")


def checksum(bits: np.ndarray) -> int:
    """The sum over the fuses in the file's order, as one string of 16-bit words."""
    packed = np.packbits(bits.reshape(-1)).astype(np.uint64)
    return int(packed[0::2].sum() * 256 + packed[1::2].sum()) & 0xFFFF


def flip(data: bytes, fuses: Iterable[tuple[int, int]], content: Iterable[tuple[int, int]] = ()) -> bytes:
    """The file with fuses, or bits of block RAM's content, at (row, column) inverted, and its CRCs and checksum made good."""
    stream = parse(data)
    rows, columns = SIZES[stream.device]
    lines = _lines(data)
    guarded, at = _header(lines)[2:]
    grid = stream.fuses if stream.content is None else np.vstack([stream.fuses, stream.content])
    grid = grid.copy()
    for row, column in [*fuses, *((rows + row, column) for row, column in content)]:
        grid[row, column] ^= True
    width = (columns + 7) // 8
    bits = np.hstack([np.ones((len(grid), 8 * width - columns), bool), grid[:, ::-1]])
    for number, frame in enumerate(np.packbits(bits, axis=1)):
        packed = frame.tobytes()
        lines[at + 1 + number] = packed + _crc(guarded + packed).to_bytes(2, "little") + b"\xff" * 6
        guarded = b"\xff" * 6
    for number in range(at + 1 + len(grid), len(lines)):
        if lines[number][0] == 0x0A:
            lines[number] = lines[number][:-2] + checksum(bits[:rows, 8 * width - columns :]).to_bytes(2, "big")
    return b"".join(f"{int.from_bytes(line, 'big'):0{8 * len(line)}b}\n".encode() for line in lines)
