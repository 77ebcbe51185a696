"""Collects what a report about a spiking network shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.spiking.recognise import Network, Population
from neuroloom.host.accuracy import Score
from neuroloom.host.look.activity import Activity, cycles_of_sample, measure, program_for, spikes_of
from neuroloom.host.look.answers import EarlyRow, Reading, Timing, early_decisions, reading_of, timing
from neuroloom.host.look.energy import Energy, estimate
from neuroloom.host.look.network import CoreRow, core_rows, membrane

from neuroloom.model import Model

MEMBRANES = 3
"""Neurons of a population whose membranes are drawn."""

WEIGHT_BYTES = 1 << 28
"""Most memory for the course of the weights; of longer runs only the first samples are learnt from."""


@dataclass
class Membranes:
    """Membranes [steps, k] of neurons ``index`` of a population in its first sample, their spikes and thresholds."""

    index: list[int]
    values: np.ndarray
    spikes: np.ndarray
    threshold: np.ndarray | None
    unit: str
    adaptive: bool = False


@dataclass
class Learned:
    """Weights of a plastic projection: at the start, at the end, and their mean after every step of all ``samples``."""

    before: np.ndarray
    after: np.ndarray
    mean: np.ndarray
    samples: int


@dataclass
class SpikingFacts:
    """Everything that the report shows; what is None or empty is left out. ``dt``: seconds per step when known."""

    model: Model
    net: Network
    cores: list[CoreRow]
    dt: float | None = None
    activity: Activity | None = None
    energy: Energy | None = None
    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    membranes: dict[str, Membranes] = field(default_factory=dict)
    learned: dict[str, Learned] = field(default_factory=dict)
    cycles: dict[str, np.ndarray] = field(default_factory=dict)
    labels: np.ndarray | None = None
    reading: Reading | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    timing: Timing | None = None
    early: list[EarlyRow] = field(default_factory=list)


def collect(
    model: Model,
    net: Network,
    arrays: Mapping[str, np.ndarray] | None = None,
    labels: np.ndarray | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> SpikingFacts:
    """Run what is needed. ``labels``: class numbers [samples]. Raises InputError for labels that fit no output."""
    facts = SpikingFacts(model, net, core_rows(model.graph), _dt(model))
    if arrays is None:
        return facts
    facts.activity = measure(model, net, arrays, progress=progress)
    facts.energy = estimate(net, facts.activity)
    first = {name: np.asarray(a)[:1] for name, a in arrays.items()}
    facts.spikes = {name: np.asarray(a)[0] for name, a in spikes_of(model, net, first).items()}
    facts.membranes = _membranes(model, net, first, facts.spikes)
    facts.learned = _learned(model, net, arrays)
    for core in facts.cores:
        name = f"{core.board} {core.profile}"
        if core.fits and not any(k.startswith(f"{core.board} ") for k in facts.cycles):
            batch = {k: a[None] for k, a in facts.spikes.items()}
            cycles = cycles_of_sample(program_for(net, core.board, core.profile), net, batch, first)
            if cycles is not None:
                facts.cycles[name] = cycles
    if labels is not None:
        _answers(facts, arrays, labels)
    return facts


def _dt(model: Model) -> float | None:
    try:
        return float(model.graph.records["network"]["dt"])
    except (KeyError, TypeError, ValueError):
        return None


def _membranes(
    model: Model, net: Network, first: Mapping[str, np.ndarray], spikes: Mapping[str, np.ndarray]
) -> dict[str, Membranes]:
    probes = [membrane(net, p) for p in net.populations.values()]
    got = model.outputs(first, probes=probes)
    out = {}
    for p in net.populations.values():
        name = membrane(net, p)
        counts = spikes[p.name].sum(axis=0)
        full = got[name][0]
        order = np.argsort(-counts if counts.any() else full.min(axis=0) - full.max(axis=0), kind="stable")
        seen = int((counts > 0).sum()) or p.size
        places = np.unique(np.linspace(0, seen - 1, MEMBRANES).astype(int))
        index = sorted(int(order[k]) for k in places)
        values = full[:, index].astype(np.float64)
        rule = next((o.affine for o in model.graph.outputs if o.value == name and not o.affine.is_identity), None)
        threshold, unit = _threshold(p, index), "integers"
        if p.node.op == "izhikevich":
            values, threshold, unit = values / 256, np.full(len(index), 30.0), "mV"
        elif rule is not None and len(rule.scale) == 1:
            scale, offset = float(rule.scale[0]), float(rule.offset[0])
            values, unit = values * scale + offset, "unit of the weights"
            threshold = None if threshold is None else threshold * scale + offset
        adaptive = "adapt_decay" in p.node.attrs
        out[p.name] = Membranes(index, values, spikes[p.name][:, index], threshold, unit, adaptive)
    return out


def _threshold(p: Population, index: list[int]) -> np.ndarray | None:
    if "threshold" not in p.node.attrs:
        return None
    threshold = np.broadcast_to(np.asarray(p.node.attrs["threshold"]), (p.size,))[index].astype(np.float64)
    top = p.node.outputs[-1].type.hi
    return None if (threshold >= top).all() else threshold


def _learned(model: Model, net: Network, arrays: Mapping[str, np.ndarray]) -> dict[str, Learned]:
    out = {}
    count, steps = next(iter(arrays.values())).shape[:2]
    for p in net.projections.values():
        if not p.learn:
            continue
        name = p.learn.node.outputs[0].name
        samples = min(count, max(1, WEIGHT_BYTES // (8 * steps * p.size)))
        course = model.outputs({k: v[:samples] for k, v in arrays.items()}, probes=[name])[name]
        flat = course.reshape(-1, p.size)
        out[p.name] = Learned(p.weights, flat[-1], flat.mean(axis=1), samples)
    return out


def _answers(facts: SpikingFacts, arrays: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    assert facts.activity is not None
    if labels.ndim != 1 or len(labels) != facts.activity.samples:
        raise InputError(
            f"labels must be {facts.activity.samples} class numbers, one per sample, not an array of {list(labels.shape)}"
        )
    outputs = facts.model.outputs(arrays)
    reading = facts.reading = reading_of(facts.model.graph)
    classes = reading.classes(outputs)
    facts.labels, facts.timing = labels, timing(reading, outputs)
    facts.scores["graph"] = Score(classes, int((classes == labels).sum()))
    counted = reading.spikes(outputs)
    if counted is not None and counted.shape[2] > 1:
        facts.early = early_decisions(counted, labels, range(1, 11))
