"""Threads that ask, switch and unplug a virtual board while it boots, leaves or ends: each race forced, by events, not by time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards.faults import LineFaults
from neuroloom.boards.flash_board import FlashBoard
from neuroloom.boards.flash_file import install
from neuroloom.boards.hold import _note, held, hold
from neuroloom.boards.images import Design
from neuroloom.boards.process import execute as run_process
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DeviceError

ICEBREAKER = load_board("icebreaker")
LONG_S = 120
"""Ends a test that hangs; nothing here waits so long."""


@pytest.fixture
def beside() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call in a thread of its own."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


class Gate:
    """A call that stops at its beginning, until it is let on."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self.entered, self.open, self._act = threading.Event(), threading.Event(), act

    def __call__(self, *args: Any) -> Any:
        self.entered.set()
        assert self.open.wait(LONG_S)
        return self._act(*args)


def test_a_board_switched_off_while_an_image_boots_is_off(board: FlashBoard, beside, monkeypatch) -> None:
    board.start()
    monkeypatch.setattr(board, "_load", gate := Gate(board._load))
    board._todo.put(("boot 0", board._current))
    assert gate.entered.wait(LONG_S) and board.image == ""
    off = beside(board.power_off)
    with pytest.raises(TimeoutError):
        off.result(0.3)  # what boots is not off yet
    gate.open.set()
    off.result(LONG_S)
    assert (board.image, board.boots) == ("", 2)
    board.power_on()
    assert board.image == "golden"


def test_last_words_of_an_image_that_is_off_boot_nothing(board: FlashBoard) -> None:
    board.start()
    before = board._current
    board.power_off()
    board._todo.put(("boot 0", before))
    board.power_off()  # comes behind it
    assert (board.image, board.boots) == ("", 1)


def test_a_cycle_that_the_image_never_reaches(board: FlashBoard, beside) -> None:
    board.start()
    off = beside(board.power_off, 1 << 60)
    with pytest.raises(TimeoutError):
        off.result(0.3)
    board._todo.put(("boot 0", board._current))
    with pytest.raises(
        DeviceError, match=r"which ended by itself before clock cycle 1,152,921,504,606,846,976; cut it"
    ):
        off.result(LONG_S)


def test_no_wait_outlasts_the_board(board: FlashBoard, beside) -> None:
    board.start()
    wait = beside(board.wait_for, "slot 3")
    with pytest.raises(TimeoutError):
        wait.result(0.1)
    board.stop()
    with pytest.raises(DeviceError, match="the virtual board was stopped and will not run slot 3; start it first"):
        wait.result(LONG_S)
    with pytest.raises(DeviceError, match="was stopped and will not power up; start it first"):
        board.power_on()


def test_a_flash_file_that_is_gone_leaves_the_board_dark(board: FlashBoard, beside, flash: Path) -> None:
    board.start()
    wait = beside(board.wait_for, "slot 1")
    board.power_off()
    flash.unlink()
    with pytest.raises(DeviceError, match=r"the virtual board stays dark: .*flash\.img: No such file"):
        board.power_on()
    with pytest.raises(DeviceError, match="stays dark"):
        wait.result(LONG_S)  # nothing else will come


def test_counters_are_never_lost_between_two_images(board: FlashBoard, beside, monkeypatch) -> None:
    board.start()
    current = board._current
    assert current is not None
    monkeypatch.setattr(current, "stop", gate := Gate(current.stop))
    off = beside(board.power_off)
    assert gate.entered.wait(LONG_S)
    facts = beside(board.statistics)
    gate.open.set()
    off.result(LONG_S)
    assert 0 < facts.result(LONG_S).cycles <= board.statistics().cycles


def test_counters_of_an_image_that_ends_while_it_is_asked(board: FlashBoard, monkeypatch) -> None:
    board.start()
    current = board._current
    assert current is not None
    tell = current._command

    def too_late(text: str) -> None:
        tell("quit")
        assert current.wait(LONG_S)
        tell(text)

    monkeypatch.setattr(current, "_command", too_late)
    assert current.statistics().cycles > 0


def test_faults_that_are_set_while_an_image_starts(board: FlashBoard, beside, monkeypatch) -> None:
    start, faults = VirtualBoard.start, LineFaults.parse("ber=1e-9")

    def slow(one: VirtualBoard) -> str:
        beside(board.set_faults, faults).result(LONG_S)
        return start(one)

    monkeypatch.setattr(VirtualBoard, "start", slow)
    board.start()
    board.stop()  # the supervisor is past it
    assert board._past and board.faults is faults
    told: list[LineFaults] = []
    monkeypatch.setattr(VirtualBoard, "set_faults", lambda one, new: told.append(new))
    faults = LineFaults.parse("ber=2e-9")
    board.start()
    board.stop()
    assert told and set(map(id, told)) == {id(faults)}


def test_a_board_stopped_while_its_port_is_away(board: FlashBoard, beside) -> None:
    port = board.start()
    away = threading.Event()
    board._stopping.wait = lambda seconds, wait=board._stopping.wait: (away.set(), wait(seconds))[1]  # type: ignore[method-assign]
    unplugged = beside(board.unplug, 3_600_000)
    assert away.wait(LONG_S) and not os.path.exists(port)
    board.stop()
    assert unplugged.result(LONG_S) and board.port is None
    with pytest.raises(DeviceError, match="not running"):
        board.unplug(1)


def test_what_stops_while_it_is_told_something_is_no_error(board: FlashBoard) -> None:
    board.start()
    current = board._current
    assert current is not None
    for told in (current.detach, lambda: current.attach(board._terminal)):
        board._while_it_runs(current, lambda ends, told=told: (ends.stop(), told()))
        current.start()


def test_stopping_ends_what_compiles(flash: Path, beside) -> None:
    running = threading.Event()

    def never(data: bytes) -> Design:
        code = "import time; print(1, flush=True); time.sleep(600)"
        run_process(
            [sys.executable, "-c", code],
            cwd=flash.parent,
            env=os.environ,
            timeout=600,
            on_line=lambda line: running.set(),
        )
        raise DeviceError("the compiler was ended")

    board = FlashBoard(ICEBREAKER, flash, designs=never)
    started = beside(board.start)
    assert running.wait(LONG_S)
    board.stop()
    with pytest.raises(DeviceError):
        started.result(LONG_S)
    assert not board.running and board.port is None


def test_a_program_that_cannot_be_started(
    board: FlashBoard, images: dict[str, bytes], flash: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(flash, ICEBREAKER, 1, images["unattended"])
    monkeypatch.setattr(VirtualBoard, "compile", lambda one: flash.parent / "absent")
    with pytest.raises(DeviceError, match=r"stays dark: Virtual board cannot be started: .*absent: No such file"):
        board.start()
    assert board.port is None and not board.running


def test_a_note_of_a_process_whose_number_was_given_anew_holds_nobody() -> None:
    port = "/dev/pts/nobody"
    with hold(port, "compiles"):
        assert held(port) == "compiles"
        pid, started, reason = _note(port).read_text(encoding="utf-8").split(" ", 2)
        _note(port).write_text(f"{pid} {int(started) - 1} {reason}", encoding="utf-8")
        assert held(port) == ""
