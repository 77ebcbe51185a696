"""Finds the widths with the fewest cycles within a budget: the search of :mod:`.precision` with the engine's exact cost model.

Cycles fall in steps: where weights fit the lanes' multipliers, where weights that are added fit on one step, where a sum takes a
word less. What a trial costs is what its program takes on the engine that the network would get, to the cycle; a trial that no
engine of the board holds costs more than any other.

A search begins with weights of one width and tables of one width everywhere. From there each width goes back to the widest that
costs no cycle, then single widths are narrowed, the most cycles per square of error first. Memory is saved at last, where that
costs no cycle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from neuroloom.boards.board import Board
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.passes.manager import Options
from neuroloom.compiler.pipeline import compile_graph
from neuroloom.compiler.quantise.added import added_products
from neuroloom.host.gated.choose import RECORD, fitted

from .precision import Found, Knob, Search

ALIGNED = (48, 16, 12, 8)
"""Bits that the weights of one sum may take on a common step; 48 leaves every weight at its finest."""

HALVES = 16
"""How often the error that memory may cost is halved before it is left alone."""

Cost = tuple[float, int]
"""Cycles (infinite where no engine holds the network) and bits of memory."""


@dataclass
class FastSearch(Search):
    """A search for the fewest cycles on ``board`` (of any board when None), folded as ``target`` asks."""

    board: Board | None = None
    target: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    _cycles: dict[tuple[tuple[Knob, int], ...], float] = field(default_factory=dict)

    def _knobs(self, *, everything: bool = False) -> list[Knob]:
        """Those of memory, and for sums of several products how far apart their steps may lie."""
        given = {} if everything else self.base.get("nodes", {})
        sums = added_products(self.ready.program)
        sources = dict.fromkeys(n.source for group in sums.values() for n in group if n.source)
        aligned = [Knob("aligned_bits", s, ALIGNED, 0) for s in sources if "aligned_bits" not in given.get(s, {})]
        return super()._knobs(everything=everything) + aligned

    def cycles(self, widths: Mapping[Knob, int]) -> float:
        """Most cycles of a run with these widths; infinite where it does not fit."""
        key = tuple((k, widths[k]) for k in self.knobs)
        if key not in self._cycles:
            graph = self.ready.graph(self.config(widths))
            graph.records[RECORD] = dict(self.target)
            graph = compile_graph(graph, Options())
            try:
                self._cycles[key] = fitted(graph, self.board).cycles[1]
            except (DoesNotFitError, UnsupportedError) as error:
                self._cycles[key], self.refusal = math.inf, str(error)
        return self._cycles[key]

    def cost(self, widths: Mapping[Knob, int]) -> Cost:
        """Cycles first, memory where they are equal."""
        return self.cycles(widths), self.memory(widths)

    def shown(self, widths: Mapping[Knob, int]) -> str:
        """The cycles in words."""
        cycles = self.cycles(widths)
        return "a network that does not fit" if math.isinf(cycles) else f"{cycles:,} cycles"

    def found(self, widths: dict[Knob, int], error: float) -> Found:
        """The result with its cycles; DoesNotFitError where no engine holds what the budget asks for."""
        cycles, widest = self.cycles(widths), self.cycles(self.widest())
        if math.isinf(cycles):
            raise DoesNotFitError(
                f"no widths within the budget fit: {self.refusal}; allow a larger error, or name another board"
            )
        out = super().found(widths, error)
        out.cycles, out.cycles_widest = int(cycles), None if math.isinf(widest) else int(widest)
        return out

    # ---- the choice

    def choose(self, added: Mapping[Knob, list[float]], budget: float) -> dict[Knob, int]:
        """Widths with the fewest cycles whose squared errors add up to at most ``budget``."""

        def spent(at: Mapping[Knob, int]) -> float:
            return sum(added[k][i] for k, i in at.items())

        at = min(self._uniform(added, budget), key=lambda a: (self.cycles(self._widths(a)), spent(a)))
        self._widen(at)
        while True:
            now, best = self.cycles(self._widths(at)), None
            for knob, errors in added.items():
                for to in range(at[knob] + 1, len(errors)):
                    move = {**at, knob: to}
                    if spent(move) > budget:
                        break
                    gain = now - self.cycles(self._widths(move))
                    if gain > 0:
                        rate = gain / (errors[to] - errors[at[knob]] + 1e-30)
                        if best is None or rate > best[0]:
                            best = rate, move
                        break  # the widest that saves anything; narrower ones are tried from there
            if best is None:
                break
            at = best[1]
        return self._widths(at)

    def _widths(self, at: Mapping[Knob, int]) -> dict[Knob, int]:
        return {k: k.widths[i] for k, i in at.items()}

    def _uniform(self, added: Mapping[Knob, list[float]], budget: float) -> Iterable[dict[Knob, int]]:
        """Starting points: all widths of a kind alike, each as far as its own errors are known and the budget goes."""
        zero = dict.fromkeys(self.knobs, 0)
        yield zero

        def all_at(start: Mapping[Knob, int], rule: str, step: int) -> dict[Knob, int]:
            return {k: min(step, len(added[k]) - 1) if k.rule == rule else i for k, i in start.items()}

        def within(at: Mapping[Knob, int]) -> bool:
            return sum(added[k][i] for k, i in at.items()) <= budget

        def steps(rule: str) -> int:
            return max((len(added[k]) for k in self.knobs if k.rule == rule), default=1)

        starts = [all_at(zero, "table_bits", n) for n in range(steps("table_bits"))]
        held = [s for s in starts if within(s)]
        tables = next((s for s in held if not math.isinf(self.cycles(self._widths(s)))), held[-1] if held else zero)
        for weights in range(0, steps("weight_bits"), 2):
            for aligned in range(steps("aligned_bits")):
                at = all_at(all_at(tables, "weight_bits", weights), "aligned_bits", aligned)
                if within(at):
                    yield at

    def _widen(self, at: dict[Knob, int]) -> None:
        """Take back what narrowing saved no cycle for."""
        now = self.cycles(self._widths(at))
        for knob in at:
            for back in range(at[knob]):
                if self.cycles(self._widths({**at, knob: back})) <= now:
                    at[knob] = back
                    break

    def lighter(
        self, widths: dict[Knob, int], added: Mapping[Knob, list[float]], held: Callable[[dict[Knob, int]], bool]
    ) -> dict[Knob, int]:
        """What is left of the budget spent on memory, where that costs no cycle: as much as still holds it, by halves."""
        at = {k: k.widths.index(w) for k, w in widths.items()}
        rest = {k: [max(e - errors[at[k]], 0.0) for e in errors] for k, errors in added.items()}
        now, budget, best = self.cycles(widths), self.size() ** 2, widths
        for _ in range(HALVES):
            trial = dict(widths)
            for knob, width in super().choose(rest, budget).items():
                narrower = {**trial, knob: min(trial[knob], width)}
                if self.cycles(narrower) <= now:
                    trial = narrower
            if self.memory(trial) < self.memory(best) and held(trial):
                return trial
            budget /= 4
        return best
