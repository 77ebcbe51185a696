"""A spiking network as people describe it: populations, inputs, projections, plasticity, a decision, and what is watched.

The numbers may be real (quantised by ``compiler/spiking/quantise.py``) or integers (taken exactly). Synapses are kept as lists
(pre, post, weight, delay), so that any topology has the same form. ``lower_network`` turns an integer network into a clocked graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import Fields, need_choice, need_finite
from .input_encoding import RECORD, declared
from .lists import delay_list, index_list, lists_of_matrix, need_size, number_list, unknown, with_enable
from .models import Model, Neuron, RealNeuron
from .parts import (
    MAX_DELAY,
    RECORDS,
    RESERVED,
    WEIGHT_BITS,
    Decision,
    Input,
    Population,
    Projection,
    confidence_table,
)
from .plasticity import Plasticity
from .topology import Topology, Values

__all__ = [
    "MAX_DELAY",
    "RESERVED",
    "Decision",
    "Input",
    "Network",
    "Population",
    "Projection",
    "confidence_table",
]


@dataclass(eq=False)
class Network(Fields):
    """A spiking network; built with :meth:`input`, :meth:`population`, :meth:`connect`, :meth:`record`, :meth:`decide`.

    ``dt`` is the time step in seconds; ``seed`` (1..2**32 − 1) starts the LFSR of stochastic rounding;
    ``weight_bits`` (signed) and ``state_bits`` are the integers' widths. Every method raises InputError with one
    sentence naming the part.

    ::

        net = Network("demo", dt=1e-3)
        cells = net.input("in", 96)
        exc = net.population("exc", 90, LIF(tau=20e-3, threshold=1.0, refractory=2))
        net.connect(cells, exc, weights=w, delay=1)
        net.record(exc, "spikes", "v")
    """

    name: str
    dt: float = 1e-3
    inputs: dict[str, Input] = field(default_factory=dict)
    populations: dict[str, Population] = field(default_factory=dict)
    projections: dict[str, Projection] = field(default_factory=dict)
    decision: Decision | None = None
    seed: int = 1
    weight_bits: int = 8
    state_bits: int = 24
    records: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        need_finite("dt", self.dt)
        if not self.dt > 0:
            raise InputError(f"dt must be a time above 0 s, not {self.dt!r}")
        if not isinstance(self.seed, int) or not 0 < self.seed < 1 << 32:
            raise InputError(f"seed must be in 1..{(1 << 32) - 1}, not {self.seed!r}")
        if self.weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits must be from 1 to 16, not {self.weight_bits!r}")
        if not isinstance(self.state_bits, int) or not 8 <= self.state_bits <= 32:
            raise InputError(f"state_bits must be from 8 to 32, not {self.state_bits!r}")

    # building

    def input(self, name: str, size: int, *, source: str = "") -> Input:
        """Add ``size`` spike channels."""
        item = Input(self._new(name), need_size(name, size), source=source)
        self.inputs[name] = item
        return item

    def drive(
        self, target: str | Population, *, bounds: tuple[float, float], name: str | None = None, source: str = ""
    ) -> Input:
        """Add an analog input of one current per neuron of ``target`` per step, within ``bounds`` (constant current
        and the like).
        """
        population = self.populations[self._population(target)]
        low, high = bounds
        need_finite("bounds of a current", np.array([low, high]))
        if low > high:
            raise InputError(f"bounds of a current must be (least, greatest), not {bounds!r}")
        name = name or f"{population.name}_current"
        item = Input(self._new(name), population.size, "current", population.name, (low, high), source=source)
        self.inputs[name] = item
        return item

    def encode(
        self,
        name: str | Input,
        kind: str,
        *,
        shape: Sequence[int] | None = None,
        samples: str | None = None,
        matrix: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        """Declare how input ``name`` is made of analog values wherever samples come in: simulator, board, command line.

        ``kind`` and ``options`` are of :data:`neuroloom.compiler.spiking.input_encoding.KINDS`: constant (``steps``; of a current
        input), rate (``steps``, ``low``, ``high``, ``seed``), latency (``steps``, ``low``, ``high``, ``silent_below``), delta
        (``threshold``). ``shape``: that of one sample's values (default: one per channel; for delta one per two channels; one per
        column of ``matrix``). ``samples``: the name under which the values are given (default: the input's). ``matrix``
        [channels, values] turns values into a current input's currents.
        """
        item = self.inputs.get(name.name if isinstance(name, Input) else name)
        if item is None:
            raise InputError(f"input must be one of {', '.join(self.inputs) or '(none)'}, not {name!r}")
        made = declared(item, kind, shape=shape, samples=samples, matrix=matrix, options=options)
        others = [r for r in self.records.get(RECORD, []) if r["input"] != item.name]
        self.records[RECORD] = [*others, made.to_record()]

    def population(
        self, name: str, size: int, model: Model, *, record: Sequence[str] = (), source: str = ""
    ) -> Population:
        """Add ``size`` neurons of ``model``."""
        if not isinstance(model, Model):
            raise InputError(
                f"model of population {name!r} must be a neuron model such as LIF(tau=20e-3), not {model!r}"
            )
        item = Population(self._new(name), need_size(name, size), model, source=source)
        for key in ("threshold", "bias", "drive", "v_init", "u_init"):
            value = np.asarray(getattr(model, key, 0))
            if value.ndim and value.shape != (size,):
                raise InputError(f"{key} of population {name!r} must be one number or {size}, not {list(value.shape)}")
        self.populations[name] = item
        if record:
            self.record(item, *record)
        return item

    def connect(
        self,
        source: str | Population | Input,
        target: str | Population,
        *,
        weights: float | np.ndarray | Values | None = None,
        pre: np.ndarray | None = None,
        post: np.ndarray | None = None,
        topology: Topology | None = None,
        delay: int | np.ndarray | Values = 1,
        plasticity: Plasticity | None = None,
        name: str | None = None,
        weight_bits: int | None = None,
        origin: str = "",
    ) -> Projection:
        """Add synapses from ``source`` to ``target``.

        Either ``weights`` [source size, target size] (rows are sources; zeros are no synapses, except under
        ``plasticity``; ``delay`` may be a matrix too); or lists ``pre``, ``post`` with ``weights`` and ``delay`` of
        their length or single numbers; or a ``topology`` such as ``random(0.1, seed=1)``, where ``weights`` and
        ``delay`` may also be functions such as ``uniform(1, 10, seed=2)``. Two synapses between the same neurons are
        allowed.
        """
        source_name, size = self._source(source)
        target_name = self._population(target)
        population = self.populations[target_name]
        name = name or self._free(f"{source_name}-{target_name}")
        what = f"projection {name!r}"
        if (pre is None) != (post is None):
            raise InputError(f"{what} must have both pre and post, or neither")
        if weights is None:
            raise InputError(f"{what} must have weights")
        if topology is not None:
            if pre is not None:
                raise InputError(f"{what} must have either a topology or lists pre and post, not both")
            pairs = topology(size, population.size)
            pre, post = pairs.pre, pairs.post
            weights = weights(pairs) if callable(weights) else weights
            delay = delay(pairs) if callable(delay) else delay
        if callable(weights) or callable(delay):
            raise InputError(f"{what} must have a topology when its weights or delays are a function of the pairs")
        need_finite(f"weights of {what}", weights)
        if pre is None or post is None:
            pre, post, weights, delay = lists_of_matrix(
                what, weights, delay, size, population.size, plasticity is not None
            )
        count = len(np.atleast_1d(pre))
        item = Projection(
            self._new(name),
            source_name,
            target_name,
            index_list(f"pre of {what}", pre, size, source_name),
            index_list(f"post of {what}", post, population.size, target_name),
            number_list(f"weights of {what}", weights, count),
            delay_list(what, delay, count),
            with_enable(what, plasticity, count),
            weight_bits,
            origin,
        )
        if len(item.post) != count:
            raise InputError(f"{what} must have as many post as pre indices, not {len(item.post)} and {count}")
        if weight_bits is not None and weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits of {what} must be from 1 to 16, not {weight_bits!r}")
        self.projections[name] = item
        return item

    def record(self, population: str | Population, *what: str) -> None:
        """Show ``spikes`` and/or ``v`` of a population as outputs of the compiled network (``spikes`` when nothing is
        named).
        """
        item = self.populations[self._population(population)]
        for key in what or ("spikes",):
            need_choice("record", key, RECORDS)
            if key not in item.record:
                item.record = (*item.record, key)

    def decide(
        self,
        population: str | Population,
        *,
        margin: int | None = None,
        confidence: float | None = None,
        table: Sequence[int] = (),
        limit: int = 0,
    ) -> Decision:
        """Stop when the leading neuron of ``population`` is ahead by ``margin`` spikes, or reaches ``confidence``
        (0..1, softmax of the counts), or with a ``table`` and ``limit`` of your own."""
        name = self._population(population)
        if self.decision is not None:
            raise InputError(f"network {self.name!r} must have one decision, not a second over {name!r}")
        if (margin is not None) + (confidence is not None) + bool(table) != 1:
            raise InputError("decision must have one of margin, confidence and table")
        if margin is not None:
            if not isinstance(margin, int) or margin < 1:
                raise InputError(f"margin must be an integer of at least 1, not {margin!r}")
            self.decision = Decision(name, "margin", margin)
        else:
            if confidence is not None:
                table, limit = confidence_table(confidence)
            self.decision = Decision(name, "confidence", 0, tuple(int(t) for t in table), int(limit))
        return self.decision

    # reading

    @property
    def exact(self) -> bool:
        """Whether every number is an integer already, so that nothing has to be quantised."""
        return (
            all(p.model.exact for p in self.populations.values())
            and all(p.weight.dtype.kind in "iu" for p in self.projections.values())
            and all(p.plasticity is None or p.plasticity.exact for p in self.projections.values())
        )

    @property
    def synapses(self) -> int:
        """Number of synapses."""
        return sum(p.size for p in self.projections.values())

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return sum(p.size for p in self.populations.values())

    def into(self, target: str) -> Iterator[Projection]:
        """The projections whose target is population ``target``."""
        return (p for p in self.projections.values() if p.target == target)

    def size_of(self, source: str) -> int:
        """Neurons or channels of a population or input."""
        return self._source(source)[1]

    def copy(self) -> Network:
        """A network whose parts can be changed; arrays are shared."""
        return replace(
            self,
            inputs={k: replace(v) for k, v in self.inputs.items()},
            populations={k: replace(v) for k, v in self.populations.items()},
            projections={k: replace(v) for k, v in self.projections.items()},
            records=dict(self.records),
        )

    def frozen(
        self,
        weights: Mapping[str, np.ndarray] | None = None,
        adaptation: Mapping[str, np.ndarray] | None = None,
    ) -> Network:
        """The network without learning: plasticity dropped, homeostasis stopped.

        ``weights`` (by projection) replace the initial ones, as read back from a board; ``adaptation`` (by
        population) is added to the thresholds of populations with ``adapt_persistent``, whose adaptive threshold
        ends.
        """
        out = self.copy()
        for name, values in (weights or {}).items():
            out.set_weights(name, values)
        for projection in out.projections.values():
            projection.plasticity = None
        for name, values in (adaptation or {}).items():
            model = out.populations[out._population(name)].model
            if not isinstance(model, (Neuron, RealNeuron)) or not model.adapt_persistent:
                raise InputError(f"population {name!r} must have a persistent adaptive threshold to be frozen")
            size = out.populations[name].size
            value = np.broadcast_to(np.asarray(model.threshold), (size,)) + np.asarray(values)
            frozen: dict[str, Any] = {"adapt_decay": None, "adapt_persistent": False}
            frozen |= {"adapt_step": 0} if isinstance(model, Neuron) else {"adapt_step": 0.0, "tau_adapt": None}
            out.populations[name].model = replace(model, threshold=value, **frozen)
        return out

    def set_weights(self, projection: str, weights: np.ndarray) -> None:
        """Replace a projection's weights, one per synapse in its order, or a matrix [source size, target size]."""
        if projection not in self.projections:
            raise InputError(unknown("projection", projection, self.projections))
        item = self.projections[projection]
        need_finite(f"weights of projection {projection!r}", weights)
        array = np.asarray(weights)
        if array.shape == (self.size_of(item.source), self.size_of(item.target)):
            array = array[item.pre, item.post]
        item.weight = number_list(f"weights of projection {projection!r}", array, item.size)

    def matrix(self, projection: str, weights: np.ndarray | None = None) -> np.ndarray:
        """A projection's weights as [source size, target size] (parallel synapses added); ``weights`` replace its
        own.
        """
        if projection not in self.projections:
            raise InputError(unknown("projection", projection, self.projections))
        item = self.projections[projection]
        values = item.weight if weights is None else np.asarray(weights).reshape(-1)
        out = np.zeros((self.size_of(item.source), self.size_of(item.target)), values.dtype)
        np.add.at(out, (item.pre, item.post), values)
        return out

    # ways in and out

    @classmethod
    def from_graph(cls, graph: Any, **options: Any) -> Network:
        """A network from a networkx graph; see :func:`neuroloom.compiler.spiking.graphs.from_graph`."""
        from .graphs import from_graph

        return from_graph(graph, **options)

    @classmethod
    def load(cls, path: Any) -> Network:
        """Read a ``.yaml`` or ``.json`` network file; see ``docs/network.md`` for the form."""
        from .yaml_form import load_network

        return load_network(path)

    def save(self, path: Any) -> None:
        """Write the network as ``.yaml`` or ``.json``; large arrays go to an ``.npz`` beside it."""
        from .yaml_writer import save_network

        save_network(self, path)

    # names

    def _new(self, name: str) -> str:
        """Check a new part's name."""
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_/-]+", name):
            raise InputError(f"name must be made of letters, digits, _, - and /, not {name!r}")
        if name in RESERVED:
            raise InputError(f"name must not be {name!r}, which the graph uses itself")
        if name in self.inputs or name in self.populations or name in self.projections:
            kind = "an input" if name in self.inputs else "a population" if name in self.populations else "a projection"
            raise InputError(f"name must be given once, not again {name!r}: {kind} of network {self.name!r} has it")
        return name

    def _free(self, name: str) -> str:
        taken = {*self.inputs, *self.populations, *self.projections}
        number, out = 1, name
        while out in taken:
            number += 1
            out = f"{name}-{number}"
        return out

    def _population(self, item: str | Population) -> str:
        name = item.name if isinstance(item, Population) else item
        if name not in self.populations or (isinstance(item, Population) and self.populations[name] is not item):
            raise InputError(unknown("population", name, self.populations))
        return name

    def _source(self, item: str | Population | Input) -> tuple[str, int]:
        """Name and size of what a projection may start from."""
        name = item if isinstance(item, str) else item.name
        if name in self.populations:
            return name, self.populations[name].size
        if name not in self.inputs:
            raise InputError(unknown("population or input", name, {**self.populations, **self.inputs}))
        if self.inputs[name].kind != "spikes":
            raise InputError(f"source of a projection must be spikes, not the current input {name!r}")
        return name, self.inputs[name].size
