"""The part of a network that one of several cores runs, as a network of its own: fragments of populations, the synapses that
reach them, and mirrors of the neurons elsewhere that these synapses come from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neuroloom.compiler.ir import Node

from .partition import Cut, Fragment
from .recognised import Decision, Mirror, Network, Population, Projection, Source


@dataclass
class Piece:
    """Synapses of a projection between two fragments: ``index`` of each in the graph's order, on core ``core`` as ``name``."""

    name: str
    core: int
    index: np.ndarray


@dataclass
class Member(Network):
    """The network of one core; ``fragments`` by population, ``initials``: where an initial value is part of a graph's state."""

    core: int = 0
    fragments: dict[str, Fragment] = field(default_factory=dict)
    initials: dict[str, tuple[str, Any]] = field(default_factory=dict)
    pieces: dict[str, list[Piece]] = field(default_factory=dict)

    def initial(self, state: str) -> np.ndarray:
        """Initial value of a state node, of the part that is here."""
        name, part = self.initials.get(state, (state, ...))
        return Network.initial(self, name)[part]

    @property
    def mirrors(self) -> dict[str, Mirror]:
        """Neurons of other cores that are sources here, by name."""
        return {name: s for name, s in self.inputs.items() if isinstance(s, Mirror)}


def mirror_name(fragment: Fragment) -> str:
    """The name of a fragment on other cores."""
    return f"{fragment.population}@{fragment.core}"


def members(network: Network, cut: Cut, cores: int) -> list[Member]:
    """The networks of all cores; a core without neurons has an empty one."""
    return [_Maker(network, cut, core).make() for core in range(cores)]


class _Maker:
    """Makes the network of one core."""

    def __init__(self, network: Network, cut: Cut, core: int) -> None:
        self.net, self.cut = network, cut
        self.member = Member(network.graph, core=core)
        here = [f for fragments in cut.values() for f in fragments if f.core == core]
        self.member.fragments = {f.population: f for f in here}

    def make(self) -> Member:
        net, member = self.net, self.member
        for name, fragment in member.fragments.items():
            member.populations[name] = self.population(net.populations[name], fragment)
        for projection in net.projections.values():
            if projection.target in member.fragments:
                self.projection(projection)
        member.lfsr, member.reward = net.lfsr, None
        if any(p.learn and p.learn.reward for p in member.projections.values()):
            member.reward = net.reward
        decision = net.decision
        if decision and decision.population in member.fragments:
            member.decision = Decision(decision.node, decision.population, decision.states)
        for name, (kind, of) in net.outputs.items():
            if of in member.populations or (kind == "decision" and member.decision):
                member.outputs[name] = (kind, of)
            for piece in member.pieces.get(of, ()) if kind in ("weights", "eligibility") else ():
                member.outputs[f"{piece.name}/{kind}"] = (kind, piece.name)
        return member

    def population(self, population: Population, fragment: Fragment) -> Population:
        """The neurons of a fragment; traces come with the rules that read them."""
        part = slice(fragment.start, fragment.stop)
        for state in population.states.values():
            self.member.initials[state] = (state, part)
        node = _with(population.node, lambda a: a[part] if np.shape(a) == (population.size,) else a)
        return replace(population, size=fragment.size, node=node, traces={})

    def projection(self, p: Projection) -> None:
        """The synapses that reach the fragment here, a projection for each part of the source."""
        member, target = self.member, self.member.fragments[p.target]
        reach = (p.post >= target.start) & (p.post < target.stop)
        sources = self.cut.get(p.source)
        for fragment in sources or [Fragment(p.source, member.core, 0, self.net.sources[p.source].size)]:
            index = np.flatnonzero(reach & (p.pre >= fragment.start) & (p.pre < fragment.stop))
            if not len(index):
                continue
            local = fragment.core == member.core
            source = p.source if local else mirror_name(fragment)
            name = p.name if not sources or len(sources) == 1 else f"{p.name}@{fragment.core}"
            if sources is None:
                member.inputs.setdefault(source, replace(self.net.inputs[source], traces={}))
            elif not local:
                value = self.net.populations[p.source].value
                new = Mirror(source, fragment.size, value, {}, fragment.core, fragment.start)
                member.inputs.setdefault(source, new)
            part = replace(
                p,
                name=name,
                source=source,
                pre=p.pre[index] - fragment.start,
                post=p.post[index] - target.start,
                delay=p.delay[index],
                weights=p.weights[index],
                learn=self.learn(p, name, source, index),
            )
            member.projections[name] = part
            member.pieces.setdefault(p.name, []).append(Piece(name, member.core, index))

    def learn(self, p: Projection, name: str, source: str, index: np.ndarray) -> Any:
        """The rule for some synapses of a projection, and the traces that it reads."""
        if p.learn is None:
            return None
        member, learn = self.member, p.learn
        here: Source = member.populations.get(source) or member.inputs[source]
        here.traces[learn.x] = self.net.sources[p.source].traces[learn.x]
        member.populations[p.target].traces[learn.y] = self.net.populations[p.target].traces[learn.y]
        eligibility = learn.eligibility
        if eligibility:
            eligibility = eligibility if name == p.name else f"{eligibility}@{name.rpartition('@')[2]}"
            member.initials[eligibility] = (learn.eligibility or "", index)
        node = _with(learn.node, lambda a: a[index] if np.shape(a) == (p.size,) else a)
        return replace(learn, node=node, eligibility=eligibility)


def _with(node: Node, part: Any) -> Node:
    """A node whose attributes that are arrays are cut."""
    attrs = {k: part(a) if isinstance(a, np.ndarray) and a.ndim else a for k, a in node.attrs.items()}
    return Node(node.op, node.inputs, node.outputs, attrs, node.regions, node.source)
