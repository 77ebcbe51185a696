"""Recorded sessions (``*.nls``): every byte between host and device with its time, as text that may be read and cut by hand.

The first line is ``neuroloom session 1``. Then one event a line, ``SECONDS KIND DATA``: ``open`` (the host's timeout in
seconds, the port), ``>`` (bytes to the device), ``<`` (bytes from it; none when a wait was in vain), ``discard`` (both buffers
forgotten, a session begins), ``lost`` (the port's error, in words), ``close``. Bytes are hexadecimal; empty lines and lines
with ``#`` are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuroloom.compiler.errors import InputError

MAGIC = "neuroloom session 1"
SUFFIX = ".nls"
TO, FROM = ">", "<"
KINDS = ("open", TO, FROM, "discard", "lost", "close")
LARGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Event:
    """What happened ``time`` seconds after the session's start: ``data`` for bytes, ``text`` for the other kinds."""

    time: float
    kind: str
    data: bytes = b""
    text: str = ""
    line: int = 0

    def __str__(self) -> str:
        rest = self.data.hex() if self.kind in (TO, FROM) else self.text.replace("\n", " ")
        return f"{self.time:.6f} {self.kind} {rest}".rstrip()


def read_session(path: Path | str) -> list[Event]:
    """All events of a file, in order; raises InputError naming the line that is none."""
    return list(_events(Path(path)))


def _events(path: Path) -> Iterator[Event]:
    last = 0.0
    try:
        with path.open(encoding="utf-8") as file:
            if file.readline(LARGEST_LINE).strip() != MAGIC:
                raise InputError(
                    f"{path}: a recorded session must begin with the line {MAGIC!r}; record one with --record"
                )
            for number, line in enumerate(iter(lambda: file.readline(LARGEST_LINE), ""), 2):
                text = line.strip()
                if text and not text.startswith("#"):
                    event = _event(path, number, text)
                    if event.time < last:
                        raise InputError(
                            f"{path}, line {number}: times must not go back, from {last:g} s to {event.time:g} s"
                        )
                    last = event.time
                    yield event
    except UnicodeDecodeError:
        raise InputError(f"{path}: a recorded session must be text") from None


def _event(path: Path, number: int, text: str) -> Event:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) (\S+)(?: (.*))?", text)
    if match is None or match[2] not in KINDS:
        raise InputError(
            f"{path}, line {number}: an event must be 'SECONDS KIND DATA' with one of {' '.join(KINDS)}, not {text[:40]!r}"
        )
    time, kind, rest = float(match[1]), match[2], match[3] or ""
    if kind not in (TO, FROM):
        return Event(time, kind, text=rest, line=number)
    try:
        return Event(time, kind, bytes.fromhex(rest), line=number)
    except ValueError:
        raise InputError(f"{path}, line {number}: bytes must be hexadecimal, not {rest[:40]!r}") from None
