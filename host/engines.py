"""What runs a graph on a board: one entry per engine, asked in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.pipeline import SPIKING_OPERATIONS
from neuroloom.rtl.link.protocol import Identity

from . import logic
from .device import Device
from .gated import flow as gated
from .spiking import flow as spiking

Design = tuple[Callable[[], Any], Identity]
Arrays = Mapping[str, np.ndarray] | np.ndarray


@dataclass(frozen=True)
class Engine:
    """How graphs get to a board.

    ``claims`` says whether a graph is this engine's. ``design(graph, board, register_interval)`` gives a factory of the
    component behind the link, and the device's identity. ``check`` refuses what cannot fit before minutes of synthesis do.
    ``run(graph, device, inputs, progress, facts)`` returns the outputs by name and may note measurements in ``facts``.
    ``per_model``: the bitstream holds the network itself.
    """

    name: str
    claims: Callable[[Graph], bool]
    design: Callable[[Graph, Board, int | None], Design]
    check: Callable[[Graph, Board], None]
    run: Callable[[Graph, Device, Arrays, Callable[[int, int], None] | None, dict[str, Any]], dict[str, np.ndarray]]
    per_model: bool


ENGINES = (
    Engine(
        "spiking",
        lambda graph: any(node.op in SPIKING_OPERATIONS for node in graph.walk()),
        spiking.design,
        spiking.check_hopeless,
        spiking.run,
        per_model=False,
    ),
    Engine("gated", gated.claims, gated.design, gated.check, gated.run, per_model=False),
    Engine("logic", lambda graph: True, logic.design, logic.check_hopeless, logic.run, per_model=True),
)
"""The first that claims a graph runs it."""


def engine_of(graph: Graph) -> Engine:
    """The engine of a graph."""
    return next(engine for engine in ENGINES if engine.claims(graph))
