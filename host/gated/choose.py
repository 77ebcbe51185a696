"""Which gated engine a network gets: a profile of its board, or lanes folded for a target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.boards.registry import all_boards
from neuroloom.compiler.errors import DoesNotFitError, InputError, UnsupportedError
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.program import Program, compile_program
from neuroloom.compiler.ir import Graph

from .area import luts

RECORD = "gated"
"""Key of the graph's records with the target: ``lanes``, ``max_dsp``, ``max_lut``, ``latency_s``, each where it was asked for."""


def choose_config(graph: Graph, board: Board | None = None) -> GatedConfig:
    """The board's first profile that holds the network (of any board when none is named), or the smallest that meets its target.

    Profiles that list changes come first for networks with delta layers.

    Raises DoesNotFitError saying what is missing, with another board that would do, or UnsupportedError.
    """
    try:
        return fitted(graph, board).config
    except DoesNotFitError as error:
        if board is None:
            raise
        first = error
    others = [b.name for b in all_boards() if b.gated and b.name != board.name and _holds(graph, b)]
    hint = f"; it fits {', '.join(others)}" if others else "; no supported board holds it"
    raise DoesNotFitError(f"{first}{hint}")


def fitted(graph: Graph, board: Board | None = None) -> Program:
    """The program for the engine of :func:`choose_config`; looks for no other board when this one does not hold the network."""
    first: Exception | None = None
    for each in [board] if board is not None else [b for b in all_boards() if b.gated]:
        try:
            return _of_board(graph, each)
        except (DoesNotFitError, UnsupportedError) as error:
            first = first or error
    assert first is not None
    raise first


def _holds(graph: Graph, board: Board) -> bool:
    try:
        _of_board(graph, board)
        return True
    except (DoesNotFitError, UnsupportedError):
        return False


def _of_board(graph: Graph, board: Board) -> Program:
    if not board.gated:
        names = ", ".join(b.name for b in all_boards() if b.gated)
        raise UnsupportedError(f"board must be one with a gated engine ({names}), not {board.name}")
    target: Mapping[str, Any] = graph.records.get(RECORD, {})
    first: Exception | None = None
    found = list(candidates(board, target))
    if any(node.op == "delta" for node in graph.walk()):  # where only changes are computed, if there is such a profile
        found.sort(key=lambda config: not config.changes)
    for config in found:
        try:
            program = compile_program(graph, config)
        except (DoesNotFitError, UnsupportedError) as error:
            first = first or error
            continue
        clock_hz = board.speed("gated", config.profile).plan.logic_hz
        seconds = program.cycles[1] / clock_hz
        if "latency_s" in target and seconds > target["latency_s"]:
            first = DoesNotFitError(
                f"latency must be at most {1e6 * target['latency_s']:g} us, and {config.lanes} lanes (profile {config.profile!r} "
                f"of {board.name}) take up to {program.cycles[1]:,} cycles = {1e6 * seconds:,.1f} us at {clock_hz / 1e6:g} MHz"
            )
            continue
        if "max_lut" in target and (taken := luts(config, board)) > target["max_lut"]:
            first = DoesNotFitError(
                f"lookup tables must be at most {target['max_lut']:,}, and {config.lanes} lanes (profile {config.profile!r} of "
                f"{board.name}) take {taken:,} without the link; allow more, or a longer latency on fewer lanes"
            )
            continue
        return program
    assert first is not None
    raise first


def candidates(board: Board, target: Mapping[str, Any]) -> Iterable[GatedConfig]:
    """The board's profiles in its own order, or folded as the target asks, fewest multipliers first; raises InputError when none
    is left.
    """
    found: list[GatedConfig] = []
    for config in board.gated:
        counts = [config.lanes]
        if "lanes" in target:
            counts = [int(target["lanes"])]
        elif {"latency_s", "max_dsp", "max_lut"} & target.keys():
            counts = [n for n in (4, 8, 16, 32, 64, 128) if n <= config.lanes]
        for lanes in counts:
            try:
                found.append(folded(config, lanes))
            except InputError:
                continue
    limit = min(target.get("max_dsp", board.resources.dsps or 1 << 30), board.resources.dsps or 1 << 30)
    kept = [c for c in found if c.multipliers <= limit]
    if not kept:
        raise InputError(
            f"{board.name} has no gated engine of {target.get('lanes', 'any number of')} lanes and at most {limit} multipliers; "
            f"its profiles have {', '.join(str(c.multipliers) for c in board.gated)}"
        )
    return sorted(kept, key=lambda c: (c.multipliers, c.weight_rows)) if target else kept


def folded(config: GatedConfig, lanes: int) -> GatedConfig:
    """The profile with another number of lanes and as many weights; raises InputError when that cannot be."""
    if lanes == config.lanes:
        return config
    groups = config.groups
    while groups > 1 and lanes // groups < config.ports:
        groups //= 2
    ports = config.ports
    while ports > 1 and (lanes // groups) % ports:
        ports //= 2
    rows = min(config.weight_rows * config.lanes // max(lanes, 1), 1 << 16)
    return replace(
        config,
        profile=f"{config.profile}-{lanes}",
        lanes=lanes,
        groups=min(groups, ports),
        ports=ports,
        weight_rows=rows,
    )
