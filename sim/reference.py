"""The reference interpreter: plain numpy, written to be read. What it computes is what the graph means.

It is the definition that every other rung is compared with, so it shares no code with the fast engines or the RTL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Node, Region

from .inputs import batches, prepare
from .ops import FUNCTIONS


def run(
    graph: Graph,
    inputs: Mapping[str, np.ndarray] | np.ndarray,
    *,
    probes: Sequence[str] = (),
    chunk: int = 1024,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Run ``graph`` on samples and return its outputs, and the values named in ``probes``, as int64 arrays.

    Framed graphs take [N, *shape] and give [N, *shape]; clocked ones take [N, T, *shape] and give [N, T, *shape]. Real
    inputs are quantised by the input's own rule. ``progress(done, total)`` counts samples. At most ``chunk`` samples are
    worked on at a time. Raises InputError on arrays that do not fit the graph.
    """
    arrays = prepare(graph, inputs)
    known = graph.values()
    for name in probes:
        if name not in known:
            raise InputError(f"probe must name a value of the graph, not {name!r}")
    interpreter = Interpreter(graph, probes)
    if any(s.attrs["lifetime"] == "persistent" for s in graph.states):
        chunk = 1  # one sample's learning is the next one's weights
    total, done, parts = len(next(iter(arrays.values()))), 0, []
    for part in batches(arrays, chunk):
        parts.append(interpreter.samples(part))
        done += len(next(iter(part.values())))
        if progress:
            progress(done, total)
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


@dataclass
class _Frame:
    """The samples that are running a block, and the values that they have seen, one row per sample."""

    samples: np.ndarray
    env: dict[str, np.ndarray] = field(default_factory=dict)

    def only(self, rows: np.ndarray) -> _Frame:
        """The frame of some of the rows."""
        return _Frame(self.samples[rows], {name: value[rows] for name, value in self.env.items()})


class Interpreter:
    """Executes a graph step by step; keeps persistent state between calls of :meth:`samples`."""

    def __init__(self, graph: Graph, probes: Iterable[str] = ()) -> None:
        self.graph = graph
        self.probes = tuple(probes)
        self.initial = {n.name: n.attrs["init"].astype(np.int64) for n in graph.states}
        self.persistent = {n.name: self.initial[n.name] for n in graph.states if n.attrs["lifetime"] == "persistent"}
        self.state: dict[str, np.ndarray] = {}
        self.next: dict[str, np.ndarray] = {}
        self.answers: dict[str, np.ndarray] = {}
        self.count = 0

    def samples(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run prepared int64 inputs [N, ...] (or [N, T, ...] when clocked) from fresh sample state."""
        count = len(next(iter(inputs.values())))
        start = {**self.initial, **self.persistent}
        self.state = {name: np.repeat(value[None], count, axis=0) for name, value in start.items()}
        if self.graph.clocked:
            steps = next(iter(inputs.values())).shape[1]
            results = [self.step({k: v[:, t] for k, v in inputs.items()}) for t in range(steps)]
            out = {name: np.stack([r[name] for r in results], axis=1) for name in results[0]}
        else:
            out = self.step(inputs)
        for name in self.persistent:
            self.persistent[name] = self.state[name][-1]
        return out

    def step(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One sample of a framed graph or one time step of a clocked one, for all samples of the batch."""
        self.count = len(next(iter(inputs.values())))
        frame = _Frame(np.arange(self.count), dict(inputs))
        self.next = {name: value.copy() for name, value in self.state.items()}
        self.answers = {}
        for node in self.graph.nodes:
            frame = self.exit(node, frame) if node.op == "exit_when" else self.node(node, frame)
        self.answer([o.value for o in self.graph.outputs], frame)
        for name in self.probes:
            if name not in frame.env or len(frame.samples) < self.count:
                raise InputError(
                    f"probe %{name} must be computed for every sample; it stands inside a region or behind an exit"
                )
            self.answers[name] = frame.env[name]
        self.state = self.next
        return self.answers

    def answer(self, values: Sequence[str], frame: _Frame) -> None:
        """Record the graph's outputs of the frame's samples."""
        for output, name in zip(self.graph.outputs, values, strict=True):
            value = frame.env[name]
            whole = self.answers.setdefault(output.name, np.zeros((self.count, *value.shape[1:]), np.int64))
            whole[frame.samples] = value

    def exit(self, node: Node, frame: _Frame) -> _Frame:
        """Let the samples whose condition is 1 leave with the exit's values; the others go on."""
        leaves = frame.env[node.inputs[0]].reshape(-1) == 1
        self.answer(node.inputs[1:], frame.only(leaves))
        return frame.only(~leaves)

    def node(self, node: Node, frame: _Frame) -> _Frame:
        """Run one node for all samples of the frame."""
        env, inputs = frame.env, [frame.env[i] for i in node.inputs]
        if node.op in ("when", "switch"):
            which = inputs[0].reshape(-1)
            self.branch(node, (1 - which) if node.op == "when" else which, frame)
        elif node.op == "scan":
            self.scan(node, frame)
        elif node.op == "state":
            env[node.name] = self.state[node.name][frame.samples]
        elif node.op == "update":
            self.next[node.inputs[0]][frame.samples] = inputs[1]
        elif node.op == "const":
            data = node.attrs["data"].astype(np.int64)
            env[node.name] = np.repeat(data[None], len(frame.samples), axis=0)
        else:
            result = FUNCTIONS[node.op](node, *inputs)
            outputs = [result] if isinstance(result, np.ndarray) else result
            for value, array in zip(node.outputs, outputs, strict=True):
                env[value.name] = array
        return frame

    def branch(self, node: Node, which: np.ndarray, frame: _Frame) -> None:
        """Run each region for the samples that chose it and gather the results."""
        for value in node.outputs:
            frame.env[value.name] = np.zeros((len(frame.samples), *value.shape), np.int64)
        for number, region in enumerate(node.regions):
            rows = np.flatnonzero(which == number)
            if len(rows):
                for value, array in zip(node.outputs, self.region(region, frame.only(rows)), strict=True):
                    frame.env[value.name][rows] = array

    def scan(self, node: Node, frame: _Frame) -> None:
        """Run the loop's region step after step and gather the carried values and the stacked outputs."""
        count, first, reverse = node.attrs["count"], node.attrs["carried"], node.attrs["reverse"]
        inputs = [frame.env[i] for i in node.inputs]
        carried, sequences = inputs[:first], inputs[first:]
        stacked = [np.zeros((len(frame.samples), *v.shape), np.int64) for v in node.outputs[first:]]
        (region,) = node.regions
        for t in range(count):
            at = [count - 1 - t if r else t for r in reverse]
            elements = [s[:, i] for s, i in zip(sequences, at, strict=False)]
            number = np.full(len(frame.samples), t, np.int64)
            given = {"carried": carried, "scanned": elements, "step": [number]}
            inner = _Frame(frame.samples, dict(frame.env))
            body = []
            for item in region.nodes:
                if item.op in given:
                    inner.env[item.name] = given[item.op][item.attrs.get("index", 0)]
                else:
                    body.append(item)
            results = self.region(Region(body, region.results), inner)
            carried = results[:first]
            for whole, result, i in zip(stacked, results[first:], at[len(sequences) :], strict=True):
                whole[:, i] = result
        for value, array in zip(node.outputs, [*carried, *stacked], strict=True):
            frame.env[value.name] = array

    def region(self, region: Region, frame: _Frame) -> list[np.ndarray]:
        """Run a region's nodes in a frame of its own and return its results."""
        for node in region.nodes:
            frame = self.node(node, frame)
        return [frame.env[name] for name in region.results]
