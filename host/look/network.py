"""A spiking network as tables: populations, projections, and the cores that hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.boards.registry import load_board
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Node
from neuroloom.compiler.spiking.bounds import cycle_bounds
from neuroloom.compiler.spiking.capacity import Share, capacity_report
from neuroloom.compiler.spiking.core import CORES
from neuroloom.compiler.spiking.mapper import map_graph
from neuroloom.compiler.spiking.recognise import Network, Population, Projection, recognise


def network_of(graph: Graph) -> Network | None:
    """Populations and projections of a clocked graph, or None when it has none or holds more than a core carries."""
    if not graph.clocked:
        return None
    try:
        return recognise(graph)
    except UnsupportedError:
        return None


@dataclass(frozen=True)
class PopulationRow:
    """A population as tables show it; ``state_bits`` are those of one neuron in the graph."""

    name: str
    neurons: int
    model: str
    threshold: str
    details: str
    state_bits: int
    drives: str


def population_rows(net: Network) -> list[PopulationRow]:
    """Spike inputs first, then populations in the order of their computation."""
    rows = [PopulationRow(s.name, s.size, "input", "", "", 0, "") for s in net.inputs.values()]
    values = net.graph.values()
    for p in net.populations.values():
        words = [*p.states.values(), *p.traces]
        bits = sum(values[name].type.width for name in words)
        model, threshold, details = _MODELS[p.node.op](p.node)
        rows.append(PopulationRow(p.name, p.size, model, threshold, details, bits, ", ".join(p.drives.values())))
    return rows


def _lif(node: Node) -> tuple[str, str, str]:
    a = node.attrs
    parts = []
    if a["leak"] == "multiplicative":
        parts.append(f"beta {a.get('beta', 65536) / 65536:.4g}")
    elif a["leak"] == "subtractive":
        parts.append(f"decay {a.get('decay', 0)} per step")
    if "alpha" in a:
        parts.append(f"alpha {a['alpha'] / 65536:.4g}")
    mode = a.get("reset_mode", "immediate")
    parts.append(f"reset {a['reset']}" + ("" if mode == "immediate" else f" ({mode})"))
    if a.get("refractory"):
        parts.append(f"refractory {a['refractory']}")
    if "adapt_decay" in a:
        parts.append(f"adaptive +{a.get('adapt_step', 0)}")
    if a.get("wta"):
        parts.append("winner takes all")
    if never_spikes(node):
        return ("CUBA LI" if "alpha" in a else "LI"), "none", ", ".join(p for p in parts if not p.startswith("reset"))
    name = "CUBA LIF" if "alpha" in a else "IF" if a["leak"] == "none" else "LIF"
    sign = ">" if a.get("strict") else "≥"
    return name, f"{sign} {_span(np.asarray(a['threshold']))}", ", ".join(parts)


def never_spikes(node: Node) -> bool:
    """Whether a population's threshold cannot be passed: its membranes are read, not its spikes."""
    a = node.attrs
    return (
        node.op == "lif"
        and bool(a.get("strict"))
        and bool((np.asarray(a["threshold"]) >= node.outputs[1].type.hi).all())
    )


_MODELS: dict[str, Callable[[Node], tuple[str, str, str]]] = {
    "lif": _lif,
    "izhikevich": lambda node: ("Izhikevich", "≥ 30 mV", ""),
    "bernoulli": lambda node: ("Bernoulli", "", ""),
    "alpha_neuron": lambda node: ("alpha", _span(np.asarray(node.attrs["threshold"])), ""),
}
"""Model, threshold and details of a population's node."""


def _span(array: np.ndarray) -> str:
    lo, hi = int(array.min()), int(array.max())
    return f"{lo:,}" if lo == hi else f"{lo:,}..{hi:,}"


@dataclass(frozen=True)
class ProjectionRow:
    """A projection as tables show it. ``density`` is synapses / (sources · targets); ``weights`` their lowest and highest."""

    name: str
    source: str
    target: str
    synapses: int
    density: float
    weight_bits: int
    weights: tuple[int, int]
    delays: tuple[int, int]
    learning: str


def projection_rows(net: Network) -> list[ProjectionRow]:
    """Projections in the order of the graph."""
    rows = []
    for p in net.projections.values():
        pairs = net.sources[p.source].size * net.sources[p.target].size
        weights = (int(p.weights.min()), int(p.weights.max())) if p.size else (0, 0)
        delays = (int(p.delay.min()), int(p.delay.max())) if p.size else (0, 0)
        rows.append(
            ProjectionRow(
                p.name,
                p.source,
                p.target,
                p.size,
                p.size / pairs,
                weight_bits(p),
                weights,
                delays,
                learning_text(net, p),
            )
        )
    return rows


def span(pair: tuple[int, int]) -> str:
    """LO..HI, or the one number."""
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}..{pair[1]}"


def weight_bits(p: Projection) -> int:
    """Bits of a two's complement integer that holds every weight that the projection has or can learn."""
    lo, hi = (int(p.weights.min()), int(p.weights.max())) if p.size else (0, 0)
    if p.learn:
        lo, hi = min(lo, p.learn.node.attrs["w_min"]), max(hi, p.learn.node.attrs["w_max"])
    return max(max(lo, hi).bit_length() if hi >= 0 else 0, (-lo - 1).bit_length() if lo < 0 else 0) + 1


def learning_text(net: Network, p: Projection) -> str:
    """The rule in a few words; "fixed" without one."""
    if not p.learn:
        return "fixed"
    a = p.learn.node.attrs
    kind = net.sources[p.source].traces[p.learn.x].kind
    words = ["reward STDP" if p.learn.eligibility else "STDP", kind, f"{a['w_min']}..{a['w_max']}"]
    if a.get("soft"):
        words.append("soft bounds")
    if a.get("rounding") == "stochastic":
        words.append("stochastic")
    if "enable" in a:
        words.append(f"{int(np.count_nonzero(a['enable'])):,} enabled")
    return " ".join(words)


@dataclass(frozen=True)
class CoreRow:
    """What the network needs of one board's core, or why it does not fit. Cycles are per step, rates in steps/s.

    Of several ``cores``, words of the fullest; ``partition`` is what each has of the network.
    """

    board: str
    profile: str
    pool_used: int
    pool_words: int
    program_used: int
    program_words: int
    clock_hz: float
    idle_cycles: int | None
    worst_cycles: int | None
    refusal: str
    cores: int = 1
    partition: tuple[Share, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the core holds the network."""
        return not self.refusal

    @property
    def worst_steps_per_s(self) -> float | None:
        """Steps per second when everything spikes, spikes on chip."""
        return self.clock_hz / self.worst_cycles if self.worst_cycles else None

    @property
    def idle_steps_per_s(self) -> float | None:
        """Steps per second without spikes."""
        return self.clock_hz / self.idle_cycles if self.idle_cycles else None


def core_rows(graph: Graph) -> list[CoreRow]:
    """A row per board and profile: needs, and cycles of a step where it fits."""
    configs = {(board, c.profile): c for board, cores in CORES.items() for c in cores}
    rows = []
    for fit in capacity_report(graph):
        clock = load_board(fit.board).speed("spiking", fit.profile).plan.logic_hz
        bounds = cycle_bounds(map_graph(graph, configs[fit.board, fit.profile])) if fit.fits else None
        rows.append(
            CoreRow(
                fit.board,
                fit.profile,
                fit.pool_used,
                fit.pool_words,
                fit.program_used,
                fit.program_words,
                clock,
                bounds.idle if bounds else None,
                bounds.worst if bounds else None,
                fit.refusal,
                fit.cores,
                fit.partition,
            )
        )
    return rows


def network_facts(net: Network) -> dict[str, Any]:
    """Totals, JSON-able."""
    return {
        "neurons": sum(p.size for p in net.populations.values()),
        "spike_inputs": sum(s.size for s in net.inputs.values()),
        "synapses": sum(p.size for p in net.projections.values()),
        "plastic_synapses": sum(p.size for p in net.projections.values() if p.learn),
        "decision": net.decision.population if net.decision else None,
    }


def membrane(net: Network, population: Population) -> str:
    """Value that a population's membrane is recorded in: the node's last output."""
    return population.node.outputs[-1].name
