"""The rung "netlist" of gated networks: the cells that Yosys makes of the engine, driven with the network's program."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.compiler.ir import Graph
from neuroloom.host.gated.choose import choose_config

from .gated import drive, engine_verilog
from .netlist import synthesise
from .result import RungResult, vectors_of
from .spiking_netlist import SIMULATOR, with_models

SAMPLES = 2
"""Samples at most: cells run some hundred times slower than RTL."""


def check(
    graph: Graph, vectors: Mapping[str, np.ndarray] | np.ndarray, *, board: Board, limit: int | None = None
) -> RungResult:
    """Synthesise the board's engine that holds the network and compare its cells with the graph, cycles included.

    Raises MismatchError with the first difference, MissingToolError, ToolFailedError, DoesNotFitError, and UnsupportedError where
    there are no models of the cells.
    """
    started = time.monotonic()
    arrays = {name: a[:SAMPLES] for name, a in vectors_of(graph, vectors, limit).items()}
    config = choose_config(graph, board)
    netlist = synthesise(engine_verilog(config), board)
    cycles = drive(graph, config, arrays, SIMULATOR, verilog=with_models(netlist, board))
    counts = ", ".join(f"{number:,} {name}" for name, number in netlist.counts.items() if number)
    detail = f"{board.family} cells of engine {config.profile!r} under {SIMULATOR} ({counts}): answers and cycles of every run"
    facts = {"synthesis_seconds": round(netlist.seconds, 1), **netlist.counts}
    count = len(next(iter(arrays.values())))
    return RungResult("netlist", True, count, cycles, detail, time.monotonic() - started, facts)
