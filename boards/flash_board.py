"""A virtual board with a flash: whatever stands in it boots, warm boots change the image, and the power can be cut.

One pseudo-terminal and one flash file live as long as the board; the program that simulates changes with the image.
"""

from __future__ import annotations

import contextlib
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
from neuroloom.boards.counters import Statistics
from neuroloom.boards.faults import PERFECT, LineFaults
from neuroloom.boards.image_formats import format_of
from neuroloom.boards.images import Designs, designs_of
from neuroloom.boards.virtual import FlashFile, VirtualBoard
from neuroloom.compiler.errors import DeviceError, InputError, NeuroloomError

from .flash_file import image_name
from .hold import hold
from .process import Scope
from .shown import Shown

EAGER_S = 2.0
"""Seconds of its own time after a boot in which the board runs at full speed with its port closed: golden decides meanwhile."""

POLL_S = 0.02


class FlashBoard(Shown):
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
    image, dark, boots : see :class:`~neuroloom.boards.shown.Shown`
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
        super().__init__()
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
        self._todo: queue.Queue[tuple[str, VirtualBoard | None]] = queue.Queue()
        self._current: VirtualBoard | None = None
        self._thread: threading.Thread | None = None
        self._scope = Scope()
        self._stopping = threading.Event()
        self._terminal = -1
        self._plug = threading.Lock()  # held while an image boots, and while the port is away
        self._setting = threading.Lock()  # of faults, and of who has them
        self._counting = threading.Lock()  # held while an image's counters become past ones
        self._past: list[Statistics] = []
        self.port: str | None = None
        self.cached = True

    # ------------------------------------------------------------------ life

    def start(self) -> str:
        """Make the port and switch the power on; returns the port's path when the first image runs."""
        if self._thread is not None:
            raise InputError("Virtual board must be stopped before it is started again")
        port = self._make_port()
        self._todo, self._scope = queue.Queue(), Scope()
        self._stopping.clear()
        self._begin_to_show()
        self._thread = threading.Thread(target=self._scope.within(self._supervise), daemon=True)
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
        """Cut the power and give the port back; returns the counters of all images together. Compilers that run are ended."""
        with self._changed:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._scope.end()
            self._todo.put(("stop", None))
            thread.join()
            with self._plug:  # the port may be on its way back
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
        with self._changed:
            if self.image:
                return
            before, self.dark = self.boots, ""
        self._todo.put(("on", None))
        self._wait(lambda: bool(self.image or self.dark) or self.boots > before, timeout_s, "power up")
        self._refuse_dark()

    def power_off(self, cycle: int = 0, timeout_s: float = 600.0) -> None:
        """Cut the power at once, or in clock cycle ``cycle`` of the image that runs; returns when it is off.

        Raises DeviceError when that image ends by itself before the cycle comes.
        """
        with self._changed:
            ends, offs = self.ends, self.offs
        self.cut_at(cycle)
        self._wait(lambda: self.offs > offs or (cycle > 0 and self.ends > ends), timeout_s, "lose its power")
        if self.offs == offs:
            raise DeviceError(
                f"the power must be cut while the image runs, which ended by itself before clock cycle {cycle:,}; cut it again"
            )

    def cut_at(self, cycle: int = 0) -> None:
        """As :meth:`power_off`, without waiting for it."""
        current = self._current
        if current is None or not cycle:
            self._todo.put(("off", None))  # in its turn: an image that is just booting is switched off when it runs
            return
        self._while_it_runs(current, lambda board: board.cut_power(cycle))

    def cut_in(self, count: int, share: float) -> None:
        """Cut the power when ``share`` (0 to 1) of the flash's ``count``-th erasure or program from now on is over."""
        self._running().cut_power_in(count, share)

    # ------------------------------------------------------------------ the line

    def set_faults(self, faults: LineFaults) -> None:
        """Give the line these faults from now on, whatever image runs."""
        with self._setting:
            self.faults = faults
            self._while_it_runs(self._current, lambda board: board.set_faults(faults))

    def cut_line(self, milliseconds: float) -> None:
        """Open both wires for ``milliseconds`` of the line's time."""
        self._running().cut_line(milliseconds)

    def unplug(self, milliseconds: float) -> str:
        """Take the serial port away for ``milliseconds``, as a USB cable pulled out does; the image runs on.

        Returns when it is there again, with its path, usually the same one. An image that boots meanwhile waits for that.
        """
        with self._plug:
            if self._thread is None:
                raise DeviceError("Virtual board is not running; start it first")
            current = self._current
            self._while_it_runs(current, lambda board: board.detach())
            os.close(self._terminal)  # whoever has the port open is hung up
            self._stopping.wait(milliseconds / 1000)
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
            if not current.stopped and not current.farewell():
                raise  # else it ends, or left for another image, which begins with the port as it then is

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
        with self._counting:
            parts, current = list(self._past), self._current
            if current is not None:
                parts.append(current.statistics())
        if not parts:
            raise DeviceError("Virtual board must have run before it has counters; start it first")
        names = [name for name in Statistics.__dataclass_fields__ if name != "leds"]
        return Statistics(**{name: sum(getattr(part, name) for part in parts) for name in names}, leds=parts[-1].leds)

    # ------------------------------------------------------------------ the supervisor's thread

    def _supervise(self) -> None:
        try:
            while self._do_next():
                pass
        finally:
            try:
                self._end("")
            finally:
                self._end_of_show()

    def _do_next(self) -> bool:
        """Carry out what is to be done next, or look after the board; False when it is to stop."""
        try:
            task, of = self._todo.get(timeout=POLL_S)
        except queue.Empty:
            if self._current is None:
                self._lose_what_came()
            elif self._current.died:
                self._end("")
                self._stay_dark("the simulation ended")
            return True
        if task == "stop":
            return False
        if of is not None and of is not self._current:
            return True  # the last words of an image that was switched off before they were heard
        if task == "off":
            self._end("off")
        elif task == "on" and self._current is None:
            self._boot(None)
        elif task.startswith("boot"):
            self._end("")
            self._boot(int(task.split()[1]))
        return True

    def _end(self, event: str) -> None:
        """The image that runs ends; the port stays."""
        with self._counting:
            current = self._current
            if current is not None:
                facts = current.stop()
                now, stored = current.flash_status
                self._file = replace(self._file, status=now, stored=stored)
                self._current = None
                if facts is not None:
                    self._past.append(facts)
        self._show("", "", off=event == "off", ended=current is not None)
        self._tell(event)

    def _boot(self, number: int | None) -> None:
        """Load the image that power-up (None) or a warm boot loads, as the device does; hosts wait while it is compiled."""
        assert self.port is not None
        try:
            with self._plug, hold(self.port, "compiles the image that boots"):
                self._load(number)
        except OSError as error:
            self._stay_dark(f"{error.filename or 'a file'}: {error.strerror}")

    def _stay_dark(self, why: str) -> None:
        self._show("", why)
        self._tell("" if self._stopping.is_set() else f"dark: {why}")

    def _tell(self, event: str) -> None:
        if event:
            with contextlib.suppress(OSError):  # whoever listened has gone
                self._on_event(event)

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
                on_left=lambda left: self._todo.put((left, current)),
                progress=self._progress,
            )
            current.start()
            self.cached = self.cached and current.cached
        except NeuroloomError as error:
            self._stay_dark(str(error))
            return
        with self._setting:
            self._current = current
            if current.faults is not self.faults:  # they were changed while it started
                self._while_it_runs(current, lambda board: board.set_faults(self.faults))
        name = image_name(self._layout, address)
        self._show(name, "")
        self._tell(f"{name} runs")

    def _lose_what_came(self) -> None:
        """Nobody listens at the pins: bytes from the host are lost."""
        if not self._plug.acquire(blocking=False):
            return
        try:
            self._drain()
        finally:
            self._plug.release()

    def _drain(self) -> None:
        while select.select([self._terminal], [], [], 0)[0]:
            try:
                if not os.read(self._terminal, 4096):
                    return
            except OSError:  # nobody has the port open
                time.sleep(POLL_S)
                return
