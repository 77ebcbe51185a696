"""The virtual board: a design under Verilator with its UART on a pseudo-terminal, like a board on a serial port.

Works on RTL and on a bitstream read back to Verilog alike, because everything happens on the pins ``clk``, ``rx``,
``tx`` (``rst`` and ``leds`` where the design has them). Memories and registers without an initial value start random.
"""

from __future__ import annotations

import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from neuroloom.boards.counters import Statistics
from neuroloom.boards.faults import PERFECT, LineFaults
from neuroloom.boards.simulation import COMPILE_TIMEOUT_S, compiled
from neuroloom.compiler.errors import DeviceError, InputError

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5


@dataclass(frozen=True)
class FlashFile:
    """The SPI flash of a virtual board: a file with its content, the three bytes of command 0x9F, and by how much its erasing and
    programming are faster than a real one's."""

    path: Path
    jedec: bytes
    speed: float = 1.0
    status: int = 0
    stored: int = 0
    """Its status register, and what that is after the next power-up."""


class VirtualBoard:
    """One virtual board; also a context manager that starts and stops it.

    ``verilog`` are the design's files, as paths or as texts by name; ``top`` its top module. ``clock_hz`` is the clock
    at pin ``clk`` and ``baud`` the line rate: only their ratio matters unless ``pace`` limits the simulation to real
    time. ``seed`` chooses the random initial content and the line's faults. ``on_leds`` is called, from another thread,
    with the new levels, and ``on_port`` with the port's path when :meth:`unplug` is over.

    ``flash`` is for designs with the pins flash_sck, flash_cs_n, flash_mosi and flash_miso. A design that boots another image, or
    whose power was cut, ends the board; ``left`` then says ``boot N`` or ``off``, and ``on_left`` is called with it from another
    thread. ``terminal`` is the master side of a pseudo-terminal that outlives the board. In the first ``eager_s`` seconds of its
    own time the board does not slow down while nobody has the port open.
    """

    def __init__(
        self,
        verilog: Sequence[Path] | Mapping[str, str],
        top: str,
        clock_hz: int,
        baud: int,
        *,
        seed: int = 1,
        pace: bool = False,
        faults: LineFaults = PERFECT,
        on_leds: Callable[[int], None] | None = None,
        on_port: Callable[[str], None] | None = None,
        flash: FlashFile | None = None,
        terminal: int | None = None,
        eager_s: float = 0.0,
        on_left: Callable[[str], None] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        if isinstance(verilog, Mapping):
            self._files = dict(verilog)
        else:
            self._files = {path.name: path.read_text(encoding="utf-8") for path in verilog}
        if not self._files:
            raise InputError("Virtual board must have at least one Verilog file, not none")
        if baud <= 0 or clock_hz < 2 * baud:
            raise InputError(f"Clock must be at least twice the baud rate {baud}, not {clock_hz} Hz")
        self._top = top
        self.baud = baud
        self._arguments = ["--clock-hz", str(clock_hz), "--baud", str(baud), "--seed", str(seed)]
        if pace:
            self._arguments.append("--pace")
        if flash is not None:
            self._arguments += ["--flash", str(flash.path), "--flash-id", flash.jedec.hex()]
            self._arguments += ["--flash-speed", repr(float(flash.speed))]
            self._arguments += ["--flash-status", f"{flash.status:x}", "--flash-stored", f"{flash.stored:x}"]
        if terminal is not None:
            self._arguments += ["--terminal", str(terminal)]
        if eager_s:
            self._arguments += ["--eager", repr(float(eager_s))]
        self._terminal = terminal
        self._socket: socket.socket | None = None  # through which a running board gets another terminal
        self._on_left = on_left
        self.left = ""
        self.flash_status = (0, 0) if flash is None else (flash.status, flash.stored)
        """The flash's status register when the board ended, and what it is after the next power-up."""
        self.faults = faults
        self._on_leds = on_leds
        self._on_port = on_port
        self._progress = progress or (lambda text: None)
        self._process: subprocess.Popen[str] | None = None
        self._events: queue.Queue[str | None] = queue.Queue()
        self._talk = threading.RLock()  # one caller at a time takes events, else one would take another's answer
        self._words = threading.Lock()  # lines to the program stay whole; never held while waiting for an answer
        self._errors: list[str] = []
        self._readers: list[threading.Thread] = []
        self._last: Statistics | None = None
        self.port: str | None = None
        self.leds = 0
        self.cached = False

    def compile(self, *, jobs: int = 2, timeout_s: float = COMPILE_TIMEOUT_S) -> Path:
        """Compile the design, or find it compiled; returns the program. ``jobs`` compilers run at once."""
        program, self.cached = compiled(self._files, self._top, jobs=jobs, timeout_s=timeout_s, say=self._progress)
        return program

    def start(self) -> str:
        """Compile if needed, start, and return the path of the serial port; raises DeviceError if it does not come."""
        if self._process is not None:
            raise InputError("Virtual board must be stopped before it is started again")
        program = self.compile()
        with self._talk:
            return self._launch(program)

    def _launch(self, program: Path) -> str:
        self._errors.clear()
        self.left, self._last = "", None
        kept: tuple[int, ...] = ()
        theirs: socket.socket | None = None
        arguments = [*self._arguments, "--faults", self.faults.harness()]
        if self._terminal is not None:
            self._socket, theirs = socket.socketpair()
            kept = (self._terminal, theirs.fileno())
            arguments += ["--socket", str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                [str(program), *arguments],
                stdin=subprocess.PIPE,  # closes when this process dies, and the board ends with it
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is ours to handle
                pass_fds=kept,
            )
        except OSError as error:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            raise DeviceError(f"Virtual board cannot be started: {program}: {error.strerror}") from error
        finally:
            if theirs is not None:
                theirs.close()
        self._events = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._process, self._events), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self._next_event("port", START_TIMEOUT_S)
        except BaseException:
            self.stop()
            raise
        assert self.port is not None
        return self.port

    def _read_events(self, process: subprocess.Popen[str], events: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            kind, _, rest = line.strip().partition(" ")
            if kind == "leds":
                self.leds = int(rest, 16)
                if self._on_leds is not None:
                    self._on_leds(self.leds)
            else:
                if kind in ("boot", "off"):
                    self.left = line.strip()
                if kind == "flash":
                    now, stored = rest.split()
                    self.flash_status = int(now, 16), int(stored, 16)
                if kind == "end":
                    self._last = Statistics.of(line)
                if kind == "port":
                    self.port = rest
                events.put(line.strip())
        events.put(None)
        if self._on_left is not None and self.left:
            self._on_left(self.left)

    def _read_errors(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self._errors.append(line.strip())

    def _next_event(self, kind: str, timeout_s: float) -> str:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise DeviceError(f"Virtual board did not answer within {timeout_s:.0f} s; start it again") from None
            if line is None:
                self._events.put(None)
                self._readers[1].join(timeout=STOP_TIMEOUT_S)  # its reason may still be on the way
                raise DeviceError(f"Virtual board ended: {' | '.join(self._errors[-3:]) or 'it gave no reason'}")
            if line.startswith(kind):
                return line

    @property
    def running(self) -> bool:
        """Whether the board's process is alive."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether the board was not started, or :meth:`stop` was called since; it may take a moment to end."""
        return self._process is None

    @property
    def died(self) -> bool:
        """Whether the board's process ended without leaving for another image or losing its power; all that it said was read."""
        return not self.running and not any(reader.is_alive() for reader in self._readers) and not self.left

    def farewell(self, timeout_s: float = STOP_TIMEOUT_S) -> str:
        """:attr:`left` of a board that took no more commands: its last words may still be on the way, and are waited for."""
        for reader in self._readers:
            reader.join(timeout=timeout_s)
        return self.left

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the board ends by itself; False when ``timeout_s`` passes first (None: no limit)."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _command(self, text: str) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            raise DeviceError("Virtual board is not running; start it first")
        assert process.stdin is not None
        try:
            with self._words:
                process.stdin.write(text + "\n")
                process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: another thread has just stopped it
            raise DeviceError("Virtual board has ended; start it again") from None

    def _ask(self, text: str, answer: str = "stats", timeout_s: float = START_TIMEOUT_S) -> str:
        with self._talk:
            self._command(text)
            return self._next_event(answer, timeout_s)

    def statistics(self) -> Statistics:
        """Counters now; of a stopped board, the last ones."""
        if self.running or self._last is None:
            try:
                return Statistics.of(self._ask("stats"))
            except DeviceError:
                self.farewell()  # it ended while it was asked
                if self._last is None:
                    raise
        return self._last

    def reset(self, cycles: int = 16) -> None:
        """Hold the design's ``rst`` for ``cycles``: what a power cut does to the logic. Returns when it is released."""
        self._ask(f"reset {cycles}")

    def set_faults(self, faults: LineFaults) -> None:
        """Give the line these faults from now on, in place of the ones before; what is going wrong at the moment ends."""
        self._ask(f"faults {faults.harness()}")
        self.faults = faults

    def cut_line(self, milliseconds: float) -> None:
        """Open both wires for ``milliseconds`` of the line's time: bytes on their way are torn, those behind them lost."""
        self._ask(f"cut {_duration(milliseconds)}")

    def unplug(self, milliseconds: float) -> str:
        """Take the serial port away, as a USB cable pulled out does, for ``milliseconds`` of wall time; the board runs on.

        Returns when it is there again, with its path, usually the same one.
        """
        answer = self._ask(f"unplug {_duration(milliseconds)}", "port", START_TIMEOUT_S + milliseconds / 1000)
        port = answer.partition(" ")[2]
        if self._on_port is not None:
            self._on_port(port)
        return port

    def detach(self) -> None:
        """Give the terminal that outlives the board up: nobody is at its serial pins until :meth:`attach`."""
        self._ask("detach")

    def attach(self, terminal: int) -> None:
        """Take the master side of another pseudo-terminal in place of the one given up."""
        with self._talk:
            way = self._socket
            try:
                if way is None:
                    raise OSError
                socket.send_fds(way, [b"t"], [terminal])
            except OSError:
                raise DeviceError("Virtual board has ended; start it again") from None
            self._ask("attach", "port")

    def cut_power(self, cycle: int = 0) -> None:
        """Cut the supply in clock cycle ``cycle`` of this run, at once when that has passed; ``left`` will say ``off``."""
        self._command(f"power {cycle}")

    def cut_power_in(self, count: int, share: float) -> None:
        """Cut the supply when ``share`` (0 to 1) of the flash's ``count``-th erasure or program from now on is over."""
        self._command(f"power work {count} {share:.6f}")

    def stop(self) -> Statistics | None:
        """End the board; returns its last counters. Stopping a stopped board does nothing."""
        process, self._process = self._process, None
        if process is None:
            return self._last
        assert process.stdin is not None
        if self._words.acquire(timeout=STOP_TIMEOUT_S):
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
            finally:
                self._words.release()
        else:  # it takes nothing any more, and somebody waits to tell it something
            process.kill()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join(timeout=STOP_TIMEOUT_S)
        for stream in (process.stdout, process.stderr, self._socket):
            if stream is not None:
                stream.close()
        self._socket = None
        self.port = None
        return self._last

    def __enter__(self) -> VirtualBoard:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _duration(milliseconds: float) -> str:
    if not 0 <= milliseconds <= 3_600_000:
        raise InputError(f"Duration must be between 0 and 3,600,000 ms, not {milliseconds:g} ms")
    return f"{milliseconds:.6f}"
