"""Logic networks on boards: the spatial pipeline scheduled, wrapped for the link, and asked sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.boards.steps import check_fit
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.compiler.wire import answer_fields, pack_samples, sample_fields, total_bytes, unpack_answers
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.logic.adapter import LogicAdapter
from neuroloom.rtl.logic.engine import LogicEngine, Plan, plan
from neuroloom.rtl.logic.timing import default_interval
from neuroloom.sim.inputs import prepare

from .device import Device

PORTABLE_INTERVAL = 2
"""LUT levels between pipeline registers where no board is named."""

HOPELESS = 1.25
"""Lookup tables of the network over those of the chip from which on synthesis is not even tried: it saves some per cent."""

LUTS_PER_SUMMED_BIT = 1.5
SHELL_LUTS = 1030
"""What counters, and the link shell, take in addition (measured on iCE40 and ECP5); for naming a board that would do."""


def interval_for(board: Board | None) -> int:
    """LUT levels between pipeline registers that meet the board's clock with room to spare."""
    return default_interval(board.device, board.speed("logic").plan.logic_hz) if board else PORTABLE_INTERVAL


def schedule_model(graph: Graph, *, board: Board | None = None, register_interval: int | None = None) -> Plan:
    """Schedule the graph as a spatial pipeline; raises UnsupportedError for what only other engines can run."""
    if register_interval is None:
        register_interval = interval_for(board)
    lut_size = board.resources.lut_inputs if board else 4
    return plan(graph, register_interval, lut_size=lut_size)


def identity_of(graph: Graph, board: Board) -> Identity:
    """What a device built from this graph says about itself."""
    taken, given = (max(total_bytes(fields), 1) for fields in (sample_fields(graph), answer_fields(graph)))
    return Identity("logic", board.name, graph_hash(graph), taken, given, board.speed("logic").plan.logic_hz)


def design(graph: Graph, board: Board, register_interval: int | None) -> tuple[Callable[[], Any], Identity]:
    """The engine behind the link, made anew by each call, and the identity of a device with it."""
    ready = schedule_model(graph, board=board, register_interval=register_interval)
    return lambda: LogicAdapter(LogicEngine(ready)), identity_of(graph, board)


def check_hopeless(graph: Graph, board: Board) -> None:
    """Refuse at once what minutes of synthesis would refuse; raises DoesNotFitError naming a board that would do."""
    nodes = list(graph.walk())
    tables = sum(len(node.attrs["tables"]) for node in nodes if node.op == "lut")
    if tables > HOPELESS * board.resources.luts:
        compared = sum(node.outputs[0].size for node in nodes if node.op == "compare")
        summed = sum(len(node.attrs["indices"]) for node in nodes if node.op == "group_sum")
        whole = tables + compared + int(LUTS_PER_SUMMED_BIT * summed) + SHELL_LUTS
        check_fit({"luts": tables}, board, likely={"luts": whole})


def run(
    graph: Graph,
    device: Device,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    progress: Callable[[int, int], None] | None,
    facts: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Send samples and return the answers by output name; raises DeviceError when the device holds another network."""
    arrays = prepare(graph, inputs)
    device.check_model(graph_hash(graph), repr(graph.name))
    return unpack_answers(graph, device.run_bytes(pack_samples(graph, arrays), progress))
