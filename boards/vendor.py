"""Boards built with a vendor's tool: sources, constraints and script for it, and Yosys' figures for any core."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.boards import cache, emit, steps, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.build import check_file_names, make_top
from neuroloom.boards.flows import FLOWS
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.link.protocol import Identity

_VIVADO = """# vivado -mode batch -source build.tcl
read_verilog {files}
read_xdc top.xdc
synth_design -top top -part {part}
opt_design
place_design
phys_opt_design
route_design
report_utilization -file utilization.txt
report_timing_summary -file timing.txt
write_bitstream -force {name}.bit
"""


@dataclass(frozen=True)
class Figures:
    """What Yosys makes of a design: resources by our names, cells by type, and the Yosys version."""

    used: Mapping[str, int]
    cells: Mapping[str, int]
    yosys: str
    cached: bool


@dataclass(frozen=True)
class VendorProject:
    """A project for the vendor's tool: its folder, its files, and Yosys' figures of the same design."""

    board: str
    folder: Path
    files: tuple[Path, ...]
    figures: Figures


def core_figures(
    verilog: Mapping[str, str],
    top: str,
    board: Board,
    *,
    timeout_s: float = steps.SYNTH_TIMEOUT_S,
    progress: Callable[[str], None] | None = None,
) -> Figures:
    """Resources of ``top`` in the Verilog texts ``verilog`` when Yosys maps it to ``board``'s FPGA, without pins.

    No place and route, so nothing about speed; nothing is checked against the board's capacity. Cached by content.
    """
    if not verilog:
        raise InputError("Design must have at least one Verilog file, not none")
    flow, yosys = FLOWS[board.family], toolchain.find("yosys")
    command = flow.synth(board).replace("-top top", f"-top {top}")
    key = cache.digest({"verilog": dict(verilog), "command": command, "yosys": yosys.version})
    entry = cache.lookup("figures", key)
    if entry is not None:
        cells = json.loads((entry / "cells.json").read_text(encoding="utf-8"))
        return Figures(flow.count(cells), cells, yosys.version, True)
    if progress is not None:
        progress("synthesis")
    with cache.workspace("figures") as work:
        for name, text in verilog.items():
            (work / name).write_text(text, encoding="utf-8")
        script = [f"read_verilog {'-sv ' if name.endswith('.sv') else ''}{name}" for name in verilog]
        script += [command, "tee -q -o stat.json stat -json"]
        (work / "run.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        toolchain.run(yosys, ["-q", "-s", "run.ys"], cwd=work, timeout=timeout_s)
        found = json.loads((work / "stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
        cells = {str(kind): int(count) for kind, count in sorted(found.items())}
        kept = work / "kept"
        kept.mkdir()
        (kept / "cells.json").write_text(json.dumps(cells), encoding="utf-8")
        cache.publish(kept, "figures", key)
    return Figures(flow.count(cells), cells, yosys.version, False)


def write_project(
    engine_factory: Callable[[], Any],
    identity: Identity,
    board: Board,
    out_dir: Path,
    *,
    extra_files: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> VendorProject:
    """Write Verilog, constraints and a Vivado script to ``out_dir``; arguments as for ``build``.

    Raises DoesNotFitError when Yosys' figures exceed the board.
    """
    if board.support != "vendor-project":
        raise InputError(f"Board must need a vendor's tool, not {board.name}; build its bitstream instead")
    if progress is not None:
        progress("elaborating")
    engine = engine_factory()
    files = {**getattr(engine, "extra_files", {}), **(extra_files or {})}
    check_file_names(files)
    top, own = make_top(engine, identity, board)
    board = board.clocked(own.engine, own.clock_hz)
    files = {**files, "top.v": emit.to_verilog(top)}
    figures = core_figures(files, "top", board, progress=progress)
    steps.check_fit(figures.used, board)
    package, _, speed = board.package.partition("-")
    part = f"{board.device}{package}-{speed}"
    texts = {
        **files,
        "top.xdc": FLOWS[board.family].constraints(board, identity.engine),
        "build.tcl": _VIVADO.format(files=" ".join(sorted(files)), part=part, name=board.name),
    }
    with cache.workspace("vendor") as work:
        for name, text in texts.items():
            (work / name).write_text(text, encoding="utf-8")
        paths = tuple(cache.place_copy(work / name, out_dir / name) for name in texts)
    return VendorProject(board.name, out_dir, paths, figures)
