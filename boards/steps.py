"""The steps of a build in its workspace: synthesis, the shell's own size, place and route by seed, packing."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from neuroloom.boards import emit, spread, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.convergence import RoutingWatch
from neuroloom.boards.flows import FLOWS, Flow, other_router, pack_only_arguments, place_arguments, shortfalls
from neuroloom.boards.registry import all_boards
from neuroloom.compiler.errors import DoesNotFitError

SYNTH_TIMEOUT_S = 3600
PACK_TIMEOUT_S = 900
NEARLY_ROUTED = 16
"""Wires that may be overused still, for another try to be worth its time: half the seeds of small designs on the UP5K end with one
or two, around the link's LUTs, and the others are routed in a minute."""

FURTHER_SEEDS = 4


@dataclass(frozen=True)
class SeedResult:
    """Place and route with one seed: the fastest clock in hertz, whether it reaches the board's, wall time in seconds.

    ``unrouted`` says in half a sentence why the router was given up; the clock is then 0 and not met. ``router`` names the router,
    if it is not the one that the board's family takes first.
    """

    seed: int
    fmax_hz: float
    met: bool
    seconds: float
    unrouted: str = ""
    router: str = ""

    @property
    def stem(self) -> str:
        """Name of this run's files."""
        return f"seed{self.seed}{'-' + self.router if self.router else ''}"

    @property
    def nearly(self) -> bool:
        """Whether all but a few wires were routed, so that another seed or router may well do it."""
        found = re.match(r"at (\d+) overused wires", self.unrouted)
        return found is not None and int(found[1]) <= NEARLY_ROUTED


@dataclass(frozen=True)
class Usage:
    """Resources by our names (luts, ffs, brams, sprams, dsps), as far as the family's placer reports them."""

    used: Mapping[str, int]
    available: Mapping[str, int]


@dataclass
class Job:
    """One build: its folder, where its logs go, the board and engine kind, and how to report and to stop.

    ``netlist`` is what is placed, with ``reserved`` placeholder cells in it that are no part of the design, or as sparsely as
    ``density`` says (0: as the placer likes).
    ``next_image`` is the address of the image that the bitstream boots, where the bitstream says so.
    """

    work: Path
    logs: Path
    board: Board
    engine: str
    say: Callable[[str], None]
    place_timeout_s: float
    stop: threading.Event = field(default_factory=threading.Event)
    netlist: str = "netlist.json"
    reserved: int = 0
    density: float = 0.0
    next_image: int | None = None

    @property
    def flow(self) -> Flow:
        """The board family's flow."""
        return FLOWS[self.board.family]

    def run(self, tool: str, args: Sequence[str], log: str, timeout_s: float, *, check: bool = True) -> str:
        """Run one tool in the workspace; returns its output. ``log`` is the log's name."""
        path = self.logs / f"{log}.log"
        done = toolchain.run(tool, args, cwd=self.work, timeout=timeout_s, log=path, check=check, cancel=self.stop)
        return done.output


def synthesise(job: Job, extra_files: Sequence[str]) -> Mapping[str, int]:
    """top.il to cells: leaves top.v, netlist.json and netlist.v, returns cell counts by type.

    Raises DoesNotFitError when the cells alone are more than the board has.
    """
    script = ["read_rtlil top.il", "design -save rtl", emit.VERILOG_SCRIPT.format(file="top.v").rstrip()]
    script += ["design -load rtl"]
    script += job.flow.read(extra_files)
    script += [job.flow.synth(job.board), "write_json netlist.json", "write_verilog -noattr netlist.v"]
    cells = _yosys(job, "synth", script)
    check_fit(job.flow.count(cells), job.board)
    return cells


def _yosys(job: Job, stem: str, script: Sequence[str]) -> Mapping[str, int]:
    """Run a script and return the cell counts of what it leaves."""
    text = "\n".join([*script, f"tee -q -o {stem}.stat.json stat -json"]) + "\n"
    (job.work / f"{stem}.ys").write_text(text, encoding="utf-8")
    job.run("yosys", ["-s", f"{stem}.ys"], stem, SYNTH_TIMEOUT_S)
    counts = json.loads((job.work / f"{stem}.stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return {str(kind): int(count) for kind, count in counts.items()}


def shell_size(job: Job) -> int:
    """LUTs of the link shell alone, after packing; its engine ports are left open to the outside."""
    synth = job.flow.synth(job.board).replace("-top top", "-top shell")
    cells = _yosys(job, "shell", ["read_rtlil shell.il", synth, "write_json shell.json"])
    args = pack_only_arguments(job.flow, job.board, "shell.json")
    output = job.run(job.flow.placer, args, "shell-pack", SYNTH_TIMEOUT_S, check=False)
    return usage_from_log(output, job.flow).used.get("luts", job.flow.count(cells)["luts"])


def leave_room(job: Job, cells: Mapping[str, int]) -> None:
    """Choose what is placed: the netlist, with some cells of each tile kept free where that is known (see spread.py)."""
    if job.board.device not in spread.FABRICS or not job.flow.spreads(job.board, job.engine):
        return
    if spread.too_chained(job.board.device, cells):
        job.density = spread.SPARSE
        return
    # with the pins: a PLL on a pad needs its place
    args = pack_only_arguments(job.flow, job.board, "netlist.json", whole=True)
    output = job.run(job.flow.placer, args, "pack-only", SYNTH_TIMEOUT_S)
    packed = usage_from_log(output, job.flow).used["luts"]
    sites = spread.reserved_sites(job.board.device, packed, cells)
    if sites:
        spread.write_spread(job.work / "netlist.json", job.work / "spread.json", job.board.device, sites)
        job.netlist, job.reserved = "spread.json", len(sites)


def place_all(job: Job, seeds: Sequence[int], workers: int | None) -> tuple[list[tuple[SeedResult, Usage]], int]:
    """Every seed, and the shell's own size, ``workers`` at once; the first failure or an interrupt stops the others.

    A seed that cannot be routed is a result, not a failure. Where none meets the clock and some were nearly routed, the next
    :data:`FURTHER_SEEDS` are placed, and then these seeds with the family's other router, one after the other until one meets it.
    Raises DoesNotFitError when none could be routed.
    """
    limit = max(1, min(len(seeds) + 1, workers or os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=limit) as pool:
        futures = [pool.submit(copy_context().run, _place, job, seed) for seed in seeds]
        size = pool.submit(copy_context().run, shell_size, job)
        everything: list[Future[Any]] = [*futures, size]
        try:
            for future in as_completed(everything):
                future.result()
        except BaseException:
            job.stop.set()
            for future in everything:
                future.cancel()
            raise
    placed = [future.result() for future in futures]
    for seed, router in _further(job, [result for result, _ in placed]):
        if any(result.met for result, _ in placed):
            break
        placed.append(_place(job, seed, router))
    if all(result.unrouted for result, _ in placed):
        each = "; ".join(
            f"seed {result.seed}{' with ' + result.router if result.router else ''} stayed {result.unrouted}"
            for result, _ in placed
        )
        raise DoesNotFitError(
            f"The design cannot be routed on {job.board.name} ({each}); make the network smaller, try other seeds, "
            f"or take a larger board (logs: {job.logs})"
        )
    return placed, size.result()


def _further(job: Job, tried: Sequence[SeedResult]) -> list[tuple[int, str]]:
    """(seed, router) of the tries behind those that were asked for, most promising first; none where those say all."""
    nearly = [result.seed for result in tried if result.nearly]
    if not nearly:
        return []
    last = max(result.seed for result in tried)
    other = other_router(job.flow, job.board, job.engine)
    return [(last + n, "") for n in range(1, FURTHER_SEEDS + 1)] + ([(seed, other) for seed in nearly] if other else [])


_NO_ROOM = re.compile(r"no (more )?bels remaining|unable to (find a )?place|failed to expand region", re.IGNORECASE)


def _place(job: Job, seed: int, router: str = "") -> tuple[SeedResult, Usage]:
    again = SeedResult(seed, 0.0, False, 0.0, router=router)
    flow, stem, with_router = job.flow, again.stem, f" with {router}" if router else ""
    job.say(f"place and route, seed {seed}{with_router}")
    started = time.monotonic()
    try:
        done = _run_placer(job, job.netlist, again)
        reserved = job.reserved
        if done.returncode > 0 and reserved:  # it gave up; a signal is somebody's wish to stop
            job.say(f"place and route, seed {seed}, once more without free cells")
            done, reserved = _run_placer(job, "netlist.json", again), 0
    except NotRoutedError as error:
        job.say(f"seed {seed} is given up: its routing stayed {error}")
        return replace(again, seconds=round(time.monotonic() - started, 3), unrouted=str(error)), Usage({}, {})
    usage = usage_from_log(done.output, flow)
    if reserved:
        usage = Usage({**usage.used, "luts": usage.used["luts"] - reserved}, usage.available)
    report = job.work / f"{stem}.report.json"
    if done.returncode != 0 or not report.is_file():
        bits = {"bram_bits": "brams", "spram_bits": "sprams"}
        size = {"bram_bits": flow.bram_block_bits, "spram_bits": 262144}
        check_fit({**usage.used, **{key: usage.used.get(name, 0) * size[key] for key, name in bits.items()}}, job.board)
        if _NO_ROOM.search(done.output):
            share = ", ".join(
                f"{count} {name} of {usage.available[name]}" for name, count in usage.used.items() if count
            )
            raise DoesNotFitError(
                f"The design leaves no room for place and route on {job.board.name} ({share}); "
                "make the network smaller or take a larger board"
            )
        raise toolchain.ToolFailedError(
            f"{flow.placer} failed with status {done.returncode}: {toolchain.last_lines(done.output)}; "
            f"full log: {job.logs / stem}.log"
        )
    clocks = json.loads(report.read_text(encoding="utf-8"))["fmax"]
    if not clocks:
        raise toolchain.ToolFailedError(f"{flow.placer} reported no clock; the design has no registers to time")
    # one clock domain; if a tool ever splits it, the slowest part counts
    fmax_hz = min(clock["achieved"] for clock in clocks.values()) * 1e6
    target = job.board.speed(job.engine).plan.logic_hz
    return replace(again, fmax_hz=fmax_hz, met=fmax_hz >= target, seconds=round(done.seconds, 3)), usage


class NotRoutedError(toolchain.ToolFailedError):
    """The router was ended because it got no further; the text is half a sentence that says where it stayed."""


def _run_placer(job: Job, netlist: str, what: SeedResult) -> toolchain.Completed:
    watch = RoutingWatch(job.stop, job.place_timeout_s)
    arguments = place_arguments(job.flow, job.board, job.engine, netlist, what.stem, what.seed, what.router)
    if job.density:
        arguments += ["--placer-heap-beta", f"{job.density:g}"]
    try:
        return toolchain.run(
            job.flow.placer,
            arguments,
            cwd=job.work,
            timeout=job.place_timeout_s,
            log=job.logs / f"{what.stem}.log",
            check=False,
            on_line=watch.see,
            cancel=watch,
        )
    except toolchain.ToolFailedError:
        if watch.reason:
            raise NotRoutedError(watch.reason) from None
        raise


def pack(job: Job, placed: SeedResult) -> Path:
    """The bitstream of one placed seed."""
    stem = placed.stem
    job.run(job.flow.packer, job.flow.pack(job.board, stem, job.next_image), "pack", PACK_TIMEOUT_S)
    return job.work / f"{stem}{job.flow.suffix}"


_USAGE = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


def usage_from_log(output: str, flow: Flow) -> Usage:
    """Resources under our names; the last table that nextpnr printed counts."""
    used: dict[str, int] = {}
    available: dict[str, int] = {}
    for kind, count, capacity in _USAGE.findall(output):
        name = flow.utilisation.get(kind)
        if name is not None:
            used[name], available[name] = int(count), int(capacity)
    return Usage(used, available)


def fitting_boards(need: Mapping[str, int]) -> list[str]:
    """Names of the boards whose resources cover ``need``, smallest first."""
    return [board.name for board in all_boards() if not shortfalls(need, board.resources)]


def check_fit(need: Mapping[str, int], board: Board, *, likely: Mapping[str, int] | None = None) -> None:
    """Raise DoesNotFitError, naming every resource that is short and a board that would do.

    ``likely``: what the whole design will need, where ``need`` is only what is certain already.
    """
    over = shortfalls(need, board.resources)
    if not over:
        return
    others = [name for name in fitting_boards(likely or need) if name != board.name]
    hint = f"it would fit {others[0]}" if others else "no board here is large enough; make the network smaller"
    raise DoesNotFitError(f"The design is too large for {board.name}: it needs {' and '.join(over)}; {hint}")
