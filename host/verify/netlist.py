"""The rung "netlist": what Yosys makes of the engine for the target, on the family's own cell models, against the graph."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from neuroloom.boards import toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.cell_models import cell_models
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import MissingToolError
from neuroloom.compiler.ir import Graph
from neuroloom.rtl.logic.engine import plan, write_plan
from neuroloom.rtl.logic.timing import default_interval

from .bench import run_bench
from .result import RungResult, vectors_of
from .rtl import make_job

TOP = "top"
SYNTHESIS_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Netlist:
    """A synthesised engine: the cells as Verilog, how many of each type, and what resources they take."""

    text: str
    cells: Mapping[str, int]
    counts: Mapping[str, int]
    seconds: float


def synthesise(verilog: str, board: Board, timeout_s: float = SYNTHESIS_TIMEOUT_S) -> Netlist:
    """Synthesise a bare engine, module :data:`TOP`, for the board's family; raises MissingToolError or ToolFailedError."""
    flow = FLOWS[board.family]
    with tempfile.TemporaryDirectory(prefix="neuroloom-netlist-") as temporary:
        folder = Path(temporary)
        (folder / "core.v").write_text(verilog, encoding="utf-8")
        script = [
            *flow.read(["core.v"]),
            flow.synth(board),
            "write_verilog -noattr netlist.v",
            "tee -q -o stat.json stat -json",
        ]
        (folder / "run.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        done = toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=folder, timeout=timeout_s, log=folder / "yosys.log")
        cells = json.loads((folder / "stat.json").read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
        text = (folder / "netlist.v").read_text(encoding="utf-8")
    return Netlist(text, cells, flow.count(cells), done.seconds)


def simulator() -> str:
    """Icarus when it is there, because it starts at once; else Verilator, which takes a minute to compile a netlist."""
    try:
        toolchain.find("iverilog")
        toolchain.find("vvp")
    except MissingToolError:
        return "verilator"
    return "icarus"


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    board: str | Board,
    register_interval: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    use: str | None = None,
) -> RungResult:
    """Synthesise the engine for the board and compare its cells with the graph, bit for bit and cycle for cycle.

    ``register_interval`` None takes the board's default; ``use`` chooses the simulator. Raises MismatchError with the first
    difference, MissingToolError, ToolFailedError, UnsupportedError.
    """
    started = time.monotonic()
    arrays = vectors_of(graph, vectors, limit)
    target = load_board(board) if isinstance(board, str) else board
    interval = (
        default_interval(target.device, target.speed().plan.logic_hz)
        if register_interval is None
        else register_interval
    )
    ready = plan(graph, interval, lut_size=target.resources.lut_inputs)
    netlist = synthesise(write_plan(ready, TOP), target)
    job = make_job(graph, arrays, ready.latency, seed)
    chosen = use or simulator()
    cycles = run_bench(
        "netlist", chosen, {"netlist.v": netlist.text, "cells.v": cell_models(target.family, netlist.cells)}, TOP, job
    )
    luts, ffs = netlist.counts["luts"], netlist.counts["ffs"]
    detail = f"{target.family} cells under {chosen}: {luts} LUTs, {ffs} flip-flops, latency {ready.latency} cycles"
    facts = {"latency": ready.latency, "synthesis_seconds": round(netlist.seconds, 1), **netlist.counts}
    return RungResult("netlist", True, len(job.samples), cycles, detail, time.monotonic() - started, facts)
