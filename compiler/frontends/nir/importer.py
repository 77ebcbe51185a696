"""NIR to a spiking network: shapes, signals between neurons, delays of recurrent edges, then one layer per neuron node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.spiking import signal
from neuroloom.compiler.frontends.spiking.assemble import Imported, SourceInput, assemble, make_exact
from neuroloom.compiler.frontends.spiking.layers import Layer
from neuroloom.compiler.frontends.spiking.lower import lower
from neuroloom.compiler.ir import Graph

from . import lava
from .dialects import DIALECTS, Cell, Settings, parameters
from .linear import LINEAR, Linear, Shape
from .order import same_step
from .read import NirGraph, Node, read_nir

NEURONS = ("Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
SIZED_BY = {
    "Threshold": "threshold",
    "I": "r",
    "IF": "r",
    "LI": "r",
    "LIF": "r",
    "CubaLI": "v_leak",
    "CubaLIF": "v_leak",
}


def load_nir(source: str | os.PathLike[str] | Any, **options: Any) -> Graph:
    """A clocked graph from a ``.nir`` file or ``nir.NIRGraph``; options of :func:`import_nir` and of ``lower``."""
    return lower(import_nir, source, options)


def import_nir(
    source: str | os.PathLike[str] | Any,
    *,
    dialect: str | None = None,
    dt: float | None = None,
    reset: str | None = None,
    reset_delay: bool | None = None,
    refractory: int | None = None,
    inputs: str = "spikes",
    input_range: tuple[float, float] | None = None,
    weight_bits: int | None = None,
    state_bits: int = 24,
    record: tuple[str, ...] = (),
    decay_values: int | None = None,
) -> Imported:
    """The network of a ``.nir`` file or ``nir.NIRGraph`` under a ``dialect`` (``docs/nir.md``), without quantising it.

    ``dt`` in seconds where nodes have time constants; ``reset`` and ``reset_delay`` for snnTorch, whose NIR files do not
    carry them; ``refractory`` in steps. ``inputs``: what the Input nodes carry, spikes or current (reals within ``input_range``).
    ``record`` names nodes whose membranes are shown beside the outputs; ``decay_values`` lets near decays of a layer share
    so many values. What was used is kept in ``network.records["nir"]``.
    Raises InputError or UnsupportedError with one sentence naming the node.
    """
    if dialect is None:
        raise InputError(
            f"dialect must be given for a NIR file, one of {', '.join(DIALECTS)}: NIR leaves the discrete update open"
        )
    settings = Settings(dialect, dt, reset, reset_delay, refractory)
    graph = read_nir(source)
    reader = _Reader(graph, settings)
    layers = reader.layers(record)
    sources = [SourceInput(n.name, reader.shapes[n.name], inputs, input_range) for n in reader.inputs()]
    exact = True if settings.used.get("integers") else make_exact(layers)
    name = Path(os.fspath(source)).stem if isinstance(source, (str, os.PathLike)) else "nir"
    used = {**graph.records, **settings.used, "inputs": inputs, "exact": exact}
    bits = weight_bits or (16 if exact else 8)
    return assemble(
        name,
        layers,
        sources,
        dt=settings.used.get("dt", 1e-3),
        weight_bits=bits,
        state_bits=state_bits,
        decay_values=decay_values,
        records={"nir": used},
    )


class _Reader:
    """Shapes and signals of one graph."""

    def __init__(self, graph: NirGraph, settings: Settings) -> None:
        self.graph = graph
        self.settings = settings
        self.dialect = DIALECTS[settings.dialect]
        self.shapes: dict[str, Shape] = {}
        self.linear: dict[str, Linear] = {}
        self.signals: dict[str, signal.Signal] = {}
        self._infer()
        self._check()

    def inputs(self) -> list[Node]:
        """Input nodes that nothing feeds: the network's own."""
        return [n for n in self.graph.of_type("Input") if not self.graph.before(n.name)]

    # -- shapes --------------------------------------------------------------------------------------------------------

    def _infer(self) -> None:
        """Output shape of every node, forward until nothing changes (loops need more than one round)."""
        for node in self.graph.nodes.values():
            self._start(node)
        known = -1
        while known != len(self.shapes):
            known = len(self.shapes)
            for name, node in self.graph.nodes.items():
                before = [self.shapes[p] for p in self.graph.before(name) if p in self.shapes]
                if name not in self.shapes and before:
                    self.shapes[name] = self._shape(node, before[0])
        open_ends = [n for n in self.graph.nodes if n not in self.shapes]
        loose = [n for n in open_ends if not self.graph.before(n) and self.graph.nodes[n].type != "Input"]
        if loose:
            raise InputError(f"{self.graph.nodes[loose[0]]} must have an edge that leads to it, but has none")
        if open_ends:
            raise InputError(f"{self.graph.nodes[open_ends[0]]} has no known input shape; give the Input node a shape")

    def _start(self, node: Node) -> None:
        """Nodes that know their shape themselves: inputs, and neurons with a number per neuron."""
        if node.type == "Input" and not self.graph.before(node.name):
            given = node.get("shape")
            if given is None:
                given = self._root_shape(node)
            if given is not None:
                shape = tuple(int(n) for n in np.asarray(given).reshape(-1))
                if not shape or min(shape) < 1:
                    raise InputError(f"shape of {node} must be at least 1 in every axis, not {list(shape)}")
                self.shapes[node.name] = shape
        elif node.type in NEURONS:
            array = np.asarray(node[SIZED_BY[node.type]])
            if array.size > 1:
                self.shapes[node.name] = array.shape

    def _root_shape(self, node: Node) -> Shape | None:
        """The input shape of the first node behind an Input that says none itself."""
        for name in self.graph.after(node.name):
            target = self.graph.nodes[name]
            if target.type in NEURONS:
                return np.asarray(target[SIZED_BY[target.type]]).shape or (1,)
            if target.type in ("Affine", "Linear"):
                weight = np.asarray(target["weight"])
                return (*weight.shape[:-2], weight.shape[-1])
            if target.type in ("Scale", "Delay"):
                return np.asarray(target["scale" if target.type == "Scale" else "delay"]).shape or (1,)
        return None

    def _shape(self, node: Node, shape: Shape) -> Shape:
        if node.type in NEURONS:
            return shape
        self.linear[node.name] = LINEAR[node.type](node, shape)
        return self.linear[node.name].shape

    def _check(self) -> None:
        """Every edge must carry the shape its target takes."""
        for a, b in self.graph.edges:
            node = self.graph.nodes[b]
            if node.type in NEURONS:
                if self.shapes[a] != self.shapes[b]:
                    raise InputError(
                        f"edge {a!r} -> {b!r} must carry the shape {list(self.shapes[b])} of {node}, not {list(self.shapes[a])}"
                    )
            elif b in self.linear:
                first = self.graph.before(b)[0]
                if self.shapes[first] != self.shapes[a]:
                    raise InputError(
                        f"edges into {node} must carry one shape, not {list(self.shapes[first])} and {list(self.shapes[a])}"
                    )
                LINEAR[node.type](node, self.shapes[a])

    # -- signals -------------------------------------------------------------------------------------------------------

    def value(self, name: str, walk: tuple[str, ...] = ()) -> signal.Signal:
        """What a node puts out; neurons are where it stops."""
        if name in self.signals:
            return self.signals[name]
        node = self.graph.nodes[name]
        if node.type in NEURONS:
            kind = signal.SPIKES if node.type in ("Threshold", "IF", "LIF", "CubaLIF") else signal.MEMBRANE
            out = signal.of(kind, name, self.shapes[name])
        elif node.type == "Input" and not self.graph.before(name):
            out = signal.of(signal.INPUT, name, self.shapes[name])
        else:
            if name in walk:
                loop = " -> ".join([*walk[walk.index(name) :], name])
                raise UnsupportedError(f"loop {loop} passes no neuron, so it has no step; let it pass a neuron node")
            out = self._apply(node, self.into(name, (*walk, name)))
        self.signals[name] = out
        return out

    def into(self, name: str, walk: tuple[str, ...] = ()) -> signal.Signal:
        """The sum of everything that flows into a node."""
        node = self.graph.nodes[name]
        before = self.graph.before(name)
        if not before:
            raise InputError(f"{node} must have an edge into it; connect it or take it out")
        total = self.value(before[0], walk)
        for other in before[1:]:
            total = total.plus(self.value(other, walk), str(node))
        return total

    def _apply(self, node: Node, incoming: signal.Signal) -> signal.Signal:
        linear = self.linear[node.name]
        where = str(node)
        if linear.seconds is not None:
            return incoming.delayed(self._steps(node, linear.seconds), where)
        if linear.gain is not None:
            return incoming.scaled(linear.gain)
        if linear.map is None:
            return incoming.reshaped(linear.shape, where)
        return incoming.mapped(linear.map, linear.shape, where, linear.bias)

    def _steps(self, node: Node, seconds: np.ndarray) -> np.ndarray:
        if not seconds.any():
            return np.zeros(len(seconds), np.int64)
        dt = self.settings.step(node)
        steps = np.rint(seconds / dt)
        off = np.abs(seconds / dt - steps) > 1e-4 * np.maximum(steps, 1)
        if off.any():
            raise UnsupportedError(
                f"delay of {node} must be a whole number of steps of {dt:g} s, not {seconds[off][0]:.6g} s; choose another dt"
            )
        return steps.astype(np.int64)

    # -- layers --------------------------------------------------------------------------------------------------------

    def layers(self, record: tuple[str, ...]) -> list[Layer]:
        """A layer per neuron node, and one per output that is a sum of spikes."""
        nodes = [n for n in self.graph.nodes.values() if n.type in NEURONS]
        unknown = set(record) - {n.name for n in nodes}
        if unknown:
            raise InputError(
                f"record must name neuron nodes ({', '.join(n.name for n in nodes)}), not {min(unknown)!r}"
            )
        drives = {n.name: self.into(n.name) for n in nodes}
        order = same_step(self.graph, NEURONS)
        late: list[str] = []
        layers = []
        for node in nodes:
            drive = self._timed(node.name, drives[node.name], order, late)
            layers.append(self._layer(node, drive, record))
        if late:
            self.settings.used["recurrent"] = sorted(late)
        self.settings.used["neurons"] = {n.name: n.type for n in nodes}
        return [*layers, *self._outputs({layer.name: layer for layer in layers})]

    def _timed(
        self, name: str, drive: signal.Signal, order: dict[str, tuple[int, int]], late: list[str]
    ) -> signal.Signal:
        """Delays that the file does not write: recurrent edges act one step later, in Lava every edge does."""
        terms = {}
        for (kind, source), linear in drive.terms.items():
            delay = linear.delay + self.dialect.lag
            back = kind != signal.INPUT and order[source][0] == order[name][0] and order[source][1] >= order[name][1]
            if back and not self.dialect.lag:
                delay = np.maximum(delay, 1)
                late.append(f"{source} -> {name}")
            terms[kind, source] = type(linear)(linear.rows, linear.cols, linear.row, linear.col, delay, linear.value)
        return type(drive)(drive.shape, terms, drive.bias)

    def _layer(self, node: Node, drive: signal.Signal, record: tuple[str, ...]) -> Layer:
        cell = self.dialect.cell(parameters(node, drive.size), self.settings)
        if self.dialect.snntorch:
            self._snntorch(node, cell, drive)
        driven = drive.scaled(cell.gain)
        if cell.bias is not None:
            driven = driven.shifted(cell.bias)
        layer = Layer(
            node.name,
            driven,
            cell.beta,
            cell.threshold,
            alpha=cell.alpha,
            lift=cell.lift,
            v_reset=cell.v_reset,
            v_init=cell.v_init,
            reset=cell.reset,
            reset_mode=cell.reset_mode,
            refractory=cell.refractory,
            spiking=cell.spiking,
            record=("v",) if node.name in record else (),
            node=node.name,
        )
        return self._loihi(layer) if self.dialect.integers else layer

    def _snntorch(self, node: Node, cell: Cell, drive: signal.Signal) -> None:
        """Which snnTorch module a node is: their zero resets differ (RLeaky's and Synaptic's clear the new membrane)."""
        own = (signal.SPIKES, node.name) in drive.terms
        if own and cell.alpha is not None and cell.reset_mode == "undelayed":
            raise UnsupportedError(
                f"{node} would be snnTorch's RSynaptic with reset_delay=False, which raises an error in snnTorch 1.0.0; "
                "give reset_delay true"
            )
        if cell.spiking and cell.reset == "zero" and (own or cell.alpha is not None):
            cell.reset_mode += "_new"
        names = {(False, False): "Leaky", (False, True): "RLeaky", (True, False): "Synaptic", (True, True): "RSynaptic"}
        if cell.spiking:
            self.settings.used.setdefault("modules", {})[node.name] = names[cell.alpha is not None, own]

    def _loihi(self, layer: Layer) -> Layer:
        """The layer in Loihi's integers."""
        if layer.drive.bias.any():
            raise UnsupportedError(
                f"node {layer.node!r} has a bias, which Lava's import does not carry; choose the dialect nir-euler"
            )
        terms = {
            origin: type(m)(m.rows, m.cols, m.row, m.col, m.delay, lava.weights(m.value))
            for origin, m in layer.drive.terms.items()
        }
        layer.drive = type(layer.drive)(layer.drive.shape, terms, layer.drive.bias)
        layer.integer, layer.rounding = True, "toward_zero"
        if layer.refractory:
            layer.refractory_v = 0
        self.settings.used["integers"] = True
        return layer

    def _outputs(self, layers: dict[str, Layer]) -> list[Layer]:
        """Record what the Output nodes show; sums of spikes get a population that holds them for one step."""
        outputs = [n for n in self.graph.of_type("Output") if not self.graph.after(n.name)]
        if not outputs:
            raise InputError("NIR graph must have an Output node that nothing follows")
        extra = []
        shown: dict[str, str] = {}
        for node in outputs:
            value = self.value(node.name) if node.name in self.linear else self.into(node.name)
            origin = next(iter(value.terms), None)
            if origin is None or all(kind == signal.INPUT for kind, _ in value.terms):
                raise UnsupportedError(
                    f"{node} passes no neuron, so there is nothing to compute; connect a neuron to it"
                )
            if value.plain and _in_order(value):
                kind, name = origin
                layer = layers[name]
                what = "spikes" if kind == signal.SPIKES else "v"
                if what not in layer.record:
                    layer.record = (*layer.record, what)
                shown[node.name] = f"{name}.{what}"
                continue
            size = value.size
            late = self._timed(node.name, value, {**{n: (-1, 0) for n in layers}, node.name: (-2, 0)}, [])
            readout = Layer(
                node.name, late, np.zeros(size), np.zeros(size), spiking=False, record=("v",), node=node.name
            )
            extra.append(self._loihi(readout) if self.dialect.integers else readout)
            shown[node.name] = f"{node.name}.v"
        self.settings.used["outputs"] = shown
        return extra


def _in_order(value: signal.Signal) -> bool:
    """Whether a plain signal is all elements of its origin in their own order."""
    only = next(iter(value.terms.values()))
    return only.rows == only.cols and bool((only.row == only.col).all())
