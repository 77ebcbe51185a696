"""Compiles a clocked graph to a program of the step machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Node, Value, ranges

from . import codes
from .histories import find_rows
from .memory import BITS, Memory, kind_of
from .plan import ENGINE, Step, join_currents, plastic, schedule, states_of

Emitter = Callable[["Compiler", Node], None]

EMITTERS: dict[str, Emitter] = {}
"""How each operation becomes instructions; the modules ``emit_*`` fill it."""


def emits(*ops: str) -> Callable[[Emitter], Emitter]:
    """Register the decorated function for operations."""

    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(ops, emitter))
        return emitter

    return register


@dataclass(frozen=True, slots=True)
class Feed:
    """Where an input's row goes: the first 8-byte word (bits) or int64 of a position's feed, and its size."""

    name: str
    is_bits: bool
    column: int
    size: int


@dataclass(frozen=True, slots=True)
class Shown:
    """Where an output or probe is found: the number of its events, or its first recorded column."""

    name: str
    shape: tuple[int, ...]
    events: bool
    column: int
    size: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a persistent state lives: the memory (of weights or of values), its first element; ``order`` of weights:
    element k belongs to synapse order[k]."""

    weights: bool
    kind: int
    at: int
    shape: tuple[int, ...]
    order: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled program and the initial memories (never written: every machine copies them)."""

    code: np.ndarray
    resets: int
    feeds: tuple[Feed, ...]
    shown: tuple[Shown, ...]
    feed_words: int
    feed_longs: int
    columns: int
    room: int
    rings: np.ndarray
    values: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    indices: np.ndarray
    events: np.ndarray
    counts: np.ndarray
    persistent: bool
    synapses: int
    places: dict[str, Place]

    @property
    def bytes(self) -> int:
        """Memory of one machine, constants included."""
        arrays = (*self.values, *self.weights, self.indices, self.events, self.counts, self.code)
        return sum(a.nbytes for a in arrays)


class Compiler:
    """State of one compilation."""

    def __init__(self, graph: Graph, probes: Sequence[str]) -> None:
        self.graph, self.values = graph, graph.values()
        self.memory = Memory()
        self.code: list[list[int]] = []
        self.resets: list[list[int]] = []
        self.refs: dict[str, int] = {}
        self.ring_of: dict[str, int] = {}
        self.scanned: set[str] = set()
        self.permutation: dict[str, np.ndarray] = {}
        self.stored: dict[str, tuple[int, int, int]] = {}
        self.synapses = 0
        self.bounds = ranges(graph)
        self.inputs = {i.name: i for i in graph.inputs}
        self.feeds: dict[str, Feed] = {}
        self.state_nodes = {n.name: n for n in graph.states}
        self.nodes = {v.name: n for n in graph.nodes for v in n.outputs}
        owned = {state for n in graph.nodes for state, _ in states_of(n)}
        self.rows, self.histories = find_rows(graph, owned)
        self.shown_values = [(o.name, o.value) for o in graph.outputs] + [(p, p) for p in probes]
        for node in graph.nodes:
            if node.op not in EMITTERS and node.op not in ("state", "const", "update"):
                raise UnsupportedError(f"{node.where()}: {ENGINE} has no {node.op}; use the reference engine")
        steps = join_currents(graph, [v for _, v in self.shown_values])
        self.steps, self.inplace = schedule(graph, steps)
        self.lives_in = {v: s for s, v in self.inplace.items()}

    # values

    def kind(self, name: str) -> int:
        """The memory of a value."""
        value = self.values[name]
        return BITS if value.type.is_bit else kind_of(self.bounds[name])

    def allocate(self, name: str) -> int:
        """The reference that a node writes its output to: the state's own place when it is written in place."""
        if name in self.lives_in:
            self.refs[name] = self.ref(self.lives_in[name])
        elif name not in self.refs:
            self.refs[name] = self.memory.value(self.kind(name), self.values[name].size)
        return self.refs[name]

    def ref(self, name: str) -> int:
        """The reference of a value that a node reads; brings it into memory when it is not there yet."""
        if name not in self.refs:
            self.refs[name] = self._bring(name)
        return self.refs[name]

    def _bring(self, name: str) -> int:
        value, node = self.values[name], self.nodes.get(name)
        if name in self.inputs:
            ref = self.memory.value(self.kind(name), value.size)
            feed = self.feed(name)
            words = -(-feed.size // 8) if feed.is_bits else feed.size
            self.emit(codes.INPUT, ref, feed.column, words, int(feed.is_bits))
            return ref
        assert node is not None
        if node.op == "const":
            return self.memory.value(self.kind(name), value.size, node.attrs["data"])
        if name in self.rows and not self._is_plain(name):
            return self._bring_rows(name, value)
        if name in self.stored or name in self.lives_in and self.lives_in[name] in self.stored:
            return self._bring_weights(name, value)
        if node.op == "state":
            return self._bring_state(node)
        raise UnsupportedError(f"{node.where()}: {ENGINE} has no value %{name}; use the reference engine")

    def _is_plain(self, name: str) -> bool:
        return self.rows[name] == (("now", name, 0),)

    def _bring_rows(self, name: str, value: Value) -> int:
        rows, width = self.rows[name], value.shape[-1]
        if len(rows) == 1 and rows[0][0] == "now":
            return self.ref(rows[0][1])
        ref = self.memory.value(BITS, value.size)
        for number, row in enumerate(rows):
            if row[0] != "zero":
                ring, lag = self.events_of(row)
                self.emit(codes.ROWS, ref + (number * width << 2), width, ring, lag)
        return ref

    def _bring_weights(self, name: str, value: Value) -> int:
        """Weights (or eligibility) in the order of the graph."""
        kind, at, order = self.stored[name if name in self.stored else self.lives_in[name]]
        ref = self.memory.value(self.kind(name), value.size)
        self.emit(codes.UNPERMUTE, ref, kind, at, value.size, order)
        return ref

    def _bring_state(self, node: Node) -> int:
        (value,), init = node.outputs, node.attrs["init"]
        ref = self.memory.value(self.kind(node.name), value.size, init)
        if node.attrs["lifetime"] == "sample":
            if init.size and (init == init.flat[0]).all():
                self.resets.append([codes.FILL, ref, int(init.flat[0]), value.size])
            else:
                self.resets.append([codes.COPY, ref, self.memory.value(ref & 3, value.size, init), value.size])
        return ref

    def constant(self, array: np.ndarray, n: int) -> tuple[int, int]:
        """A tensor [n] or [] as (reference, 0), or (-1, value) when it is one number."""
        flat = array.reshape(-1)
        if not flat.size or (flat == flat[0]).all():
            return codes.NONE, int(flat[0]) if flat.size else 0
        bounds = int(flat.min()), int(flat.max())
        return self.memory.value(kind_of(bounds), n, flat), 0

    # inputs and events

    def feed(self, name: str) -> Feed:
        """The columns of an input."""
        if name not in self.feeds:
            value = self.values[name]
            is_bits = value.type.is_bit
            column = sum(-(-f.size // 8) if is_bits else f.size for f in self.feeds.values() if f.is_bits == is_bits)
            self.feeds[name] = Feed(name, is_bits, column, value.size)
        return self.feeds[name]

    def ring(self, name: str) -> int:
        """The ring with the events of a bit value; scanned once per step, at its first use."""
        if name not in self.ring_of:
            depth = max([h.depth for h in self.histories.values() if h.spikes == name], default=0)
            self.ring_of[name] = self.memory.ring(depth + 1, self.values[name].size)
        return self.ring_of[name]

    def scan(self, name: str) -> int:
        """As ring, with this step's events in it."""
        ring = self.ring(name)
        if name not in self.scanned:
            self.scanned.add(name)
            size = self.values[name].size
            if name in self.inputs:
                self.emit(codes.SCAN_INPUT, ring, self.feed(name).column, size)
            else:
                self.emit(codes.SCAN, ring, self.ref(name) >> 5, size)
        return ring

    def scan_copy(self, name: str) -> int:
        """A ring with the bits that ``name`` has in this step, whatever they are made of."""
        key = f"{name}[]"
        if key not in self.ring_of:
            size = self.values[name].size
            self.ring_of[key] = self.memory.ring(1, size)
            self.emit(codes.SCAN, self.ring_of[key], self.ref(name) >> 5, size)
        return self.ring_of[key]

    def events_of(self, row: tuple[str, str, int]) -> tuple[int, int]:
        """Ring and lag of a row."""
        if row[0] == "now":
            return self.scan(row[1]), 0
        return self.ring(self.histories[row[1]].spikes), row[2] + 1

    # instructions

    def emit(self, *row: int) -> None:
        """Append an instruction."""
        self.code.append([int(c) for c in row])

    def compile(self) -> Program:
        """Emit everything and freeze it."""
        early: set[int] = set()
        shown: list[Shown] = []
        self._prepare_weights()
        columns = outputs = 0
        room = 1
        for number, (name, value_name) in enumerate(self.shown_values):
            value = self.values[value_name]
            spikes = value.type.is_bit and self.rows.get(value_name) == (("now", value_name, 0),)
            events = spikes and value_name not in self.state_nodes
            shown.append(Shown(name, value.shape, events, outputs if events else columns, value.size))
            outputs, columns = outputs + events, columns + value.size * (not events)
            room += value.size * events
            if value_name in self.state_nodes:
                early.add(number)  # before anything writes it in place
                self.emit(codes.RECORD, shown[-1].column, self.ref(value_name), value.size)
        for step in self.steps:
            self._run(step)
        for number, (_, value_name) in enumerate(self.shown_values):
            item = shown[number]
            if item.events:
                self.emit(codes.RECORD_EVENTS, item.column, self.scan(value_name))
            elif number not in early:
                self.emit(codes.RECORD, item.column, self.ref(value_name), item.size)
        self._updates()
        return self._freeze(tuple(shown), columns, room)

    def _weight_states(self) -> set[str]:
        given = {n.inputs[1] for n in self.graph.nodes if n.op == "synapses" and len(n.inputs) == 2}
        return (given | {state for n in self.graph.nodes for state, _ in plastic(n)}) & self.state_nodes.keys()

    def _prepare_weights(self) -> None:
        from .emit_spiking import store_weights

        weights = self._weight_states()
        for name in sorted(weights, key=lambda w: any(s == w for n in self.graph.nodes for s, _ in plastic(n)[1:])):
            store_weights(self, name)  # eligibility after the weights whose order it shares

    def _run(self, step: Step) -> None:
        from .emit_spiking import accumulate

        if step.deliveries:
            accumulate(self, step)
        elif all(v.name in self.rows and not self._is_plain(v.name) for v in step.node.outputs):
            return  # rows of a history, brought into memory only when something reads them
        else:
            EMITTERS[step.node.op](self, step.node)

    def _updates(self) -> None:
        """Write the states that are not written in place; a state's old value is kept while others still want it."""
        for name in {h.spikes for h in self.histories.values()}:
            self.scan(name)
        pairs = []
        for node in self.graph.nodes:
            if node.op != "update" or node.inputs[0] in self.inplace or node.inputs[0] in self.histories:
                continue
            state, value = node.inputs
            if state in self.stored and state != value:
                raise UnsupportedError(
                    f"{node.where()}: {ENGINE} changes weights by learning only; use the reference engine"
                )
            if state == value:
                continue
            pairs.append((self.ref(state), self.ref(value), self.values[state].size))
        states = {dst for dst, _, _ in pairs}
        for number, (dst, src, size) in enumerate(pairs):
            if src in states:
                kept = self.memory.value(src & 3, size)
                self.emit(codes.COPY, kept, src, size)
                pairs[number] = dst, kept, size
        for dst, src, size in pairs:
            self.emit(codes.COPY, dst, src, size)

    def _freeze(self, shown: tuple[Shown, ...], columns: int, room: int) -> Program:
        self._reset_histories()
        rows = self.resets + self.code
        code = np.zeros((len(rows), codes.COLUMNS), np.int64)
        for k, row in enumerate(rows):
            code[k, : len(row)] = row
        memory = self.memory
        feeds = tuple(self.feeds.values())
        return Program(
            code,
            len(self.resets),
            feeds,
            shown,
            sum(-(-f.size // 8) for f in feeds if f.is_bits),
            sum(f.size for f in feeds if not f.is_bits),
            columns,
            room,
            np.array(memory.rings or [(0, 1, 0, 0)], np.int64),
            tuple(a.array() for a in memory.values),
            tuple(a.array() for a in memory.weights),
            memory.indices.array(),
            self.first_events,
            self.first_counts,
            any(n.attrs["lifetime"] == "persistent" for n in self.graph.states),
            self.synapses,
            self._places(),
        )

    def _places(self) -> dict[str, Place]:
        """Where the persistent states are, but for spike histories."""
        out = {}
        for node in self.graph.states:
            if node.attrs["lifetime"] != "persistent" or node.name in self.histories:
                continue
            shape = node.outputs[0].shape
            if node.name in self.stored:
                kind, at, _ = self.stored[node.name]
                out[node.name] = Place(True, kind, at, shape, self.permutation[node.name])
            elif node.name in self.refs:
                ref = self.refs[node.name]
                out[node.name] = Place(False, ref & 3, ref >> 2, shape)
        return out

    def _reset_histories(self) -> None:
        """Histories begin with their initial rows: before every sample, or once."""
        deepest: dict[str, Node] = {}
        for h in self.histories.values():
            if h.depth == max(o.depth for o in self.histories.values() if o.spikes == h.spikes):
                deepest[h.spikes] = h.state
        once = []
        for spikes, state in deepest.items():
            init = state.attrs["init"].reshape(-1, self.values[spikes].size)
            lists = [np.flatnonzero(row) for row in init]
            if state.attrs["lifetime"] == "sample":
                data = self.memory.index(np.concatenate([[len(x) for x in lists], *lists]))
                self.resets.append([codes.RESET_RING, self.ring(spikes), len(init), data])
            else:
                once.append((self.ring(spikes), lists))
        self.first_events, self.first_counts = self.memory.events.array(), self.memory.counts.array()
        for ring, lists in once:
            at, slots, capacity, counts = self.memory.rings[ring]
            for r, events in enumerate(lists):
                which = (-1 - r) % slots
                self.first_counts[counts + which] = len(events)
                self.first_events[at + which * capacity :][: len(events)] = events


def compile_program(graph: Graph, probes: tuple[str, ...] = ()) -> Program:
    """Compile a clocked graph; raises UnsupportedError naming what the engine does not have."""
    from . import emit_arith, emit_learning, emit_shape, emit_spiking  # noqa: F401  (importing fills the registry)

    if not graph.clocked:
        raise UnsupportedError(f"{ENGINE} runs clocked graphs; use the bit-packed or the reference engine")
    return Compiler(graph, probes).compile()
