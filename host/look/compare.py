"""Where two networks differ: in structure, and on the same data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import Graph, Node

from neuroloom.model import Model

from .network import network_of


@dataclass(frozen=True)
class Difference:
    """One structural difference: where, of what kind, how many integers differ and by how much at most (None: no numbers)."""

    where: str
    what: str
    a: str
    b: str
    count: int | None = None
    largest: int | None = None


@dataclass(frozen=True)
class Divergence:
    """An output on the same data: how many integers differ, and the first place in the order of samples, steps, elements."""

    name: str
    differ: int
    total: int
    sample: int | None = None
    step: int | None = None
    element: tuple[int, ...] | None = None
    a: int | None = None
    b: int | None = None

    def place(self) -> str:
        """The first place in words."""
        if self.sample is None:
            return "equal"
        step = "" if self.step is None else f", step {self.step}"
        element = f", element {list(self.element)}" if self.element else ""
        return f"sample {self.sample}{step}{element}: {self.a} and {self.b}"


def structural(a: Graph, b: Graph) -> list[Difference]:
    """Every difference in inputs, nodes, types, attributes and outputs; nodes are matched by name."""
    found: list[Difference] = []
    if a.clocked != b.clocked:
        found.append(Difference("graph", "kind", _kind(a), _kind(b)))
    for kind, left, right in (
        ("input", {i.name: i.value for i in a.inputs}, {i.name: i.value for i in b.inputs}),
        ("output", _outputs(a), _outputs(b)),
    ):
        for name in _all(left, right):
            texts = [
                f"{side[name].type}{list(side[name].shape)}" if name in side else "absent" for side in (left, right)
            ]
            if texts[0] != texts[1]:
                found.append(Difference(f"{kind} {name}", "type", texts[0], texts[1]))
    for item in a.outputs:
        other = next((o for o in b.outputs if o.name == item.name), None)
        if other and other.affine != item.affine:
            found.append(Difference(f"output {item.name}", "meaning", _affine(item.affine), _affine(other.affine)))
    nodes_a, nodes_b = {n.name: n for n in a.walk()}, {n.name: n for n in b.walk()}
    for name in _all(nodes_a, nodes_b):
        if name not in nodes_a or name not in nodes_b:
            texts = [nodes[name].op if name in nodes else "absent" for nodes in (nodes_a, nodes_b)]
            found.append(Difference(_where(name), "node", texts[0], texts[1]))
            continue
        found += _nodes(nodes_a[name], nodes_b[name])
    return found


def _kind(graph: Graph) -> str:
    return "clocked" if graph.clocked else "framed"


def _outputs(graph: Graph) -> dict[str, Any]:
    values = graph.values()
    return {o.name: values[o.value] for o in graph.outputs}


def _affine(rule: Any) -> str:
    return f"{float(rule.scale[0]):g} * q + {float(rule.offset[0]):g}"


def _all(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*left, *right]))


def _where(name: str) -> str:
    return f"%{name}"


def _nodes(a: Node, b: Node) -> list[Difference]:
    where = _where(a.name)
    if a.op != b.op:
        return [Difference(where, "operation", a.op, b.op)]
    found = []
    if a.inputs != b.inputs:
        found.append(Difference(where, "inputs", ", ".join(a.inputs), ", ".join(b.inputs)))
    kinds = [", ".join(f"{v.type}{list(v.shape)}" for v in n.outputs) for n in (a, b)]
    if kinds[0] != kinds[1]:
        found.append(Difference(where, "type", kinds[0], kinds[1]))
    return found + _SPECIAL.get(a.op, _attributes)(a, b)


NUMBERS = ("weights", "threshold", "init", "data", "bias", "thresholds")
"""Attributes whose integers have a distance; of others (indices, truth tables) only the number of differing ones is said."""


def _attributes(a: Node, b: Node, skip: tuple[str, ...] = ()) -> list[Difference]:
    found = []
    for key in _all(a.attrs, b.attrs):
        if key in skip:
            continue
        left, right = a.attrs.get(key), b.attrs.get(key)
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            found += _arrays(_where(a.name), key, left, right)
        elif not np.array_equal(np.asarray(left, object), np.asarray(right, object)):
            found.append(Difference(_where(a.name), key, _short(left), _short(right)))
    return found


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, np.ndarray):
        return f"{value.size} numbers"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _arrays(where: str, key: str, a: np.ndarray, b: np.ndarray) -> list[Difference]:
    if a.shape != b.shape:
        return [Difference(where, key, f"shape {list(a.shape)}", f"shape {list(b.shape)}")]
    at = np.argwhere(a != b)
    if not len(at):
        return []
    distance = None
    if key in NUMBERS:
        gap = np.abs(a.astype(np.int64) - b.astype(np.int64))
        distance = int(gap.max())
        at = np.argwhere(gap == distance)
    first = tuple(int(i) for i in at[0])
    left, right = (f"{int(v[first])} at {list(first)}" for v in (a, b))
    return [Difference(where, key, left, right, int((a != b).sum()), distance)]


def _synapses(a: Node, b: Node) -> list[Difference]:
    """Synapses are matched by source, target and delay, so that lists of different lengths can be compared, too."""
    keys = ("pre", "post", "delay", "weights")
    found = _attributes(a, b, skip=keys)
    left, right = _synapse_table(a), _synapse_table(b)
    gone, come = len(left.keys() - right.keys()), len(right.keys() - left.keys())
    if gone or come:
        found.append(Difference(_where(a.name), "synapses", f"{gone:,} only here", f"{come:,} only here", gone + come))
    changed = [k for k in left.keys() & right.keys() if left[k] != right[k]]
    if changed:

        def gap(key: tuple[int, int, int, int]) -> tuple[int, tuple[int, ...]]:
            return -abs(left[key] - right[key]), key

        most = min(changed, key=gap)
        text = f"({most[0]} to {most[1]}, delay {most[2]})"
        found.append(
            Difference(
                _where(a.name),
                "weights",
                f"{left[most]} {text}",
                f"{right[most]}",
                len(changed),
                abs(left[most] - right[most]),
            )
        )
    return found


def _synapse_table(node: Node) -> dict[tuple[int, int, int, int], int]:
    """Weight by source, target, delay, and number among equals; plastic weights are the state's and count as 0 here."""
    pre, post, delay = (node.attrs[k].tolist() for k in ("pre", "post", "delay"))
    weights = node.attrs["weights"].tolist() if "weights" in node.attrs else [0] * len(pre)
    table: dict[tuple[int, int, int, int], int] = {}
    for j, i, d, w in zip(pre, post, delay, weights, strict=True):
        n = 0
        while (j, i, d, n) in table:
            n += 1
        table[j, i, d, n] = w
    return table


_SPECIAL: dict[str, Callable[[Node, Node], list[Difference]]] = {"synapses": _synapses}
"""Operations that are compared by meaning; others attribute by attribute."""


def divergence(name: str, a: np.ndarray, b: np.ndarray, *, clocked: bool) -> Divergence:
    """The first difference of two arrays [samples, (steps,) ...] of one shape."""
    if a.shape != b.shape:
        raise InputError(
            f"{name!r} must have one shape in both networks to be compared, not {list(a.shape)} and {list(b.shape)}"
        )
    differs = a != b
    if not differs.any():
        return Divergence(name, 0, a.size)
    first = tuple(int(i) for i in np.unravel_index(int(differs.argmax()), a.shape))
    lead = 1 + clocked
    return Divergence(
        name,
        int(differs.sum()),
        a.size,
        first[0],
        first[1] if clocked else None,
        first[lead:],
        int(a[first]),
        int(b[first]),
    )


@dataclass(frozen=True)
class SpikeRow:
    """A population's spikes on the same data in both networks."""

    population: str
    a: int
    b: int
    differ: int
    first: str


@dataclass
class Comparison:
    """Everything that :func:`compare` found; ``spikes`` and ``outputs`` are empty without data."""

    structure: list[Difference]
    outputs: list[Divergence]
    spikes: list[SpikeRow]
    samples: int = 0
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """No difference anywhere."""
        return not (self.structure or any(o.differ for o in self.outputs) or any(s.differ for s in self.spikes))

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "equal": self.equal,
            "structure": [asdict(d) for d in self.structure],
            "samples": self.samples,
            "outputs": [asdict(o) for o in self.outputs],
            "spikes": [asdict(s) for s in self.spikes],
            "only_a": self.only_a,
            "only_b": self.only_b,
        }


def compare(a: Model, b: Model, arrays: Mapping[str, np.ndarray] | None = None) -> Comparison:
    """Compare two networks; with ``arrays`` also what they compute on the same integers. Raises InputError.

    Outputs and populations are matched by name; earlier populations come first in ``spikes``, so the first row that differs
    says where a difference begins.
    """
    result = Comparison(structural(a.graph, b.graph), [], [])
    if arrays is None:
        return result
    if a.graph.clocked != b.graph.clocked:
        raise InputError("networks must both be clocked or both be framed to be compared on data")
    if {i.name for i in a.graph.inputs} != {i.name for i in b.graph.inputs}:
        names = ["; ".join(i.name for i in m.graph.inputs) for m in (a, b)]
        raise InputError(
            f"networks must have inputs of the same names to be compared on data, not {names[0]} and {names[1]}"
        )
    nets = network_of(a.graph), network_of(b.graph)
    shared: list[str] = []
    if nets[0] and nets[1]:
        shared = [n for n in nets[0].populations if n in nets[1].populations]
        shared = [n for n in shared if nets[0].populations[n].size == nets[1].populations[n].size]
    probes: list[list[str]] = [[net.populations[n].value for n in shared] if net else [] for net in nets]
    got = [m.outputs(arrays, probes=p) for m, p in zip((a, b), probes, strict=True)]
    shown = [[o.name for o in m.graph.outputs] for m in (a, b)]
    result.samples = len(next(iter(arrays.values())))
    result.only_a = tuple(n for n in shown[0] if n not in shown[1])
    result.only_b = tuple(n for n in shown[1] if n not in shown[0])
    for name in shown[0]:
        if name in shown[1]:
            result.outputs.append(divergence(name, got[0][name], got[1][name], clocked=a.graph.clocked))
    for number, name in enumerate(shared):
        left, right = (g[p[number]] for g, p in zip(got, probes, strict=True))
        found = divergence(name, left, right, clocked=True)
        result.spikes.append(SpikeRow(name, int(left.sum()), int(right.sum()), found.differ, found.place()))
    return result
