"""Gated networks on boards: the engine that runs a network, and running the network on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from neuroloom.boards import emit
from neuroloom.boards.board import Board
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.program import SUPPORTED
from neuroloom.compiler.ir import Graph
from neuroloom.host.device import Device
from neuroloom.rtl.gated.engine import GatedEngine
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.logic.engine import SUPPORTED as LOGIC

from .choose import RECORD, candidates, choose_config
from .session import GatedDevice

SPATIAL_WEIGHTS = 2048
"""Weights from which on a network of products is folded rather than laid out in space, unless it is asked for."""

MODULE = "neuroloom_gated"
"""Module name of an engine written for someone else's design."""


def claims(graph: Graph) -> bool:
    """Whether a graph is run by the gated engine: it was compiled for it, or the logic engine cannot hold it.

    That is what has state, time, loops or choices, and what multiplies by more than :data:`SPATIAL_WEIGHTS` weights; networks of
    lookup tables stay with the logic engine.
    """
    if RECORD in graph.records:
        return True
    nodes = list(graph.walk())
    if any(node.op not in SUPPORTED for node in nodes):
        return False
    weights = sum(node.attrs["weights"].size for node in nodes if node.op in ("matvec", "conv"))
    return graph.clocked or any(node.op not in LOGIC for node in nodes) or weights > SPATIAL_WEIGHTS


def engine_design(config: GatedConfig, board: Board) -> tuple[Callable[[], Any], Identity]:
    """The engine behind the link, made anew by each call, and the identity of a device with it."""
    clock_hz = board.speed("gated", config.profile).plan.logic_hz
    return lambda: GatedEngine(config), Identity("gated", board.name, config.hash(), 0, 0, clock_hz)


def design(graph: Graph, board: Board, register_interval: int | None) -> tuple[Callable[[], Any], Identity]:
    """The smallest engine of the board that holds the network; raises DoesNotFitError or UnsupportedError."""
    if register_interval is not None:
        raise InputError("register interval must be left out for a gated network: its engine is built as it is")
    return engine_design(choose_config(graph, board), board)


def check(graph: Graph, board: Board) -> None:
    """Refuse what does not fit before any synthesis."""
    choose_config(graph, board)


def engine_verilog(config: GatedConfig) -> str:
    """An engine as Verilog with byte streams, module :data:`MODULE`, its memories included."""
    engine = GatedEngine(config)
    head = (
        f"// neuroloom gated engine, profile {config.profile}: {config.lanes} multiply-accumulate lanes.\n"
        "// i__*: commands and samples, o__*: answers, bytes with valid and ready; docs/gated-engine.md lists the commands.\n"
        "// rst, reset: synchronous; the memories keep their content.\n"
    )
    return head + emit.to_verilog(engine, MODULE) + "".join(engine.extra_files.values())


def config_on(device: Device, graph: Graph) -> GatedConfig:
    """The configuration of the engine that a device has; raises DeviceError when it is none that is known."""
    identity = device.identity
    if identity.engine == "gated":
        board = load_board(identity.board)
        for config in [*board.gated, *candidates(board, graph.records.get(RECORD, {}))]:
            if config.hash() == identity.model_hash:
                return config
    raise DeviceError(
        f"the device on {device.name} must have a gated engine that this host knows, but it has a {identity.engine} engine "
        f"({identity.model_hash.hex()[:12]}); build {graph.name!r} for {identity.board} and flash it"
    )


def run(
    graph: Graph,
    device: Device,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    progress: Callable[[int, int], None] | None,
    facts: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Load the network where it is not loaded yet, and run samples; ``facts`` gets the ``cycles`` of every run."""
    session = GatedDevice(device, config_on(device, graph))
    if any(state.attrs["lifetime"] == "persistent" for state in graph.states) or not session.has(graph):
        session.load(graph)
    outputs = session.run(inputs, progress=progress)
    facts |= {**session.facts, "stalls": np.zeros_like(session.facts["cycles"]), "saturated": []}
    return outputs
