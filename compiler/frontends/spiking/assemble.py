"""Layers and inputs to a Network: populations, projections, currents, and where each layer's neurons went.

A population has one decay, one synaptic decay and one reset value; a layer whose neurons differ in them becomes several
populations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.spiking.models import ONE, Neuron, RealAlpha, RealNeuron
from neuroloom.compiler.spiking.network import MAX_DELAY, RESERVED, Network

from .decays import share_decays
from .layers import Layer
from .maps import LinearMap
from .signal import INPUT, MEMBRANE, Origin

MOST_GROUPS = 64
"""Different decays a layer may have before it is refused."""

INPUT_KINDS = ("spikes", "current")


@dataclass
class SourceInput:
    """An input of the source: ``kind`` spikes (0/1 per step), or current: reals within ``bounds``, which the host's encoder
    multiplies by the first layer's weights."""

    name: str
    shape: tuple[int, ...]
    kind: str = "spikes"
    bounds: tuple[float, float] | None = None


@dataclass
class Encoder:
    """Currents of one drive input: ``matrix @ x`` for the flattened real input ``source``."""

    source: str
    matrix: np.ndarray
    shape: tuple[int, ...] = ()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Currents [..., n] of inputs [..., *shape]; the shape's elements must agree."""
        x = np.asarray(x, np.float64)
        lead = _leading(x.shape, self.matrix.shape[1], self.source)
        return x.reshape(*lead, self.matrix.shape[1]) @ self.matrix.T


def _leading(shape: tuple[int, ...], size: int, name: str) -> tuple[int, ...]:
    for cut in range(len(shape) + 1):
        if int(np.prod(shape[cut:], dtype=np.int64)) == size:
            return shape[:cut]
    raise InputError(f"input {name!r} must have {size} elements per step, not the shape {list(shape)}")


@dataclass
class Imported:
    """A source as a network.

    ``places``: for every layer its populations with the indices (C order of the layer) of their neurons. ``encoders``: what
    turns real inputs into the network's currents, by the name of the drive input; empty when all inputs are spikes.
    """

    network: Network
    places: dict[str, list[tuple[str, np.ndarray]]]
    shapes: dict[str, tuple[int, ...]]
    encoders: dict[str, Encoder] = field(default_factory=dict)

    def layer(self, name: str, outputs: dict[str, np.ndarray], what: str = "spikes") -> np.ndarray:
        """A layer's array [..., *shape] out of the compiled network's outputs ``POP.spikes`` or ``POP.v`` [..., n]."""
        parts = self.places[name]
        first = outputs[f"{parts[0][0]}.{what}"]
        flat = np.zeros((*first.shape[:-1], sum(len(index) for _, index in parts)), first.dtype)
        for population, index in parts:
            flat[..., index] = outputs[f"{population}.{what}"]
        return flat.reshape(*first.shape[:-1], *self.shapes[name])


def assemble(
    name: str,
    layers: list[Layer],
    inputs: list[SourceInput],
    *,
    dt: float = 1e-3,
    weight_bits: int = 8,
    state_bits: int = 24,
    decay_values: int | None = None,
    records: dict[str, Any] | None = None,
) -> Imported:
    """Build the network of ``layers`` (each drive refers to inputs and layers by name).

    ``decay_values``: at most so many different decays per layer, near ones become one; the change is kept in
    ``records["decay_values"]``.
    Raises UnsupportedError for graded membranes that drive neurons, for more than 64 different decays in a layer, and for
    delays beyond 63 steps; InputError for an unknown input kind.
    """
    net = Network(_clean(name) or "network", dt, weight_bits=weight_bits, state_bits=state_bits)
    builder = _Builder(net, {layer.name: layer for layer in layers}, {i.name: i for i in inputs})
    for item in inputs:
        builder.input(item)
    if decay_values is not None:
        changes = {layer.name: share_decays(layer, decay_values) for layer in layers}
        net.records["decay_values"] = {name: f"{worst:.6g}" for name, worst in changes.items() if worst}
    for layer in layers:
        builder.populations(layer)
    for layer in layers:
        builder.drive(layer)
    net.records.update(records or {})
    split = {k: {p: index.tolist() for p, index in v} for k, v in builder.places.items() if len(v) > 1}
    if split:
        net.records["split_layers"] = split
    return Imported(net, builder.places, {layer.name: layer.shape for layer in layers}, builder.encoders)


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_/-]", "_", name)


class _Builder:
    def __init__(self, net: Network, layers: dict[str, Layer], inputs: dict[str, SourceInput]) -> None:
        self.net = net
        self.layers = layers
        self.inputs = inputs
        self.places: dict[str, list[tuple[str, np.ndarray]]] = {}
        self.input_names: dict[str, str] = {}
        self.encoders: dict[str, Encoder] = {}

    def free(self, name: str) -> str:
        """A name of the network that nobody has."""
        base = _clean(name) or "node"
        taken = {*self.net.inputs, *self.net.populations, *self.net.projections, *RESERVED}
        number, out = 1, base
        while out in taken:
            number += 1
            out = f"{base}-{number}"
        return out

    def input(self, item: SourceInput) -> None:
        """Add a spike input; currents are added with the populations that they drive."""
        if item.kind not in INPUT_KINDS:
            raise InputError(f"kind of input {item.name!r} must be one of {', '.join(INPUT_KINDS)}, not {item.kind!r}")
        if item.kind == "spikes":
            name = self.free(item.name)
            self.net.input(name, int(np.prod(item.shape, dtype=np.int64)), source=item.name)
            self.input_names[item.name] = name

    def populations(self, layer: Layer) -> None:
        """Add the populations of a layer, one per set of decays and reset value."""
        groups = _groups(layer)
        if len(groups) > MOST_GROUPS:
            raise UnsupportedError(
                f"layer {layer.name!r} has {len(groups)} different decays or reset values, above {MOST_GROUPS}; "
                "give decay_values=N to let near ones share a value"
            )
        if len(groups) > 1 and layer.wta:
            raise UnsupportedError(
                f"layer {layer.name!r} has inhibition and {len(groups)} different decays; give it one beta and alpha"
            )
        self.places[layer.name] = []
        for number, index in enumerate(groups):
            name = self.free(layer.name if len(groups) == 1 else f"{layer.name}/{number}")
            model = (
                _alpha(layer, index)
                if layer.kind == "alpha"
                else _integers(layer, index)
                if layer.integer
                else _reals(layer, index)
            )
            self.net.population(name, len(index), model, record=layer.record, source=layer.node or layer.name)
            self.places[layer.name].append((name, index))

    def drive(self, layer: Layer) -> None:
        """Connect a layer's populations to everything its signal is made of."""
        for population, index in self.places[layer.name]:
            for origin, linear in layer.drive.terms.items():
                self.connect(layer, population, origin, linear.take(index))

    def connect(self, layer: Layer, target: str, origin: Origin, linear: LinearMap) -> None:
        """Synapses of one term of a layer's signal onto one of its populations."""
        kind, name = origin
        where = layer.node or layer.name
        if kind == MEMBRANE:
            raise UnsupportedError(
                f"node {where!r} is driven by the graded membrane of {name!r}; the core carries spikes between neurons, "
                "so let a spiking neuron stand between them"
            )
        if linear.delay.size and int(linear.delay.max()) > MAX_DELAY:
            raise UnsupportedError(
                f"node {where!r} has a delay of {int(linear.delay.max())} steps, above the core's {MAX_DELAY}; use a larger dt"
            )
        if kind == INPUT and self.inputs[name].kind == "current":
            self.current(target, name, linear, where)
            return
        parts = [(self.input_names[name], None)] if kind == INPUT else self.places[name]
        for source, index in parts:
            part = linear if index is None else linear.take_cols(index)
            if part.size == 0:
                continue
            weights = part.value.astype(np.int64) if layer.integer else part.value
            self.net.connect(
                source, target, pre=part.col, post=part.row, weights=weights, delay=part.delay,
                name=self.free(f"{source}-{target}"), origin=where,
            )  # fmt: skip

    def current(self, target: str, name: str, linear: LinearMap, where: str) -> None:
        """A real input: the host multiplies by the weights and sends currents."""
        item = self.inputs[name]
        if item.bounds is None:
            raise InputError(f"input {name!r} carries currents and must have bounds (least and greatest value)")
        if linear.delay.any():
            raise UnsupportedError(f"node {where!r}: a current input must not be delayed; give it as spikes")
        matrix = linear.dense()
        ends = np.stack([np.minimum(matrix * b, matrix * item.bounds[0]).sum(1) for b in item.bounds[1:]])
        tops = np.stack([np.maximum(matrix * b, matrix * item.bounds[0]).sum(1) for b in item.bounds[1:]])
        drive = self.free(f"{target}_current")
        self.net.drive(target, bounds=(float(ends.min()), float(tops.max())), name=drive, source=name)
        self.encoders[drive] = Encoder(name, matrix, item.shape)


def _groups(layer: Layer) -> list[np.ndarray]:
    """Neurons that may share a population: by decays (as the 16-bit fractions they become) and reset value."""
    keys = [np.rint(layer.beta * ONE)]
    if layer.alpha is not None:
        keys.append(np.rint(layer.alpha * ONE))
    if layer.reset == "value" and layer.v_reset is not None:
        keys.append(layer.v_reset)
    _, first, group = np.unique(np.stack(keys, 1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # groups in the order of their first neurons
    return [np.flatnonzero(group.ravel() == k) for k in order]


def _one(values: np.ndarray | None, index: np.ndarray) -> Any:
    return None if values is None else values[index[0]]


def _all(values: np.ndarray | None, index: np.ndarray) -> Any:
    """One number when all agree, else an array."""
    if values is None:
        return 0
    part = values[index]
    return part[0] if (part == part[0]).all() else part


def _common(layer: Layer) -> dict[str, Any]:
    return {
        "strict": layer.strict,
        "reset": layer.reset if layer.spiking else "none",
        "reset_mode": layer.reset_mode if layer.spiking else "immediate",
        "refractory": layer.refractory,
        "wta": layer.wta,
        "rounding": layer.rounding,
        "spiking": layer.spiking,
    }


def _real(values: np.ndarray | None, index: np.ndarray) -> np.ndarray | float:
    part = _all(values, index)
    return part if isinstance(part, np.ndarray) else float(part)


def _integer(values: np.ndarray | None, index: np.ndarray) -> np.ndarray | int:
    part = _all(values, index)
    return part.astype(np.int64) if isinstance(part, np.ndarray) else int(part)


def _reals(layer: Layer, index: np.ndarray) -> RealNeuron:
    beta = float(layer.beta[index[0]])
    return RealNeuron(
        threshold=_real(layer.threshold, index),
        bias=_real(layer.drive.bias, index),
        v_init=_real(layer.v_init, index),
        drive=_real(layer.lift, index),
        leak="none" if beta == 1 else "multiplicative",
        beta=None if beta == 1 else beta,
        alpha=None if layer.alpha is None else float(_one(layer.alpha, index)),
        v_reset=float(_one(layer.v_reset, index) or 0.0) if layer.reset == "value" else 0.0,
        **_common(layer),
    )


def _alpha(layer: Layer, index: np.ndarray) -> RealAlpha:
    """snnTorch's Alpha; its membrane starts at 0."""
    if layer.v_init is not None and layer.v_init.any():
        raise UnsupportedError(
            f"layer {layer.name!r} must start from zero, as an Alpha neuron's membrane follows its currents"
        )
    return RealAlpha(
        alpha=float(_one(layer.alpha, index)),
        beta=float(layer.beta[index[0]]),
        threshold=_real(layer.threshold, index),
        bias=_real(layer.drive.bias, index),
        reset=layer.reset,
        wta=layer.wta,
    )


def _integers(layer: Layer, index: np.ndarray) -> Neuron:
    beta = int(np.rint(layer.beta[index[0]] * ONE))
    return Neuron(
        threshold=_integer(layer.threshold, index),
        bias=_integer(layer.drive.bias, index),
        v_init=_integer(layer.v_init, index),
        drive=_integer(layer.lift, index),
        leak="none" if beta == ONE else "multiplicative",
        beta=beta,
        alpha=None if layer.alpha is None else int(np.rint(_one(layer.alpha, index) * ONE)),
        v_reset=int(_one(layer.v_reset, index) or 0) if layer.reset == "value" else 0,
        refractory_v=layer.refractory_v,
        **_common(layer),
    )


def make_exact(layers: list[Layer]) -> bool:
    """Mark the layers ``integer`` when every number of the network is one already, so that nothing is quantised.

    All weights, constants, thresholds and reset values must be integers and all decays 0 or 1 (any other decay leaves
    fractions, whose rounding the source does not say).
    """
    exact = all(layer.kind == "lif" and _is_exact(layer) for layer in layers)
    for layer in layers:
        layer.integer = layer.integer or exact
    return exact


def _is_exact(layer: Layer) -> bool:
    numbers = [layer.drive.bias, *(m.value for m in layer.drive.terms.values())]
    numbers += [a for a in (layer.threshold if layer.spiking else None, layer.v_reset, layer.v_init) if a is not None]
    decays = [layer.beta, *([] if layer.alpha is None else [layer.alpha])]
    return all((a == np.rint(a)).all() for a in numbers) and all(np.isin(d, (0.0, 1.0)).all() for d in decays)


__all__ = ["Encoder", "Imported", "SourceInput", "assemble", "make_exact"]
