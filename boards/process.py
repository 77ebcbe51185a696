"""Running one child process: a time limit, a live log, cancellation, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LIFELINE = "NEUROLOOM_LIFELINE"
"""Variable with the number of a pipe that a child may watch: it closes when this process ends, however it ends."""


class Stop(Protocol):
    """What a running tool is ended by, looked at ten times a second; ``threading.Event`` is one."""

    def is_set(self) -> bool:
        """Whether the tool shall end."""
        ...


@dataclass(frozen=True)
class Outcome:
    """Exit status, combined output, wall seconds; ``stopped`` is None, "expired" or "cancelled"."""

    returncode: int
    output: str
    seconds: float
    stopped: str | None


def execute(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    header: str = "",
    log: Path | None = None,
    stdin: str | None = None,
    on_line: Callable[[str], None] | None = None,
    cancel: Stop | None = None,
) -> Outcome:
    """Run ``argv`` to its end, to ``timeout`` seconds or to ``cancel``; the last two kill its whole process group.

    ``log`` receives ``header`` and then each line as it arrives. Raises OSError when the program cannot be started.
    """
    started = time.monotonic()
    far_end, near_end = os.pipe()
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**env, LIFELINE: str(far_end)},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=(far_end,),
        )
    except BaseException:
        os.close(near_end)
        raise
    finally:
        os.close(far_end)
    ended = threading.Event()
    stopped: list[str] = []
    threading.Thread(target=_watch, args=(process, started + timeout, ended, cancel, stopped), daemon=True).start()
    if stdin is not None:
        threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
    try:
        output = _collect(process, header, log, on_line)
        returncode = process.wait()
    except BaseException:
        _kill_group(process)
        raise
    finally:
        ended.set()
        os.close(near_end)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return Outcome(returncode, output, time.monotonic() - started, stopped[0] if stopped else None)


def _collect(
    process: subprocess.Popen[str], header: str, log: Path | None, on_line: Callable[[str], None] | None
) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    file = log.open("w", encoding="utf-8", buffering=1) if log is not None else None
    try:
        if file is not None:
            file.write(header)
        for line in process.stdout:
            lines.append(line)
            if file is not None:
                file.write(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))
    finally:
        if file is not None:
            file.close()
    return "".join(lines)


def _watch(
    process: subprocess.Popen[str],
    deadline: float,
    ended: threading.Event,
    cancel: Stop | None,
    stopped: list[str],
) -> None:
    while not ended.wait(0.1):
        if cancel is not None and cancel.is_set():
            stopped.append("cancelled")
        elif time.monotonic() > deadline:
            stopped.append("expired")
        if stopped:
            _kill_group(process)
            return


def _feed(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(text)
        process.stdin.close()
    except (BrokenPipeError, ValueError):
        pass  # the tool ended early; its status and output say why


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
