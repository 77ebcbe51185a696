"""From an engine to a bitstream: synthesis once, place and route with several seeds, packing, and the record of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neuroloom.boards import cache, emit, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.flows import FLOWS, Flow, pack_only_arguments, place_arguments, shortfalls
from neuroloom.boards.registry import all_boards
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.link.shell import LinkShell
from neuroloom.rtl.top import Top

FLOW_VERSION = 1
"""Part of the cache key; raise it when the scripts here change what they produce."""

SYNTH_TIMEOUT_S = 3600
PLACE_TIMEOUT_S = 4 * 3600
PACK_TIMEOUT_S = 900


@dataclass(frozen=True)
class SeedResult:
    """Place and route with one seed: the fastest clock in hertz, whether it reaches the board's, wall time in seconds."""

    seed: int
    fmax_hz: float
    met: bool
    seconds: float


@dataclass(frozen=True)
class BuildResult:
    """A finished build.

    ``used`` and ``available`` count luts, ffs, brams, sprams and dsps as far as the family's placer reports them;
    ``shell_luts`` is the link shell's own share, synthesised and packed alone, in LUTs (logic cells on iCE40).
    ``bitstream`` is the first seed's that meets timing, or the first one's if none does; ``timing_met`` says that
    *every* seed meets ``clock_hz``. ``design_sha256`` covers the RTL alone, not tools or seeds: it tells whether a
    record is stale. ``verilog`` is the RTL, ``netlist`` the synthesised cells; ``cached`` says that nothing was run.
    """

    board: str
    key: str
    design_sha256: str
    clock_hz: int
    used: Mapping[str, int]
    available: Mapping[str, int]
    shell_luts: int
    seeds: tuple[SeedResult, ...]
    chosen_seed: int
    timing_met: bool
    tools: Mapping[str, str]
    seconds: float
    bitstream: Path
    verilog: Path
    netlist: Path
    netlist_json: Path
    folder: Path
    cached: bool


def make_top(engine: Any, identity: Identity, board: Board, *, simulation: bool = False) -> tuple[Top, Identity]:
    """The board's whole design around ``engine``, and the identity it will answer with.

    ``identity``'s board and clock are replaced by the board's own. ``simulation`` leaves out the PLL and adds ``rst``.
    """
    speed = board.speed(identity.engine)
    own = replace(identity, board=board.name, clock_hz=speed.plan.logic_hz)
    shell = LinkShell(own, baud=speed.baud)
    plan = None if simulation else speed.plan
    top = Top(shell, engine, plan=plan, leds=len(board.leds.pins), leds_active_low=board.leds.active_low)
    return top, shell.identity


def build(
    engine_factory: Callable[[], Any],
    identity: Identity,
    board: Board,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    out_dir: Path | None = None,
    extra_files: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
    jobs: int | None = None,
    place_timeout_s: float = PLACE_TIMEOUT_S,
    use_cache: bool = True,
) -> BuildResult:
    """Build the bitstream of ``engine_factory()`` behind the link shell on ``board``.

    ``extra_files`` are Verilog files by name that the engine instantiates (an attribute ``extra_files`` of the engine
    is used as well). Files are copied to ``out_dir`` one by one, each in one step; without it they stay in the cache.
    ``jobs`` seeds run at once (default: one per core). Raises DoesNotFitError saying by how much and which board
    would fit, MissingToolError, ToolFailedError.
    """
    if board.support != "bitstream":
        raise InputError(f"Board must be built with open tools, not {board.name}; use the vendor project instead")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"Seeds must be different and at least one, not {list(seeds)}")
    say = progress or (lambda text: None)
    flow = FLOWS[board.family]
    tools = {name: toolchain.find(name) for name in ("yosys", flow.placer, flow.packer)}
    _check_names(extra_files or {})
    say("elaborating")
    engine = engine_factory()
    files = {**getattr(engine, "extra_files", {}), **(extra_files or {})}
    _check_names(files)
    top, own = make_top(engine, identity, board)
    sources = {"top.il": emit.to_rtlil(top), "shell.il": emit.to_rtlil(LinkShell(own, baud=own.baud), "shell"), **files}
    design = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    constraints = flow.constraints(board, identity.engine)
    key = cache.digest(
        {
            "flow": FLOW_VERSION,
            "design": design,
            "board": asdict(board),
            "constraints": constraints,
            "synth": flow.synth(board),
            "seeds": list(seeds),
            "tools": {name: tool.version for name, tool in tools.items()},
        }
    )
    entry = cache.lookup("build", key) if use_cache else None
    if entry is not None:
        say("cached")
        return _result(entry, out_dir, cached=True)

    started = time.monotonic()
    with cache.workspace("build") as work:
        for name, text in {**sources, flow.constraint_file: constraints}.items():
            (work / name).write_text(text, encoding="utf-8")
        say("synthesis")
        cells = _synthesise(work, flow, board, list(files))
        _check_fit(flow.count(cells), board)
        placed, shell_luts = _place_all(work, flow, board, identity.engine, seeds, jobs, place_timeout_s, say)
        results = tuple(result for result, _ in placed)
        chosen = next((result for result in results if result.met), results[0])
        used, available = placed[results.index(chosen)][1]
        say("packing")
        stem = f"seed{chosen.seed}"
        toolchain.run(
            tools[flow.packer], flow.pack(board, stem), cwd=work, timeout=PACK_TIMEOUT_S, log=work / "pack.log"
        )
        os.replace(work / f"{stem}{flow.suffix}", work / f"{board.name}{flow.suffix}")
        record = {
            "board": board.name,
            "key": key,
            "design_sha256": design,
            "clock_hz": board.speed(identity.engine).plan.logic_hz,
            "used": used,
            "available": available,
            "shell_luts": shell_luts,
            "seeds": [asdict(result) for result in results],
            "chosen_seed": chosen.seed,
            "timing_met": all(result.met for result in results),
            "tools": {name: tool.version for name, tool in tools.items()},
            "seconds": round(time.monotonic() - started, 3),
            "bitstream": f"{board.name}{flow.suffix}",
        }
        (work / "build.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        _drop_intermediates(work, flow)
        entry = cache.publish(work, "build", key)
    return _result(entry, out_dir, cached=False)


_RESERVED = {"top.il", "shell.il", "top.v", "netlist.v", "netlist.json"}


def _check_names(files: Mapping[str, str]) -> None:
    for name in files:
        if not re.fullmatch(r"[A-Za-z0-9_]+\.(v|sv)", name) or name in _RESERVED:
            raise InputError(f"Extra file must be a plain name ending in .v or .sv, not {name!r}")


def _synthesise(work: Path, flow: Flow, board: Board, files: Sequence[str]) -> Mapping[str, int]:
    """RTL to cells; leaves top.v, netlist.json, netlist.v; returns cell counts by type."""
    script = ["read_rtlil top.il", "design -save rtl", emit.VERILOG_SCRIPT.format(file="top.v").rstrip()]
    script += ["design -load rtl"]
    script += [f"read_verilog {'-sv ' if name.endswith('.sv') else ''}{name}" for name in files]
    script += [flow.synth(board), "write_json netlist.json", "write_verilog -noattr netlist.v"]
    script += ["tee -q -o synth.stat.json stat -json"]
    return _yosys(work, "synth", script)


def _yosys(work: Path, stem: str, script: Sequence[str], stop: threading.Event | None = None) -> Mapping[str, int]:
    """Run a script that leaves its cell counts in ``stem + ".stat.json"``, and return them."""
    log = work / f"{stem}.log"
    (work / f"{stem}.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    toolchain.run("yosys", ["-s", f"{stem}.ys"], cwd=work, timeout=SYNTH_TIMEOUT_S, log=log, cancel=stop)
    counts = json.loads((work / f"{stem}.stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return {str(kind): int(count) for kind, count in counts.items()}


def _shell_size(work: Path, flow: Flow, board: Board, stop: threading.Event) -> int:
    """LUTs of the link shell alone, after packing; its engine ports are left open to the outside."""
    synth = flow.synth(board).replace("-top top", "-top shell")
    cells = _yosys(
        work,
        "shell",
        ["read_rtlil shell.il", synth, "write_json shell.json", "tee -q -o shell.stat.json stat -json"],
        stop,
    )
    args = pack_only_arguments(flow, board, "shell.json")
    done = toolchain.run(
        flow.placer, args, cwd=work, timeout=600, log=work / "shell-pack.log", check=False, cancel=stop
    )
    used, _ = _utilisation_from_log(done.output, flow)
    return used.get("luts", flow.count(cells)["luts"])


_Usage = tuple[Mapping[str, int], Mapping[str, int]]


def _place_all(
    work: Path,
    flow: Flow,
    board: Board,
    engine: str,
    seeds: Sequence[int],
    jobs: int | None,
    timeout_s: float,
    say: Callable[[str], None],
) -> tuple[list[tuple[SeedResult, _Usage]], int]:
    """Every seed and the shell's own size, ``jobs`` at once; the first failure (or an interrupt) stops the others."""
    stop = threading.Event()
    workers = max(1, min(len(seeds) + 1, jobs or os.cpu_count() or 1))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(_place, work, flow, board, engine, seed, timeout_s, say, stop) for seed in seeds]
        size = pool.submit(_shell_size, work, flow, board, stop)
        everything: list[Future[Any]] = [*futures, size]
        try:
            for future in as_completed(everything):
                future.result()
        except BaseException:
            stop.set()
            for future in everything:
                future.cancel()
            raise
    return [future.result() for future in futures], size.result()


def _place(
    work: Path,
    flow: Flow,
    board: Board,
    engine: str,
    seed: int,
    timeout_s: float,
    say: Callable[[str], None],
    stop: threading.Event,
) -> tuple[SeedResult, _Usage]:
    say(f"place and route, seed {seed}")
    stem = f"seed{seed}"
    args = place_arguments(flow, board, engine, "netlist.json", stem, seed)
    done = toolchain.run(
        flow.placer, args, cwd=work, timeout=timeout_s, log=work / f"{stem}.log", check=False, cancel=stop
    )
    used, available = _utilisation_from_log(done.output, flow)
    report = work / f"{stem}.report.json"
    if done.returncode != 0 or not report.is_file():
        over = {name: count for name, count in used.items() if count > available[name]}
        if over:
            bits = {
                "bram_bits": used.get("brams", 0) * flow.bram_block_bits,
                "spram_bits": used.get("sprams", 0) * 262144,
            }
            _check_fit({**used, **bits}, board)
        if re.search(r"no (more )?bels remaining|unable to place|failed to expand region", done.output, re.IGNORECASE):
            share = ", ".join(f"{count} {name} of {available[name]}" for name, count in used.items() if count)
            raise DoesNotFitError(
                f"The design leaves no room for place and route on {board.name} ({share}); "
                "make the network smaller or take a larger board"
            )
        raise toolchain.ToolFailedError(
            f"{flow.placer} failed with status {done.returncode}: {toolchain.last_lines(done.output)}"
        )
    clocks = json.loads(report.read_text(encoding="utf-8"))["fmax"]
    if not clocks:
        raise toolchain.ToolFailedError(f"{flow.placer} reported no clock; the design has no registers to time")
    # one clock domain; if a tool ever splits it, the slowest part counts
    fmax_hz = min(clock["achieved"] for clock in clocks.values()) * 1e6
    target = board.speed(engine).plan.logic_hz
    return SeedResult(seed, fmax_hz, fmax_hz >= target, round(done.seconds, 3)), (used, available)


_USAGE = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


def _utilisation_from_log(output: str, flow: Flow) -> tuple[dict[str, int], dict[str, int]]:
    """(used, available) under our names; the last table printed counts."""
    used: dict[str, int] = {}
    available: dict[str, int] = {}
    for kind, count, capacity in _USAGE.findall(output):
        name = flow.utilisation.get(kind)
        if name is not None:
            used[name], available[name] = int(count), int(capacity)
    return used, available


def fitting_boards(need: Mapping[str, int]) -> list[str]:
    """Names of the boards whose resources cover ``need``, smallest first."""
    return [board.name for board in all_boards() if not shortfalls(need, board.resources)]


def _check_fit(need: Mapping[str, int], board: Board) -> None:
    over = shortfalls(need, board.resources)
    if not over:
        return
    others = [name for name in fitting_boards(need) if name != board.name]
    hint = f"it would fit {others[0]}" if others else "no board here is large enough; make the network smaller"
    raise DoesNotFitError(f"The design is too large for {board.name}: it needs {' and '.join(over)}; {hint}")


_KEEP = {"build.json", "top.v", "netlist.v", "netlist.json", "top.il"}


def _drop_intermediates(work: Path, flow: Flow) -> None:
    for path in work.iterdir():
        kept = path.name in _KEEP or path.suffix in (".log", ".v", ".sv", flow.suffix)
        if not kept and path.name != flow.constraint_file and not path.name.endswith(".report.json"):
            path.unlink()


def _result(entry: Path, out_dir: Path | None, *, cached: bool) -> BuildResult:
    folder = entry
    if out_dir is not None:
        for path in sorted(entry.iterdir()):
            if path.name != cache.MANIFEST:
                cache.place_copy(path, out_dir / path.name)
        folder = out_dir
    record = json.loads((entry / "build.json").read_text(encoding="utf-8"))
    record["seeds"] = tuple(SeedResult(**seed) for seed in record["seeds"])
    record["bitstream"] = folder / record["bitstream"]
    return BuildResult(
        **record,
        verilog=folder / "top.v",
        netlist=folder / "netlist.v",
        netlist_json=folder / "netlist.json",
        folder=folder,
        cached=cached,
    )
