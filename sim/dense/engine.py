"""Runs a planned graph over batches of samples: blocks, branches, loops, state; memory bounded by the size of the batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.ir import Graph, Node, Region, ranges
from neuroloom.compiler.ir.ops.loops import PARAMETERS
from neuroloom.sim.inputs import batches, check

from .kernels import KERNELS, Facts, Kernel, parts

Array = np.ndarray
CONTROL = ("when", "switch", "scan", "exit_when", "state", "update", "const", *PARAMETERS)
BUDGET = 96 << 20
"""Bytes that the values of one batch may take, counted as if all lived at once."""
MOST = 2048
"""Samples of the largest batch."""


class Watch(Protocol):
    """Sees every value as it is computed, in branches and loops too (there once per step)."""

    def value(self, name: str, array: Array) -> None:
        """A value and its integers [n, ...], n the samples that computed it."""

    def outside(self, name: str, count: int, total: int) -> None:
        """``count`` of ``total`` elements of a requantize lay outside its type."""


@dataclass
class _Step:
    """A node with its kernel; ``dead`` are the values that nothing reads afterwards."""

    node: Node
    kernel: Kernel | None
    bodies: tuple[_Block, ...] = ()
    dead: tuple[str, ...] = ()
    early: tuple[Node, ...] = ()
    """Nodes of a loop's body that depend on one sequence alone and run over all its steps at once."""
    halves: tuple[Callable[[Array], Array], Callable[[Array], Array] | None] | None = None


@dataclass
class _Block:
    """A list of steps and the names it yields."""

    steps: list[_Step]
    results: tuple[str, ...] = ()
    parameters: list[Node] = field(default_factory=list)


@dataclass
class _Frame:
    """Which samples run, and their values."""

    rows: Array
    env: dict[str, Array]

    def only(self, chosen: Array, names: Sequence[str] | None = None) -> _Frame:
        """The frame of some of the rows."""
        kept = self.env if names is None else {n: self.env[n] for n in names if n in self.env}
        return _Frame(self.rows[chosen], {n: v[chosen] for n, v in kept.items()})


class Engine:
    """A graph prepared for whole batches. Raises UnsupportedError for operations that it does not have.

    A batch is as large as ``BUDGET`` bytes of values allow, so any number of samples runs in bounded memory.
    """

    def __init__(self, graph: Graph, *, probes: Sequence[str] = ()) -> None:
        for node in graph.walk():
            if node.op not in KERNELS and node.op not in CONTROL:
                raise UnsupportedError(
                    f"{node.where()}: the dense engine does not have {node.op}; use the reference engine"
                )
        top = {v.name for n in graph.nodes for v in n.outputs} | {i.name for i in graph.inputs}
        for name in probes:
            if name not in top:
                raise UnsupportedError(f"probe %{name} stands inside a region; use the reference engine")
        self.graph, self.probes = graph, tuple(probes)
        self.facts = Facts(ranges(graph))
        kept = {o.value for o in graph.outputs} | set(probes)
        self.plan = self._block(graph.nodes, (), kept)
        self.early_exit = any(n.op == "exit_when" for n in graph.nodes)
        if self.early_exit and probes:
            raise UnsupportedError("probes behind an exit are not computed for every sample; use the reference engine")
        elements = sum(v.size for n in graph.walk() for v in n.outputs) + sum(i.value.size for i in graph.inputs)
        elements += max((_windows(n) for n in graph.walk() if n.op == "conv"), default=0)
        self.chunk = max(1, min(MOST, BUDGET // (8 * max(elements, 1))))
        self.persistent = any(s.attrs["lifetime"] == "persistent" for s in graph.states)

    def describe(self) -> str:
        """What runs, in half a sentence."""
        return f"{sum(1 for _ in self.graph.walk()):,} operations on batches of {self.chunk:,} samples"

    # ---- planning

    def _block(self, nodes: Sequence[Node], results: tuple[str, ...], kept: set[str]) -> _Block:
        steps = []
        for node in nodes:
            if node.op in PARAMETERS:
                continue
            bodies = tuple(self._block(r.nodes, r.results, {*r.results}) for r in node.regions)
            early = _early(node.regions[0]) if node.op == "scan" else ()
            maker = KERNELS.get(node.op)
            halves = parts(node, self.facts) if node.op == "requantize" else None
            steps.append(_Step(node, maker(node, self.facts) if maker else None, bodies, (), early, halves))
        self._mark_dead(steps, kept | {*results})
        return _Block(steps, results, [n for n in nodes if n.op in PARAMETERS])

    @staticmethod
    def _mark_dead(steps: list[_Step], kept: set[str]) -> None:
        """Say after which step each value of this block may be forgotten."""
        alive = set(kept)
        own = {v.name for s in steps for v in s.node.outputs}
        for step in reversed(steps):
            used = _reads(step.node)
            step.dead = tuple(sorted((used - alive) & own))
            alive |= used

    # ---- running

    def run(
        self,
        inputs: Mapping[str, Array] | Array,
        *,
        threads: int = 1,
        progress: Callable[[int, int], None] | None = None,
        watch: Watch | None = None,
    ) -> dict[str, Array]:
        """Outputs (and probes) as int64[N, ...] (clocked: [N, T, ...]), equal to the reference interpreter's.

        ``progress(done, total)`` counts samples; with several ``threads`` batches run beside each other.
        """
        arrays = {name: a.astype(np.int64, copy=False) for name, a in check(self.graph, inputs).items()}
        total = len(next(iter(arrays.values())))
        memory = {n.name: n.attrs["init"].astype(np.int64) for n in self.graph.states}
        chunk = 1 if self.persistent else self.chunk
        work = list(batches(arrays, chunk))
        out: list[dict[str, Array]] = []
        done = 0

        def one(part: dict[str, Array]) -> dict[str, Array]:
            return _Run(self, memory, watch).samples(part)

        single = threads <= 1 or self.persistent or watch is not None or len(work) == 1
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for result in map(one, work) if single else pool.map(one, work):
                out.append(result)
                done += len(next(iter(result.values())))
                if progress:
                    progress(done, total)
        return {name: np.concatenate([r[name] for r in out]) for name in out[0]}


def _windows(node: Node) -> int:
    """Elements of a convolution's input when every window is laid out."""
    places = node.outputs[0].size // max(node.outputs[0].shape[0], 1)
    return places * int(node.attrs["weights"][0].size) * node.attrs["groups"]


def _reads(node: Node) -> set[str]:
    out = set(node.inputs)
    for region in node.regions:
        out.update(region.results)
        for inner in region.nodes:
            out |= _reads(inner)
    return out


def _early(region: Region) -> tuple[Node, ...]:
    """Products of weights with one sequence: they may run for all steps at once."""
    scanned = {n.name for n in region.nodes if n.op == "scanned"}
    return tuple(n for n in region.nodes if n.op == "matvec" and n.inputs[0] in scanned)


class _Run:
    """One batch on its way through the plan."""

    def __init__(self, engine: Engine, memory: dict[str, Array], watch: Watch | None) -> None:
        self.engine, self.graph, self.watch, self.memory = engine, engine.graph, watch, memory
        self.state: dict[str, Array] = {}
        self.next: dict[str, Array] = {}
        self.answers: dict[str, Array] = {}
        self.count = 0

    def samples(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """All outputs of one batch, from fresh sample state."""
        self.count = len(next(iter(inputs.values())))
        self.state = {k: np.repeat(v[None], self.count, axis=0) for k, v in self.memory.items()}
        if not self.graph.clocked:
            out = self.once(inputs)
        else:
            steps = next(iter(inputs.values())).shape[1]
            rows = [self.once({k: v[:, t] for k, v in inputs.items()}) for t in range(steps)]
            out = {name: np.stack([r[name] for r in rows], axis=1) for name in rows[0]}
        for node in self.graph.states:
            if node.attrs["lifetime"] == "persistent":
                self.memory[node.name] = self.state[node.name][-1]
        return out

    def once(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """One call of a framed graph, one step of a clocked one."""
        frame = _Frame(np.arange(self.count), dict(inputs))
        self.next = {k: v.copy() for k, v in self.state.items()}
        self.answers = {}
        if self.watch:
            for name, array in inputs.items():
                self.watch.value(name, array)
        for step in self.engine.plan.steps:
            if step.node.op == "exit_when":
                leaves = frame.env[step.node.inputs[0]].reshape(-1) == 1
                self.answer(step.node.inputs[1:], frame.only(leaves, step.node.inputs))
                frame = frame.only(~leaves)
            else:
                self.step(step, frame)
        self.answer([o.value for o in self.graph.outputs], frame)
        for name in self.engine.probes:
            if name not in frame.env:
                raise InputError(f"probe %{name} must be computed for every sample")
            self.answers[name] = np.array(frame.env[name])
        self.state = self.next
        return self.answers

    def answer(self, values: Sequence[str], frame: _Frame) -> None:
        """Record the outputs of the frame's samples."""
        for output, name in zip(self.graph.outputs, values, strict=True):
            value = frame.env[name]
            if len(frame.rows) == self.count:
                self.answers[output.name] = np.array(value, np.int64)
                continue
            whole = self.answers.setdefault(output.name, np.zeros((self.count, *value.shape[1:]), np.int64))
            whole[frame.rows] = value

    def block(self, block: _Block, frame: _Frame) -> list[Array]:
        for step in block.steps:
            self.step(step, frame)
        return [frame.env[name] for name in block.results]

    def step(self, step: _Step, frame: _Frame) -> None:
        node, env = step.node, frame.env
        if node.op in ("when", "switch"):
            self.branch(step, frame)
        elif node.op == "scan":
            self.scan(step, frame)
        elif node.op == "const":
            data = node.attrs["data"].astype(np.int64)
            env[node.name] = np.broadcast_to(data[None], (len(frame.rows), *data.shape))
        elif node.op == "state":
            env[node.name] = self.state[node.name][frame.rows]
        elif node.op == "update":
            self.next[node.inputs[0]][frame.rows] = env[node.inputs[1]]
        elif node.name in env:
            pass  # a loop ran it for all steps at once
        elif self.watch and step.halves is not None:
            env[node.name] = self.watched(step, env[node.inputs[0]])
        else:
            assert step.kernel is not None
            result = step.kernel(*(env[i] for i in node.inputs))
            for value, array in zip(node.outputs, [result] if isinstance(result, np.ndarray) else result, strict=True):
                env[value.name] = array
        if self.watch:
            for value in node.outputs:
                self.watch.value(value.name, env[value.name])
        for name in step.dead:
            env.pop(name, None)

    def watched(self, step: _Step, x: Array) -> Array:
        """A requantize that also counts what its type does not hold."""
        assert step.halves is not None and self.watch is not None
        lift, bring = step.halves
        wide = lift(x)
        if bring is None:
            return wide
        out = bring(wide)
        self.watch.outside(step.node.name, int((out != wide).sum()), out.size)
        return out

    def branch(self, step: _Step, frame: _Frame) -> None:
        node = step.node
        which = frame.env[node.inputs[0]].reshape(-1)
        which = 1 - which if node.op == "when" else which
        needed = sorted(_reads(node))
        whole = [np.zeros((len(frame.rows), *v.shape), np.int64) for v in node.outputs]
        for number, body in enumerate(step.bodies):
            chosen = np.flatnonzero(which == number)
            if len(chosen):
                for target, array in zip(whole, self.block(body, frame.only(chosen, needed)), strict=True):
                    target[chosen] = array
        for value, array in zip(node.outputs, whole, strict=True):
            frame.env[value.name] = array

    def scan(self, step: _Step, frame: _Frame) -> None:
        node, (body,) = step.node, step.bodies
        count, first, reverse = node.attrs["count"], node.attrs["carried"], node.attrs["reverse"]
        inputs = [frame.env[i] for i in node.inputs]
        carried, sequences = inputs[:first], inputs[first:]
        stacked = [np.empty((len(frame.rows), *v.shape), np.int64) for v in node.outputs[first:]]
        own = {n.attrs["index"]: n.name for n in body.parameters if n.op == "scanned"}
        kernels = {s.node.name: s.kernel for s in body.steps}
        ahead: list[tuple[str, int, Array]] = []
        for item in step.early:
            place = next(k for k, name in own.items() if name == item.inputs[0])
            run = kernels[item.name]
            assert run is not None
            whole_steps = run(sequences[place])
            assert isinstance(whole_steps, np.ndarray)
            ahead.append((item.name, place, whole_steps))
        needed = {n: frame.env[n] for n in _reads(node) if n in frame.env}
        for t in range(count):
            at = [count - 1 - t if r else t for r in reverse]
            env = dict(needed)
            for item in body.parameters:
                if item.op == "carried":
                    env[item.name] = carried[item.attrs["index"]]
                elif item.op == "scanned":
                    env[item.name] = sequences[item.attrs["index"]][:, at[item.attrs["index"]]]
                else:
                    env[item.name] = np.full(len(frame.rows), t, np.int64)
                if self.watch:
                    self.watch.value(item.name, env[item.name])
            for name, place, values in ahead:
                env[name] = values[:, at[place]]
            results = self.block(body, _Frame(frame.rows, env))
            carried = results[:first]
            for whole, array, i in zip(stacked, results[first:], at[len(sequences) :], strict=True):
                whole[:, i] = array
        for value, array in zip(node.outputs, [*carried, *stacked], strict=True):
            frame.env[value.name] = array
