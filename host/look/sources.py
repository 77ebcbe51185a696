"""Runs the source of a network in its own numbers, to be compared with the integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.host.accuracy import run_source

Arrays = Mapping[str, np.ndarray]


def source_outputs(
    path: str | Path, graph: Graph, arrays: Arrays, raw: Arrays | np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Outputs of the source by name, samples first.

    ``arrays``: the graph's integers by input name; ``raw``: what the user gave, for sources that take it. Raises InputError for
    a source that cannot be run and UnsupportedError for a network that has no real form.
    """
    suffix = Path(path).suffix
    if suffix not in RUNNERS:
        raise InputError(f"source must end in {' or '.join(RUNNERS)} to be run, not {Path(path).name!r}")
    return RUNNERS[suffix](Path(path), graph, arrays, raw)


def _onnx(path: Path, graph: Graph, arrays: Arrays, raw: Arrays | np.ndarray | None) -> dict[str, np.ndarray]:
    first = graph.inputs[0]
    named = raw if raw is not None else {i.source or i.name: arrays[i.name] for i in graph.inputs}
    given = dict(named) if isinstance(named, Mapping) else {first.source or first.name: named}
    count = len(next(iter(arrays.values())))
    return run_source(path, {k: v[:count] for k, v in given.items()})


def _network(path: Path, graph: Graph, arrays: Arrays, raw: Arrays | np.ndarray | None) -> dict[str, np.ndarray]:
    from neuroloom.compiler.spiking.network import Network
    from neuroloom.compiler.spiking.real import simulate

    network = Network.load(path)
    learning = [p.name for p in network.projections.values() if p.plasticity is not None]
    if learning:
        raise UnsupportedError(
            f"source must not learn (projection {learning[0]!r}) to be run in real numbers; freeze it first"
        )
    real = {i.name: i.affine.dequantize(np.asarray(arrays[i.name])) for i in graph.inputs if i.name in arrays}
    return simulate(network, real)


RUNNERS: dict[str, Callable[[Path, Graph, Arrays, Arrays | np.ndarray | None], dict[str, np.ndarray]]] = {
    ".onnx": _onnx,
    ".yaml": _network,
    ".yml": _network,
    ".json": _network,
}
"""File ending → how the source is run: onnxruntime, or the network's equations in float64."""

REAL = (".yaml", ".yml", ".json")
"""Sources in real numbers, which integers need not equal."""
