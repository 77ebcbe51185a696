"""A compiled network: the one object that simulates, verifies, builds and runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.ir.file import graph_hash
from neuroloom.compiler.ir.file import load as load_graph
from neuroloom.compiler.ir.file import save as save_graph
from neuroloom.compiler.passes.manager import Options, Pass

if TYPE_CHECKING:
    from neuroloom.boards.build import BuildResult
    from neuroloom.host.device import Device
    from neuroloom.host.verify.result import RungResult

Arrays = Mapping[str, np.ndarray] | np.ndarray

ENGINES = ("auto", "fast", "reference")
"""Simulation engines: ``fast`` is bit-packed (framed graphs) or event-driven (clocked ones), ``reference`` the definition,
``auto`` fast where it has the operations."""


def compile(
    source: str | os.PathLike[str] | Any,
    *,
    board: str | None = None,
    optimise: bool = True,
    keep: Sequence[str] = (),
    lut_size: int | None = None,
    after: Callable[[Pass, Graph, bool], None] | None = None,
    gated: Mapping[str, Any] | None = None,
    **frontend: Any,
) -> Model:
    """Compile a file (.onnx, .nir, .yaml, .json) or a live object (ModelProto, Network, NIRGraph, snnTorch module).

    ``board`` names the target, whose lookup-table size is used (4 without); ``keep`` lists values that must survive by
    name; ``optimise=False`` leaves every source node in place for probing. ``gated``, also an empty one, chooses the gated
    engine and may ask for ``lanes``, ``max_dsp``, ``max_lut`` or ``latency_s``. ``frontend`` goes to the source's frontend:
    ``load_onnx`` (``batch_axis``, ``input_rules``, ``calibrate``), ``import_nir`` (``dialect``, ``dt``, ``reset``, ...),
    ``import_snntorch`` (``sample``, ...). Raises InputError or UnsupportedError with one sentence naming the node, the reason
    and what to do.
    """
    from neuroloom.compiler.frontends.source import load_source
    from neuroloom.compiler.pipeline import compile_graph

    graph = load_source(source, **frontend)
    if lut_size is None:
        lut_size = _lut_inputs(board) if board else 4
    options = Options(lut_size=lut_size, keep=tuple(keep), level=1 if optimise else 0)
    if board:
        graph.records["board"] = board
    if gated is not None:
        graph.records["gated"] = dict(gated)
    return Model(compile_graph(graph, options, after=after))


def _lut_inputs(board: str) -> int:
    from neuroloom.boards.registry import load_board

    return load_board(board).resources.lut_inputs


def load(path: str | os.PathLike[str]) -> Model:
    """Load a ``.nloom`` file. Raises InputError when it is damaged or something else; runs no code from it."""
    return Model(load_graph(path))


class Model:
    """A compiled network around its :class:`~neuroloom.compiler.ir.Graph`.

    Arrays are samples first: (N, ...) for framed graphs, (N, T, ...) for clocked ones. Inputs may be the graph's integers,
    or reals, which the input's own rule quantises. Results are the graph's integers: one array when the graph has one
    output, else a dict by output name.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._fast: dict[tuple[str, ...], Any] = {}

    def __repr__(self) -> str:
        inputs = ", ".join(str(i.value) for i in self.graph.inputs)
        return f"Model({self.graph.name!r}, {inputs} -> {', '.join(o.name for o in self.graph.outputs)})"

    @property
    def hash(self) -> bytes:
        """SHA-256 of the graph's file, with which a device built from it identifies itself."""
        return graph_hash(self.graph)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the ``.nloom`` file, whole or not at all."""
        save_graph(self.graph, path)
        return Path(path)

    def simulate(self, inputs: Arrays, **options: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Exact outputs as int64; see :meth:`outputs` for the options."""
        return self._plain(self.outputs(inputs, **options))

    def outputs(
        self,
        inputs: Arrays,
        *,
        engine: str = "auto",
        probes: Sequence[str] = (),
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, np.ndarray]:
        """Exact outputs (and probed values) by name. ``engine`` is one of :data:`ENGINES`."""
        from neuroloom.sim import reference

        if engine not in ENGINES:
            raise InputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
        names = tuple(self.value_name(p) for p in probes)
        if engine != "reference":
            try:
                return self._fast_engine(names).run(inputs, threads=threads, progress=progress)
            except UnsupportedError:
                if engine == "fast":
                    raise
        return reference.run(self.graph, inputs, probes=names, progress=progress)

    def engine_for(self, probes: Sequence[str] = ()) -> str:
        """Which engine ``auto`` takes: ``fast`` or ``reference``."""
        try:
            self._fast_engine(tuple(probes))
            return "fast"
        except UnsupportedError:
            return "reference"

    def _fast_engine(self, probes: tuple[str, ...]) -> Any:
        from neuroloom.sim.engines import fast_engine

        if probes not in self._fast:
            self._fast[probes] = fast_engine(self.graph, probes=probes)
        return self._fast[probes]

    def value_name(self, name: str) -> str:
        """The value that a probe means: its own name, or the first output of the node with that source name."""
        if name in self.graph.values():
            return name
        for node in self.graph.nodes:
            if node.source == name and node.outputs and node.op != "const":
                return node.outputs[0].name
        raise InputError(
            f"probe must name a value or a source node of the graph, not {name!r}; "
            "optimisation may have absorbed it: compile with --keep NODE or -O0"
        )

    def dequantize(self, outputs: Arrays) -> np.ndarray | dict[str, np.ndarray]:
        """What the outputs' integers mean, as float64 of the same shapes."""
        given = outputs if isinstance(outputs, Mapping) else {self.graph.outputs[0].name: outputs}
        rules = {o.name: o.affine for o in self.graph.outputs}
        return self._plain({n: rules[n].dequantize(a) if n in rules else a for n, a in given.items()})

    def _plain(self, outputs: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def verify(self, inputs: Arrays, *, to: str = "rtl", board: str | None = None, **options: Any) -> list[RungResult]:
        """Climb the verification ladder up to the rung ``to``; raises MismatchError with the first difference."""
        from neuroloom.host.verify.ladder import climb

        return climb(self.graph, inputs, to=to, board=board, **options)

    def build(self, board: str, **options: Any) -> BuildResult:
        """Build the bitstream for ``board``; see :func:`neuroloom.host.flow.build_model`."""
        from neuroloom.host.flow import build_model

        return build_model(self.graph, board, **options)

    def run(self, device: Device, inputs: Arrays, **options: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Send samples to a connected board and return its answers; refuses a board that runs another network."""
        from neuroloom.host.flow import run_model

        return self._plain(run_model(self.graph, device, inputs, **options))
