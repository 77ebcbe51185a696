"""Spiking networks on boards: the core that holds a network, and running the network on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from neuroloom.boards import emit
from neuroloom.boards.board import Board
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.cluster import refuse_alone
from neuroloom.compiler.spiking.core import CORES, CoreConfig
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.host.device import Device
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.spiking.component import StreamCore, header
from neuroloom.rtl.spiking.engine import SpikingEngine, model_hash
from neuroloom.rtl.spiking.pins import PinEngine

from .session import SpikingDevice


def core_of(profile: str, board: Board) -> CoreConfig:
    """The core of a board by its profile; raises InputError listing those that there are."""
    cores = {config.profile: config for config in CORES.get(board.name, ())}
    if not cores:
        raise InputError(f"board must be one with a spiking core ({', '.join(CORES)}), not {board.name}")
    if profile not in cores:
        raise InputError(f"profile of a core of {board.name} must be one of {', '.join(cores)}, not {profile!r}")
    return cores[profile]


def core_design(config: CoreConfig, board: Board) -> tuple[Callable[[], Any], Identity]:
    """The engine behind the link, made anew by each call, and the identity of a device with it.

    A board whose spike pins are in use gets the engine that has them.
    """
    if board.wired:
        refuse_alone(config, "a core with spikes on pins")
    clock_hz = board.speed("spiking", config.profile).plan.logic_hz
    kind = PinEngine if board.wired else SpikingEngine
    return lambda: kind(config), Identity("spiking", board.name, model_hash(config), 0, 0, clock_hz)


CORE_MODULE = "neuroloom_core"
"""Module name of a core written for someone else's design."""


def core_component(config: CoreConfig) -> str:
    """A core as Verilog with documented stream ports, module :data:`CORE_MODULE`, its memories included."""
    refuse_alone(config, "a core with streams, for someone else's design,")
    core = StreamCore(config)
    return header(config) + emit.to_verilog(core, CORE_MODULE) + "".join(core.extra_files.values())


def design(graph: Graph, board: Board, register_interval: int | None) -> tuple[Callable[[], Any], Identity]:
    """The smallest core of the board that holds the network; raises DoesNotFitError or UnsupportedError."""
    if register_interval is not None:
        raise InputError("register interval must be left out for a spiking network: its core is built as it is")
    return core_design(choose_core(graph, board.name).config, board)


def check_hopeless(graph: Graph, board: Board) -> None:
    """Nothing to refuse early: mapping is quick."""


def run(
    graph: Graph,
    device: Device,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    progress: Callable[[int, int], None] | None,
    facts: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Load the network and run samples, learning from its first weights on, as the simulators do.

    ``facts`` gets what :meth:`SpikingDevice.run` measured.
    """
    session = SpikingDevice(device)
    if has_persistent(graph) or not session.has(graph):
        session.load(graph)
    outputs = session.run(inputs, progress=progress)
    facts |= session.facts
    return outputs


def has_persistent(graph: Graph) -> bool:
    """Whether one sample leaves something to the next, so that a run must begin with a fresh load."""
    return any(state.attrs["lifetime"] == "persistent" for state in graph.states)
