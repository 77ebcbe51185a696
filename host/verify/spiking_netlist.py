"""The rung "netlist" of spiking networks: the cells that Yosys makes of the core, driven with the network's program."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from neuroloom.boards import cache, toolchain
from neuroloom.boards.board import Board
from neuroloom.boards.cell_models import cell_models, defines
from neuroloom.boards.flows import FLOWS
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.host.spiking.rtl_engine import RtlEngine, engine_verilog
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device

from .netlist import Netlist, synthesise
from .result import RungResult, vectors_of
from .spiking import drive, program_for

SAMPLES = 2
"""Samples at most: cells run some hundred times slower than RTL."""
SIMULATOR = "verilator"
"""Icarus would take hours for the thousands of cells of a core."""


def check(
    graph: Graph, vectors: Mapping[str, np.ndarray] | np.ndarray, *, board: Board, limit: int | None = None
) -> RungResult:
    """Synthesise the board's core that holds the network and compare its cells with the graph, as the rung "rtl" does.

    Raises MismatchError with the first difference, MissingToolError, ToolFailedError, DoesNotFitError, and UnsupportedError where
    there are no models of the cells.
    """
    started = time.monotonic()
    arrays = {name: a[:SAMPLES] for name, a in vectors_of(graph, vectors, limit).items()}
    program = program_for(graph, board)
    config = program.config
    netlist = cells_of(config, board)
    verilog = with_models(netlist, board)
    with (
        RtlEngine(config, SIMULATOR, verilog=verilog) as engine,
        simulated_device(config, engine) as device,
    ):
        drive(graph, program, arrays, SpikingDevice(device), f"the cells of core {config.profile!r}")
        cycles = engine.cycles
    counts = ", ".join(f"{number:,} {name}" for name, number in netlist.counts.items() if number)
    detail = (
        f"{board.family} cells of core {config.profile!r} under {SIMULATOR} ({counts}): spikes, states, weights and the cycles "
        "of every step"
    )
    facts = {"synthesis_seconds": round(netlist.seconds, 1), **netlist.counts}
    count = len(next(iter(arrays.values())))
    return RungResult("netlist", True, count, cycles, detail, time.monotonic() - started, facts)


def cells_of(config: CoreConfig, board: Board) -> Netlist:
    """The core's cells for the board's family; synthesised once, because they are the same for every network."""
    verilog = engine_verilog(config)
    tool = toolchain.find("yosys")
    key = cache.digest({"verilog": verilog, "synth": FLOWS[board.family].synth(board), "yosys": tool.version})
    entry = cache.lookup("core-netlist", key)
    if entry is None:
        made = synthesise(verilog, board)
        with cache.workspace("core-netlist") as work:
            result = work / "result"
            result.mkdir()
            (result / "netlist.json").write_text(json.dumps(asdict(made)), encoding="utf-8")
            entry = cache.publish(result, "core-netlist", key)
    return Netlist(**json.loads((entry / "netlist.json").read_text(encoding="utf-8")))


def with_models(netlist: Netlist, board: Board) -> str:
    """The netlist and the models of its cells in one text; raises UnsupportedError naming cells without a model."""
    models = cell_models(board.family, netlist.cells)
    missing = [
        name for name in sorted(netlist.cells) if not name.startswith("$") and not defines(models + netlist.text, name)
    ]
    if missing:
        raise UnsupportedError(
            f"the netlist rung must have a model of every cell of the core, but there is none of {', '.join(missing)} "
            f"({board.family}); verify up to rtl for {board.name}, or take another board"
        )
    return models + "\n" + netlist.text
