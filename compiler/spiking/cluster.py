"""From a recognised network to the programs of several cores that exchange their spikes; see "Several cores" in
``docs/spiking-core.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError

from .core import SPIKE_WORD, CoreConfig, CoreProgram
from .isa import Role, Step
from .layout import align
from .learner import SOURCE_STEP, TARGET_STEP
from .members import Member, members, mirror_name
from .partition import Cut, Fragment, check_cut, cuts, levels
from .placement import Placement
from .recognised import Mirror, Network, Projection
from .step_program import StepProgram


@dataclass(frozen=True)
class Exchange:
    """A fragment whose spike words go to ``receivers`` behind level ``level`` of a step."""

    fragment: Fragment
    level: int
    receivers: tuple[int, ...]

    @property
    def words(self) -> int:
        """Spike words."""
        return -(-self.fragment.size // SPIKE_WORD)


@dataclass
class ClusterProgram:
    """What the cores of a build are loaded with: a program for each, those without neurons only keep step.

    ``maps`` has what belongs to the whole network: ``fragments`` (population → list of :class:`Fragment`), ``projections`` (name →
    ``synapses``, ``state``, ``bounds``, ``learns``, ``pieces``: :class:`~.members.Piece` of each), ``outputs``, ``inputs``,
    ``drives``, ``reward``, ``decision`` (with the ``core`` that decides), ``persistent_states``, ``exchanges``.
    """

    config: CoreConfig
    parts: list[CoreProgram]
    maps: dict[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Cores that have neurons."""
        return sum(bool(part.maps["populations"]) for part in self.parts)

    @property
    def pool_used(self) -> int:
        """Pool words of the fullest core."""
        return max(len(part.pool) for part in self.parts)

    @property
    def program_used(self) -> int:
        """Program words of the longest program."""
        return max(len(part.program) for part in self.parts)


class MemberSteps(StepProgram):
    """The step program of one of several cores: levels of populations, with the exchanges between them."""

    def __init__(self, placement: Placement, level: Mapping[str, int], exchanges: Sequence[Exchange]) -> None:
        super().__init__(placement)
        assert isinstance(self.net, Member)
        self.core, self.level, self.exchanges = self.net.core, level, exchanges

    def commands(self) -> list[tuple[Step, dict[str, Any]]]:
        """Every core has the same EXCHANGE commands in the same order: each waits for all cores."""
        out = self.before()
        for level in range(max([*self.level.values(), 0]) + 1):
            for name in self.net.populations:
                if self.level[name] == level:
                    out += self.of_population(name)
            out += [(Step.EXCHANGE, self.exchange(e)) for e in self.exchanges if e.level == level]
        return out + self.after()

    def exchange(self, exchange: Exchange) -> dict[str, Any]:
        """What this core does in an exchange."""
        if exchange.fragment.core == self.core:
            first = self.placed[exchange.fragment.population].first
            return {"words": exchange.words, "role": int(Role.SEND), "first_word": first // SPIKE_WORD}
        if self.core in exchange.receivers:
            first = self.placed[mirror_name(exchange.fragment)].first
            return {"words": exchange.words, "role": int(Role.RECEIVE), "first_word": first // SPIKE_WORD}
        return {"words": exchange.words, "role": int(Role.NONE)}

    def first_random(self, p: Projection) -> dict[str, int]:
        """The random numbers of a piece go on from those of the neurons before it, which are elsewhere."""
        assert isinstance(self.net, Member)
        source, fragments = self.net.sources[p.source], self.net.fragments
        start = (
            source.start if isinstance(source, Mirror) else fragments[p.source].start if p.source in fragments else 0
        )
        x, y = SOURCE_STEP * start, TARGET_STEP * fragments[p.target].start
        return {
            **{"x_random": x >> 8 & 255, "x_random_low": x >> 4 & 15},
            **{"y_random": y >> 8 & 255, "y_random_low": y >> 4 & 15},
        }


MapMember = Callable[[Network, Callable[[Placement], StepProgram]], CoreProgram]
"""Maps the network of one core with the step program that it is given."""


def cluster_programs(network: Network, config: CoreConfig, map_member: MapMember) -> Iterator[ClusterProgram]:
    """The programs for one core, for two of them, and so on up to ``config.cores``, where so many hold the network.

    Raises UnsupportedError and DoesNotFitError as for one core when there is none; a refusal for size is the last cut's.
    """
    check_cut(network, config)
    refusal, found = None, False
    for cores in range(least_cores(network, config), config.cores + 1):
        for cut in cuts(network, config, cores):
            try:
                program = _map_cut(network, config, cut, map_member)
            except DoesNotFitError as error:
                refusal = error
                continue
            found = True
            yield program
            break
    if found:
        return
    if refusal is None:
        neurons = sum(align(p.size, SPIKE_WORD) for p in network.populations.values())
        raise DoesNotFitError(
            f"network {network.graph.name!r} must have at most {config.cores * config.neurons} neurons (populations begin at "
            f"multiples of 16) on the {config.cores} cores of profile {config.profile!r}, not {neurons}"
        )
    raise DoesNotFitError(f"{refusal} (shared out over the {config.cores} cores of profile {config.profile!r})")


def least_cores(network: Network, config: CoreConfig) -> int:
    """Cores that the neurons need at least."""
    return max(1, -(-sum(align(p.size, SPIKE_WORD) for p in network.populations.values()) // config.neurons))


def _map_cut(network: Network, config: CoreConfig, cut: Cut, map_member: MapMember) -> ClusterProgram:
    nets = members(network, cut, config.cores)
    level = levels(network, cut)
    exchanges = _exchanges(cut, level, nets)
    parts = [map_member(net, lambda place: MemberSteps(place, level, exchanges)) for net in nets]
    for net, part in zip(nets, parts, strict=True):
        lasting: Any = part.maps["persistent_states"]
        lasting += [alias for alias, (state, _) in net.initials.items() if alias != state and state in lasting]
    return ClusterProgram(config, parts, _maps(network, cut, nets, parts, exchanges))


def _exchanges(cut: Cut, level: Mapping[str, int], nets: Sequence[Member]) -> list[Exchange]:
    """Every fragment that another core needs, behind its level."""
    out = []
    for fragment in (f for fragments in cut.values() for f in fragments):
        receivers = tuple(net.core for net in nets if mirror_name(fragment) in net.mirrors)
        if receivers:
            out.append(Exchange(fragment, level[fragment.population], receivers))
    return sorted(out, key=lambda e: e.level)


def _maps(
    network: Network, cut: Cut, nets: Sequence[Member], parts: Sequence[CoreProgram], exchanges: list[Exchange]
) -> dict[str, Any]:
    """How the whole network is read back."""
    first: Any = parts[0].maps
    watched: set[str] = set()
    for part in parts:
        populations: Any = part.maps["populations"]
        watched |= {name for name, place in populations.items() if place["watch"]}
    projections = {}
    for name, p in network.projections.items():
        learn = p.learn
        projections[name] = {
            "source": p.source,
            "target": p.target,
            "synapses": p.size,
            "state": p.state,
            "eligibility": learn.eligibility if learn else None,
            "bounds": (learn.node.attrs["w_min"], learn.node.attrs["w_max"]) if learn else None,
            "learns": np.flatnonzero(learn.node.attrs.get("enable", np.ones(p.size)))
            if learn
            else np.zeros(0, np.int64),
            "pieces": [piece for net in nets for piece in net.pieces.get(name, ())],
        }
    decision = network.decision
    return {
        "name": network.graph.name,
        "populations": {
            name: {
                "size": p.size,
                "watch": name in watched,
                "states": {state: word for word, state in p.states.items()},
            }
            for name, p in network.populations.items()
        },
        "fragments": {name: list(fragments) for name, fragments in cut.items()},
        "inputs": {name: {"size": s.size} for name, s in network.inputs.items() if name not in network.unused},
        "unused": list(network.unused),
        "drives": {value: (name, word) for name, p in network.populations.items() for word, value in p.drives.items()},
        "reward": network.reward,
        "lfsr": network.lfsr,
        "seed": first["seed"],
        "projections": projections,
        "decision": decision and {"population": decision.population, "core": cut[decision.population][0].core},
        "outputs": dict(network.outputs),
        "persistent_states": [n.name for n in network.graph.states if n.attrs["lifetime"] == "persistent"],
        "exchanges": exchanges,
    }


def inputs_of(program: ClusterProgram, core: int, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What one core takes of ``inputs`` [steps, ...] by name: its inputs' spikes, currents of its neurons, the reward."""
    maps: Any = program.parts[core].maps
    out = {name: inputs[name] for name in maps["inputs"]}
    for name, (population, _) in maps["drives"].items():
        (own,) = (f for f in program.maps["fragments"][population] if f.core == core)
        out[name] = inputs[name][:, own.start : own.stop]
    if maps["reward"]:
        out[maps["reward"]] = inputs[maps["reward"]]
    return out


def joined(program: ClusterProgram, population: str, parts: Mapping[int, np.ndarray], axis: int = -1) -> np.ndarray:
    """The values of a population's neurons from those of its fragments by core, along ``axis``."""
    return np.concatenate([parts[f.core] for f in program.maps["fragments"][population]], axis=axis)


def outputs_of(
    program: ClusterProgram, parts: Sequence[Mapping[str, np.ndarray]], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The graph's outputs [steps, ...] from those of the cores; weights and eligibilities come by the names of the pieces
    (``NAME/weights``)."""
    out = {}
    steps = len(next(iter(inputs.values())))
    for name, (kind, of) in program.maps["outputs"].items():
        if kind == "decision":
            out[name] = parts[program.maps["decision"]["core"]][name]
        elif kind in ("weights", "eligibility"):
            place = program.maps["projections"][of]
            whole = np.zeros((steps, place["synapses"]), np.int64)
            for piece in place["pieces"]:
                whole[:, piece.index] = parts[piece.core][f"{piece.name}/{kind}"]
            out[name] = whole
        elif of in program.maps["fragments"]:
            out[name] = joined(program, of, {k: part[name] for k, part in enumerate(parts) if name in part})
        else:
            out[name] = np.asarray(inputs[of]).astype(np.int64)
    return out


def refuse_alone(config: CoreConfig, what: str) -> None:
    """Raise UnsupportedError when there are several cores where one is needed."""
    if config.cores > 1:
        raise UnsupportedError(
            f"{what} must have one core, not the {config.cores} of profile {config.profile!r}; choose another"
        )
