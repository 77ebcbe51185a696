"""What the spiking examples share: the same network on the board's core, executed by its model in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.image import weights_from_pool
from neuroloom.compiler.spiking.layout import pool_bytes
from neuroloom.compiler.spiking.mapper import choose_core
from neuroloom.sim.spiking import Session

from neuroloom.model import Model


@dataclass(frozen=True)
class OnCore:
    """A network on a core: where it fits, what it takes, and what a run on the core's model gave.

    ``spikes``: how many in the run. ``differences``: numbers in which outputs and learnt weights differ from
    the event-driven engine. ``cycles``: mean per step.
    """

    board: str
    profile: str
    neurons: int
    synapses: int
    pool_used: int
    pool_words: int
    steps: int
    spikes: int
    changed_weights: int
    differences: int
    cycles: float

    def __str__(self) -> str:
        return (
            f"{self.board}, profile {self.profile}: {self.neurons} neurons, {self.synapses} synapses, "
            f"{self.pool_used} of {self.pool_words} pool words, {self.cycles:.0f} cycles per step; {self.steps} steps on the "
            f"core's model: {self.spikes} spikes, {self.changed_weights} weights changed, {self.differences} differences"
        )


def on_core(model: Model, inputs: Mapping[str, np.ndarray], board: str = "ulx3s_85f") -> OnCore:
    """Map ``model`` to the smallest core of ``board``, run ``inputs`` [steps, ...] there and in the event-driven engine, and
    compare every output of every step and the weights at the end.

    Raises DoesNotFitError or UnsupportedError when the board has no core for it.
    """
    program = choose_core(model.graph, board)
    projections = {name: dict(place) for name, place in program.maps["projections"].items()}  # type: ignore[attr-defined]
    plastic = [name for name, place in projections.items() if place["state"]]
    session = Session(model.graph)
    before = {name: session.state(f"{name}.weights") for name in plastic}
    wanted = session.run(inputs)
    result = run_program(program, inputs)
    differences = sum(int((value != wanted[name]).sum()) for name, value in result.outputs.items())
    changed, data = 0, pool_bytes(result.core.pool)
    for name in plastic:
        weights = session.state(f"{name}.weights")
        differences += int((weights_from_pool(program, name, data) != weights).sum())
        changed += int((weights != before[name]).sum())
    populations: Mapping[str, Mapping[str, int]] = program.maps["populations"]  # type: ignore[assignment]
    return OnCore(
        board,
        program.config.profile,
        sum(place["size"] for place in populations.values()),
        sum(place["synapses"] for place in projections.values()),
        len(program.pool),
        program.config.pool_words,
        len(result.cycles),
        sum(int(v.sum()) for name, v in result.outputs.items() if name.endswith(".spikes")),
        changed,
        differences,
        float(result.cycles.mean()),
    )
