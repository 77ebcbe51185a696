"""From an engine to a bitstream: synthesis once, place and route with several seeds, packing, and the record of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neuroloom.boards import cache, emit, steps, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.boot_policy import next_image, policy_of
from neuroloom.boards.flows import FLOWS, Flow
from neuroloom.boards.image_record import ImageRecord, stamp
from neuroloom.boards.steps import SeedResult
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.link.protocol import Buffers, Identity
from neuroloom.rtl.link.shell import LinkShell
from neuroloom.rtl.top import Top

FLOW_VERSION = 5
"""Part of the cache key; raise it when the scripts here change what they produce."""

PLACE_TIMEOUT_S = 4 * 3600


@dataclass(frozen=True)
class BuildResult:
    """A finished build.

    ``used`` and ``available`` count luts, ffs, brams, sprams and dsps as far as the family's placer reports them;
    ``shell_luts`` is the link shell's own share, synthesised and packed alone, in LUTs (logic cells on iCE40).
    ``bitstream`` is the first seed's that meets timing, or the first routed one's if none does; ``met`` says that it does.
    ``seeds`` are those that were asked for, and what was tried behind them because none of those met the clock. ``timing_met`` says
    that *every* one meets ``clock_hz``, which one that could not be routed does not. ``design_sha256`` covers the RTL
    alone, not tools or seeds: it tells whether a record is stale. ``verilog`` is the RTL, ``netlist`` the synthesised
    cells; ``cached`` says that nothing was run.
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
    next_image: int | None = None
    """Address of the image that the bitstream names as the one to boot."""

    @property
    def met(self) -> bool:
        """Whether the bitstream meets the clock."""
        return any(seed.met for seed in self.seeds)


def _shell(engine: Any, identity: Identity, baud: int, guard_cycles: int | None = None) -> LinkShell:
    """The link around an engine, which may say how long it is silent at most (``silence_seconds``), and that it needs block RAM
    itself (``buffers``)."""
    silence = getattr(engine, "silence_seconds", None)
    buffers = getattr(engine, "buffers", Buffers())
    return LinkShell(
        identity,
        baud=baud,
        **asdict(buffers),
        watchdog_cycles=None if silence is None else round(silence * identity.clock_hz),
        guard_cycles=guard_cycles,
    )


def make_top(
    engine: Any, identity: Identity, board: Board, *, simulation: bool = False, guard_cycles: int | None = None
) -> tuple[Top, Identity]:
    """The board's whole design around ``engine``, and the identity it will answer with.

    ``identity``'s board is replaced by the board's own, and its clock unless the board has that for such an engine. ``simulation``
    leaves out the PLL and adds ``rst``. ``guard_cycles``: the time of a guarded design, if not the usual one.
    """
    speed = board.clocked(identity.engine, identity.clock_hz).speed(identity.engine)
    own = replace(identity, board=board.name, clock_hz=speed.plan.logic_hz)
    shell = _shell(engine, own, speed.baud, guard_cycles)
    plan = None if simulation else speed.plan
    top = Top(
        shell,
        engine,
        plan=plan,
        leds=len(board.leds.pins),
        leds_active_low=board.leds.active_low,
        family=board.family,
    )
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
        raise InputError(
            f"Board must be built with open tools, not {board.name}; use the vendor project instead, "
            f"as `neuroloom build --board {board.name}` writes it"
        )
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"Seeds must be different and at least one, not {list(seeds)}")
    say = progress or (lambda text: None)
    flow = FLOWS[board.family]
    tools = {name: toolchain.find(name) for name in ("yosys", flow.placer, flow.packer)}
    check_file_names(extra_files or {})
    say("elaborating")
    engine = engine_factory()
    files = {**getattr(engine, "extra_files", {}), **(extra_files or {})}
    check_file_names(files)
    top, own = make_top(engine, identity, board)
    board = board.clocked(own.engine, own.clock_hz)
    if policy_of(own) != "none":
        board = board.with_boot_pins()
    next_at = next_image(own, board)
    shell = _shell(engine, own, own.baud)
    sources = {"top.il": emit.to_rtlil(top), "shell.il": emit.to_rtlil(shell, "shell"), **files}
    design = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    constraints = flow.constraints(board, identity.engine)
    key = cache.digest(
        {
            "flow": FLOW_VERSION,
            "design": design,
            "board": asdict(board),
            "constraints": constraints,
            "synth": flow.synth(board),
            "place": [*flow.device(board), *flow.routing(board, identity.engine)],
            "seeds": list(seeds),
            "tools": {name: tool.version for name, tool in tools.items()},
            **({} if next_at is None else {"next_image": next_at}),
        }
    )
    entry = cache.lookup("build", key) if use_cache else None
    if entry is not None:
        say("cached")
        return _result(entry, out_dir, cached=True)

    started = time.monotonic()
    with cache.workspace("build") as work:
        logs = cache.cache_root() / "build-logs" / key  # where a failed build's logs stay
        logs.mkdir(parents=True, exist_ok=True)
        for name, text in {**sources, flow.constraint_file: constraints}.items():
            (work / name).write_text(text, encoding="utf-8")
        job = steps.Job(work, logs, board, identity.engine, say, place_timeout_s, next_image=next_at)
        say("synthesis")
        cells = steps.synthesise(job, list(files))
        steps.leave_room(job, cells)
        placed, shell_luts = steps.place_all(job, seeds, jobs)
        results = tuple(result for result, _ in placed)
        chosen = min(results, key=lambda result: (not result.met, bool(result.unrouted)))
        usage = placed[results.index(chosen)][1]
        say("packing")
        os.replace(steps.pack(job, chosen), work / f"{board.name}{flow.suffix}")
        _stamp(work / f"{board.name}{flow.suffix}", own)
        record = {
            "board": board.name,
            "key": key,
            "design_sha256": design,
            "clock_hz": board.speed(identity.engine).plan.logic_hz,
            "used": usage.used,
            "available": usage.available,
            "shell_luts": shell_luts,
            "seeds": [asdict(result) for result in results],
            "chosen_seed": chosen.seed,
            "timing_met": all(result.met for result in results),
            "tools": {name: tool.version for name, tool in tools.items()},
            "seconds": round(time.monotonic() - started, 3),
            "bitstream": f"{board.name}{flow.suffix}",
            "next_image": next_at,
        }
        (work / "build.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        for log in logs.iterdir():
            shutil.copyfile(log, work / log.name)
        shutil.rmtree(logs, ignore_errors=True)
        _drop_intermediates(work, flow)
        entry = cache.publish(work, "build", key)
    return _result(entry, out_dir, cached=False)


def _stamp(bitstream: Path, identity: Identity) -> None:
    """Let an image that is one of several in a flash say what it is; others stay as the packer wrote them."""
    policy = policy_of(identity)
    if policy != "none":
        record = ImageRecord(identity.board, identity.engine, identity.model_hash.hex(), policy)
        bitstream.write_bytes(stamp(bitstream.read_bytes(), record))


_RESERVED = {"top.il", "shell.il", "top.v", "netlist.v", "netlist.json"}


def check_file_names(files: Mapping[str, str]) -> None:
    """Raise InputError for a name that is no plain Verilog file name or one that a build writes itself."""
    for name in files:
        if not re.fullmatch(r"[A-Za-z0-9_]+\.(v|sv)", name) or name in _RESERVED:
            raise InputError(f"Extra file must be a plain name ending in .v or .sv, not {name!r}")


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
