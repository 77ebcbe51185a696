"""Runs a real program in float64 on a batch of samples: for calibration, and to say what fixed point costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .program import Program, RealNode, RealRegion, RealValue
from .registry import OPERATIONS

BUDGET = 128 << 20
"""Bytes that the values of the samples at work may take, counted as if all lived at once."""
MOST = 256
"""Most samples at work."""

Observer = Callable[[str, np.ndarray], None]
"""Called with the name of every value and its elements [n, ...], n the samples that computed it; in a loop once per step."""


@dataclass
class _Frame:
    """The samples that are running a block, and the values that they have seen, one row per sample."""

    count: int
    env: dict[str, np.ndarray] = field(default_factory=dict)

    def only(self, rows: np.ndarray) -> _Frame:
        """The frame of some of the rows."""
        return _Frame(len(rows), {name: value[rows] for name, value in self.env.items()})


def evaluate(
    program: Program,
    inputs: Mapping[str, np.ndarray],
    *,
    observe: Observer | None = None,
    chunk: int = 256,
    all_branches: bool = False,
) -> dict[str, np.ndarray]:
    """Outputs by public name [N, ...], float64 (integers and bits int64), of inputs by value name [N, *shape].

    A clocked program takes [N, T, *shape] and gives [N, T, ...]; its memory starts at 0. At most ``chunk`` samples are worked on
    at a time. Branches run for the samples that take them only, or, with ``all_branches``, for all of them (to be observed: the
    outputs are the same).
    """
    arrays: dict[str, np.ndarray] = {v.name: np.asarray(inputs[v.name], _dtype(v)) for v in program.signals}
    count = len(next(iter(arrays.values())))
    runner = _Runner(observe, all_branches)
    parts = []
    for start in range(0, count, chunk):
        part = {name: array[start : start + chunk] for name, array in arrays.items()}
        parts.append(_clocked(program, part, runner) if program.clocked else _once(program, part, runner))
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _chunk(program: Program) -> int:
    """Samples whose values, and the largest convolution's windows, fit the budget."""
    elements = sum(v.size for v in program.inputs) + sum(v.size for n in program.walk() for v in n.outputs)
    windows = 0
    for node in program.walk():
        if node.op == "conv":
            places = node.outputs[0].size // max(node.outputs[0].shape[0], 1)
            windows = max(windows, places * node.attrs["weights"][0].size * node.attrs["groups"])
    return max(1, min(MOST, BUDGET // (8 * max(elements + windows, 1))))


def _dtype(value: RealValue) -> type:
    return np.float64 if value.kind == "real" else np.int64


def _once(program: Program, part: dict[str, np.ndarray], runner: _Runner) -> dict[str, np.ndarray]:
    frame = _Frame(len(next(iter(part.values()))), dict(part))
    for name, array in part.items():
        runner.see(name, array)
    runner.block(program.nodes, frame)
    return {o.name: frame.env[o.value] for o in program.outputs}


def _clocked(program: Program, part: dict[str, np.ndarray], runner: _Runner) -> dict[str, np.ndarray]:
    first = next(iter(part.values()))
    memory: dict[str, np.ndarray] = {
        v.name: np.zeros((len(first), *v.shape), _dtype(v)) for v in program.inputs if v.name in program.states
    }
    steps = []
    for t in range(first.shape[1]):
        steps.append(_once(program, {**{name: a[:, t] for name, a in part.items()}, **memory}, runner))
        memory = {name: steps[-1][output] for name, output in program.states.items()}
    return {name: np.stack([s[name] for s in steps], axis=1) for name in steps[0]}


class _Runner:
    def __init__(self, observe: Observer | None, all_branches: bool) -> None:
        self.observe, self.all_branches = observe, all_branches

    def see(self, name: str, array: np.ndarray) -> None:
        if self.observe is not None:
            self.observe(name, array)

    def block(self, nodes: Sequence[RealNode], frame: _Frame) -> None:
        for node in nodes:
            self.node(node, frame)

    def node(self, node: RealNode, frame: _Frame) -> None:
        env, inputs = frame.env, [frame.env[i] for i in node.inputs]
        if node.op in ("when", "switch"):
            which = inputs[0].reshape(-1)
            self.branch(node, 1 - which if node.op == "when" else which, frame)
        elif node.op == "scan":
            self.scan(node, frame)
        elif node.op == "const":
            data = node.attrs["data"]
            env[node.name] = np.broadcast_to(data[None], (frame.count, *data.shape))
        else:
            result = OPERATIONS[node.op](node, *inputs)
            for value, array in zip(node.outputs, [result] if isinstance(result, np.ndarray) else result, strict=True):
                env[value.name] = array
        for value in node.outputs:
            self.see(value.name, env[value.name])

    def branch(self, node: RealNode, which: np.ndarray, frame: _Frame) -> None:
        for value in node.outputs:
            dtype = np.float64 if value.kind == "real" else np.int64
            frame.env[value.name] = np.zeros((frame.count, *value.shape), dtype)
        for number, region in enumerate(node.regions):
            rows = np.flatnonzero(which == number)
            if not len(rows) and not self.all_branches:
                continue
            inner = frame.only(np.arange(frame.count) if self.all_branches else rows)
            self.block(region.nodes, inner)
            for value, name in zip(node.outputs, region.results, strict=True):
                frame.env[value.name][rows] = inner.env[name][rows if self.all_branches else slice(None)]

    def scan(self, node: RealNode, frame: _Frame) -> None:
        count, first, reverse = node.attrs["count"], node.attrs["carried"], node.attrs["reverse"]
        inputs = [frame.env[i] for i in node.inputs]
        carried, sequences = inputs[:first], inputs[first:]
        (region,) = node.regions
        stacked = [
            np.zeros((frame.count, *v.shape), np.float64 if v.kind == "real" else np.int64)
            for v in node.outputs[first:]
        ]
        for t in range(count):
            at = [count - 1 - t if r else t for r in reverse]
            elements = [s[:, i] for s, i in zip(sequences, at, strict=False)]
            results = self.step(region, frame, carried, elements, t)
            carried = results[:first]
            for whole, result, i in zip(stacked, results[first:], at[len(sequences) :], strict=True):
                whole[:, i] = result
        for value, array in zip(node.outputs, [*carried, *stacked], strict=True):
            frame.env[value.name] = array

    def step(
        self, region: RealRegion, frame: _Frame, carried: list[np.ndarray], elements: list[np.ndarray], t: int
    ) -> list[np.ndarray]:
        given = {"carried": carried, "scanned": elements, "step": [np.full(frame.count, t, np.int64)]}
        inner = _Frame(frame.count, dict(frame.env))
        for item in region.nodes:
            if item.op in given:
                inner.env[item.name] = given[item.op][item.attrs.get("index", 0)]
                self.see(item.name, inner.env[item.name])
            else:
                self.node(item, inner)
        return [inner.env[name] for name in region.results]
