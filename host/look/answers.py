"""The answer of a classifier out of a network's outputs: by score, spike count, membrane or early decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.recognise import Network
from neuroloom.host.accuracy import class_output, classes_of

from .network import network_of, never_spikes

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reading:
    """How the class is read: from which ``output``, by which ``kind`` of :data:`KINDS`.

    ``at`` and ``done`` name the early decision's outputs, ``counted`` the spikes that it counts.
    """

    output: str
    kind: str
    at: str | None = None
    done: str | None = None
    counted: str | None = None

    @property
    def spikes_name(self) -> str:
        """The output whose spikes are counted for the answer; empty when it is not found by counting."""
        return self.output if self.kind == "count" else self.counted or ""

    def spikes(self, outputs: Outputs) -> np.ndarray | None:
        """The spikes [N, T, C] that are counted for the answer, where ``outputs`` have them."""
        return outputs.get(self.spikes_name)

    def classes(self, outputs: Outputs) -> np.ndarray:
        """Class numbers int64[N]; of equals the lowest."""
        return KINDS[self.kind][1](outputs[self.output])

    def text(self) -> str:
        """How, in words."""
        return KINDS[self.kind][0].format(self.output)


KINDS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "score": ("{}", classes_of),
    "winner": ("{} at the last step", lambda a: a[:, -1].astype(np.int64)),
    "count": ("the neuron of {} that spikes most", lambda a: a.sum(axis=1).argmax(axis=1)),
    "membrane": ("the largest of {} at the last step", lambda a: a[:, -1].argmax(axis=1)),
}
"""Ways to read a class: words, and classes int64[N] from an output [N, (T,) ...]."""


def reading_of(graph: Graph, name: str | None = None) -> Reading:
    """How to read a graph's answer; raises InputError when ``name`` must say which output it is.

    Spiking networks: the early decision's winner when it is an output, else the one population with an output that no other
    population listens to: by its spike counts, or by its membranes where it has no spikes to show.
    """
    net = network_of(graph)
    if net is None:
        if graph.clocked:
            return _clocked(graph, name)
        return Reading(class_output(graph, name), "score")
    roles = {role: out for out, (kind, role) in net.outputs.items() if kind == "decision"}
    if name is not None:
        if name not in net.outputs:
            raise InputError(f"--output-name must be one of {', '.join(net.outputs)}, not {name!r}")
        kind = {"spikes": "count", "decision": "winner"}.get(net.outputs[name][0], "membrane")
        return Reading(name, kind, roles.get("at"), roles.get("done"))
    if "winner" in roles:
        counted = f"{net.decision.population}.spikes" if net.decision else None
        return Reading(roles["winner"], "winner", roles.get("at"), roles.get("done"), counted)
    last = _last_ones(net)
    if len(last) == 1:
        shown = {kind: out for out, (kind, of) in net.outputs.items() if of == last[0]}
        if "spikes" in shown and not never_spikes(net.populations[last[0]].node):
            return Reading(shown["spikes"], "count")
        found = [shown[kind] for kind in ("v", "m") if kind in shown]
        if found:
            return Reading(found[0], "membrane")
    raise InputError(f"the class output must be named with --output-name: one of {', '.join(net.outputs)}")


def _clocked(graph: Graph, name: str | None) -> Reading:
    chosen = class_output(graph, name)
    value = graph.values()[next(o.value for o in graph.outputs if o.name == chosen)]
    if not value.shape:
        return Reading(chosen, "winner")
    return Reading(chosen, "count" if value.type.is_bit else "membrane")


def _last_ones(net: Network) -> list[str]:
    """Populations that an output shows; where some of them feed no other population, only those."""
    kinds = ("spikes", "v", "m")
    shown = dict.fromkeys(of for kind, of in net.outputs.values() if kind in kinds and of in net.populations)
    feeding = {p.source for p in net.projections.values() if p.source != p.target}
    return [name for name in shown if name not in feeding] or list(shown)


@dataclass(frozen=True)
class Timing:
    """When the answers stood: ``steps`` int64[N] of ``of`` steps; ``decided`` bool[N], None without an early decision."""

    steps: np.ndarray
    of: int
    decided: np.ndarray | None

    def text(self) -> str:
        """In words."""
        mean = f"{self.steps.mean():.2f} of {self.of} steps on average (at most {int(self.steps.max())})"
        if self.decided is None:
            return f"the answer stands after {mean}"
        share = 100 * self.decided.mean()
        return f"decided after {mean}; {share:.1f} % of the samples decided early, the others took all steps"


def timing(reading: Reading, outputs: Outputs) -> Timing | None:
    """Steps to the early decision, or until the leading neuron led to the end; None where neither is known."""
    if reading.at and reading.done and reading.at in outputs and reading.done in outputs:
        done = outputs[reading.done][:, -1].astype(bool)
        of = outputs[reading.done].shape[1]
        return Timing(np.where(done, outputs[reading.at][:, -1] + 1, of), of, done)
    if reading.kind != "count":
        return None
    leader = outputs[reading.output].cumsum(axis=1).argmax(axis=2)
    of = leader.shape[1]
    wrong = leader != leader[:, -1:]
    last_wrong = np.where(wrong.any(axis=1), of - wrong[:, ::-1].argmax(axis=1), 0)
    return Timing(np.minimum(last_wrong + 1, of), of, None)


@dataclass(frozen=True)
class EarlyRow:
    """What an early decision by this margin would give (None: without one): accuracy 0..1 and mean steps."""

    margin: int | None
    accuracy: float
    steps: float


def early_decisions(spikes: np.ndarray, labels: np.ndarray, margins: range = range(1, 7)) -> list[EarlyRow]:
    """Decide when the leader's count exceeds the runner-up's by a margin, on output spikes [N, T, C] of at least 2 neurons;
    the last row takes all steps.
    """
    counts = spikes.cumsum(axis=1)
    top = np.sort(counts, axis=2)[:, :, -2:]
    lead, leader = top[:, :, 1] - top[:, :, 0], counts.argmax(axis=2)
    rows = []
    for margin in margins:
        sure = lead >= margin
        at = np.where(sure.any(axis=1), sure.argmax(axis=1), spikes.shape[1] - 1)
        answers = leader[np.arange(len(at)), at]
        rows.append(EarlyRow(margin, float((answers == labels).mean()), float((at + 1).mean())))
    whole = float((leader[:, -1] == labels).mean())
    return [*rows, EarlyRow(None, whole, float(spikes.shape[1]))]
