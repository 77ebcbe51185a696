"""From a clocked graph to the program of a spiking core: numbers for neurons, memory for synapses and state, the step program.

The result's ``maps`` (JSON-able but for the arrays under ``projections``) lead back from the core's memories to the
graph's names; the functions that use them are in ``compiler/spiking/image.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import DoesNotFitError, UnsupportedError
from neuroloom.compiler.ir import Graph

from . import layout, rows
from .checks import check_current, check_network
from .core import CORES, SPIKE_WORD, CoreConfig, CoreProgram
from .emitter import Code
from .isa import Step, assemble, command_words, encode_command
from .layout import Pool, align
from .microcode import NeuronSpec, TraceSpec, input_code, population_code
from .recognise import Network, Population, Projection, Source, recognise
from .rows import Part, Pieces

ROUNDINGS = {"floor": 0, "half_up": 1, "stochastic": 2}
FAST, LEARNING, EVEN, SMALL = 4.0, 8.0, 1.5, 1.0
"""Dense rows are taken while they need at most so many times the words of compressed ones: at first where they are faster (by
far, when the projection learns), then, if the network does not fit so, where they are about as small, then where
smaller."""


def map_graph(graph: Graph, config: CoreConfig, *, keep_words: bool = False, raster_steps: int = 0) -> CoreProgram:
    """The program of ``graph`` for a core.

    ``keep_words`` gives thresholds and biases that the graph has per neuron a state word even when they are equal, so
    that they can be written one by one later. ``raster_steps`` input steps must fit behind the network in the pool.
    Raises UnsupportedError for what the core cannot compute and DoesNotFitError for what is too large; both name the
    node and the core that would do.
    """
    network = recognise(graph)
    try:
        return map_recognised(network, config, keep_words, raster_steps)
    except DoesNotFitError as error:
        raise DoesNotFitError(f"{error}; {where_it_fits(network, config)}") from None


def choose_core(graph: Graph, board: str, *, keep_words: bool = False, raster_steps: int = 0) -> CoreProgram:
    """The program for the smallest core of ``board`` that holds ``graph``; the last core's refusal when none does."""
    network = recognise(graph)
    if board not in CORES:
        raise UnsupportedError(f"board must be one with a spiking core ({', '.join(CORES)}), not {board!r}")
    refusal: UnsupportedError | DoesNotFitError | None = None
    for config in CORES[board]:
        try:
            return map_recognised(network, config, keep_words, raster_steps)
        except (UnsupportedError, DoesNotFitError) as error:
            refusal = error
    assert refusal is not None
    if isinstance(refusal, DoesNotFitError):
        raise DoesNotFitError(f"{refusal}; {where_it_fits(network, CORES[board][-1])}")
    raise refusal


def where_it_fits(network: Network, config: CoreConfig) -> str:
    """The cores that would hold the network, in words."""
    fitting = []
    for board, cores in CORES.items():
        for other in cores:
            if other == config:
                continue
            try:
                map_recognised(network, other, False, 0)
            except (DoesNotFitError, UnsupportedError):
                continue
            fitting.append(f"{board} with profile {other.profile}")
            break
    return f"it fits {', '.join(fitting)}" if fitting else "no core of the boards holds it, so make the network smaller"


def map_recognised(
    network: Network, config: CoreConfig, keep_words: bool = False, raster_steps: int = 0
) -> CoreProgram:
    """Map with dense rows where they are faster; if that does not fit, with the smaller form of each projection.

    Raises UnsupportedError and DoesNotFitError as :func:`map_graph`, without looking at other cores.
    """
    for preference in (FAST, EVEN):
        try:
            return _Mapper(network, config, keep_words, raster_steps, preference).run()
        except DoesNotFitError:
            continue
    return _Mapper(network, config, keep_words, raster_steps, SMALL).run()


@dataclass
class _Placed:
    """A source's place: first number, its state block and microcode (inputs with traces have one too)."""

    first: int
    base: int = 0
    code: Code | None = None
    pcs: Sequence[int] = ()
    words: dict[str, int] | None = None

    @property
    def stride(self) -> int:
        return len(self.words or {})


def _distinct(traces: Mapping[str, TraceSpec]) -> list[TraceSpec]:
    """The traces, each once."""
    return list(dict.fromkeys(traces.values()))


class _Mapper:
    def __init__(
        self, network: Network, config: CoreConfig, keep_words: bool, raster_steps: int, preference: float
    ) -> None:
        self.net, self.config, self.keep_words, self.raster_steps = network, config, keep_words, raster_steps
        self.preference = preference
        self.pool = Pool(config)
        self.placed: dict[str, _Placed] = {}
        self.parts: dict[str, list[Part]] = {}
        self.pieces: dict[str, Pieces] = {}
        self.dense: dict[str, bool] = {}
        self.programs: dict[tuple[int, ...], int] = {}
        self.watched = {p for kind, p in network.outputs.values() if kind == "spikes"}
        if network.decision:
            self.watched.add(network.decision.population)

    def run(self) -> CoreProgram:
        """Check, place, write, and encode."""
        check_network(self.net, self.config)
        self.choose_rows()
        self.number()
        for name, population in self.net.populations.items():
            self.state_block(name, population, self.population_code(population))
        for name, source in self.net.inputs.items():
            if source.traces:
                self.state_block(name, source, self.input_code(source))
        for projection in self.net.projections.values():
            self.rows(projection)
        program = self.program()
        if self.pool.used > self.config.pool_words:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must fit the {self.config.pool_words} pool words of profile "
                f"{self.config.profile!r}, "
                f"not need {self.pool.used}"
            )
        return CoreProgram(self.config, program, self.pool.words.copy(), self.maps(self.raster()))

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
            self.placed[name] = _Placed(free)
            free += population.size
        if free > self.config.neurons:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must have at most {self.config.neurons} neurons (populations "
                f"begin at multiples of "
                f"16) on this core, not {free}"
            )
        free = self.config.neurons
        for name, source in self.net.inputs.items():
            if name in self.net.unused:
                continue
            free = align(free, SPIKE_WORD)
            self.placed[name] = _Placed(free)
            free += source.size
        self.input_words = -(-(free - self.config.neurons) // SPIKE_WORD)
        if self.input_words * SPIKE_WORD > self.config.inputs:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must have at most {self.config.inputs} inputs (each input "
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

    def raster(self) -> dict[str, int] | None:
        """Where inputs from the pool would stand: behind everything else."""
        if not self.input_words:
            return None
        per = self.config.word_bits // SPIKE_WORD
        words = -(-self.input_words // per)
        base = self.pool.used
        free = (self.config.pool_words - base) // words
        if free < self.raster_steps:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must leave room for {self.raster_steps} steps of inputs in "
                f"the pool of profile "
                f"{self.config.profile!r}, not {max(free, 0)}"
            )
        return {"base": base, "words": words, "capacity": max(free, 0), "spike_words": self.input_words}

    # program

    def program(self) -> np.ndarray:
        """Step program, microcode and decision table."""
        commands = list(self.commands())
        length = sum(command_words(step) for step, _ in commands)
        code: list[int] = []
        for place in self.placed.values():
            if place.code:
                place.pcs = [self.microprogram(words, code, length) for words in map(assemble, place.code.passes)]
        table = []
        if self.net.decision and self.net.decision.node.attrs["mode"] == "confidence":
            table = [int(v) for v in self.net.decision.node.attrs["table"]]
        total = length + len(code) + len(table)
        if total > self.config.program_words:
            raise DoesNotFitError(
                f"network {self.net.graph.name!r} must need at most {self.config.program_words} program words "
                f"on this core, not {total} "
                f"({length} of step commands, {len(code)} of microcode, {len(table)} of the decision's table); "
                f"merge populations of "
                "equal parameters"
            )
        words: list[int] = []
        for step, fields in commands:
            if step is Step.SCAN:
                name, number = fields.pop("_of"), fields.pop("_pass")
                fields["pc"] = self.placed[name].pcs[number]
            if fields.pop("_table", False):
                fields["table"] = length + len(code)
            words += encode_command(step, fields)
        self.program_map = {"commands": length, "microcode": len(code), "table": len(table)}
        return np.array(words + code + table, np.uint32)

    def microprogram(self, words: list[int], code: list[int], start: int) -> int:
        """Program address of a microprogram; equal ones are stored once."""
        key = tuple(words)
        if key not in self.programs:
            self.programs[key] = start + len(code)
            code += words
        return self.programs[key]

    def commands(self) -> list[tuple[Step, dict[str, Any]]]:
        """The step program; addresses of microcode and tables are filled in later."""
        out: list[tuple[Step, dict[str, Any]]] = []
        if self.input_words:
            base = self.pool.used
            out.append(
                (
                    Step.INPUTS,
                    {
                        "words": self.input_words,
                        "raster_base": min(base, 65535),
                        "first_word": self.config.neurons // SPIKE_WORD,
                    },
                )
            )
        for name, source in self.net.inputs.items():
            if source.traces:
                out += self.scans(name, source, False)
        for name, population in self.net.populations.items():
            for p in self.net.projections.values():
                if p.target == name:
                    out += [self.delivery(p, part) for part in self.parts[p.name]]
            out += self.scans(name, population, name in self.watched)
        for p in self.net.projections.values():
            out += [self.learning(p, part) for part in self.parts[p.name] if part.learns]
        if self.net.decision:
            out.append(self.decision())
        out.append((Step.END, {}))
        return out

    def scans(self, name: str, source: Source, watch: bool) -> list[tuple[Step, dict[str, Any]]]:
        """SCAN commands of a source, one per pass."""
        place = self.placed[name]
        assert place.code is not None
        last = len(place.code.passes) - 1
        return [
            (
                Step.SCAN,
                {
                    "first_group": place.first // self.config.lanes,
                    "groups": -(-source.size // self.config.lanes),
                    "neurons": source.size,
                    "state_base": place.base,
                    "stride": place.stride,
                    "watch": int(watch and number == last),
                    "reset_best": int(number == 0),
                    "_of": name,
                    "_pass": number,
                },
            )
            for number in range(last + 1)
        ]

    def source_fields(self, name: str) -> dict[str, int]:
        """Spike words of a source."""
        return {
            "first_word": self.placed[name].first // SPIKE_WORD,
            "words": -(-self.net.sources[name].size // SPIKE_WORD),
        }

    def delivery(self, p: Projection, part: Part) -> tuple[Step, dict[str, Any]]:
        """A DENSE or SPARSE command."""
        fields = {**self.source_fields(p.source), **part.fields}
        if part.step is Step.DENSE:
            fields["target"] = self.placed[p.target].first
        return part.step, fields

    def learning(self, p: Projection, part: Part) -> tuple[Step, dict[str, Any]]:
        """A LEARN command."""
        assert p.learn is not None and part.learns is not None
        a = p.learn.node.attrs
        source, target = self.placed[p.source], self.placed[p.target]
        assert source.words and target.words
        fields = {
            **self.source_fields(p.source),
            **part.learns,
            "target": target.first,
            "targets": self.net.populations[p.target].size,
            "sources": self.net.sources[p.source].size,
            "x_base": source.base,
            "x_k": source.words[self.trace_words(self.net.sources[p.source])[p.learn.x].word],
            "x_stride": source.stride,
            "y_base": target.base,
            "y_k": target.words[self.trace_words(self.net.populations[p.target])[p.learn.y].word],
            "y_stride": target.stride,
            "w_min": a["w_min"],
            "w_max": a["w_max"],
            "f": a["f"],
            "soft": int(a.get("soft", False)),
            "window": int(a.get("window", False)),
            "rounding": ROUNDINGS[a.get("rounding", "floor")],
            "pot": a.get("pot", 0),
            "dep": a.get("dep", 0),
            "eligible": int(a.get("eligibility", False)),
            "g": a.get("g", 0),
            "e_decay": a.get("e_decay", 256),
        }
        return Step.LEARN_DENSE if part.step is Step.DENSE else Step.LEARN_SPARSE, fields

    def decision(self) -> tuple[Step, dict[str, Any]]:
        """The DECIDE command."""
        d = self.net.decision
        assert d is not None
        place, a = self.placed[d.population], d.node.attrs
        assert place.words is not None
        fields: dict[str, Any] = {
            "neurons": self.net.populations[d.population].size,
            "state_base": place.base,
            "stride": place.stride,
            "k": place.words["count"],
        }
        if a["mode"] == "margin":
            fields |= {"mode": 0, "margin": a["margin"]}
        else:
            fields |= {"mode": 1, "margin": a["limit"], "entries": len(a["table"]), "_table": True}
        return Step.DECIDE, fields

    # maps

    def maps(self, raster: dict[str, int] | None) -> dict[str, object]:
        """How to read the core back and what may be written; see ``compiler/spiking/image.py``."""
        populations = {name: self.source_map(name, s) for name, s in self.net.populations.items()}
        inputs = {name: self.source_map(name, s) for name, s in self.net.inputs.items() if name in self.placed}
        for name, population in self.net.populations.items():
            code = self.placed[name].code
            assert code is not None
            entry = populations[name]
            entry["watch"] = name in self.watched
            entry["constants"] = sorted(code.constants)
            entry["immediates"] = {
                word: [self.immediate(name, number, position) for number, position in places]
                for word, places in code.immediates.items()
            }
            for word, state in population.states.items():
                entry["states"][state] = word
        decision = self.net.decision
        return {
            "name": self.net.graph.name,
            "populations": populations,
            "inputs": inputs,
            "unused": list(self.net.unused),
            "raster": raster,
            "drives": {
                value: (name, word) for name, p in self.net.populations.items() for word, value in p.drives.items()
            },
            "reward": self.net.reward,
            "lfsr": self.net.lfsr,
            "seed": int(self.net.initial(self.net.lfsr)) if self.net.lfsr else None,
            "projections": {name: self.projection_map(p) for name, p in self.net.projections.items()},
            "decision": decision and {"population": decision.population, "states": decision.states},
            "outputs": dict(self.net.outputs),
            "persistent_states": [n.name for n in self.net.graph.states if n.attrs["lifetime"] == "persistent"],
            "program": self.program_map,
            "pool_used": self.pool.used,
        }

    def immediate(self, name: str, number: int, position: int) -> int:
        """Program address of an IMM instruction (the assembler may have put NOPs before it)."""
        place = self.placed[name]
        assert place.code is not None
        return place.pcs[number] + len(assemble(place.code.passes[number][: position + 1])) - 1

    def source_map(self, name: str, source: Source) -> dict[str, Any]:
        """Place of a source and of its traces."""
        place = self.placed[name]
        return {
            "first": place.first,
            "size": source.size,
            "base": place.base,
            "stride": place.stride,
            "words": dict(place.words or {}),
            "states": {state: t.word for state, t in self.trace_words(source).items()},
            "instructions": [len(assemble(p)) for p in place.code.passes] if place.code else [],
        }

    def projection_map(self, p: Projection) -> dict[str, Any]:
        """Place of a projection's weights and eligibilities."""
        pieces = self.pieces[p.name]
        none = [np.zeros(0, np.int64)]
        return {
            "source": p.source,
            "target": p.target,
            "synapses": p.size,
            "state": p.state,
            "rows": "dense" if self.dense[p.name] else "records",
            "at": np.concatenate(pieces.at or none),
            "synapse": np.concatenate(pieces.synapse or none),
            "scale": np.concatenate(pieces.scale or none),
            "eligibility": p.learn.eligibility if p.learn else None,
            "eligibility_at": np.concatenate(pieces.eligibility_at or none),
            "eligibility_synapse": np.concatenate(pieces.eligibility_synapse or none),
            "learns": np.flatnonzero(p.learn.node.attrs.get("enable", np.ones(p.size))) if p.learn else none[0],
            "bounds": (p.learn.node.attrs["w_min"], p.learn.node.attrs["w_max"]) if p.learn else None,
        }
