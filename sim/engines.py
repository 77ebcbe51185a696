"""Which fast engine runs a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.pipeline import is_fixed_point


class FastEngine(Protocol):
    """A graph prepared for fast simulation; gives the same integers as the reference interpreter."""

    def run(
        self,
        inputs: Mapping[str, np.ndarray] | np.ndarray,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Outputs and probes by name, int64, samples first."""

    def describe(self) -> str:
        """What runs, in half a sentence."""


def fast_engine(graph: Graph, *, probes: Sequence[str] = ()) -> FastEngine:
    """The dense engine for fixed-point graphs, the event-driven one for clocked graphs, the bit-packed one for framed graphs.

    Raises UnsupportedError naming what the engine does not have.
    """
    if is_fixed_point(graph):
        from .dense import Engine as DenseEngine

        return DenseEngine(graph, probes=probes)
    if graph.clocked:
        from .spiking import Engine as EventEngine

        return EventEngine(graph, probes=probes)
    from .fast import Engine

    return Engine(graph, probes=probes)
