"""What a spiking network does on data: spikes, synaptic operations, cycles; all exact counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import NeuroloomError
from neuroloom.compiler.spiking.cluster import ClusterProgram
from neuroloom.compiler.spiking.cluster_model import run_cluster
from neuroloom.compiler.spiking.core import CoreProgram
from neuroloom.compiler.spiking.executor import run_program
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.predict import predict_cycles
from neuroloom.compiler.spiking.recognise import Network, Projection

from neuroloom.model import Model

PART_BYTES = 1 << 28
"""Recorded spikes in memory at a time, when samples do not depend on each other."""


@dataclass
class Activity:
    """Counts over ``samples`` runs of ``steps`` steps.

    ``spikes``: int64[samples, n] by population and input: spikes of each neuron in a sample. ``operations``: int64[samples, steps]
    by projection: synapses that a spike reached in the step, each one addition of a weight.
    """

    samples: int
    steps: int
    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    operations: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def total_operations(self) -> int:
        """Synaptic operations of all samples."""
        return int(sum(o.sum() for o in self.operations.values()))

    @property
    def operations_per_step(self) -> float:
        """Mean over samples and steps."""
        return self.total_operations / (self.samples * self.steps)

    @property
    def operations_per_sample(self) -> float:
        """Mean over samples."""
        return self.total_operations / self.samples

    @property
    def most_in_a_step(self) -> int:
        """Most synaptic operations in one step."""
        return int(np.max(sum(self.operations.values()), initial=0)) if self.operations else 0


def measure(
    model: Model,
    net: Network,
    arrays: Mapping[str, np.ndarray],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Activity:
    """Run samples and count. Raises InputError for arrays that do not fit."""
    count, steps = next(iter(arrays.values())).shape[:2]
    neurons = sum(p.size for p in net.populations.values())
    part = count
    if not any(s.attrs["lifetime"] == "persistent" for s in net.graph.states):
        part = max(1, PART_BYTES // max(1, 8 * steps * neurons))
    found: list[Activity] = []
    for start in range(0, count, part):
        chunk = {k: v[start : start + part] for k, v in arrays.items()}
        found.append(_measure(net, spikes_of(model, net, chunk)))
        if progress:
            progress(min(start + part, count), count)
    return Activity(
        count,
        steps,
        {name: np.concatenate([a.spikes[name] for a in found]) for name in found[0].spikes},
        {name: np.concatenate([a.operations[name] for a in found]) for name in found[0].operations},
    )


def spikes_of(model: Model, net: Network, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Spikes of every population and spike input by name, [samples, steps, n]."""
    probes = [p.value for p in net.populations.values()]
    outputs = model.outputs(arrays, probes=probes)
    given = {name: np.asarray(arrays[name]) for name in net.inputs}
    return {**given, **{p.name: outputs[p.value] for p in net.populations.values()}}


def _measure(net: Network, spikes: Mapping[str, np.ndarray]) -> Activity:
    count, steps = next(iter(spikes.values())).shape[:2]
    operations = {p.name: operations_of(p, spikes[p.source]) for p in net.projections.values()}
    return Activity(count, steps, {k: v.sum(axis=1, dtype=np.int64) for k, v in spikes.items()}, operations)


def operations_of(p: Projection, spikes: np.ndarray) -> np.ndarray:
    """Synapses of ``p`` that spikes [samples, steps, sources] reach in each step, int64[samples, steps]."""
    out = np.zeros(spikes.shape[:2], np.int64)
    for d in np.unique(p.delay).tolist():
        fan = np.bincount(p.pre[p.delay == d], minlength=spikes.shape[2])
        if d < spikes.shape[1]:
            out[:, d:] += spikes[:, : spikes.shape[1] - d] @ fan
    return out


def cycles_of_sample(
    program: CoreProgram | ClusterProgram,
    net: Network,
    spikes: Mapping[str, np.ndarray],
    arrays: Mapping[str, np.ndarray],
    sample: int = 0,
) -> np.ndarray | None:
    """Cycles of every step of a sample on a core, int64 [steps]; of networks that learn for sample 0 only, from the model."""
    persistent = any(s.attrs["lifetime"] == "persistent" for s in net.graph.states)
    learns = any(p.learn for p in net.projections.values())
    if not learns:
        return predict_cycles(program, {name: a[sample] for name, a in spikes.items()})
    if persistent and sample:
        return None
    try:
        own = {name: np.asarray(a)[sample] for name, a in arrays.items()}
        return (run_cluster(program, own) if isinstance(program, ClusterProgram) else run_program(program, own)).cycles
    except NeuroloomError:
        return None


def program_for(net: Network, board: str, profile: str) -> CoreProgram | ClusterProgram:
    """The program of a network on a board's core."""
    from neuroloom.compiler.spiking.core import CORES

    return map_graph(net.graph, next(c for c in CORES[board] if c.profile == profile))
