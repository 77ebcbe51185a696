"""Where a network stands on a core: numbers of its neurons and inputs, state blocks, synapses in the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError

from . import layout, rows
from .checks import check_current
from .core import SPIKE_WORD, CoreConfig
from .emitter import Code
from .layout import Pool, align
from .microcode import NeuronSpec, TraceSpec, input_code, population_code
from .recognise import Network, Population, Projection, Source
from .recognised import Mirror
from .rows import Part, Pieces

FAST, LEARNING, EVEN, SMALL = 4.0, 8.0, 1.5, 1.0
"""Dense rows are taken while they need at most so many times the words of compressed ones: at first where they are faster (by
far, when the projection learns), then, if the network does not fit so, where they are about as small, then where
smaller."""


@dataclass
class Placed:
    """A source's place: first number, its state block and microcode (inputs with traces have one too)."""

    first: int
    base: int = 0
    code: Code | None = None
    pcs: Sequence[int] = ()
    words: dict[str, int] | None = None

    @property
    def stride(self) -> int:
        """State words per neuron."""
        return len(self.words or {})


def _distinct(traces: Mapping[str, TraceSpec]) -> list[TraceSpec]:
    """The traces, each once."""
    return list(dict.fromkeys(traces.values()))


class Placement:
    """A network placed on a core; raises DoesNotFitError for what is too large, naming the bound.

    ``preference`` is how many times the words of compressed rows dense ones may take, see :data:`FAST`. ``placed`` by source;
    ``parts``, ``pieces`` and ``dense`` by projection; ``watched``: populations whose spikes are events; ``input_words``: words
    of inputs.
    """

    def __init__(self, network: Network, config: CoreConfig, keep_words: bool, preference: float) -> None:
        self.net, self.config, self.keep_words, self.preference = network, config, keep_words, preference
        self.pool = Pool(config)
        self.placed: dict[str, Placed] = {}
        self.parts: dict[str, list[Part]] = {}
        self.pieces: dict[str, Pieces] = {}
        self.dense: dict[str, bool] = {}
        self.input_words = 0
        self.watched = {p for kind, p in network.outputs.values() if kind == "spikes"}
        if network.decision:
            self.watched.add(network.decision.population)
        self.choose_rows()
        self.number()
        for name, population in self.net.populations.items():
            self.state_block(name, population, self.population_code(population))
        for name, source in self.net.inputs.items():
            if source.traces:
                self.state_block(name, source, self.input_code(source))
        for projection in self.net.projections.values():
            self.rows(projection)

    def choose_rows(self) -> None:
        """Dense or compressed, by size."""
        for name, p in self.net.projections.items():
            if not p.size:
                self.dense[name] = False
                continue
            sources, targets = self.net.sources[p.source].size, self.net.populations[p.target].size
            dense = rows.dense_words(self.config, p, sources, targets)
            sparse = rows.sparse_words(self.config, p, sources)
            longest = int(np.bincount(p.pre).max())
            most = self.preference
            if most == FAST:
                fast = rows.dense_is_faster(self.config, p, sources, targets)
                most = (LEARNING if p.learn else FAST) if fast else EVEN
            self.dense[name] = dense is not None and (dense <= sparse * most or longest > layout.ROW_RECORDS_MAX)

    def number(self) -> None:
        """Core numbers of populations (targets of dense rows at multiples of a pool word's fields) and inputs."""
        free, wide = 0, {p.target for n, p in self.net.projections.items() if self.dense[n]}
        for name, population in self.net.populations.items():
            free = align(free, max(SPIKE_WORD, self.config.fields) if name in wide else SPIKE_WORD)
            self.placed[name] = Placed(free)
            free += population.size
        if free > self.config.neurons:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must have at most {self.config.neurons} neurons (populations "
                f"begin at multiples of "
                f"16) on this core, not {free}"
            )
        free = self.config.neurons
        given = {name: source for name, source in self.net.inputs.items() if name not in self.net.unused}
        own = [name for name, source in given.items() if not isinstance(source, Mirror)]
        for name in [*own, *(name for name in given if name not in own)]:  # the words of INPUTS first
            free = align(free, SPIKE_WORD)
            self.placed[name] = Placed(free)
            free += given[name].size
            if name in own:
                self.input_words = -(-(free - self.config.neurons) // SPIKE_WORD)
        if align(free, SPIKE_WORD) > self.config.neurons + self.config.inputs:
            also = "" if len(own) == len(given) else " and neurons of other cores whose spikes it needs"
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must have at most {self.config.inputs} inputs{also} (each input "
                f"begins at a multiple of 16) "
                f"on this core, not {free - self.config.neurons}"
            )

    # state

    def trace_words(self, source: Source) -> dict[str, TraceSpec]:
        """State word of every trace, by state node."""
        words: dict[tuple[str, int, int], str] = {}
        out = {}
        for state, t in source.traces.items():  # equal traces share a word
            word = words.setdefault((t.kind, t.step, t.decay), f"x{len(words)}")
            out[state] = TraceSpec(word, t.kind, t.step, t.decay)
        return out

    def population_code(self, population: Population) -> Code:
        """Microcode of a population."""
        decision = self.net.decision
        counted = decision is not None and decision.population == population.name
        traces = self.trace_words(population)
        words = [
            *population.states,
            *dict.fromkeys(t.word for t in traces.values()),
            *(["count"] if counted else []),
            *population.drives,
        ]
        count = None
        if counted:
            assert decision is not None
            count = decision.node.outputs[0].type.hi
        check_current(self.net, self.config, population, self.dense)
        return population_code(
            NeuronSpec(
                population.node.where(),
                population.node.op,
                population.node.attrs,
                population.size,
                self.config.state_bits,
                words,
                population.current,
                population.shift,
                list(population.drives),
                _distinct(traces),
                count,
                population.tested,
                self.keep_words,
            )
        )

    def input_code(self, source: Source) -> Code:
        """Microcode of an input's traces."""
        return input_code(f"input {source.name!r}", source.size, _distinct(self.trace_words(source)))

    def state_block(self, name: str, source: Source, code: Code) -> None:
        """Take and fill the state block of a source."""
        place, config = self.placed[name], self.config
        place.code = code
        place.words = {word: k for k, word in enumerate(code.words)}
        place.base = self.pool.take(-(-source.size // config.lanes) * place.stride)
        values: dict[str, np.ndarray] = dict(code.constants)
        if isinstance(source, Population):
            values |= {word: self.net.initial(state) for word, state in source.states.items()}
        for word, value in values.items():
            at = layout.state_at(config, place.base, place.stride, place.words[word], source.size)
            layout.write_fields(self.pool.words, at, np.broadcast_to(value, (source.size,)), 32)

    def rows(self, p: Projection) -> None:
        """Write the synapses of a projection."""
        self.pieces[p.name] = Pieces()
        self.parts[p.name] = []
        if not p.size:
            return
        sources, targets = self.net.sources[p.source].size, self.net.populations[p.target].size
        if self.dense[p.name]:
            self.parts[p.name] = rows.write_dense(self.pool, p, sources, targets, self.pieces[p.name])
        else:
            first = self.placed[p.target].first
            self.parts[p.name] = rows.write_sparse(self.pool, p, sources, first, self.pieces[p.name])
        if p.learn and p.learn.eligibility:
            pieces = self.pieces[p.name]
            e = self.net.initial(p.learn.eligibility)
            if e.any() and pieces.eligibility_at:
                at, synapse = np.concatenate(pieces.eligibility_at), np.concatenate(pieces.eligibility_synapse)
                layout.write_fields(
                    self.pool.words, at, e[synapse], 8 if not self.dense[p.name] else self.config.weight_bits
                )

    def raster(self, steps: int) -> dict[str, int] | None:
        """Where inputs from the pool would stand, at least ``steps`` steps of them: behind everything else."""
        if not self.input_words:
            return None
        per = self.config.word_bits // SPIKE_WORD
        words = -(-self.input_words // per)
        base = self.pool.used
        free = (self.config.pool_words - base) // words
        if free < steps:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must leave room for {steps} steps of inputs in "
                f"the pool of profile "
                f"{self.config.profile!r}, not {max(free, 0)}"
            )
        return {"base": base, "words": words, "capacity": max(free, 0), "spike_words": self.input_words}
