"""The least and the most cycles that a step of a mapped network can take, by the formulas of ``cycles.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cluster import ClusterProgram
from .core import CoreProgram
from .executor import CoreModel
from .isa import Step
from .timing import Activity, command_cycles
from .together import Stretch, stretches, together


@dataclass(frozen=True)
class Bounds:
    """Cycles of a step: ``idle`` without a spike now or within the delays; ``worst`` when every source spikes in every step,
    and, where the network learns, no trace and no eligibility is 0. An undecided decision is counted in both.
    """

    idle: int
    worst: int


def cycle_bounds(program: CoreProgram | ClusterProgram) -> Bounds:
    """Bounds of ``program``'s steps with inputs from the host, stalls of a full event FIFO apart."""
    return Bounds(idle_cycles(program), _cycles(program, 1))


def idle_cycles(program: CoreProgram | ClusterProgram) -> int:
    """The least cycles alone, which are found sooner."""
    return _cycles(program, 0)


def _cycles(program: CoreProgram | ClusterProgram, spiking: int) -> int:
    parts = program.parts if isinstance(program, ClusterProgram) else [program]
    return int(together([_stretches(part, spiking) for part in parts]))


def _stretches(program: CoreProgram, spiking: int) -> list[Stretch]:
    core = CoreModel(program)
    maps: Any = program.maps
    for place in (*maps["populations"].values(), *maps["inputs"].values(), *maps["mirrors"].values()):
        core.history[:, place["first"] : place["first"] + place["size"]] = bool(spiking)

    def cost(step: Step, fields: Mapping[str, int]) -> int:
        activity = Activity()
        if step in _MEETS:
            _MEETS[step](core, fields, activity, spiking)
        microcode = core.program[fields.get("pc", 0) :]
        return command_cycles(program.config, step, fields, activity, microcode=microcode)

    return stretches(core.config, core.commands, cost)


def _scan(core: CoreModel, f: Mapping[str, int], activity: Activity, spiking: int) -> None:
    activity.events = f["neurons"] * f["watch"] * spiking


def _dense(core: CoreModel, f: Mapping[str, int], activity: Activity, spiking: int) -> None:
    core.dense(f, activity, None)


def _sparse(core: CoreModel, f: Mapping[str, int], activity: Activity, spiking: int) -> None:
    core.sparse(f, activity, None)


def _learn(core: CoreModel, f: Mapping[str, int], activity: Activity, spiking: int) -> None:
    core.learn(f, activity, None)
    for key in ("x", "y", "pre", "post", "e"):
        activity.seen[key] = np.full_like(activity.seen[key], spiking, dtype=np.int64)
    activity.seen["reward"] = spiking


def _learn_sparse(core: CoreModel, f: Mapping[str, int], activity: Activity, spiking: int) -> None:
    activity.sparse = True
    _learn(core, f, activity, spiking)


_MEETS: dict[Step, Callable[[CoreModel, Mapping[str, int], Activity, int], None]] = {
    Step.SCAN: _scan,
    Step.DENSE: _dense,
    Step.SPARSE: _sparse,
    Step.LEARN_DENSE: _learn,
    Step.LEARN_SPARSE: _learn_sparse,
}
