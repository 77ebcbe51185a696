"""A virtual board with a flash: whatever stands in it boots, warm boots change the image, and the power can be cut.

One pseudo-terminal and one flash file live as long as the board; the program that simulates changes with the image.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from neuroloom.boards.board import Board
from neuroloom.boards.faults import PERFECT, LineFaults
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.images import Designs, designs_of
from neuroloom.boards.virtual import FlashFile, Statistics, VirtualBoard
from neuroloom.compiler.errors import DeviceError, InputError, NeuroloomError

from .flash_file import image_name
from .hold import hold

EAGER_S = 2.0
"""Seconds of its own time after a boot in which the board runs at full speed with its port closed: golden decides meanwhile."""

POLL_S = 0.02


class FlashBoard:
    """A board that starts with what its flash holds; also a context manager.

    Parameters
    ----------
    board : one with a flash map in its file; raises InputError for others
    flash : file with the whole content, see :mod:`neuroloom.boards.flash_file`
    fidelity : one of :data:`neuroloom.boards.images.FIDELITIES`
    designs : how an image becomes a design, if not by ``fidelity``
    flash_speed : by how much erasing and programming are faster than a real flash's
    on_event : called from another thread with ``golden runs``, ``slot 1 runs``, ``off``, or ``dark: why``
    on_port : called with the port's path when :meth:`unplug` is over
    seed, pace, faults, progress : as of :class:`~neuroloom.boards.virtual.VirtualBoard`

    Attributes
    ----------
    board, flash : as given
    port : path of the serial port, the same until the port is unplugged
    image : what runs now, ``golden``, ``slot 1`` ..., or "" when the power is off or nothing could be loaded
    """

    def __init__(
        self,
        board: Board,
        flash: Path,
        *,
        fidelity: str = "rtl",
        designs: Designs | None = None,
        flash_speed: float = 1.0,
        seed: int = 1,
        pace: bool = False,
        eager_s: float = EAGER_S,
        faults: LineFaults = PERFECT,
        on_event: Callable[[str], None] | None = None,
        on_port: Callable[[str], None] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.board, self.flash = board, flash
        self._layout, self._format = board.layout, format_of(board)
        self._next_image: int | None = None
        self._designs = designs or designs_of(board, fidelity, seed=seed)
        self._file = FlashFile(flash, bytes.fromhex(board.flash.jedec), flash_speed)
        if not flash.is_file() or flash.stat().st_size != board.flash.size_bytes:
            raise InputError(
                f"flash file must have the {board.flash.size_bytes:,} bytes of {board.name}'s flash: {flash}"
            )
        self._seed, self._pace, self._eager_s = seed, pace, eager_s
        self.faults = faults
        self._on_event = on_event or (lambda text: None)
        self._on_port = on_port or (lambda port: None)
        self._progress = progress
        self._todo: queue.Queue[str] = queue.Queue()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._current: VirtualBoard | None = None
        self._thread: threading.Thread | None = None
        self._terminal = -1
        self._plug = threading.Lock()  # held while an image boots, and while the port is away
        self._past: list[Statistics] = []
        self.port: str | None = None
        self.image = ""
        self.dark = ""
        """Why nothing runs although the power is on."""
        self.boots = 0
        """Images started so far."""
        self.cached = True

    # ------------------------------------------------------------------ life

    def start(self) -> str:
        """Make the port and switch the power on; returns the port's path when the first image runs."""
        if self._thread is not None:
            raise InputError("Virtual board must be stopped before it is started again")
        port = self._make_port()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()
        try:
            self.power_on()
        except BaseException:
            self.stop()
            raise
        return port

    def _make_port(self) -> str:
        self._terminal, slave = os.openpty()
        os.set_blocking(self._terminal, False)
        tty.setraw(slave)
        self.port = port = os.ttyname(slave)
        os.close(slave)
        return port

    def stop(self) -> Statistics | None:
        """Cut the power and give the port back; returns the counters of all images together."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._todo.put("stop")
            thread.join()
            os.close(self._terminal)
            self.port = None
        return self.statistics() if self._past else None

    def __enter__(self) -> FlashBoard:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the board exists, with the power on or off."""
        return self._thread is not None and self._thread.is_alive()

    # ------------------------------------------------------------------ the power switch

    def power_on(self, timeout_s: float = 600.0) -> None:
        """Switch on; returns when the image that powers up runs. Raises DeviceError with the reason if none does."""
        if self.image:
            return
        before, self.dark = self.boots, ""
        self._todo.put("on")
        self._wait(lambda: self.boots > before or bool(self.dark), timeout_s, "power up")
        if self.dark:
            raise DeviceError(f"the virtual board stays dark: {self.dark}")

    def power_off(self, cycle: int = 0, timeout_s: float = 600.0) -> None:
        """Cut the power at once, or in clock cycle ``cycle`` of the image that runs; returns when it is off."""
        self.cut_at(cycle)
        self._wait(lambda: not self.image and not self.dark, timeout_s, "lose its power")

    def cut_at(self, cycle: int = 0) -> None:
        """As :meth:`power_off`, without waiting for it."""
        current = self._current
        if current is None:
            self._todo.put("off")
            return
        try:
            current.cut_power(cycle)
        except DeviceError:
            if self._current is current and not current.left:
                raise  # else it has left for another image by itself

    def cut_in(self, count: int, share: float) -> None:
        """Cut the power when ``share`` (0 to 1) of the flash's ``count``-th erasure or program from now on is over."""
        self._running().cut_power_in(count, share)

    def wait_for(self, image: str, timeout_s: float = 600.0) -> None:
        """Wait until ``image`` runs; raises DeviceError if it does not come."""
        self._wait(lambda: self.image == image, timeout_s, f"run {image}")

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(done, timeout_s):
                raise DeviceError(
                    f"the virtual board did not {what} within {timeout_s:g} s; it shows {self.image or 'nothing'}"
                )

    # ------------------------------------------------------------------ the line

    def set_faults(self, faults: LineFaults) -> None:
        """Give the line these faults from now on, whatever image runs."""
        self.faults = faults
        current = self._current
        if current is not None:
            current.set_faults(faults)

    def cut_line(self, milliseconds: float) -> None:
        """Open both wires for ``milliseconds`` of the line's time."""
        self._running().cut_line(milliseconds)

    def unplug(self, milliseconds: float) -> str:
        """Take the serial port away for ``milliseconds``, as a USB cable pulled out does; the image runs on.

        Returns when it is there again, with its path, usually the same one. An image that boots meanwhile waits for that.
        """
        if self._thread is None:
            raise DeviceError("Virtual board is not running; start it first")
        with self._plug:
            current = self._current
            self._while_it_runs(current, lambda board: board.detach())
            os.close(self._terminal)  # whoever has the port open is hung up
            time.sleep(milliseconds / 1000)
            port = self._make_port()
            self._while_it_runs(current, lambda board: board.attach(self._terminal))
        self._on_port(port)
        return port

    @staticmethod
    def _while_it_runs(current: VirtualBoard | None, act: Callable[[VirtualBoard], None]) -> None:
        if current is None or not current.running:
            return
        try:
            act(current)
        except DeviceError:
            if not current.left:
                raise  # else it has left for another image, which begins with the port as it then is

    def reset(self) -> None:
        """Switch the power off and on: the logic is lost, and what powers up boots, as with a board's reset button."""
        self.power_off()
        self.power_on()

    def _running(self) -> VirtualBoard:
        current = self._current
        if current is None:
            raise DeviceError("the virtual board must be switched on for that, and is not")
        return current

    # ------------------------------------------------------------------ facts

    def cycles(self) -> int:
        """Clock cycle of the image that runs; 0 when none does."""
        current = self._current
        return current.statistics().cycles if current is not None and current.running else 0

    def statistics(self) -> Statistics:
        """Counters of all images so far together; the LEDs are the last one's."""
        parts = list(self._past)
        current = self._current
        if current is not None and current.running:
            parts.append(current.statistics())
        if not parts:
            raise DeviceError("Virtual board must have run before it has counters; start it first")
        names = [name for name in Statistics.__dataclass_fields__ if name != "leds"]
        return Statistics(**{name: sum(getattr(part, name) for part in parts) for name in names}, leds=parts[-1].leds)

    # ------------------------------------------------------------------ the supervisor's thread

    def _supervise(self) -> None:
        while True:
            try:
                task = self._todo.get(timeout=POLL_S)
            except queue.Empty:
                if self._current is None:
                    self._lose_what_came()
                elif self._current.died:
                    self._end("")
                    self._show("", "the simulation ended", "dark: the simulation ended")
                continue
            if task == "stop":
                self._end("")
                return
            if task == "off":
                self._end("off")
            elif task == "on" and self._current is None:
                self._boot(None)
            elif task.startswith("boot"):
                self._end("")
                self._boot(int(task.split()[1]))

    def _end(self, event: str) -> None:
        """The image that runs ends; the port stays."""
        current, self._current = self._current, None
        if current is not None:
            facts = current.stop()
            now, stored = current.flash_status
            self._file = replace(self._file, status=now, stored=stored)
            if facts is not None:
                self._past.append(facts)
        self._show("", "", event)

    def _boot(self, number: int | None) -> None:
        """Load the image that power-up (None) or a warm boot loads, as the device does; hosts wait while it is compiled."""
        assert self.port is not None
        with self._plug, hold(self.port, "compiles the image that boots"):
            self._load(number)

    def _load(self, number: int | None) -> None:
        try:
            data = self._file.path.read_bytes()
            if number is None:
                self._file = replace(self._file, status=self._file.stored)
            address = self._format.loaded(data, number, self._next_image)
            design = self._designs(data[address:])
            self._next_image = design.next_image
            current = VirtualBoard(
                design.files,
                design.top,
                design.clock_hz,
                design.baud,
                seed=self._seed,
                pace=self._pace,
                faults=self.faults,
                flash=self._file,
                terminal=self._terminal,
                eager_s=self._eager_s,
                on_left=self._todo.put,
                progress=self._progress,
            )
            self._current = current
            current.start()
            self.cached = self.cached and current.cached
        except NeuroloomError as error:
            self._current = None
            self._show("", str(error), f"dark: {error}")
            return
        self.boots += 1
        name = image_name(self._layout, address)
        self._show(name, "", f"{name} runs")

    def _show(self, image: str, dark: str, event: str) -> None:
        with self._changed:
            self.image, self.dark = image, dark
            self._changed.notify_all()
        if event:
            self._on_event(event)

    def _lose_what_came(self) -> None:
        """Nobody listens at the pins: bytes from the host are lost."""
        if self._plug.locked():
            return
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                if not os.read(self._terminal, 4096):
                    return
            except OSError:  # nobody has the port open
                time.sleep(POLL_S)
                return
