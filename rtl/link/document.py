"""Writes ``docs/link.md`` from the protocol table: ``python -m neuroloom.rtl.link.document docs/link.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import protocol as p

DIAGRAMS = {
    "A session": """
    Host->>Device: SYNC 41, nonce
    Device-->>Host: SYNC 41 OK, same nonce, next 42
    Host->>Device: IDENTIFY 42
    Device-->>Host: IDENTIFY 42 OK, identity, next 43
    Host->>Device: RESET 43
    Device-->>Host: RESET 43 OK, next 44
    Host->>Device: RUN 44, samples
    Host->>Device: RUN 45, samples
    Note over Device: executes 44 while 45 arrives
    Device-->>Host: RUN 44 OK, answers
    Host->>Device: RUN 46, samples
    Device-->>Host: RUN 45 OK, answers""",
    "A broken request": """
    Host-xDevice: RUN 44 (a bit flips)
    Device-->>Host: NAK BAD_FRAME, next 44
    Host->>Device: RUN 44 again
    Device-->>Host: RUN 44 OK, answers""",
    "A lost answer": """
    Host->>Device: RUN 44
    Note over Device: executes, keeps the answer
    Device--xHost: RUN 44 OK (lost)
    Note over Host: waits, about four times the usual answer time
    Host->>Device: RUN 44 again
    Note over Device: does not execute
    Device-->>Host: RUN 44 OK, the kept answer""",
    "A frame that is too long for the line": """
    Host-xDevice: RUN 44, 448 bytes (broken again and again)
    Host->>Device: PING 44, empty
    Note over Host: the device executes a number once
    Device-->>Host: PING 44 OK: so RUN 44 was never executed
    Host->>Device: RUN 45, 240 bytes""",
    "A board that restarts": """
    Note over Device: power cut
    Host->>Device: RUN 44
    Device-->>Host: NAK NOT_SYNCED
    Note over Host: error: the board restarted in mid-run""",
}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _fields(table: tuple[p.Field, ...]) -> list[str]:
    rows, at = [], 0
    for field in table:
        rows.append((at, field.size, f"`{field.name}`", field.about))
        at += field.size
    return _table(("offset", "bytes", "field", "meaning"), rows)


def render() -> str:
    """The text of ``docs/link.md``."""
    reserved = ", ".join(f"0x{first:02x}–0x{last:02x} {about}" for first, last, about in p.RESERVED_COMMANDS)
    engines = ", ".join(f"{code} {name}" for code, name in p.ENGINES.items())
    lines = [
        "# The link",
        "",
        "<!-- Written by `python -m neuroloom.rtl.link.document docs/link.md` from `rtl/link/protocol.py`; change that. -->",
        "",
        f"Protocol version {p.VERSION}. UART 8N1, up to {p.BAUD_MAX:,} baud; the device's integer divisor may be"
        f" {p.BAUD_TOLERANCE:.1%} off. Numbers are little-endian.",
        "",
        "## Frames",
        "",
        f"`{p.DELIMITER:02x} COBS(header payload CRC-32) {p.DELIMITER:02x}`. COBS leaves no zero inside a frame, so 0x00 is"
        " always a border; empty frames are ignored. The CRC is the CRC-32 of IEEE 802.3 (reflected polynomial"
        f" 0x{p.CRC_POLYNOMIAL:08X}, starts with ones, complemented) over header and payload, least significant byte first.",
        "",
        "Header of a request:",
        "",
        *_fields(p.REQUEST_HEADER),
        "",
        "Header of a response:",
        "",
        *_fields(p.RESPONSE_HEADER),
        "",
        f"The largest payload is the frame buffer less {p.FRAME_RESERVE} bytes: {p.max_payload(p.Buffers.frame_bytes)} with the "
        f"usual {p.Buffers.frame_bytes}, of which there are {p.Buffers.window} in each direction (`window`).",
        "",
        "## Rules",
        "",
        *(f"{number}. {rule}" for number, rule in enumerate(p.RULES, 1)),
        "",
        "## Commands",
        "",
        *_table(
            ("code", "name", "arg", "request payload", "response payload", "what it does"),
            ((f"0x{c.code:02x}", c.name, c.arg, c.request, c.response, c.about) for c in p.COMMANDS),
        ),
        "",
        f"Kept free: {reserved}.",
        "",
        "## Status codes",
        "",
        *_table(
            ("code", "name", "meaning"),
            ((f"0x{status:02x}", status.name, about) for status, about in p.STATUS_ABOUT.items()),
        ),
        "",
        f"Codes from 0x{p.NAK_STATUS:02x} are NAKs: nothing was executed, the number is still free, nothing is kept.",
        "",
        "## Records",
        "",
        "Identity:",
        "",
        *_fields(p.IDENTITY_FIELDS),
        "",
        f"Engine kinds: {engines}.",
        "",
        "Status:",
        "",
        *_fields(p.STATUS_FIELDS),
        "",
        "## How it plays",
    ]
    for title, diagram in DIAGRAMS.items():
        lines += ["", f"### {title}", "", "```mermaid", "sequenceDiagram" + diagram, "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
