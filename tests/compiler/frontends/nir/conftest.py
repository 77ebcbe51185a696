"""NIR graphs made in a line, and simulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.frontends.network import network_graph
from neuroloom.sim.reference import run

DATA = Path(__file__).parents[5] / "shared" / "data" / "nir_lif"
"""The one-neuron comparison of the NIR paper, where this checkout has it beside it."""


@pytest.fixture(autouse=True)
def _nir(require_tool: Callable[[str], None]) -> None:
    require_tool("nir")


@pytest.fixture
def nir_lif() -> Path:
    """Folder of the NIR paper's one-neuron comparison; skips where it is absent."""
    if not (DATA / "lif_norse.nir").exists():
        pytest.skip(f"data of the NIR paper's LIF comparison is absent: {DATA}")
    return DATA


@pytest.fixture
def chain() -> Callable[..., Any]:
    """Return ``chain(*nodes)``: a NIR graph of nodes one behind the other."""

    def make(*nodes: Any) -> Any:
        import nir

        return nir.NIRGraph.from_list(*nodes)

    return make


@pytest.fixture
def lif() -> Callable[..., Any]:
    """Return ``lif(n)``: LIF neurons that halve their membrane in a step of 1 ms; ``gain`` 1 in every unit of input."""

    def make(n: int, threshold: float = 1.0, **fields: float) -> Any:
        import nir

        one = np.ones(n)
        return nir.LIF(
            tau=one * fields.get("tau", 2e-3),
            r=one * fields.get("r", 2.0),
            v_leak=one * fields.get("v_leak", 0.0),
            v_threshold=one * threshold,
            v_reset=one * fields.get("v_reset", 0.0),
        )

    return make


@pytest.fixture
def simulate() -> Callable[..., dict[str, np.ndarray]]:
    """Return ``simulate(imported, x)``: outputs of the graph with 16-bit weights for inputs [samples, steps, ...]."""

    def call(
        imported: Any, x: np.ndarray | dict[str, np.ndarray], bits: int = 16, shift: int = 8
    ) -> dict[str, np.ndarray]:
        net = imported.network
        shifts = {n: shift for n, p in net.populations.items() if not p.model.exact}
        graph = network_graph(net, weight_bits=bits, state_bits=32, shifts=shifts)
        given = x if isinstance(x, dict) else {graph.inputs[0].name: x}
        return run(graph, {k: v.reshape(*v.shape[:2], -1).astype(np.int64) for k, v in given.items()})

    return call
