"""From a graph to a board and back: schedule, build, emulate, run. Which engine does it is said by ``engines.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.build import BuildResult, build
from neuroloom.boards.emulate import check_readable, emulate, emulate_bitstream, emulate_netlist
from neuroloom.boards.images import FIDELITIES
from neuroloom.boards.registry import load_board
from neuroloom.boards.vendor import VendorProject, write_project
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import DoesNotFitError, InputError
from neuroloom.compiler.ir import Graph
from neuroloom.rtl.logic.engine import write_plan

from .device import Device
from .engines import Design, engine_of
from .logic import interval_for, schedule_model
from .spiking.flow import core_design, core_of
from .standalone import build_booted

__all__ = [
    "board_if_known",
    "board_of",
    "build_core",
    "build_model",
    "core_verilog",
    "emulate_core",
    "emulate_model",
    "interval_for",
    "run_model",
    "schedule_model",
    "write_vendor_project",
]

Say = Callable[[str], None]


def board_of(graph: Graph, name: str | None) -> Board:
    """The board named, or the one the graph was compiled for; raises InputError when neither says."""
    chosen = name or graph.records.get("board")
    if not chosen:
        raise InputError("a board must be named with --board, because the model was compiled without one")
    return load_board(chosen)


def board_if_known(graph: Graph, name: str | None = None) -> Board | None:
    """The board named, or the one the graph was compiled for; None when neither says."""
    return board_of(graph, name) if name or graph.records.get("board") else None


def core_verilog(graph: Graph, *, board: Board | None = None, register_interval: int | None = None) -> str:
    """The network as one Verilog module with documented stream ports, for someone else's design."""
    return write_plan(schedule_model(graph, board=board, register_interval=register_interval))


def build_model(
    graph: Graph,
    board: str | None = None,
    *,
    register_interval: int | None = None,
    seeds: Sequence[int] = (1, 2, 3),
    out_dir: Path | str | None = None,
    progress: Say | None = None,
    use_cache: bool = True,
    boot: str = "none",
) -> BuildResult:
    """Build the bitstream that runs a graph; ``boot`` as in :mod:`neuroloom.boards.boot_policy`.

    Raises DoesNotFitError, MissingToolError or UnsupportedError.
    """
    target, engine = board_of(graph, board), engine_of(graph)
    engine.check(graph, target)
    design = engine.design(graph, target, register_interval)
    folder = Path(out_dir) if out_dir is not None else None
    return build_booted(design, target, boot, seeds=seeds, out_dir=folder, progress=progress, use_cache=use_cache)


def build_core(
    profile: str, board: str, *, spike_pins: bool = False, boot: str = "none", **options: Any
) -> BuildResult:
    """Build the bitstream of a board's spiking core, which any network that fits is loaded into; options as of ``build``.

    ``spike_pins`` also brings spikes to the board's pins; ``boot`` as of :func:`build_model`.
    """
    target = load_board(board).with_spike_pins() if spike_pins else load_board(board)
    try:
        return build_booted(core_design(core_of(profile, target), target), target, boot, **options)
    except DoesNotFitError as error:
        reason = str(error).split(";")[0]
        raise DoesNotFitError(f"{reason}; take a smaller profile than {profile!r}, or a larger board") from None


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
    target, engine = board_of(graph, board), engine_of(graph)
    engine.check(graph, target)
    factory, identity = engine.design(graph, target, register_interval)
    return write_project(factory, identity, target, Path(out_dir), progress=progress)


def emulate_model(
    graph: Graph,
    board: str | None = None,
    *,
    register_interval: int | None = None,
    fidelity: str = "rtl",
    progress: Say | None = None,
    **options: Any,
) -> VirtualBoard:
    """The virtual board that runs a graph; not started yet.

    ``fidelity``: ``rtl``, ``netlist`` (the cells that synthesis makes of it) or ``bitstream`` (built with one seed, and its bits
    unpacked; UnsupportedError, before any build, for boards that cannot be read back).
    """
    target = board_of(graph, board)
    design = engine_of(graph).design(graph, target, register_interval)
    return _emulate(design, target, fidelity, progress, options)


def emulate_core(
    profile: str, board: str, *, fidelity: str = "rtl", progress: Say | None = None, **options: Any
) -> VirtualBoard:
    """The virtual board with a spiking core and no network loaded, as :func:`emulate_model`; not started yet."""
    target = load_board(board)
    return _emulate(core_design(core_of(profile, target), target), target, fidelity, progress, options)


def _emulate(
    design: Design, target: Board, fidelity: str, progress: Say | None, options: dict[str, Any]
) -> VirtualBoard:
    if fidelity == "rtl":
        return emulate(*design, target, progress=progress, **options)
    if fidelity == "netlist":
        return emulate_netlist(*design, target, progress=progress, **options)
    if fidelity != "bitstream":
        raise InputError(f"fidelity must be one of {', '.join(FIDELITIES)}, not {fidelity!r}")
    check_readable(target)
    image = build(*design, target, seeds=(1,), progress=progress).bitstream
    return emulate_bitstream(image, target, progress=progress, **options)


def run_model(
    graph: Graph,
    device: Device,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    *,
    progress: Callable[[int, int], None] | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Send samples to a device and return its answers by output name, int64: [N, ...], of clocked graphs [N, T, ...].

    A spiking network is loaded into the device's core first; ``facts`` gets its ``cycles`` and ``stalls`` per sample and what
    ``saturated``. Raises InputError for samples that do not fit the graph and
    DeviceError when the device runs another network, or the line fails beyond repair.
    """
    return engine_of(graph).run(graph, device, inputs, progress, {} if facts is None else facts)
