"""What the gated engine is told over the link, as bytes: one table for host, hardware and document.

All numbers are little-endian. ``LOAD`` and ``READ`` are followed by memory (1 byte), column (1), address (2), count (2); LOAD
then by ``count`` words of as many bytes as :attr:`GatedConfig.word_bytes` says. Words of the weight memory are columns: the
first of a row, then the next, then those of the next row. READ answers with ``count`` words of the vector memory. ``RUN``
goes on from the states, ``RUN_FRESH`` resets those of lifetime ``sample`` first; both are followed by a sample's bytes and
answered with the answer's. ``CYCLES`` answers with the cycles of the run before, without those of the streams, in 4 bytes.
"""

from __future__ import annotations

from enum import IntEnum


class Command(IntEnum):
    """First byte of a command."""

    LOAD = 1
    READ = 2
    RUN = 3
    RUN_FRESH = 4
    CYCLES = 5


class Memory(IntEnum):
    """Memories by number."""

    PROGRAM = 0
    WEIGHTS = 1
    TABLES = 2
    VECTOR = 3


HEADER_BYTES = 7
"""Bytes of LOAD and READ before the data."""


def header(command: Command, memory: Memory, address: int, count: int) -> bytes:
    """The bytes of a LOAD or READ before its data."""
    return bytes([command, memory, 0]) + address.to_bytes(2, "little") + count.to_bytes(2, "little")
