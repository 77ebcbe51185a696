"""What a running ``emulate`` takes on its standard input, without a board behind it."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from neuroloom.boards.counters import Statistics
from neuroloom.boards.faults import PERFECT
from neuroloom.compiler.errors import InputError
from neuroloom.host.cli.emulate_control import CONTROL, Control, execute


class FakeBoard:
    """Takes note of what it is told."""

    def __init__(self):
        self.faults = PERFECT
        self.done = []

    def set_faults(self, faults):
        self.faults = faults

    def cut_line(self, milliseconds):
        self.done.append(("cut", milliseconds))

    def unplug(self, milliseconds):
        self.done.append(("unplug", milliseconds))
        return "/dev/pts/9"

    def reset(self):
        self.done.append(("reset",))

    def statistics(self):
        return Statistics(1000, 0.5, 3, 4, 1, 2, 7, 0, 0, 0, 0)


def test_commands():
    board = FakeBoard()
    assert execute(board, "fault ber=1e-3, to.drop=0.1") == "line faults: ber=0.001,to.drop=0.1"
    assert board.faults.to.drop == 0.1 and board.faults.from_.ber == 1e-3
    assert execute(board, "fault") == "line faults: ber=0.001,to.drop=0.1"
    assert execute(board, "fault none") == "line faults: none"
    assert execute(board, "cut 5ms") == "the line is open for 5ms"
    assert execute(board, " unplug 1s ") == "serial port /dev/pts/9 is back after 1s"
    assert execute(board, "reset") == "the logic was reset"
    assert "1,000 cycles, 2,000 cycles/s" in execute(board, "stats") and "7 faults" in execute(board, "stats")
    assert board.done == [("cut", 5.0), ("unplug", 1000.0), ("reset",)]


@pytest.mark.parametrize(
    "line", ["", "explode", "fault nonsense", "cut", "cut 5", "unplug -1s", "reset now", "stats x"]
)
def test_other_lines_are_refused(line):
    board = FakeBoard()
    with pytest.raises(InputError) as error:
        execute(board, line)
    assert not board.done and board.faults is PERFECT
    if line in ("", "explode"):
        assert all(one.usage in str(error.value) for one in CONTROL.values())


def test_lines_are_read_until_stopped(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: reading))
    board, said = FakeBoard(), []
    with Control(board, said.append):
        os.write(writing, b"reset\nfau")
        os.write(writing, b"lt ber=0.5\n\nboom\n")
        deadline = time.monotonic() + 5
        while len(said) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert said[:2] == ["the logic was reset", "line faults: ber=0.5"] and said[2].startswith("error: control command")
    with Control(board, said.append):
        os.close(writing)  # the end of input ends nothing else
        time.sleep(0.05)
    os.close(reading)
