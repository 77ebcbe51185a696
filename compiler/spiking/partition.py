"""How a network is shared out over several cores: which neurons of each population stand on which core.

A population may be cut between two spike words unless its neurons must meet on one core. Cores take neighbouring populations,
in the order in which a step computes them, so that few spikes cross.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from . import layout, rows
from .core import SPIKE_WORD, CoreConfig
from .recognised import Network, Population


@dataclass(frozen=True)
class Fragment:
    """Neurons ``start`` .. ``start`` + ``size`` − 1 of a population, on one core."""

    population: str
    core: int
    start: int
    size: int

    @property
    def stop(self) -> int:
        """The neuron behind the last one."""
        return self.start + self.size


Cut = Mapping[str, list[Fragment]]
"""Fragments of every population, along its neurons."""


def kept_whole(network: Network, config: CoreConfig) -> dict[str, str]:
    """Populations whose neurons must stand on one core of ``config``, and why, as the end of a sentence."""
    reasons = {
        name: "its winner-take-all compares all its neurons"
        for name, p in network.populations.items()
        if p.node.attrs.get("wta")
    }
    if network.decision:
        reasons.setdefault(network.decision.population, "the decision counts all its neurons")
    for p in network.projections.values() if config.serial_learning else ():
        if p.learn and p.learn.node.attrs.get("rounding") == "stochastic":
            for name in {p.source, p.target} & set(network.populations):
                reasons.setdefault(
                    name,
                    f"the random numbers of {p.name!r} hang on its neurons' numbers, which a core of one lane counts from 0",
                )
    return reasons


def pool_share(network: Network, config: CoreConfig, population: Population) -> np.ndarray:
    """Pool words that every neuron needs, about: its state, and its share of the synapses that reach it; float [n]."""
    words = len(population.states) + len(population.traces) + len(population.drives)
    share = np.full(population.size, words / config.lanes)
    for p in network.projections.values():
        if p.target != population.name or not p.size:
            continue
        sources = network.sources[p.source].size
        dense = rows.dense_words(config, p, sources, population.size)
        sparse = rows.sparse_words(config, p, sources)
        most = sparse if dense is None else min(dense, sparse)
        share += most * np.bincount(p.post, minlength=population.size) / p.size
    return share


def cuts(network: Network, config: CoreConfig, cores: int) -> Iterator[Cut]:
    """Ways to share the network out over ``cores`` cores: evenly by neurons and pool together, by the pool, by neurons."""
    shares = {name: pool_share(network, config, p) for name, p in network.populations.items()}
    neurons = {name: np.ones(p.size) / config.neurons for name, p in network.populations.items()}
    pool = {name: share / config.pool_words for name, share in shares.items()}
    both = {name: pool[name] + neurons[name] for name in pool}
    whole, seen = kept_whole(network, config), []
    for weight in (both, pool, neurons):
        cut = _cut(network, weight, set(whole), cores)
        if cut not in seen:
            seen.append(cut)
            yield cut


def _cut(network: Network, weight: Mapping[str, np.ndarray], whole: set[str], cores: int) -> dict[str, list[Fragment]]:
    """Neighbouring units of equal weight for each core; a unit is a spike word, or a population that stays whole."""
    total = sum(float(w.sum()) for w in weight.values())
    before, out = 0.0, {}
    for name, population in network.populations.items():
        grain = population.size if name in whole else SPIKE_WORD
        fragments: list[Fragment] = []
        for start in range(0, population.size, grain):
            size = min(grain, population.size - start)
            own = float(weight[name][start : start + size].sum())
            core = min(int((before + own / 2) / total * cores), cores - 1) if total else 0
            before += own
            if fragments and fragments[-1].core == core:
                last = fragments.pop()
                start, size = last.start, last.size + size
            fragments.append(Fragment(name, core, start, size))
        out[name] = fragments
    return out


def levels(network: Network, cut: Cut) -> dict[str, int]:
    """The part of a step in which each population is computed: behind the exchanges that its synapses without delay wait for."""
    out = dict.fromkeys(network.populations, 0)
    for name in network.populations:  # sources of this step's spikes come first
        for p in network.projections.values():
            if p.target == name and p.source in out and p.size and int(p.delay.min()) == 0:
                homes = {f.core for f in cut[p.source]} | {f.core for f in cut[name]}
                out[name] = max(out[name], out[p.source] + (len(homes) > 1))
    return out


def check_cut(network: Network, config: CoreConfig) -> None:
    """Refuse what no cut can help: a population that must stay whole and is larger than a core. Raises UnsupportedError."""
    for name, reason in kept_whole(network, config).items():
        population = network.populations[name]
        if layout.align(population.size, SPIKE_WORD) > config.neurons:
            raise UnsupportedError(
                f"{population.node.where()} must have at most {config.neurons} neurons, those of one of {config.cores} cores, not "
                f"{population.size}: {reason}; make it smaller, or take a build with larger cores"
            )
