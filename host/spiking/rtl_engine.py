"""The core's RTL in a simulator, as an engine of bytes: no link, no UART, the clock runs only while bytes are exchanged."""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from neuroloom.boards import cache, emit, toolchain
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.rtl.spiking.engine import SpikingEngine

from .protocol import Call

BENCHES = ("engine_bench.v", "engine_bench.cpp")
PATIENCE = 20_000_000
"""Cycles without any byte after which a request is given up."""
SLACK = 200
"""Cycles that run on behind a request, so that looking at a running core lets it go on."""
VERILATOR_FLAGS = (
    *("--cc", "--exe", "--no-timing", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
    *("--x-initial", "unique", "--x-assign", "unique"),
)
MAKE_FLAGS = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1", "CFG_CXXFLAGS_PCH_I=-include")
BUILD_TIMEOUT_S = 900.0
ANSWER_TIMEOUT_S = 600.0


def engine_verilog(config: CoreConfig) -> str:
    """The engine of a core as Verilog, module ``top``."""
    engine = SpikingEngine(config)
    return emit.to_verilog(engine) + "".join(engine.extra_files.values())


def batches(calls: Iterable[Call], limit: int) -> Iterator[tuple[list[Call], bytes, int]]:
    """Calls for :meth:`RtlEngine.exchange`: (calls, bytes, answer bytes), neither over ``limit`` bytes; a call is never cut."""
    batch: list[Call] = []
    sent = asked = 0
    for call in calls:
        if batch and (sent + len(call.data) > limit or asked + call.answer > limit):
            yield batch, b"".join(c.data for c in batch), asked
            batch, sent, asked = [], 0, 0
        batch.append(call)
        sent += len(call.data)
        asked += call.answer
    if batch:
        yield batch, b"".join(c.data for c in batch), asked


class RtlEngine:
    """The RTL of a core under ``verilator`` or ``icarus``; a context manager that starts and ends the simulator.

    ``verilog`` is another text of the core's module ``top`` with the same ports, such as its synthesised cells with their models.
    Raises MissingToolError, ToolFailedError when the simulator fails. ``cycles`` counts all clock cycles so far.
    """

    def __init__(
        self, config: CoreConfig, simulator: str = "verilator", *, slack: int = SLACK, verilog: str | None = None
    ) -> None:
        if simulator not in SIMULATORS:
            raise InputError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
        self._config, self._simulator, self._slack, self._verilog = config, simulator, slack, verilog
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.cycles = 0

    def compile(self) -> Path:
        """The folder with the compiled simulation, compiled once per design and tool."""
        names, build, _ = SIMULATORS[self._simulator]
        tools = {name: toolchain.find(name) for name in names}
        files = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in BENCHES}
        files["design.v"] = engine_verilog(self._config) if self._verilog is None else self._verilog
        parts = {"files": files, "slack": self._slack, "patience": PATIENCE, "flags": [*VERILATOR_FLAGS, *MAKE_FLAGS]}
        key = cache.digest({**parts, "tools": {n: t.identity for n, t in tools.items()}})
        entry = cache.lookup("core-bench", key)
        if entry is None:
            with cache.workspace("core-bench") as work:
                for name, text in files.items():
                    (work / name).write_text(text, encoding="utf-8")
                product = build(work, tools, [f"-DSLACK={self._slack}", f"-DPATIENCE={PATIENCE}"])
                result = work / "result"
                result.mkdir()
                (work / product).rename(result / "simulation")
                entry = cache.publish(result, "core-bench", key)
        return entry / "simulation"

    def start(self) -> None:
        """Compile if needed and start the simulator."""
        program = self.compile()
        command = SIMULATORS[self._simulator][2](program)
        self._folder = tempfile.TemporaryDirectory(prefix="neuroloom-core-")
        self._process = subprocess.Popen(
            command,
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    def exchange(self, data: bytes, count: int) -> bytes | None:
        """Feed ``data`` (at most 64 KiB) while collecting ``count`` bytes; None when nothing moved for :data:`PATIENCE` cycles."""
        if self._process is None or self._process.stdin is None:
            raise InputError("the simulation of the core must be started first")
        request = f"{len(data)} {count}\n" + "\n".join(f"{byte:02x}" for byte in data) + "\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words are in the queue
        deadline, said = time.monotonic() + ANSWER_TIMEOUT_S, ""
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise toolchain.ToolFailedError(
                    f"{self._simulator} did not answer within {ANSWER_TIMEOUT_S:.0f} s; send shorter runs"
                ) from None
            if line is None:
                raise toolchain.ToolFailedError(f"{self._simulator} ended while the core was running: {said.strip()}")
            answer, space, cycles = line.rstrip("\n").rpartition(" ")
            if space and cycles.isdigit() and all(c in "0123456789abcdef" for c in answer):
                self.cycles = int(cycles)
                got = bytes.fromhex(answer)
                return got if len(got) == count else None
            said = line

    def reset(self) -> None:
        """The bench has no reset: sessions begin between two opcodes."""

    def stop(self) -> None:
        """End the simulator."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        try:
            process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> RtlEngine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _verilate(work: Path, tools: Mapping[str, toolchain.Tool], defines: list[str]) -> str:
    flags = [
        *VERILATOR_FLAGS,
        "-CFLAGS",
        f"-O1 {' '.join(defines)}",
        "--top-module",
        "top",
        "--prefix",
        "Vtop",
        "-o",
        "sim",
    ]
    files = ["design.v", "engine_bench.cpp"]
    toolchain.run(tools["verilator"], [*flags, *files], cwd=work, timeout=BUILD_TIMEOUT_S)
    compiler = tools["g++"].argv[0]
    make = ["-C", "obj_dir", "-f", "Vtop.mk", "-j", "2", f"CXX={compiler}", f"LINK={compiler}", *MAKE_FLAGS]
    toolchain.run(tools["make"], make, cwd=work, timeout=BUILD_TIMEOUT_S, env=tools["verilator"].env)
    return "obj_dir/sim"


def _elaborate(work: Path, tools: Mapping[str, toolchain.Tool], defines: list[str]) -> str:
    # As Verilog-2005, in which initial values wake the blocks that depend on them.
    flags = ["-g2005", *defines, "-s", "bench", "-o", "sim.vvp", "design.v", "engine_bench.v"]
    toolchain.run(tools["iverilog"], flags, cwd=work, timeout=BUILD_TIMEOUT_S)
    return "sim.vvp"


Build = Callable[[Path, Mapping[str, toolchain.Tool], list[str]], str]

SIMULATORS: Mapping[str, tuple[tuple[str, ...], Build, Callable[[Path], list[str]]]] = {
    "verilator": (
        ("verilator", "make", "g++", "perl"),
        _verilate,
        lambda program: [str(program), "+verilator+rand+reset+2"],
    ),
    "icarus": (("iverilog", "vvp"), _elaborate, lambda program: [*toolchain.find("vvp").argv, "-N", str(program)]),
}
"""Tools, how to compile, and how to start, by simulator."""
