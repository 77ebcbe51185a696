"""The core's opcodes as typed calls; see "Bytes of the engine" in ``docs/spiking-core.md``."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from neuroloom.compiler.errors import DeviceError

STATUS_BYTES = 24
RECORD_BYTES = 32
EVENT_BYTES = 4
NO_EVENT = 0xFFFFFFFF
SOURCES_MAX = 255
"""Sources in one ``I``."""

_WRITE = struct.Struct("<cBIH")
_GO = struct.Struct("<cIB")
_STATUS = struct.Struct("<BBHIIIIHH")
_ENVELOPE = struct.Struct("<cBH")
ENVELOPE_BYTES = _ENVELOPE.size
ALL = 0xFF
"""The number that names all cores of a build at once."""


class Space(IntEnum):
    """Address spaces; addresses count bytes."""

    PROGRAM, POOL, HIST, CONTROL = range(4)


class Control(IntEnum):
    """Addresses of the control space, four bytes each."""

    REWARD, LFSR, POSITION = 0, 4, 8


class Go(IntEnum):
    """Flags of ``G``."""

    RASTER, STOP, CONTINUE = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Call:
    """One opcode with its fields, and the bytes that it answers."""

    data: bytes
    answer: int = 0


def write(space: Space, address: int, data: bytes, limit: int) -> list[Call]:
    """``W`` of ``data`` (a multiple of 4 bytes, of 2 in HIST) from byte ``address`` on, at most ``limit`` bytes a call."""
    most = (min(limit, 65535) - _WRITE.size) & ~3
    return [
        Call(_WRITE.pack(b"W", space, address + at, len(part)) + part)
        for at in range(0, len(data), most)
        for part in (data[at : at + most],)
    ]


def read(space: Space, address: int, count: int, limit: int) -> list[Call]:
    """``R`` of ``count`` bytes, at most ``limit`` a call. Like every call but ``S`` and ``D`` it waits until the core is idle."""
    most = min(limit, 65535) & ~3
    return [
        Call(_WRITE.pack(b"R", space, address + at, size), size)
        for at in range(0, count, most)
        for size in (min(most, count - at),)
    ]


def control(where: Control, value: int) -> Call:
    """``W`` of one word of the control space."""
    return Call(_WRITE.pack(b"W", Space.CONTROL, where, 4) + (value & 0xFFFFFFFF).to_bytes(4, "little"))


def go(steps: int, flags: int) -> Call:
    """``G``: run ``steps`` steps; ``flags`` are of :class:`Go`."""
    return Call(_GO.pack(b"G", steps, flags))


def inject(sources: np.ndarray) -> list[Call]:
    """``I``: spikes of ``sources`` in the next step."""
    return [
        Call(b"I" + bytes([len(part)]) + part.astype("<u2").tobytes())
        for at in range(0, len(sources), SOURCES_MAX)
        for part in (sources[at : at + SOURCES_MAX],)
    ]


def status() -> Call:
    """``S``, at any time."""
    return Call(b"S", STATUS_BYTES)


def drain(count: int, limit: int) -> list[Call]:
    """``D``: the oldest ``count`` events, at any time; answers of at most ``limit`` bytes."""
    most = min(limit // EVENT_BYTES, 65535)
    sizes = (min(most, count - at) for at in range(0, count, most))
    return [Call(b"D" + struct.pack("<H", size), EVENT_BYTES * size) for size in sizes]


def zero() -> Call:
    """``Z``: step 0, nothing in the history, no events, no decision, counters 0; program, pool and LFSR stay."""
    return Call(b"Z")


def query() -> Call:
    """``Q``: the configuration record."""
    return Call(b"Q", RECORD_BYTES)


def to_core(core: int, calls: Iterable[Call]) -> list[Call]:
    """Calls for one of several cores, or for :data:`ALL` at once (core 0 answers); each takes :data:`ENVELOPE_BYTES` more."""
    return [Call(_ENVELOPE.pack(b"C", core, len(call.data)) + call.data, call.answer) for call in calls]


SATURATIONS = ("synaptic sums", "additions of neurons", "rounded products", "eligibilities")
"""What the bits of :attr:`Status.saturated` tell of, lowest first."""


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to ``S``.

    ``saturated`` has a bit per entry of :data:`SATURATIONS`, sticky since ``Z``; ``cycles`` are those inside steps, without
    ``stalls`` (for a full event FIFO); both count modulo 2^32. ``decided_at`` and ``winner`` hold once ``decided``.
    """

    running: bool
    stalled: bool
    stopped: bool
    decided: bool
    saturated: int
    events: int
    step: int
    cycles: int
    stalls: int
    decided_at: int
    winner: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Status:
        """Read the record; raises DeviceError when its length is wrong."""
        if len(data) != STATUS_BYTES:
            raise DeviceError(f"the core's status must be {STATUS_BYTES} bytes, not {len(data)}; rebuild the bitstream")
        flags, saturated, events, step, cycles, stalls, at, winner, _ = _STATUS.unpack(data)
        running, stalled, stopped, decided = (bool(flags >> n & 1) for n in range(4))
        return cls(running, stalled, stopped, decided, saturated, events, step, cycles, stalls, at, winner)


def events_of(data: bytes) -> np.ndarray:
    """Events uint16 [n, 2] (low half of the step, source) of an answer to ``D``, without the places where none waited."""
    words = np.frombuffer(data, "<u4")
    return words[words != NO_EVENT].view("<u2").reshape(-1, 2)
