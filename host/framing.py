"""Frames on the line: COBS and CRC-32 (see :mod:`neuroloom.rtl.link.protocol` for the format)."""

from __future__ import annotations

import zlib

from neuroloom.rtl.link.protocol import CRC_BYTES, DELIMITER, HEADER_BYTES

BORDER = bytes([DELIMITER])
FULL_RUN = 254
"""Data bytes of a COBS block that stands for no zero."""


def stuff(data: bytes) -> bytes:
    """COBS-encode: the result holds no zero byte, and one byte more for each 254 begun."""
    out = bytearray()
    for run in data.split(b"\0"):
        while len(run) >= FULL_RUN:
            out += b"\xff" + run[:FULL_RUN]
            run = run[FULL_RUN:]
        out.append(len(run) + 1)
        out += run
    return bytes(out)


def unstuff(data: bytes) -> bytes | None:
    """COBS-decode what stood between two borders; None if it is not COBS."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        run = data[at + 1 : at + code]
        at += code
        if at > len(data) or len(run) != code - 1:
            return None
        out += run
        if code <= FULL_RUN and at < len(data):
            out.append(0)
    return bytes(out)


def encode(body: bytes) -> bytes:
    """The frame that carries ``body`` (header and payload), with a border on both sides."""
    return BORDER + stuff(body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")) + BORDER


class FrameDecoder:
    """Takes the line's bytes as they come and gives the bodies of the right frames.

    ``broken`` counts the others. A frame longer than ``largest`` line bytes is broken; memory stays bounded.
    """

    def __init__(self, largest: int = 1 << 14) -> None:
        self._largest = largest
        self._partial = bytearray()
        self._skipping = False
        self.broken = 0

    def reset(self) -> None:
        """Forget a partial frame."""
        self._partial.clear()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the bodies (header and payload, at least a header) that became complete."""
        bodies = []
        *complete, rest = data.split(BORDER)
        for part in complete:
            self._add(part)
            body = self._finish()
            if body is not None:
                bodies.append(body)
        self._add(rest)
        return bodies

    def _add(self, part: bytes) -> None:
        self._partial += part
        if len(self._partial) > self._largest:
            self._skipping = True
            self._partial.clear()

    def _finish(self) -> bytes | None:
        data, skipped = bytes(self._partial), self._skipping
        self.reset()
        if not data and not skipped:
            return None
        decoded = None if skipped else unstuff(data)
        if decoded is None or len(decoded) < HEADER_BYTES + CRC_BYTES:
            self.broken += 1
            return None
        body, crc = decoded[:-CRC_BYTES], decoded[-CRC_BYTES:]
        if zlib.crc32(body) != int.from_bytes(crc, "little"):
            self.broken += 1
            return None
        return body
