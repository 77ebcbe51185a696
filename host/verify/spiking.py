"""The rungs of spiking networks: the core's RTL against the graph, spikes, states, weights and every step's cycles."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from neuroloom.boards.board import Board
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.cluster import ClusterProgram
from neuroloom.compiler.spiking.cluster_model import ClusterModel, run_cluster
from neuroloom.compiler.spiking.core import CORES, CoreProgram
from neuroloom.compiler.spiking.executor import CoreModel, run_program
from neuroloom.compiler.spiking.image import reset_eligibility, sample_reset
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.host.spiking.rtl_engine import RtlEngine
from neuroloom.host.spiking.session import SpikingDevice
from neuroloom.host.spiking.simulated import simulated_device
from neuroloom.sim import reference

from .bitstream import compare
from .result import RungResult, vectors_of
from .under_simulators import equal_cycles, under_simulators

SAMPLES = {"verilator": 20, "icarus": 1}
"""Samples per simulator at most: Icarus is a thousand times slower."""
ICARUS_STEPS = 10


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    board: Board | None,
    limit: int | None = None,
    simulators: Sequence[str] | None = None,
) -> RungResult:
    """Load the network into the RTL of its core, run the samples step by step, and compare everything with the graph.

    Spikes, recorded states and decisions of every step, the weights at the end, and the cycles of every step as
    ``compiler/spiking/cycles.py`` predicts them must be equal. Then the samples run at the core's own pace, with events drained
    meanwhile. Icarus takes the first steps of the first sample. Without a board the first core that holds the network is taken.
    Raises MismatchError, MissingToolError, UnsupportedError, DoesNotFitError.
    """
    started = time.monotonic()
    arrays = vectors_of(graph, vectors, limit)
    program = program_for(graph, board)
    runs = under_simulators(
        arrays,
        lambda part, simulator: _simulate(graph, program, part, simulator),
        most=SAMPLES,
        icarus_steps=ICARUS_STEPS,
        simulators=simulators,
    )
    config = program.config
    detail = (
        f"{runs.names}: spikes, states, weights and the cycles of every step, core {config.profile!r} of "
        f"{config.lanes} lanes{runs.note}"
    )
    return RungResult("rtl", True, runs.samples, runs.cycles, detail, time.monotonic() - started)


def program_for(graph: Graph, board: Board | None) -> CoreProgram | ClusterProgram:
    """The network on the smallest core of the board, or of any board when none is named."""
    if board is not None:
        return choose_core(graph, board.name)
    *first, last = CORES
    for name in first:
        try:
            return choose_core(graph, name)
        except (DoesNotFitError, UnsupportedError):
            continue
    return choose_core(graph, last)


def _simulate(
    graph: Graph, program: CoreProgram | ClusterProgram, arrays: Mapping[str, np.ndarray], simulator: str
) -> int:
    with RtlEngine(program.config, simulator) as engine, simulated_device(program.config, engine) as device:
        drive(graph, program, arrays, SpikingDevice(device), f"the core under {simulator}")
        return engine.cycles


def drive(
    graph: Graph,
    program: CoreProgram | ClusterProgram,
    arrays: Mapping[str, np.ndarray],
    session: SpikingDevice,
    what: str,
) -> None:
    """Load the network into the session's core, run the samples step by step and then freely; all must be as the graph says.

    ``what`` is the core's name in a sentence. Raises MismatchError.
    """
    want, cycles, weights = predicted(graph, program, arrays)
    session.load(graph)
    compare(want, session.run(arrays, raster=False, trace=True), what)
    equal_cycles(cycles, session.facts["step_cycles"], what)
    for name, values in weights.items():
        compare({name: values}, {name: session.weights(name)}, f"what {name!r} has learnt in {what}")
    session.load(graph, check=False)
    compare(want, session.run(arrays), f"{what}, running freely,")


def predicted(
    graph: Graph, program: CoreProgram | ClusterProgram, arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """What the graph says: outputs [N, T, ...] and plastic weights at the end; and the predicted cycles [N, T]."""
    places: dict = program.maps["projections"]
    interpreter = reference.Interpreter(graph)
    parts = program.parts if isinstance(program, ClusterProgram) else [program]
    cores = [CoreModel(part) for part in parts]
    given, rows = [], []
    for number in range(len(next(iter(arrays.values())))):
        for core, part in zip(cores, parts, strict=True) if number else ():
            new_sample(core, part)
        given.append(interpreter.samples({name: a[number : number + 1] for name, a in arrays.items()}))
        own = {name: a[number] for name, a in arrays.items()}
        if isinstance(program, ClusterProgram):
            rows.append(run_cluster(program, own, model=ClusterModel(cores)).cycles)
        else:
            rows.append(run_program(program, own, core=cores[0]).cycles)
    outputs = {o.name: np.concatenate([part[o.name] for part in given]) for o in graph.outputs}
    weights = {
        name: interpreter.persistent[p["state"]] for name, p in places.items() if p["state"] in interpreter.persistent
    }
    return outputs, np.stack(rows), weights


def new_sample(core: CoreModel, program: CoreProgram) -> None:
    """What the host does to a core between two samples."""
    core.clear()
    for first, words in sample_reset(program):
        core.pool[first : first + len(words)] = words
    core.pool[: len(program.pool)] = reset_eligibility(program, core.pool[: len(program.pool)])
