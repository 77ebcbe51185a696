"""Running one child process: a time limit, a live log, cancellation, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")

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
    scope = _scope.get()
    if scope is not None:
        scope.enter(process)
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
        if scope is not None:
            scope.leave(process)
        if process.stdout is not None:
            process.stdout.close()
    return Outcome(returncode, output, time.monotonic() - started, stopped[0] if stopped else None)


class Scope:
    """The children of some threads: those that run in a context in which this scope was entered (``within``)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[subprocess.Popen[str]] = set()
        self._ended = False

    def enter(self, process: subprocess.Popen[str]) -> None:
        """A child was started; it is killed at once if the scope has ended."""
        with self._lock:
            self._live.add(process)
            if self._ended:
                _kill_group(process)

    def leave(self, process: subprocess.Popen[str]) -> None:
        """A child has ended."""
        with self._lock:
            self._live.discard(process)

    def end(self) -> None:
        """Kill every child with its process group, and every later one: their threads then see failed tools."""
        with self._lock:
            self._ended = True
            for process in self._live:
                _kill_group(process)

    def within(self, function: Callable[..., T], *args: object) -> Callable[[], T]:
        """``function(*args)``, to be called in any thread, with its children in this scope."""
        context = copy_context()
        context.run(_scope.set, self)
        return partial(context.run, function, *args)


_scope: ContextVar[Scope | None] = ContextVar("scope of child processes", default=None)


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
