"""From a graph to a board and back: schedule, build, emulate, run. The one place that picks an engine for a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.build import BuildResult, build
from neuroloom.boards.emulate import emulate
from neuroloom.boards.registry import load_board
from neuroloom.boards.steps import check_fit
from neuroloom.boards.vendor import VendorProject, write_project
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.compiler.wire import answer_fields, pack_samples, sample_fields, total_bytes, unpack_answers
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.logic.adapter import LogicAdapter
from neuroloom.rtl.logic.engine import LogicEngine, Plan, plan, write_plan
from neuroloom.rtl.logic.timing import default_interval
from neuroloom.sim.inputs import prepare

from .device import Device

Say = Callable[[str], None]

PORTABLE_INTERVAL = 2
"""LUT levels between pipeline registers where no board is named."""


def interval_for(board: Board | None) -> int:
    """LUT levels between pipeline registers that meet the board's clock with room to spare."""
    return default_interval(board.device, board.speed("logic").plan.logic_hz) if board else PORTABLE_INTERVAL


def board_of(graph: Graph, name: str | None) -> Board:
    """The board named, or the one the graph was compiled for; raises InputError when neither says."""
    chosen = name or graph.records.get("board")
    if not chosen:
        raise InputError("a board must be named with --board, because the model was compiled without one")
    return load_board(chosen)


def board_if_known(graph: Graph, name: str | None = None) -> Board | None:
    """The board named, or the one the graph was compiled for; None when neither says."""
    return board_of(graph, name) if name or graph.records.get("board") else None


def schedule_model(graph: Graph, *, board: Board | None = None, register_interval: int | None = None) -> Plan:
    """Schedule the graph as a spatial pipeline; raises UnsupportedError for what only other engines can run."""
    if register_interval is None:
        register_interval = interval_for(board)
    lut_size = board.resources.lut_inputs if board else 4
    return plan(graph, register_interval, lut_size=lut_size)


def core_verilog(graph: Graph, *, board: Board | None = None, register_interval: int | None = None) -> str:
    """The network as one Verilog module with documented stream ports, for someone else's design."""
    return write_plan(schedule_model(graph, board=board, register_interval=register_interval))


def identity_of(graph: Graph, board: Board) -> Identity:
    """What a device built from this graph says about itself."""
    taken, given = (max(total_bytes(fields), 1) for fields in (sample_fields(graph), answer_fields(graph)))
    return Identity("logic", board.name, graph_hash(graph), taken, given, board.speed("logic").plan.logic_hz)


def _engine(graph: Graph, board: Board, register_interval: int | None) -> tuple[Callable[[], LogicAdapter], Identity]:
    ready = schedule_model(graph, board=board, register_interval=register_interval)
    return lambda: LogicAdapter(LogicEngine(ready)), identity_of(graph, board)


def build_model(
    graph: Graph,
    board: str | None = None,
    *,
    register_interval: int | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    out_dir: Path | str | None = None,
    progress: Say | None = None,
    use_cache: bool = True,
) -> BuildResult:
    """Build the bitstream of a graph; raises DoesNotFitError, MissingToolError or UnsupportedError."""
    target = board_of(graph, board)
    _check_hopeless(graph, target)
    factory, identity = _engine(graph, target, register_interval)
    folder = Path(out_dir) if out_dir is not None else None
    return build(factory, identity, target, seeds=seeds, out_dir=folder, progress=progress, use_cache=use_cache)


def write_vendor_project(
    graph: Graph,
    board: str | None,
    out_dir: Path | str,
    *,
    register_interval: int | None = None,
    progress: Say | None = None,
) -> VendorProject:
    """Write Verilog, pins and a script for the tool of the board's vendor to ``out_dir``, with Yosys' resource figures.

    Raises InputError for a board that the open tools build, DoesNotFitError, MissingToolError or UnsupportedError.
    """
    target = board_of(graph, board)
    _check_hopeless(graph, target)
    factory, identity = _engine(graph, target, register_interval)
    return write_project(factory, identity, target, Path(out_dir), progress=progress)


HOPELESS = 1.25
"""Lookup tables of the network over those of the chip from which on synthesis is not even tried: it saves some per cent."""


def _check_hopeless(graph: Graph, board: Board) -> None:
    """Refuse at once what minutes of synthesis would refuse; raises DoesNotFitError naming a board that would do."""
    tables = sum(len(node.attrs["tables"]) for node in graph.walk() if node.op == "lut")
    if tables > HOPELESS * board.resources.luts:
        check_fit({"luts": tables}, board)


def emulate_model(
    graph: Graph, board: str | None = None, *, register_interval: int | None = None, **options: Any
) -> VirtualBoard:
    """The virtual board that runs the graph's RTL; not started yet."""
    target = board_of(graph, board)
    factory, identity = _engine(graph, target, register_interval)
    return emulate(factory, identity, target, **options)


def run_model(
    graph: Graph,
    device: Device,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Send samples to a device and return its answers by output name, int64[N, ...].

    Raises InputError for samples that do not fit the graph and DeviceError when the device runs another network, or the
    line fails beyond repair.
    """
    arrays = prepare(graph, inputs)
    device.check_model(graph_hash(graph), repr(graph.name))
    answers = device.run_bytes(pack_samples(graph, arrays), progress)
    return unpack_answers(graph, answers)
