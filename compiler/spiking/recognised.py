"""What a spiking core's program is made from: sources, synapses, learning and the decision found in a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from neuroloom.compiler.ir import Graph, Node


@dataclass
class Trace:
    """A trace of a source: its state node and the attributes of its update."""

    state: str
    kind: str
    step: int
    decay: int


@dataclass
class Source:
    """What spikes: an input or a population of ``size``, with its traces by state name."""

    name: str
    size: int
    value: str
    traces: dict[str, Trace] = field(default_factory=dict)


@dataclass
class Mirror(Source):
    """Neurons ``start`` and on of a population on another core: what its SCAN writes there, EXCHANGE writes here."""

    core: int = 0
    start: int = 0


@dataclass
class Population(Source):
    """Neurons: the node, its states (word → state node), what adds to its current besides synapses."""

    node: Node = field(default_factory=lambda: Node("", (), ()))
    states: dict[str, str] = field(default_factory=dict)
    drives: dict[str, str] = field(default_factory=dict)
    shift: int = 0
    current: tuple[int, int] = (0, 0)
    tested: bool = False


@dataclass
class Learn:
    """A learning rule: the ``stdp`` node's attributes, its trace states, eligibility state and reward input."""

    node: Node
    x: str
    y: str
    eligibility: str | None = None
    reward: str | None = None


@dataclass
class Projection:
    """Synapses between two sources' neurons; ``weights`` are the initial ones, ``state`` where plastic ones live."""

    name: str
    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    delay: np.ndarray
    weights: np.ndarray
    node: Node
    state: str | None = None
    learn: Learn | None = None

    @property
    def size(self) -> int:
        """Number of synapses."""
        return len(self.pre)

    @cached_property
    def delays(self) -> np.ndarray:
        """Delays that there are, ascending."""
        return np.flatnonzero(np.bincount(self.delay))

    @cached_property
    def doubled(self) -> bool:
        """Whether two synapses share source, target and delay. Asked of every core that may hold the network, so found once."""
        key = np.sort((self.delay * (int(self.pre.max()) + 1) + self.pre) * (int(self.post.max()) + 1) + self.post)
        return bool((key[1:] == key[:-1]).any())


@dataclass
class Decision:
    """The early decision: its node, the population that it counts, the states by role."""

    node: Node
    population: str
    states: dict[str, str]


@dataclass
class Network:
    """Everything that a core's program is made from."""

    graph: Graph
    inputs: dict[str, Source] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    decision: Decision | None = None
    lfsr: str | None = None
    reward: str | None = None
    outputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Output name → (``spikes``, population or input), (state word, population), (``m``, population) for the tested membrane,
    (``weights`` or ``eligibility``, projection), or (``decision``, role)."""
    unused: list[str] = field(default_factory=list)
    """Inputs that nothing reads."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """Populations and spike inputs by name."""
        return {**self.populations, **self.inputs}

    def initial(self, state: str) -> np.ndarray:
        """Initial value of a state node."""
        return next(n for n in self.graph.states if n.name == state).attrs["init"].astype(np.int64)
