"""A model of several cores with their exchange, made of the model of one; see "Several cores" in ``docs/spiking-core.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from . import cycles
from .cluster import ClusterProgram, inputs_of, outputs_of
from .core import SPIKE_WORD
from .executor import CoreModel, output, write_word
from .image import input_spikes, write_raster
from .isa import Role, Step


class ClusterModel:
    """The cores of a build: ``cores``, each a :class:`~.executor.CoreModel`, whose cycles are the same behind every step."""

    def __init__(self, cores: Sequence[CoreModel]) -> None:
        self.cores = list(cores)

    @classmethod
    def loaded(cls, program: ClusterProgram) -> ClusterModel:
        """Cores that are loaded with a program."""
        return cls([CoreModel(part) for part in program.parts])

    @property
    def decided(self) -> bool:
        """Whether a core has decided."""
        return any(core.decided for core in self.cores)

    @property
    def cycles(self) -> int:
        """Cycles inside steps so far."""
        return self.cores[0].cycles

    @property
    def step(self) -> int:
        """Number of the next step."""
        return self.cores[0].step

    def clear(self) -> None:
        """What ``Z`` does to every core."""
        for core in self.cores:
            core.clear()

    def run_step(self, spikes: Sequence[np.ndarray | None], *, raster: bool = False) -> int:
        """One step of all cores with the ``spikes`` of each; returns its cycles.

        Raises InputError when the programs do not have the same exchanges: they would wait for different ones.
        """
        before = self.cycles
        walks = [core.walk(own, raster=raster) for core, own in zip(self.cores, spikes, strict=True)]
        while True:
            met = [next(walk) for walk in walks]
            if len({(step, fields.get("words")) for step, fields in met}) > 1:
                raise InputError(
                    "the cores' programs must have the same EXCHANGE commands in the same order; map the network again"
                )
            step, fields = met[0]
            latest = max(core.cycles for core in self.cores)
            if step is Step.EXCHANGE:
                self.exchange([fields for _, fields in met])
                latest += cycles.exchange_cycles(fields["words"])
            for core in self.cores:
                core.cycles = latest
            if step is Step.END:
                for walk in walks:
                    next(walk, None)
                return self.cycles - before

    def exchange(self, fields: Sequence[Mapping[str, int]]) -> None:
        """Spike words of this step go from the sender to the receivers."""
        (sender,) = (k for k, f in enumerate(fields) if f["role"] == Role.SEND)
        words = self.cores[sender].history[self.cores[sender].slot, _span(fields[sender])]
        for core, f in zip(self.cores, fields, strict=True):
            if f["role"] == Role.RECEIVE:
                core.history[core.slot, _span(f)] = words


def _span(f: Mapping[str, int]) -> slice:
    return slice(f["first_word"] * SPIKE_WORD, (f["first_word"] + f["words"]) * SPIKE_WORD)


@dataclass
class ClusterResult:
    """What a run gave: ``outputs`` by name [steps, ...] as the graph has them, ``cycles`` [steps], and the cores as left."""

    outputs: dict[str, np.ndarray]
    cycles: np.ndarray
    model: ClusterModel


def run_cluster(
    program: ClusterProgram,
    inputs: Mapping[str, np.ndarray],
    *,
    model: ClusterModel | None = None,
    raster: bool = False,
) -> ClusterResult:
    """Run a network on several cores for one sample; arguments as of :func:`~.executor.run_program`."""
    model = model or ClusterModel.loaded(program)
    own = [inputs_of(program, k, inputs) for k in range(len(program.parts))]
    if raster:
        for core, part, given in zip(model.cores, program.parts, own, strict=True):
            maps: Any = part.maps
            core.position = 0
            if maps["raster"]:
                base, words = write_raster(part, given)
                core.pool[base : base + len(words)] = words
    seen: list[dict[str, list[np.ndarray]]] = [{name: [] for name in part.maps["outputs"]} for part in program.parts]  # type: ignore[attr-defined]
    taken = []
    for t in range(len(next(iter(inputs.values())))):
        spikes = []
        for core, part, given in zip(model.cores, program.parts, own, strict=True):
            maps = part.maps
            for name, (population, word) in maps["drives"].items():
                write_word(core, maps["populations"][population], word, given[name][t])
            if maps["reward"]:
                core.reward = int(given[maps["reward"]][t])
            spikes.append(None if raster else input_spikes(part, given, t))
        taken.append(model.run_step(spikes, raster=raster))
        for core, part, shown in zip(model.cores, program.parts, seen, strict=True):
            maps = part.maps
            for name, (kind, of) in maps["outputs"].items():
                shown[name].append(output(core, maps, kind, of))
    parts = [{name: np.array(values) for name, values in shown.items()} for shown in seen]
    return ClusterResult(outputs_of(program, parts, inputs), np.array(taken, np.int64), model)
