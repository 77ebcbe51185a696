"""The rungs of gated networks: the engine's RTL against the graph, answers bit for bit and cycles as predicted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from neuroloom.boards import emit
from neuroloom.boards.board import Board
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.compiler.gated.executor import Executor
from neuroloom.compiler.gated.program import compile_program
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.wire import pack_samples
from neuroloom.host.gated.choose import choose_config
from neuroloom.host.gated.session import GatedDevice
from neuroloom.host.gated.simulated import simulated_device
from neuroloom.host.spiking.rtl_engine import RtlEngine
from neuroloom.rtl.gated.engine import GatedEngine
from neuroloom.sim import reference
from neuroloom.sim.inputs import prepare

from .bitstream import compare
from .result import RungResult, vectors_of
from .under_simulators import equal_cycles, under_simulators

SAMPLES = {"verilator": 20, "icarus": 2}
"""Samples per simulator at most."""

ICARUS_STEPS = 5


def engine_verilog(config: GatedConfig) -> str:
    """An engine as Verilog, module ``top``."""
    engine = GatedEngine(config)
    return emit.to_verilog(engine) + "".join(engine.extra_files.values())


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    board: Board | None,
    limit: int | None = None,
    simulators: Sequence[str] | None = None,
) -> RungResult:
    """Load the program into the RTL of its engine, run the samples, and compare answers and cycles of every run.

    Icarus takes the first samples and steps. Raises MismatchError, MissingToolError, UnsupportedError, DoesNotFitError.
    """
    started = time.monotonic()
    arrays = vectors_of(graph, vectors, limit)
    config = choose_config(graph, board)
    runs = under_simulators(
        arrays,
        lambda part, simulator: drive(graph, config, part, simulator),
        most=SAMPLES,
        icarus_steps=ICARUS_STEPS if graph.clocked else None,
        simulators=simulators,
    )
    detail = f"{runs.names}: answers and the cycles of every run, engine {config.profile!r} of {config.lanes} lanes{runs.note}"
    return RungResult("rtl", True, runs.samples, runs.cycles, detail, time.monotonic() - started)


def predicted_cycles(graph: Graph, config: GatedConfig, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Cycles of every run as the compiler's model of the engine says: int64[N], of clocked graphs [N, T].

    ``arrays`` as for the simulators: integers, or reals that the inputs' rules quantise.
    """
    arrays = prepare(graph, arrays)
    executor = Executor(compile_program(graph, config))
    count = len(next(iter(arrays.values())))
    steps = next(iter(arrays.values())).shape[1] if graph.clocked else 1
    out = np.zeros((count, steps), np.int64)
    for t in range(steps * count):
        n, step = divmod(t, steps)
        one = {k: (v[n : n + 1, step] if graph.clocked else v[n : n + 1]) for k, v in arrays.items()}
        out[n, step] = executor.run(pack_samples(graph, one)[0].tobytes(), fresh=step == 0).cycles
    return out if graph.clocked else out[:, 0]


def drive(
    graph: Graph,
    config: GatedConfig,
    arrays: Mapping[str, np.ndarray],
    simulator: str,
    *,
    verilog: str | None = None,
) -> int:
    """Run samples on an engine's RTL; answers and cycles must be as predicted. Returns the clock cycles simulated.

    ``verilog`` is another text of the engine, such as its synthesised cells. Raises MismatchError with the first difference.
    """
    text = engine_verilog(config) if verilog is None else verilog
    want = reference.run(graph, arrays)
    expected = predicted_cycles(graph, config, arrays)
    what = f"the engine under {simulator}"
    with RtlEngine(None, simulator, verilog=text) as engine, simulated_device(config, engine) as device:  # type: ignore[arg-type]
        session = GatedDevice(device, config)
        session.load(graph)
        got = session.run(arrays)
        compare(want, got, what)
        equal_cycles(expected, session.facts["cycles"], what)
        return engine.cycles
