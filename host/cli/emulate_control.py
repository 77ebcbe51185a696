"""Commands that a running ``neuroloom emulate`` takes on its standard input, one a line."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from neuroloom.boards.faults import LineFaults, milliseconds
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError, NeuroloomError

Say = Callable[[str], None]
AnyBoard = VirtualBoard | FlashBoard


@dataclass(frozen=True)
class ControlCommand:
    """``run(board, argument)`` does it and returns what to say."""

    usage: str
    about: str
    run: Callable[[AnyBoard, str], str]


def _fault(board: AnyBoard, text: str) -> str:
    if text:
        board.set_faults(LineFaults.parse(text))
    return f"line faults: {board.faults}"


def _cut(board: AnyBoard, text: str) -> str:
    board.cut_line(milliseconds(text))
    return f"the line is open for {text}"


def _unplug(board: AnyBoard, text: str) -> str:
    return f"serial port {board.unplug(milliseconds(text))} is back after {text}"


def _reset(board: AnyBoard, text: str) -> str:
    if text:
        raise InputError(f"reset must have no argument, not {text!r}")
    board.reset()
    return "the logic was reset"


def _stats(board: AnyBoard, text: str) -> str:
    if text:
        raise InputError(f"stats must have no argument, not {text!r}")
    facts = board.statistics()
    return (
        f"{facts.cycles:,} cycles, {facts.cycles_per_second:,.0f} cycles/s, {facts.sent:,} bytes to the device and"
        f" {facts.received:,} from it, {facts.framing_errors:,} broken stop bits, {facts.dropped:,} bytes lost at a closed port,"
        f" {facts.faults:,} faults injected"
    )


def _power(board: AnyBoard, text: str) -> str:
    if not isinstance(board, FlashBoard):
        raise InputError("power must go with --flash, because a board without a flash does not know what to start")
    verb, _, cycle = text.partition(" ")
    if (verb, cycle) == ("on", ""):
        board.power_on()
        return f"the power is on: {board.image} runs"
    if verb != "off" or not (cycle.isdecimal() or not cycle):
        raise InputError(f"power must be followed by on, off, or off CYCLE, not {text!r}")
    if not cycle:
        board.power_off()
        return "the power is off"
    board.cut_at(int(cycle))
    return f"the power goes off in clock cycle {int(cycle):,}"


CONTROL: dict[str, ControlCommand] = {
    "fault": ControlCommand("fault [SPEC]", "set the line's faults, as --fault does; fault none ends them", _fault),
    "cut": ControlCommand("cut TIME", "open the serial wires for a time on the line, e.g. cut 5ms", _cut),
    "unplug": ControlCommand("unplug TIME", "take the serial port away for a time, e.g. unplug 1s", _unplug),
    "reset": ControlCommand("reset", "reset the logic, as a power cut does", _reset),
    "power": ControlCommand(
        "power on|off [CYCLE]",
        "with --flash: the power switch; off may wait for a clock cycle of the image that runs",
        _power,
    ),
    "stats": ControlCommand("stats", "say the counters", _stats),
}
"""The commands by name."""


def execute(board: AnyBoard, line: str) -> str:
    """Carry out one line; returns what to say. Raises InputError for a line that is no command, DeviceError."""
    verb, _, argument = line.strip().partition(" ")
    command = CONTROL.get(verb)
    if command is None:
        usages = "; ".join(f"{one.usage} ({one.about})" for one in CONTROL.values())
        raise InputError(f"control command must be one of {usages}; not {verb!r}")
    return command.run(board, argument.strip())


class Control:
    """Reads commands from standard input, in a thread of its own, until :meth:`stop`; use it as a context manager.

    Nothing is read while another program has the terminal (a job in the background would be stopped by its shell), and the
    end of input ends only the reading.
    """

    def __init__(self, board: AnyBoard, say: Say) -> None:
        self._board = board
        self._say = say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Control:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            fd = sys.stdin.fileno()
        except (AttributeError, OSError, ValueError):  # no standard input at all
            return
        rest = b""
        while not self._stop.is_set():
            if not _ours(fd):
                self._stop.wait(0.2)
                continue
            try:
                if not select.select([fd], [], [], 0.1)[0]:
                    continue
                data = os.read(fd, 4096)
            except (OSError, ValueError):
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if text := line.decode("utf-8", "replace").strip():
                    self._answer(text)

    def _answer(self, line: str) -> None:
        try:
            said = execute(self._board, line)
        except NeuroloomError as error:
            said = f"error: {error}"
        except OSError as error:  # of a link to the port that cannot be made, for example
            said = f"error: {error.filename or line}: {error.strerror}"
        self._say(said)


def _ours(fd: int) -> bool:
    """Whether reading may not stop this process: no terminal, or one in whose foreground it is."""
    with contextlib.suppress(OSError, AttributeError):
        return not os.isatty(fd) or os.tcgetpgrp(fd) == os.getpgrp()
    return False
