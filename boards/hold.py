"""Time that a virtual board takes from nobody: while it compiles an image that boots, hosts on its port are told to wait.

A real board loads an image in a tenth of a second; a virtual one may have to compile a simulation first. It leaves a note beside
its port meanwhile, and the host's side of the port lets its clock stand still as long as the note is there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def _note(port: str) -> Path:
    """Where the note of a pseudo-terminal is: in a folder of this user's own."""
    return (
        Path(tempfile.gettempdir())
        / f"neuroloom-hold-{os.getuid()}"
        / os.path.realpath(port).strip("/").replace("/", "-")
    )


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" when there is none. A number that was given anew tells itself so."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@contextlib.contextmanager
def hold(port: str, reason: str) -> Iterator[None]:
    """Hosts on ``port`` wait inside this context; ``reason`` is what they say meanwhile, e.g. ``compiles slot 1``."""
    note = _note(port)
    note.parent.mkdir(mode=0o700, exist_ok=True)
    pid = os.getpid()
    draft = note.with_suffix(f".{pid}")
    draft.write_text(f"{pid} {_started(pid)} {reason}", encoding="utf-8")
    draft.replace(note)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def held(port: str) -> str:
    """Why hosts on ``port`` shall wait; empty when they need not, or when whoever asked for it is dead."""
    note = _note(port)
    try:
        if note.stat().st_uid != os.getuid():
            return ""
        pid, started, reason = note.read_text(encoding="utf-8").split(" ", 2)
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return ""
    return reason if _started(int(pid)) == started else ""
