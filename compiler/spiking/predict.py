"""Cycles of every step of a mapped network from its spikes alone, exact, without running the microcode.

The formulas are those of ``cycles.py``; this file only counts what they ask for. Learning takes cycles that depend on
traces and eligibilities: such programs are predicted by running the model (``executor.run_program``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from . import cycles
from .cluster import ClusterProgram
from .core import SPIKE_WORD, CoreProgram
from .cycles_learning import decide_cycles
from .executor import CoreModel
from .isa import Step
from .members import mirror_name
from .together import Stretch, stretches, together


def predict_cycles(
    program: CoreProgram | ClusterProgram, spikes: Mapping[str, np.ndarray], *, raster: bool = False
) -> np.ndarray:
    """Cycles of each step, int64 [steps]; of several cores together.

    ``spikes``: of every population and spike input by name, 0 or 1, [steps, n] from step 0 on. Raises InputError for
    programs that learn, and when a source is missing.
    """
    if not isinstance(program, ClusterProgram):
        return np.asarray(together([_stretches(program, spikes, raster)]))
    found = []
    for number, part in enumerate(program.parts):
        own = dict(spikes)
        for name, fragments in program.maps["fragments"].items():
            if name not in spikes:
                raise InputError(f"spikes of {name!r} must be given to predict cycles")
            for f in fragments:
                own[name if f.core == number else mirror_name(f)] = np.asarray(spikes[name])[:, f.start : f.stop]
        found.append(_stretches(part, own, raster))
    return np.asarray(together(found))


def _stretches(program: CoreProgram, spikes: Mapping[str, np.ndarray], raster: bool) -> list[Stretch]:
    """One core's cycles in every step, up to each wait for others."""
    core = CoreModel(program)
    maps: Any = program.maps
    places = {**maps["populations"], **maps["inputs"], **maps["mirrors"]}
    steps = len(next(iter(spikes.values())))
    history = np.zeros((steps, program.config.sources), np.int64)
    for name, place in places.items():
        if name not in spikes:
            raise InputError(f"spikes of {name!r} must be given to predict cycles")
        history[:, place["first"] : place["first"] + place["size"]] = np.asarray(spikes[name]) != 0

    def cost(step: Step, f: Mapping[str, int]) -> np.ndarray:
        if step not in _COUNTS:
            raise InputError(
                f"program must not learn to be predicted from spikes alone; run it with run_program for {step.name}"
            )
        return np.zeros(steps, np.int64) + _COUNTS[step](core, f, history, raster)

    return stretches(core.config, core.commands, cost)


def _sources(f: Mapping[str, int], history: np.ndarray, delay: int) -> np.ndarray:
    """Spikes of a delivery's sources ``delay`` steps ago, [steps, sources]."""
    span = history[:, f["first_word"] * SPIKE_WORD : (f["first_word"] + f["words"]) * SPIKE_WORD]
    out = np.zeros_like(span)
    out[delay:] = span[: len(span) - delay]
    return out


def _inputs(core: CoreModel, f: Mapping[str, int], history: np.ndarray, raster: bool) -> int:
    return cycles.inputs_cycles(core.config, f["words"], raster=raster)


def _scan(core: CoreModel, f: Mapping[str, int], history: np.ndarray, raster: bool) -> np.ndarray:
    first = f["first_group"] * core.config.lanes
    events = history[:, first : first + f["neurons"]].sum(1) * f["watch"]
    return events + cycles.scan_cycles(core.config, f["neurons"], core.program[f["pc"] :], 0)


def _dense(core: CoreModel, f: Mapping[str, int], history: np.ndarray, raster: bool) -> np.ndarray:
    base = cycles.dense_cycles(core.config, f["words"], f["row_words"], 0)
    each = cycles.dense_cycles(core.config, f["words"], f["row_words"], 1) - base
    return base + each * _sources(f, history, f["delay"]).sum(1)


def _sparse(core: CoreModel, f: Mapping[str, int], history: np.ndarray, raster: bool) -> np.ndarray:
    config, delays = core.config, f["delays_low"] | f["delays_high"] << 32
    used, per = [d for d in range(64) if delays >> d & 1], config.records(bool(f["eligible"]))
    total = np.full(len(history), cycles.sparse_cycles(config, f["words"], {d: [] for d in used}), np.int64)
    spiking = {d: _sources(f, history, d) for d in used}
    active = np.flatnonzero(sum(s.any(0).astype(int) for s in spiking.values()))
    for j in active.tolist():
        start, mask = core.header(f, j)
        target, _, lasts = core.records(f["record_base"], start, mask, bool(f["eligible"]))
        last = np.flatnonzero(lasts)
        for d in used:
            if not spiking[d][:, j].any():
                continue
            if mask >> d & 1:
                group = bin(mask & (1 << d) - 1).count("1")
                first = int(last[group - 1]) + 1 if group else 0
                seeks = (start + first - 1) // per - start // per + 1 if group else 0
                end = int(last[group]) + 1
                repeats = int((target[first + 1 : end] == target[first : end - 1]).sum())
                cost = cycles.sparse_row_cycles(config, d, records=end - first, seeks=seeks, repeats=repeats)
            else:
                cost = cycles.sparse_row_cycles(config, d)
            total += spiking[d][:, j] * cost
    return total


def _decide(core: CoreModel, f: Mapping[str, int], history: np.ndarray, raster: bool) -> np.ndarray:
    maps: Any = core.maps
    place = maps["populations"][maps["decision"]["population"]]
    counts = history[:, place["first"] : place["first"] + place["size"]].cumsum(0)
    decided, out = False, np.zeros(len(history), np.int64)
    for t, row in enumerate(counts):
        out[t] = cycles.fetch_cycles(core.config, Step.DECIDE) + decide_cycles(core.config, f, decided=decided)
        decided = decided or core.is_sure(f, row)[1]
    return out


_COUNTS: dict[Step, Any] = {
    Step.END: lambda core, f, history, raster: cycles.end_cycles(core.config),
    Step.INPUTS: _inputs,
    Step.SCAN: _scan,
    Step.DENSE: _dense,
    Step.SPARSE: _sparse,
    Step.DECIDE: _decide,
}
