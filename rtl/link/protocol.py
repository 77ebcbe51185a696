"""The link protocol, as one table: gateware, host and ``docs/link.md`` all derive from this module.

A frame on the line is ``00 COBS(header payload CRC-32) 00``. The header is four bytes in both directions, the CRC is the
CRC-32 of IEEE 802.3 over header and payload, least significant byte first. COBS (Cheshire & Baker, 1999) removes every
zero byte from the inside of a frame, so 0x00 is always a frame border and a receiver that lost its place finds it again at
the next border. The rules of the conversation are in :data:`RULES`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

from neuroloom.compiler.errors import DeviceError, InputError

VERSION = 1
"""Protocol version; it changes whenever a host and a device of different versions could misunderstand each other."""

DELIMITER = 0x00
"""Frame border. Empty frames (two borders in a row) are ignored."""

RESPONSE_BIT = 0x80
"""Set in the command byte of every frame from the device, so that an echoed request is never taken for an answer."""

HEADER_BYTES = 4
CRC_BYTES = 4
SEQUENCE_MODULUS = 256

CRC_POLYNOMIAL = 0xEDB88320
"""CRC-32 of IEEE 802.3, reflected; the register starts with ones and its complement is sent."""

CRC_RESIDUE = 0x2144DF1C
"""CRC of any message followed by its own CRC."""

FRAME_RESERVE = 64
"""Bytes of a frame buffer that carry no payload: header, CRC, COBS codes and borders, and the place of a NAK."""

NAK_RESERVE = 32
"""The last bytes of the first response buffer, where a NAK is built, so that it never overwrites a kept response."""

FRAME_BYTES_MIN, FRAME_BYTES_MAX = 256, 4096
WINDOW_MAX = 8


@dataclass(frozen=True)
class Buffers:
    """Frame buffers of one direction: bytes of each, and their number, which is how many requests may be on their way at once.

    The line stays full in both directions at once if ``window`` frames take longer on it than two do (there and back) plus the
    executor's and the adapter's time: four of 448 bytes leave 2.7 ms at 3 Mbaud for these, two never leave any. ``registered``:
    a register behind the requests' memory, for fast clocks; the engine then gets a byte in three cycles at most, not in two.
    """

    frame_bytes: int = 512
    window: int = 4
    registered: bool = False


BAUD_MAX = 3_000_000
BAUD_TOLERANCE = 0.015
"""Largest relative baud error of the device's integer divisor; the other 0.5–2 % belong to the host's side."""
DIVISOR_MIN = 4


@dataclass(frozen=True)
class Field:
    """One little-endian field: ``size`` bytes, read as ``kind`` (``uint``, ``bytes`` or ``text``)."""

    name: str
    size: int
    kind: str
    about: str


@dataclass(frozen=True)
class CommandSpec:
    """One row of the command table; ``arg``, ``request`` and ``response`` describe the fields in words."""

    code: int
    name: str
    arg: str
    request: str
    response: str
    about: str


class Command(IntEnum):
    """Command byte of a request; a response carries it with :data:`RESPONSE_BIT` set."""

    NAK = 0x00
    SYNC = 0x01
    PING = 0x02
    IDENTIFY = 0x03
    STATUS = 0x04
    MEMTEST = 0x05
    RESET = 0x06
    RUN = 0x10
    BOOT = 0x20
    CONFIRM = 0x21
    NETWORK = 0x30


class Status(IntEnum):
    """Status byte of a response. Codes from 0x40 come in a NAK: the request was not executed, its number is still free."""

    OK = 0x00
    UNKNOWN_COMMAND = 0x01
    BAD_LENGTH = 0x02
    ENGINE_TIMEOUT = 0x03
    BAD_FRAME = 0x40
    OUT_OF_ORDER = 0x41
    NOT_SYNCED = 0x42


NAK_STATUS = 0x40

STATUS_ABOUT = {
    Status.OK: "done",
    Status.UNKNOWN_COMMAND: "this device does not know the command; nothing was done",
    Status.BAD_LENGTH: "the response asked for is longer than the largest payload; nothing was done",
    Status.ENGINE_TIMEOUT: "the engine stopped taking or giving bytes; it was reset, the answer is lost",
    Status.BAD_FRAME: "a frame was broken, too short or too long (its number is unknown: the sequence field is 0)",
    Status.OUT_OF_ORDER: "the request's number is neither the next one nor one of the kept ones",
    Status.NOT_SYNCED: "the device started afresh and accepts nothing before a SYNC",
}

REQUEST_HEADER = (
    Field("command", 1, "uint", "command code, below 0x80"),
    Field("sequence", 1, "uint", "number of the request, modulo 256"),
    Field("arg", 2, "uint", "argument, by command"),
)

RESPONSE_HEADER = (
    Field("command", 1, "uint", "command code of the request with bit 7 set; 0x80 where it is unknown"),
    Field("sequence", 1, "uint", "number of the request"),
    Field("status", 1, "uint", "status code"),
    Field(
        "next",
        1,
        "uint",
        "number that the device expects after this request: the end of its credit is next + window - 1",
    ),
)

COMMANDS = (
    CommandSpec(
        Command.SYNC,
        "SYNC",
        "0",
        "any bytes (the host sends a random nonce)",
        "the same bytes",
        "begins a session: forgets the kept responses, and the next number is this one plus one. Accepted with any number."
        " Sent after everything before it has left, so nothing older can follow its response",
    ),
    CommandSpec(Command.PING, "PING", "0", "any bytes", "the same bytes", "link loop-back through both frame buffers"),
    CommandSpec(Command.IDENTIFY, "IDENTIFY", "0", "none", "the identity record", "who are you"),
    CommandSpec(Command.STATUS, "STATUS", "0", "none", "the status record", "what happened since power-up"),
    CommandSpec(
        Command.MEMTEST,
        "MEMTEST",
        "background byte b",
        "none",
        "the status record",
        "March C- with b and its complement over the response buffers; forgets the kept responses",
    ),
    CommandSpec(Command.RESET, "RESET", "0", "none", "none", "resets the engine to its power-up state"),
    CommandSpec(
        Command.RUN,
        "RUN",
        "response length in bytes",
        "bytes for the engine",
        "that many bytes from the engine",
        "feeds the payload to the engine while it collects the response. A sample larger than a frame is sent as several"
        " RUNs, all but the last asking for 0 bytes",
    ),
    CommandSpec(
        Command.BOOT,
        "BOOT",
        "0",
        "none",
        "none",
        "leaves this image for golden, right after the answer; only in designs that say so in their identity (`boot`)",
    ),
    CommandSpec(
        Command.CONFIRM,
        "CONFIRM",
        "0",
        "none",
        "none",
        "this image is good and may stay: ends the guard's time; only in designs that say so in their identity (`boot`)",
    ),
    CommandSpec(
        Command.NETWORK,
        "NETWORK",
        "0",
        "none",
        "one byte, see docs/flash.md",
        "what became of the network in the flash at the start; only in designs that say so in their identity (`boot`)",
    ),
)

RESERVED_COMMANDS = (
    (0x22, 0x2F, "boot"),
    (0x31, 0x3F, "loading weights and programs, reading them back"),
    (0x40, 0x4F, "streaming with credits"),
)

IDENTITY_FIELDS = (
    Field("magic", 2, "bytes", "'NL'"),
    Field("version", 1, "uint", "protocol version"),
    Field("engine", 1, "uint", "engine kind"),
    Field("bytes_in", 4, "uint", "bytes of one input sample"),
    Field("bytes_out", 4, "uint", "bytes of one output sample"),
    Field("clock_hz", 4, "uint", "clock of link and engine, in hertz"),
    Field("baud", 4, "uint", "baud rate the divisor was made for"),
    Field("max_payload", 2, "uint", "largest payload of a request or response, in bytes"),
    Field("window", 1, "uint", "requests that may be on their way at once"),
    Field(
        "boot",
        1,
        "uint",
        "bit 0: knows BOOT and CONFIRM; bit 1: goes back to golden unless confirmed in time; bit 2: loads"
        " a network from its flash at its start, and knows NETWORK",
    ),
    Field("scratch_bytes", 4, "uint", "bytes that MEMTEST covers"),
    Field("watchdog_ms", 4, "uint", "time without any byte to or from the engine after which a RUN is given up"),
    Field("board", 24, "text", "board name, ASCII, padded with zeros"),
    Field("model_hash", 32, "bytes", "SHA-256 of the graph or core that the bitstream was built from"),
)

STATUS_FIELDS = (
    Field("frames_ok", 1, "uint", "frames with a right CRC, modulo 256"),
    Field("frames_bad", 1, "uint", "broken, short or too long frames, modulo 256"),
    Field("repeats", 1, "uint", "kept responses sent again, modulo 256"),
    Field("dropped", 1, "uint", "frames dropped because every buffer was full, modulo 256"),
    Field("engine_timeouts", 1, "uint", "RUNs given up by the watchdog, modulo 256"),
    Field(
        "memory_difference",
        1,
        "uint",
        "wrong bits of the byte at which the last memory test stopped; 0 if all was right",
    ),
    Field("memory_address", 2, "uint", "its address"),
)

ENGINES = {0: "none", 1: "logic", 2: "spiking", 3: "gated", 4: "loopback", 5: "loader"}
"""Engine kinds by code; ``none`` is a bare shell, ``loopback`` answers with the bytes it gets, ``loader`` is golden's."""

BOOTS, GUARDED, STANDALONE = 1, 2, 4
"""Bits of the identity's ``boot``."""

GUARD_SECONDS = 10
"""From the start of a guarded image until it goes back to golden unless a CONFIRM came."""

MAGIC = b"NL"

RULES = (
    "The device acts on a frame only after its CRC proved right. A broken frame gets a NAK (BAD_FRAME) or silence.",
    "Requests are numbered modulo 256. The device executes exactly the next number. One of the last `window` numbers is a"
    " repetition: the kept response is sent again and nothing is executed. Any other number gets a NAK (OUT_OF_ORDER).",
    "So the host may have up to `window` requests on their way, repeats what is not answered, and each is executed at most once.",
    "After power-up the device accepts only SYNC, so a board that restarted in mid-run is noticed, never resumed.",
    "An image that BOOT has left does not answer again: the host finds golden, or another image, with a SYNC.",
    "Every wait ends: an engine without progress is given up by the watchdog and reset; a host that vanishes in"
    " mid-frame leaves a partial frame that the next frame's leading border ends.",
)


def size_of(table: tuple[Field, ...]) -> int:
    """Bytes of one record of ``table``."""
    return sum(field.size for field in table)


def pack(table: tuple[Field, ...], values: dict[str, int | bytes | str]) -> bytes:
    """Bytes of one record; raises InputError when a value does not fit its field."""
    out = bytearray()
    for field in table:
        value = values[field.name]
        if isinstance(value, int):
            if not 0 <= value < 1 << 8 * field.size:
                raise InputError(f"{field.name} must be between 0 and {(1 << 8 * field.size) - 1}, not {value}")
            out += value.to_bytes(field.size, "little")
        else:
            data = value.encode("ascii", "strict") if isinstance(value, str) else value
            if len(data) > field.size or (field.kind == "bytes" and len(data) != field.size):
                raise InputError(f"{field.name} must be {field.size} bytes, not {len(data)}")
            out += data.ljust(field.size, b"\0")
    return bytes(out)


def unpack(table: tuple[Field, ...], data: bytes) -> dict[str, int | bytes | str]:
    """Values of one record; raises DeviceError when its length is wrong."""
    if len(data) != size_of(table):
        raise DeviceError(
            f"the record from the device must have {size_of(table)} bytes, not {len(data)}; is it another version?"
        )
    values: dict[str, int | bytes | str] = {}
    at = 0
    for field in table:
        raw = data[at : at + field.size]
        at += field.size
        if field.kind == "uint":
            values[field.name] = int.from_bytes(raw, "little")
        elif field.kind == "text":
            values[field.name] = raw.rstrip(b"\0").decode("ascii", "replace")
        else:
            values[field.name] = raw
    return values


@dataclass(frozen=True)
class Identity:
    """What a device says about itself.

    ``engine`` is one of :data:`ENGINES`' names; ``bytes_in``/``bytes_out`` are bytes per sample; ``model_hash`` the
    32-byte SHA-256 of the graph or core. The fields with defaults are filled in by the shell.
    """

    engine: str
    board: str
    model_hash: bytes
    bytes_in: int
    bytes_out: int
    clock_hz: int
    version: int = VERSION
    baud: int = 0
    max_payload: int = 0
    window: int = 0
    scratch_bytes: int = 0
    watchdog_ms: int = 0
    boot: int = 0

    def __post_init__(self) -> None:
        if self.engine not in ENGINES.values():
            raise InputError(f"engine must be one of {', '.join(ENGINES.values())}, not {self.engine!r}")
        if len(self.model_hash) != 32:
            raise InputError(f"model_hash must be 32 bytes, not {len(self.model_hash)}")
        if not self.board.isascii() or not 0 < len(self.board) <= 24:
            raise InputError(f"board must be 1 to 24 ASCII characters, not {self.board!r}")
        allowed = (0, BOOTS, BOOTS | GUARDED, BOOTS | STANDALONE)
        if self.boot not in allowed:
            raise InputError(f"boot must be one of {', '.join(str(bits) for bits in allowed)}, not {self.boot}")

    def to_bytes(self) -> bytes:
        """The identity record, as IDENTIFY returns it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        code = {name: number for number, name in ENGINES.items()}[self.engine]
        return pack(IDENTITY_FIELDS, {**values, "engine": code, "magic": MAGIC})

    @classmethod
    def from_bytes(cls, data: bytes) -> Identity:
        """Read an identity record; raises DeviceError if it is of another protocol or version."""
        if data[:2] != MAGIC:
            raise DeviceError(
                "the device does not speak the neuroloom protocol; check the port, or flash a neuroloom bitstream"
            )
        if data[2:3] != bytes([VERSION]):
            raise DeviceError(
                f"the device speaks protocol version {data[2] if len(data) > 2 else '?'}, this host speaks {VERSION};"
                " rebuild the bitstream with this version of neuroloom"
            )
        values = unpack(IDENTITY_FIELDS, data)
        engine = ENGINES.get(values.pop("engine"))  # type: ignore[arg-type]
        if engine is None:
            raise DeviceError(
                f"the device names an engine kind that this host does not know (code {data[3]}); update neuroloom"
            )
        del values["magic"]
        try:
            return cls(engine=engine, **values)  # type: ignore[arg-type]
        except InputError as error:
            raise DeviceError(f"the identity record from the device is not valid: {error}") from error

    def with_link(self, **link: Any) -> Identity:
        """The same identity with the fields that the shell fills in."""
        return replace(self, **link)


def max_payload(frame_bytes: int) -> int:
    """Largest payload, in bytes, with frame buffers of ``frame_bytes``."""
    return frame_bytes - FRAME_RESERVE


def request_header(command: int, sequence: int, arg: int = 0) -> bytes:
    """The four header bytes of a request."""
    return struct.pack("<BBH", command, sequence, arg)
