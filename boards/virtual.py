"""The virtual board: a design under Verilator with its UART on a pseudo-terminal, like a board on a serial port.

Works on RTL and on a bitstream read back to Verilog alike, because everything happens on the pins ``clk``, ``rx``,
``tx`` (``rst`` and ``leds`` where the design has them). Memories and registers without an initial value start random.
"""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from neuroloom.boards import cache, toolchain
from neuroloom.boards.faults import PERFECT, LineFaults
from neuroloom.compiler.errors import DeviceError, InputError

HARNESS = ("harness.cpp", "line.hpp", "nor_flash.hpp", "terminal.hpp")
"""The program around the verilated design: the first is compiled, the others are its headers."""
VERILATOR_FLAGS = (
    *(
        "--cc",
        "--exe",
        "-O3",
        "--prefix",
        "Vboard",
        "--Mdir",
        "obj",
        "--no-timing",
        "--no-assert",
        "--output-split",
        "20000",
    ),
    *("--x-initial", "unique", "--x-assign", "unique", "-Wno-lint", "-Wno-style", "-Wno-fatal", "--error-limit", "5"),
)
MAKE_FLAGS = ("OPT_FAST=-O1", "OPT_GLOBAL=-O1", "OPT_SLOW=-O0", "CFG_CXXFLAGS_PCH_I=-include")
"""-O2 takes half as long again to compile and runs no faster: digits 0.40 (bitstream 0.40) M cycles/s, -O1 0.52 (0.44)."""
RUNTIME_OBJECTS = ("verilated.o", "verilated_threads.o")
"""Objects that are the same for every design: compiled once per Verilator and compiler, half of a small compilation."""
COMPILE_TIMEOUT_S = 1800
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5


@dataclass(frozen=True)
class Statistics:
    """Counters of a running virtual board: clock cycles, wall seconds, bytes to (``sent``) and from (``received``) the
    device, broken stop bits, bytes lost because nobody had the port open, line faults injected, and the LED levels as a
    number; of its flash the erasures, page programs, and commands that it ignored."""

    cycles: int
    seconds: float
    sent: int
    received: int
    framing_errors: int
    dropped: int
    faults: int
    leds: int
    erases: int
    programs: int
    ignored: int

    @property
    def cycles_per_second(self) -> float:
        """Simulated clock cycles per second of wall time, idle time included."""
        return self.cycles / self.seconds if self.seconds > 0 else 0.0


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
        self._errors: list[str] = []
        self._readers: list[threading.Thread] = []
        self._last: Statistics | None = None
        self.port: str | None = None
        self.leds = 0
        self.cached = False

    def compile(self, *, jobs: int = 2, timeout_s: float = COMPILE_TIMEOUT_S) -> Path:
        """Compile the design, or find it compiled; returns the program. ``jobs`` compilers run at once."""
        tools = {name: toolchain.find(name) for name in ("verilator", "make", "g++", "perl")}
        harness = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HARNESS}
        key = cache.digest(
            {
                "files": self._files,
                "top": self._top,
                "harness": harness,
                "flags": [*VERILATOR_FLAGS, *MAKE_FLAGS],
                "tools": {name: tool.version for name, tool in tools.items()},
            }
        )
        entry = cache.lookup("virtual", key)
        self.cached = entry is not None
        if entry is None:
            with cache.workspace("virtual") as work:
                self._build(work, tools, harness, jobs, timeout_s)
                result = work / "result"
                result.mkdir()
                (work / "obj" / "board").rename(result / "board")
                entry = cache.publish(result, "virtual", key)
        else:
            self._progress("cached")
        return entry / "board"

    def _build(
        self, work: Path, tools: Mapping[str, Any], harness: Mapping[str, str], jobs: int, timeout_s: float
    ) -> None:
        # Verilator's makefile compiles in `obj`, where the header of the design is.
        for name, text in {**self._files, **harness}.items():
            (work / name).write_text(text, encoding="utf-8")
        self._progress("verilating")
        arguments = [*VERILATOR_FLAGS, "--top-module", self._top, "-o", "board", "-CFLAGS", "-I..", HARNESS[0]]
        arguments += sorted(self._files)
        toolchain.run(tools["verilator"], arguments, cwd=work, timeout=timeout_s)
        self._progress("compiling")
        versions = {name: tool.version for name, tool in tools.items()}
        runtime = cache.digest({"flags": MAKE_FLAGS, "tools": versions, "root": str(tools["verilator"].path)})
        kept = cache.lookup("verilator-runtime", runtime)
        if kept is not None:
            for name in RUNTIME_OBJECTS:
                shutil.copyfile(kept / name, work / "obj" / name)
        compiler = f"CXX={tools['g++'].argv[0]}"
        arguments = ["-C", "obj", "-f", "Vboard.mk", "-j", str(jobs), compiler, f"LINK={compiler[4:]}", *MAKE_FLAGS]
        toolchain.run(tools["make"], arguments, cwd=work, timeout=timeout_s, env=tools["verilator"].env)
        if kept is None and all((work / "obj" / name).is_file() for name in RUNTIME_OBJECTS):
            store = work / "runtime"
            store.mkdir()
            for name in RUNTIME_OBJECTS:
                shutil.copyfile(work / "obj" / name, store / name)
            cache.publish(store, "verilator-runtime", runtime)

    def start(self) -> str:
        """Compile if needed, start, and return the path of the serial port; raises DeviceError if it does not come."""
        if self._process is not None:
            raise InputError("Virtual board must be stopped before it is started again")
        program = self.compile()
        with self._talk:
            return self._launch(program)

    def _launch(self, program: Path) -> str:
        self._errors.clear()
        self.left = ""
        kept: tuple[int, ...] = ()
        arguments = [*self._arguments, "--faults", self.faults.harness()]
        if self._terminal is not None:
            self._socket, theirs = socket.socketpair()
            kept = (self._terminal, theirs.fileno())
            arguments += ["--socket", str(theirs.fileno())]
        self._process = subprocess.Popen(
            [str(program), *arguments],
            stdin=subprocess.PIPE,  # closes when this process dies, and the board ends with it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle
            pass_fds=kept,
        )
        if self._terminal is not None:
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
                    self._last = _statistics(line)
                if kind == "port":
                    again, self.port = self.port is not None, rest
                    if again and self._on_port is not None:
                        self._on_port(rest)
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
    def died(self) -> bool:
        """Whether the board's process ended without leaving for another image or losing its power; all that it said was read."""
        return not self.running and not any(reader.is_alive() for reader in self._readers) and not self.left

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
        if not self.running and self._last is not None:
            return self._last
        return _statistics(self._ask("stats"))

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
        self._ask(f"unplug {_duration(milliseconds)}", "port", START_TIMEOUT_S + milliseconds / 1000)
        assert self.port is not None
        return self.port

    def detach(self) -> None:
        """Give the terminal that outlives the board up: nobody is at its serial pins until :meth:`attach`."""
        self._ask("detach")

    def attach(self, terminal: int) -> None:
        """Take the master side of another pseudo-terminal in place of the one given up."""
        assert self._socket is not None
        with self._talk:
            socket.send_fds(self._socket, [b"t"], [terminal])
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
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
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


def _statistics(line: str) -> Statistics:
    fields = dict(pair.split("=", 1) for pair in line.split()[1:])
    return Statistics(
        **{name: float(value) if name == "seconds" else int(value) for name, value in fields.items()}  # type: ignore[arg-type]
    )
