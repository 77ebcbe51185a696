"""A network from a networkx graph: nodes are neurons, edges are synapses."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError

from .fields import need_finite
from .models import LIF, Model
from .network import Network
from .plasticity import Plasticity

NODE_ATTRIBUTES = ("population", "threshold", "bias")
EDGE_ATTRIBUTES = ("weight", "delay", "plastic")


def from_graph(
    graph: Any,
    *,
    name: str | None = None,
    dt: float = 1e-3,
    model: Model | dict[str, Model] | None = None,
    weight: float = 1.0,
    delay: int = 1,
    inputs: bool | float = True,
    plasticity: Plasticity | None = None,
    record: tuple[str, ...] = ("spikes",),
    population: Callable[[Hashable], str] | None = None,
    **options: Any,
) -> Network:
    """A network whose neurons are the nodes of a networkx ``DiGraph`` or ``Graph`` and whose synapses are its edges.

    Edge attributes ``weight`` and ``delay`` (else the arguments'), and ``plastic`` (0: the synapse does not learn).
    Node attributes ``population`` (else "nodes", or what the function ``population`` says of the node), ``threshold``
    and ``bias`` (per neuron). Edges of an undirected graph are synapses both ways; parallel edges of a multigraph are
    parallel synapses. ``inputs``: a spike channel per neuron, input "in" (or "in-POP" with several populations), of
    that weight and delay 0; True: of a weight above every threshold, so that one spike makes the neuron spike; False:
    none. ``records["nodes"]`` of the network lists the nodes of each population in order. Raises InputError on an empty
    graph, on NaN weights, and on attributes that are not numbers.
    """
    for needed in ("nodes", "edges", "is_directed"):
        if not hasattr(graph, needed):
            raise InputError(f"graph must be a networkx Graph or DiGraph, not {type(graph).__name__}")
    groups = _populations(graph, population)
    net = Network(name or _name(graph), dt, **options)
    place: dict[Hashable, tuple[str, int]] = {}
    for key, nodes in groups.items():
        chosen = model.get(key) if isinstance(model, dict) else model
        if chosen is None:
            if isinstance(model, dict):
                raise InputError(f"model must be given for population {key!r}, not only for {', '.join(model)}")
            chosen = LIF(tau=20e-3)
        net.population(key, len(nodes), _with_attributes(chosen, graph, nodes), record=record)
        place |= {node: (key, k) for k, node in enumerate(nodes)}
    for key, nodes in groups.items():
        if inputs is not False:
            channel = net.input("in" if len(groups) == 1 else f"in-{key}", len(nodes))
            strength = _above_threshold(net.populations[key].model) if inputs is True else inputs
            index = np.arange(len(nodes))
            net.connect(channel, key, pre=index, post=index, weights=strength, delay=0)
    for (source, target), rows in _edges(graph, place, weight, delay).items():
        pre, post, weights, delays, plastic = (np.array(column) for column in zip(*rows, strict=True))
        rule = plasticity
        if rule is not None and not plastic.all():
            rule = replace(rule, enable=plastic.astype(bool))
        net.connect(source, target, pre=pre, post=post, weights=weights, delay=delays, plasticity=rule)
    net.records["nodes"] = {key: [str(n) for n in nodes] for key, nodes in groups.items()}
    return net


def _name(graph: Any) -> str:
    return re.sub(r"[^A-Za-z0-9_/-]+", "_", str(getattr(graph, "name", "") or "")) or "graph"


def _populations(graph: Any, population: Callable[[Hashable], str] | None) -> dict[str, list[Hashable]]:
    groups: dict[str, list[Hashable]] = {}
    for node, attributes in graph.nodes(data=True):
        key = population(node) if population else attributes.get("population", "nodes")
        groups.setdefault(str(key), []).append(node)
    if not groups:
        raise InputError("graph must have at least one node")
    return groups


def _number(what: str, value: Any) -> float | int:
    need_finite(what, value)
    if np.ndim(value):
        raise InputError(f"{what} must be one number, not {value!r}")
    return int(value) if isinstance(value, (bool, int, np.integer)) else float(value)


def _with_attributes(model: Model, graph: Any, nodes: list[Hashable]) -> Model:
    """The model with per-neuron thresholds and biases where nodes carry them."""
    changed: dict[str, Any] = {}
    for key in ("threshold", "bias"):
        if any(key in graph.nodes[n] for n in nodes):
            if not hasattr(model, key):
                raise InputError(f"node attribute {key!r} must not be given for neurons of {type(model).__name__}")
            usual = getattr(model, key)
            if isinstance(usual, np.ndarray):
                raise InputError(f"{key} must be given by the model or by node attributes, not both")
            values = [_number(f"{key} of node {n!r}", graph.nodes[n].get(key, usual)) for n in nodes]
            changed[key] = np.array(values)
    return replace(model, **changed) if changed else model


def _above_threshold(model: Model) -> float | int:
    """A weight that makes every neuron of the model spike from rest."""
    threshold = getattr(model, "threshold", None)
    if threshold is None:
        raise InputError(f"inputs must be a weight for neurons of {type(model).__name__}, which have no threshold")
    most = np.asarray(threshold).max()
    return int(most) + 1 if model.exact else 2 * float(most)


def _edges(
    graph: Any, place: dict[Hashable, tuple[str, int]], weight: float, delay: int
) -> dict[tuple[str, str], list[tuple[int, int, float, int, int]]]:
    """Synapses by source and target population."""
    out: dict[tuple[str, str], list[tuple[int, int, float, int, int]]] = {}
    for a, b, attributes in graph.edges(data=True):
        for source, target in ((a, b),) if graph.is_directed() or a == b else ((a, b), (b, a)):
            what = f"edge {source!r} -> {target!r}"
            w = _number(f"weight of {what}", attributes.get("weight", weight))
            d = _number(f"delay of {what}", attributes.get("delay", delay))
            if not isinstance(d, int):
                raise InputError(f"delay of {what} must be an integer in steps, not {d!r}")
            (p, j), (q, i) = place[source], place[target]
            out.setdefault((p, q), []).append((j, i, w, d, int(bool(attributes.get("plastic", 1)))))
    return out
