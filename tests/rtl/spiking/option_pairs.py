"""Which pairs of options random networks met on the core: every projection with the neurons it ends at is one combination."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.spiking.core import CoreConfig, CoreProgram

Pair = tuple[str, str]

NEURON_OPTIONS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], str]]] = {
    "leak": (("none", "multiplicative", "subtractive"), lambda a: a["leak"]),
    "reset": (("zero", "value", "subtract", "none"), lambda a: a["reset"]),
    "mode": (("immediate", "delayed", "delayed_new", "undelayed", "undelayed_new"), lambda a: a["reset_mode"]),
    "compare": ((">", ">="), lambda a: ">" if a["strict"] else ">="),
    "current": (
        ("delta", "alpha", "old alpha"),
        lambda a: "delta" if a.get("alpha") is None else "old alpha" if a.get("old_current") else "alpha",
    ),
    "refractory": (
        ("none", "held", "value", "integrates"),
        lambda a: (
            "none"
            if not a.get("refractory")
            else "value"
            if a.get("refractory_v") is not None
            else "integrates"
            if a.get("integrates")
            else "held"
        ),
    ),
    "threshold": (("fixed", "adaptive"), lambda a: "fixed" if a.get("adapt_decay") is None else "adaptive"),
    "wta": (("no", "yes"), lambda a: "yes" if a.get("wta") else "no"),
}
"""Options of lif: values, and which one a node has."""

OPTIONS = {name: values for name, (values, _) in NEURON_OPTIONS.items()} | {
    "source": ("input", "other", "same"),
    "delay": ("0", "one", "many"),
    "rows": ("dense", "records"),
    "rule": ("static", "exponential", "nearest", "window", "eligibility"),
    "rounding": ("-", "floor", "half_up", "stochastic"),
    "bounds": ("-", "hard", "soft"),
}
"""Every option and its values; ``source`` is the projection's: an input, another population, the population itself."""


def _cross(x: str, xs: Iterable[str], y: str, ys: Iterable[str]) -> set[Pair]:
    return {(f"{x}={a}", f"{y}={b}") for a in xs for b in ys}


_RULES = OPTIONS["rule"][1:]
IMPOSSIBLE = (
    _cross("rule", ["static"], "rounding", OPTIONS["rounding"][1:])
    | _cross("rule", _RULES, "rounding", ["-"])
    | _cross("rule", ["static"], "bounds", ["hard", "soft"])
    | _cross("rule", _RULES, "bounds", ["-"])
    | _cross("rounding", ["-"], "bounds", ["hard", "soft"])
    | _cross("rounding", OPTIONS["rounding"][1:], "bounds", ["-"])
    | _cross("mode", OPTIONS["mode"][1:], "threshold", ["adaptive"])  # adaptation goes with immediate resets only
    | _cross("source", ["same"], "delay", ["0"])  # a loop of no delay
)
"""Pairs that no network can have."""


class Coverage:
    """Pairs of options that a run met on one build, and what else its networks did."""

    def __init__(self, config: CoreConfig) -> None:
        self.pairs: Counter[Pair] = Counter()
        self.refused: Counter[str] = Counter()
        self.networks = self.decisions = self.drives = self.rewards = self.spikes = self.learnt = 0
        self.legal = _legal(config)

    def note(self, graph: Graph, program: CoreProgram) -> None:
        """The options of every projection and the neurons it ends at."""
        maps: Any = program.maps
        nodes = {n.name: n for n in graph.nodes}
        rules = {n.name.removesuffix(".next"): n for n in graph.nodes if n.op == "stdp"}
        traces = {n.inputs[1]: n for n in graph.nodes if n.op == "trace"}
        self.networks += 1
        self.decisions += maps["decision"] is not None
        self.drives += bool(maps["drives"])
        self.rewards += bool(maps["reward"])
        for name, place in maps["projections"].items():
            source, target = name.split(".")[0].split("-")
            cell, node = nodes.get(f"{target}.spikes"), nodes.get(f"{name}.current")
            if cell is None or node is None or cell.op != "lif":
                continue
            delays = np.unique(np.asarray(node.attrs["delay"]))
            chosen = {option: of(cell.attrs) for option, (_, of) in NEURON_OPTIONS.items()}
            chosen |= {
                "source": "input" if source.startswith("in") else "same" if source == target else "other",
                "delay": "many" if len(delays) > 1 else "0" if delays[0] == 0 else "one",
                "rows": place["rows"],
                **_rule(rules.get(name), traces),
            }
            self.pairs.update(itertools.combinations([f"{k}={v}" for k, v in chosen.items()], 2))

    @property
    def missing(self) -> set[Pair]:
        """Legal pairs that were not met."""
        return self.legal - self.pairs.keys()

    def report(self) -> str:
        """One line."""
        rare = min((self.pairs[pair] for pair in self.legal - self.missing), default=0)
        return (
            f"{self.networks} networks, {self.decisions} decide, {self.drives} with currents, {self.rewards} with rewards, "
            f"{self.spikes} spikes, {self.learnt} learning changes; {len(self.legal) - len(self.missing)} of {len(self.legal)} "
            f"pairs of options, each at least {rare} times; refused by the mapper: {dict(self.refused)}"
        )


def _rule(node: Node | None, traces: dict[str, Node]) -> dict[str, str]:
    if node is None:
        return {"rule": "static", "rounding": "-", "bounds": "-"}
    kind = "eligibility" if node.attrs.get("eligibility") else traces[node.inputs[3]].attrs["kind"]
    return {"rule": kind, "rounding": node.attrs["rounding"], "bounds": "soft" if node.attrs.get("soft") else "hard"}


def _legal(config: CoreConfig) -> set[Pair]:
    """Every pair of values of two options that networks on this core can have."""
    options = dict(OPTIONS)
    if config.learning == "stdp":
        options["rule"] = tuple(r for r in options["rule"] if r != "eligibility")
    if config.learning == "none":
        options |= {"rule": ("static",), "rounding": ("-",), "bounds": ("-",)}
    names = {k: [f"{k}={v}" for v in values] for k, values in options.items()}
    pairs = {ab for x, y in itertools.combinations(names, 2) for ab in itertools.product(names[x], names[y])}
    return pairs - IMPOSSIBLE
