"""What fixed point costs: every value of a graph beside the float program that it was made from, on the same samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.onnx import InputRule, read_program
from neuroloom.compiler.ir import Graph, ranges
from neuroloom.compiler.real import Program, evaluate
from neuroloom.sim.dense import Engine

CHUNK = 64
"""Samples that are compared at a time: all values of so many are held at once."""


@dataclass
class Spread:
    """Errors of a tensor, in real units: largest, and sums for the root mean squares of error and value."""

    worst: float = 0.0
    square: float = 0.0
    power: float = 0.0
    count: int = 0

    def add(self, real: np.ndarray, mine: np.ndarray) -> None:
        """Count elements that should be ``real`` and are ``mine``."""
        error = np.abs(mine - real)
        self.worst = max(self.worst, float(error.max(initial=0.0)))
        self.square += float((error**2).sum())
        self.power += float((real.astype(np.float64) ** 2).sum())
        self.count += error.size

    @property
    def rms(self) -> float:
        """Root mean square error."""
        return math.sqrt(self.square / self.count) if self.count else 0.0

    @property
    def decibels(self) -> float:
        """Signal to noise; infinite without noise."""
        return 10 * math.log10(self.power / self.square) if self.square and self.power else math.inf


@dataclass
class ValueCost:
    """One value of the program: its format, what is proven and what was seen of it (reals), its error, elements outside."""

    name: str
    source: str
    type: str
    proven: tuple[float, float]
    seen: tuple[float, float]
    error: Spread | None = None
    outside: int = 0
    total: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        out: dict[str, Any] = {"value": self.name, "source": self.source, "type": self.type}
        out |= {"proven": list(self.proven), "observed": list(self.seen)}
        if self.error is not None:
            out |= {"worst": self.error.worst, "rms": self.error.rms, "outside": self.outside, "elements": self.total}
        return out


def rows_of(graph: Graph) -> dict[str, dict[str, Any]]:
    """The calibration record's rows; InputError for a graph that is not fixed point by calibration."""
    if "fixed_point" not in graph.records:
        raise InputError(f"{graph.name} must be a calibrated network to be compared with its float source")
    rows: dict[str, dict[str, Any]] = graph.records["fixed_point"]["values"]
    return rows


def costs(graph: Graph) -> dict[str, ValueCost]:
    """Every value that calibration saw, with its type, proven and observed range."""
    bounds, values = ranges(graph), graph.values()
    sources = {v.name: n.source for n in graph.walk() for v in n.outputs}
    out = {}
    for name, row in rows_of(graph).items():
        held = row.get("value")
        if held not in values:
            continue  # nothing reads it
        type_ = values[held].type
        unit = 2.0**-type_.frac * float(Fraction(row.get("factor", "1")))
        lo, hi = sorted(b * unit for b in bounds[held])
        shown = row.get("type", str(type_))
        out[name] = ValueCost(name, sources.get(held, ""), shown, (lo, hi), (float(row["lo"]), float(row["hi"])))
    order = {name: place for place, name in enumerate(values)}
    return dict(sorted(out.items(), key=lambda item: order[rows_of(graph)[item[0]]["value"]]))


def program_of(graph: Graph, source: str | Path, **options: Any) -> Program:
    """The float program that ``graph`` was made from, read again from its source by what the graph's records say."""
    records = graph.records
    if Path(source).suffix != ".onnx":
        raise InputError(f"the source of a calibrated network must be an .onnx file, not {Path(source).name}")
    states = records["fixed_point"].get("state", {})
    names = {clean: clean for clean in (*(i.source or i.name for i in graph.inputs), *states)}
    if options.get("batch_axis") is None:
        axes = records.get("batch_axes", {})
        options["batch_axis"] = "none" if records.get("batch") == "none" else {n: axes.get(n, 0) for n in names}
    rules = {i.source or i.name: InputRule(bounds=i.range) for i in graph.inputs if i.name not in rows_of(graph)}
    return read_program(
        source, input_rules=options.get("input_rules") or rules, batch_axis=options["batch_axis"], state=states
    )


class _Watch:
    """Keeps what the engine computes, by name, call after call."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self.seen: dict[str, list[np.ndarray]] = {}
        self.clipped: dict[str, tuple[int, int]] = {}

    def value(self, name: str, array: np.ndarray) -> None:
        if name in self.wanted:
            self.seen.setdefault(name, []).append(np.array(array))

    def outside(self, name: str, count: int, total: int) -> None:
        before = self.clipped.get(name, (0, 0))
        self.clipped[name] = before[0] + count, before[1] + total


def measure(
    graph: Graph, program: Program, inputs: Mapping[str, np.ndarray]
) -> tuple[dict[str, ValueCost], dict[str, Spread]]:
    """Errors of every value and of every output on ``inputs`` (by input name, as the user gave them).

    Where a decision went the other way, a branch computed other samples; its values are left out there.
    """
    found = costs(graph)
    rows = rows_of(graph)
    units = {
        n: 2.0 ** -graph.values()[rows[n]["value"]].type.frac * float(Fraction(rows[n].get("factor", "1")))
        for n in found
    }
    engine = Engine(graph)
    engine.chunk = min(engine.chunk, CHUNK)
    errors = {o.name: Spread() for o in graph.outputs}
    clipped: dict[str, tuple[int, int]] = {}
    for part in _parts(inputs):
        real: dict[str, list[np.ndarray]] = {}
        given = {v.name: part[v.name] for v in program.signals}
        wanted = evaluate(program, given, observe=lambda n, a, real=real: real.setdefault(n, []).append(a))  # type: ignore[misc]
        watch = _Watch({rows[n]["value"] for n in found})
        mine = engine.run(part, watch=watch)
        for name, cost in found.items():
            cost.error = cost.error or Spread()
            for a, b in zip(real.get(name, []), watch.seen.get(rows[name]["value"], []), strict=False):
                if a.shape == b.shape:
                    cost.error.add(a, b * units[name])
        for name, counts in watch.clipped.items():
            before = clipped.get(name, (0, 0))
            clipped[name] = before[0] + counts[0], before[1] + counts[1]
        for output in graph.outputs:
            lead = 2 if graph.clocked else 1
            array = mine[output.name]
            flat = output.affine.dequantize(array.reshape(-1, *array.shape[lead:])).reshape(array.shape)
            errors[output.name].add(wanted[output.name].astype(np.float64), flat)
    for name, (count, total) in clipped.items():
        owner = _owner(name, found)
        if owner is not None:
            owner.outside, owner.total = owner.outside + count, owner.total + total
    return found, errors


def _owner(name: str, found: Mapping[str, ValueCost]) -> ValueCost | None:
    """The program's value that a requantize rounds: its own name, or that with one of the lowering's endings."""
    while name:
        if name in found:
            return found[name]
        name = name.rpartition(".")[0]
    return None


def _parts(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    count = len(next(iter(inputs.values())))
    for start in range(0, count, CHUNK):
        yield {name: array[start : start + CHUNK] for name, array in inputs.items()}


__all__ = ["Spread", "ValueCost", "costs", "measure", "program_of", "rows_of"]
