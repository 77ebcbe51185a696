"""Finds the widths that a network needs: the fewest bits of memory that keep an error or accuracy budget.

Every weighted node has a width of its weights, every tabulated function one of its address. Each is narrowed alone, step by step,
and the error that this brings is measured; errors of independent roundings add as squares, so the widths that save most bits per
square are taken first until the budget is spent. The result is then measured as a whole, and the search goes back where it is too
much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.onnx import Prepared
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.real import evaluate
from neuroloom.sim.dense import Engine

from .accuracy import class_output, classes_of

WEIGHTS = (16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 3, 2)
ADDRESSES = (13, 12, 11, 10, 9, 8, 7, 6, 5)
SAMPLES = 256
"""Most samples that a trial is measured on."""


@dataclass(frozen=True)
class Knob:
    """A width that may be chosen: the rule's name, the node, the widths from the widest on, and bits of memory per bit of width."""

    rule: str
    node: str
    widths: tuple[int, ...]
    count: int

    def memory(self, width: int) -> int:
        """Bits of memory: so many weights of this width, or tables of so many address bits."""
        return self.count * (1 << width if self.rule == "table_bits" else width)


@dataclass
class Found:
    """A configuration that meets a budget: its rules, the error it was measured at, memory before and after, trials made."""

    config: dict[str, Any]
    error: float
    memory: int
    memory_widest: int
    trials: int
    accuracy: float | None = None
    accuracy_float: float | None = None
    cycles: int | None = None
    cycles_widest: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known of it, beside the rules themselves."""
        return {f.name: v for f in fields(self) if f.name != "config" and (v := getattr(self, f.name)) is not None}


@dataclass
class Search:
    """The trials on one network; ``base`` are rules that hold beside the widths, ``labels`` class numbers of the samples."""

    ready: Prepared
    base: Mapping[str, Any]
    labels: np.ndarray | None = None
    trials: int = field(default=0, init=False)
    real: dict[str, np.ndarray] = field(init=False)
    samples: dict[str, np.ndarray] = field(init=False)
    knobs: list[Knob] = field(init=False)

    def __post_init__(self) -> None:
        self.samples = {n: a[:SAMPLES] for n, a in self.ready.samples.items()}
        self.real = evaluate(self.ready.program, self.samples)
        self.knobs = self._knobs()
        if self.labels is not None:
            self.labels = self.labels[:SAMPLES]

    def _knobs(self, *, everything: bool = False) -> list[Knob]:
        """One width per source node with weights, and one per node with functions; what the rules set is left alone."""
        weights: dict[str, int] = {}
        tables: dict[str, int] = {}
        given = {} if everything else self.base.get("nodes", {})
        for node in self.ready.program.walk():
            if not node.source or "grid" in node.attrs:
                continue
            if node.op in ("linear", "conv"):
                weights[node.source] = weights.get(node.source, 0) + node.attrs["weights"].size
            elif node.op == "function":
                tables[node.source] = tables.get(node.source, 0) + int(self.base.get("bits", 16))
        out = [Knob("weight_bits", n, WEIGHTS, c) for n, c in weights.items() if "weight_bits" not in given.get(n, {})]
        return out + [
            Knob("table_bits", n, ADDRESSES, c) for n, c in tables.items() if "table_bits" not in given.get(n, {})
        ]

    def config(self, widths: Mapping[Knob, int]) -> dict[str, Any]:
        """The base rules with the widths."""
        nodes: dict[str, dict[str, Any]] = {n: dict(r) for n, r in self.base.get("nodes", {}).items()}
        for knob, width in widths.items():
            nodes.setdefault(knob.node, {})[knob.rule] = width
        return {**self.base, "nodes": nodes}

    def outputs(self, widths: Mapping[Knob, int]) -> tuple[Graph, dict[str, np.ndarray]]:
        """The graph of a trial and its outputs in real numbers."""
        self.trials += 1
        graph = self.ready.graph(self.config(widths))
        integers = Engine(graph).run(self.samples)
        lead = 2 if graph.clocked else 1
        out = {}
        for output in graph.outputs:
            array = integers[output.name]
            flat = output.affine.dequantize(array.reshape(-1, *array.shape[lead:]))
            out[output.name] = flat.reshape(array.shape)
        return graph, out

    def error(self, widths: Mapping[Knob, int]) -> float:
        """The largest root mean square error of an output."""
        _, mine = self.outputs(widths)
        return max(float(np.sqrt(((mine[n] - self.real[n]) ** 2).mean())) for n in mine)

    def accuracies(self, widths: Mapping[Knob, int]) -> tuple[float, float]:
        """Shares of right answers of the graph and of the float network."""
        assert self.labels is not None
        graph, mine = self.outputs(widths)
        name = class_output(graph)
        return tuple(float((classes_of(a[name]) == self.labels).mean()) for a in (mine, self.real))  # type: ignore[return-value]

    # ---- the search

    def widest(self) -> dict[Knob, int]:
        """Every knob at its widest."""
        return {k: k.widths[0] for k in self.knobs}

    def size(self) -> float:
        """Root mean square of the largest output: an error as large means that nothing is left."""
        return max(float(np.sqrt((a.astype(np.float64) ** 2).mean())) for a in self.real.values())

    def sensitivities(self, floor: float, limit: float, say: Callable[[str], None]) -> dict[Knob, list[float]]:
        """For every knob the squared error that each of its widths adds when it alone is narrowed, up to an error of ``limit``."""
        out = {}
        for number, knob in enumerate(self.knobs, 1):
            say(f"measuring {knob.rule} of {knob.node} ({number} of {len(self.knobs)})")
            added = [0.0]
            for width in knob.widths[1:]:
                error = self.error({**self.widest(), knob: width})
                added.append(max(error**2 - floor**2, added[-1]))
                if error > limit:
                    break
            out[knob] = added
        return out

    def choose(self, added: Mapping[Knob, list[float]], budget: float) -> dict[Knob, int]:
        """Widths with the least memory whose squared errors add up to at most ``budget``: the best saving per square first."""
        at = dict.fromkeys(self.knobs, 0)
        spent = 0.0
        while True:
            best: tuple[float, Knob, int] | None = None
            for knob, errors in added.items():
                for to in range(at[knob] + 1, len(errors)):
                    cost = errors[to] - errors[at[knob]]
                    if spent + cost > budget:
                        break
                    saved = knob.memory(knob.widths[at[knob]]) - knob.memory(knob.widths[to])
                    rate = saved / (cost + 1e-30)
                    if saved and (best is None or rate > best[0]):
                        best = rate, knob, to
            if best is None:
                return {k: k.widths[i] for k, i in at.items()}
            _, knob, to = best
            spent += added[knob][to] - added[knob][at[knob]]
            at[knob] = to

    def lighter(
        self, widths: dict[Knob, int], added: Mapping[Knob, list[float]], held: Callable[[dict[Knob, int]], bool]
    ) -> dict[Knob, int]:
        """Widths that cost no more and take less memory, where the budget is still ``held``; here they are that already."""
        return widths

    def memory(self, widths: Mapping[Knob, int]) -> int:
        """Bits of weights and tables."""
        return sum(k.memory(w) for k, w in widths.items())

    def cost(self, widths: Mapping[Knob, int]) -> Any:
        """What is to be as little as possible."""
        return self.memory(widths)

    def shown(self, widths: Mapping[Knob, int]) -> str:
        """The cost in words."""
        return f"{self.memory(widths):,} bits"

    def found(self, widths: dict[Knob, int], error: float) -> Found:
        """The result as it is reported."""
        return Found(self.config(widths), error, self.memory(widths), self.memory(self.widest()), self.trials)

    def within_error(self, most: float, say: Callable[[str], None]) -> Found:
        """Widths at which the largest root mean square error of an output is at most ``most``."""
        floor = self.error(self.widest())
        if floor > most:
            raise UnsupportedError(
                f"the error budget must be at least {floor:.3g}, which the widest weights and tables reach, not {most:g}; "
                "raise bits in the configuration"
            )
        added, share = self.sensitivities(floor, most, say), 1.0
        while True:
            widths = self.choose(added, (most**2 - floor**2) * share)
            error = self.error(widths)
            say(f"error {error:.3g} of {most:g} with {self.shown(widths)}")
            if error <= most:
                widths = self.lighter(widths, added, lambda trial: self.error(trial) <= most)
                return self.found(widths, self.error(widths))
            share *= 0.6

    def within_drop(self, drop: float, say: Callable[[str], None]) -> Found:
        """Widths at which the accuracy is at most ``drop`` (a share) below that of the float network on the labelled samples."""
        count = len(next(iter(self.samples.values())))
        if self.labels is None or self.labels.shape != (count,):
            raise InputError(
                "an accuracy budget must come with one class number per calibration sample (y in the .npz)"
            )
        floor = self.error(self.widest())
        mine, real = self.accuracies(self.widest())
        if mine < real - drop:
            raise UnsupportedError(
                f"the accuracy must be allowed to drop by {real - mine:.2%}, as it does with the widest weights and tables, "
                f"not {drop:.2%}; raise bits in the configuration"
            )
        size = self.size()
        added = self.sensitivities(floor, size / 2, say)
        best = self.widest()
        low, high = (
            math.log2(floor / size) if floor else -20.0,
            -1.0,
        )  # error allowed, as a power of two of the outputs' size
        for _ in range(8):
            middle = (low + high) / 2
            widths = self.choose(added, max((size * 2.0**middle) ** 2 - floor**2, 0.0))
            mine, real = self.accuracies(widths)
            say(f"accuracy {mine:.2%} (float {real:.2%}) with {self.shown(widths)}")
            if mine < real - drop:
                high = middle
                continue
            low = middle
            if self.cost(widths) < self.cost(best):
                best = widths
        best = self.lighter(best, added, lambda trial: self.accuracies(trial)[0] >= real - drop)
        out = self.found(best, self.error(best))
        out.accuracy, out.accuracy_float = self.accuracies(best)
        return out

    def blame(self) -> list[tuple[Knob, int, float, float]]:
        """Which width loses the accuracy, worst first: knob, width now, error now, error with this knob alone at its widest."""
        plain = {
            "weight_bits": int(self.base.get("weight_bits", 8)),
            "table_bits": int(self.base.get("table_bits", 10)),
        }
        now, given = self.error({}), self.base.get("nodes", {})
        knobs = self._knobs(everything=True)
        rows = [
            (k, int(given.get(k.node, {}).get(k.rule, plain[k.rule])), now, self.error({k: k.widths[0]})) for k in knobs
        ]
        return sorted(rows, key=lambda row: row[3])


def share_of(text: str) -> float:
    """A share such as ``0.5%`` or ``0.005``; raises InputError."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise InputError(f"--max-accuracy-drop must be a share such as 0.5% or 0.005, not {text!r}")
    return value
