"""snnTorch modules to a spiking network: the traced calls become layers, one per neuron module."""

from __future__ import annotations

from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.spiking import maps, signal, unroll
from neuroloom.compiler.frontends.spiking.assemble import Imported, SourceInput, assemble, make_exact
from neuroloom.compiler.frontends.spiking.layers import Layer
from neuroloom.compiler.frontends.spiking.lower import lower
from neuroloom.compiler.frontends.spiking.signal import Signal
from neuroloom.compiler.ir import Graph

from .inputs import Places
from .layers import LAYERS, MAXPOOLS, SHAPERS, mean_pool, pool_window
from .neurons import NEURONS
from .trace import Trace, run
from .values import Expr, Neuron, same


def load_snntorch(module: Any, **options: Any) -> Graph:
    """A clocked graph from a live module; options of :func:`import_snntorch` and of ``lower``."""
    return lower(import_snntorch, module, options)


def import_snntorch(
    module: Any,
    *,
    sample: Any = None,
    inputs: str | None = None,
    input_range: tuple[float, float] | None = None,
    weight_bits: int | None = None,
    state_bits: int = 24,
    record: tuple[str, ...] = (),
    decay_values: int | None = None,
) -> Imported:
    """The network of a module of snnTorch neurons and torch layers, without quantising it.

    ``sample`` is what forward takes: a tensor or array (or a tuple of them) with a batch axis; one step, or all steps where forward
    loops over them. The loop is read as one step. ``inputs``: spikes (0/1), or current (reals within ``input_range``, the
    sample's own range without); by the sample when it holds only 0 and 1. ``record`` names neuron modules whose membranes are shown
    beside what forward returns; ``decay_values`` lets near decays of a layer share so many values. Weights are read in
    eval mode and the module is left as it was. Raises UnsupportedError or InputError with one sentence naming the module.
    """
    if sample is None:
        raise InputError("sample must be given for a snnTorch module: an input with a batch axis, as forward takes it")
    trace = run(module, sample)
    reader = _Reader(trace)
    layers = reader.layers(tuple(record))
    kinds = _kinds(sample, inputs, input_range)
    sources = [SourceInput(name, reader.places.shape(name), *kinds) for name in reader.places.used()]
    exact = make_exact(layers)
    used = {
        "modules": {n.name: type(n.module).__name__ for n in trace.neurons.values()},
        "inputs": kinds[0],
        "outputs": reader.shown,
        "exact": exact,
    }
    return assemble(
        type(module).__name__.lower(),
        layers,
        sources,
        weight_bits=weight_bits or (16 if exact else 8),
        state_bits=state_bits,
        decay_values=decay_values,
        records={"snntorch": used},
    )


def _kinds(
    sample: Any, inputs: str | None, given: tuple[float, float] | None
) -> tuple[str, tuple[float, float] | None]:
    """Kind and bounds of the inputs. Raises InputError when the sample shows reals and nothing was said."""
    parts = sample if isinstance(sample, tuple) else (sample,)
    values = np.concatenate([np.asarray(p, np.float64).ravel() for p in parts if hasattr(p, "__len__")])
    if inputs is None:
        if not np.isin(values, (0.0, 1.0)).all():
            raise InputError(
                "sample holds other numbers than 0 and 1; give inputs='current' (the host multiplies by the first layer) or a "
                "sample of spikes"
            )
        inputs = "spikes"
    if inputs == "current" and given is None:
        given = float(values.min()), float(values.max())
    return inputs, given


class _Reader:
    """Expressions of a trace as signals and layers."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.neurons = {n.name: n for n in trace.neurons.values()}
        self.pools: list[Layer] = []
        self.shown: list[str] = []
        self._steps()
        last = {n.name: len(n.calls) - 1 for n in self.neurons.values()}
        roots = [(c.drive, k) for n in self.neurons.values() for k, c in enumerate(n.calls)]
        self.places = Places(trace.inputs, roots)
        self.last = last

    def _steps(self) -> None:
        """Every neuron must be called equally often, and in every step with the same thing."""
        counts = {n.name: len(n.calls) for n in self.neurons.values()}
        if len(set(counts.values())) > 1:
            raise UnsupportedError(f"neurons must be called once in every step, but they are called {counts} times")
        for item in self.neurons.values():
            final = len(item.calls) - 1
            for k, call in enumerate(item.calls[:-1]):
                if not same(call.drive, item.calls[final].drive, k, final):
                    raise UnsupportedError(
                        f"neuron {item.path!r} is driven by something else in step {k} than in step {final}; a network does the "
                        "same in every step"
                    )

    def layers(self, record: tuple[str, ...]) -> list[Layer]:
        """Layers in the order of the calls, with what forward returns recorded."""
        unknown = set(record) - set(self.neurons)
        if unknown:
            raise InputError(f"record must name neurons ({', '.join(self.neurons)}), not {min(unknown)!r}")
        layers = []
        for item in self.neurons.values():
            call = item.calls[-1]
            drive = self.signal(call.drive, self.last[item.name], f"neuron {item.path!r}")
            layer = self._layer(item, drive)
            layer.v_init = item.calls[0].v_init
            layers.append(layer)
        by_name = {layer.name: layer for layer in layers}
        for name in record:
            by_name[name].record = ("v",)
        extra = self._outputs(by_name)
        return [*layers, *self.pools, *extra]

    def _layer(self, item: Neuron, drive: Signal) -> Layer:
        kind = type(item.module).__name__
        return NEURONS[kind](item.module, item.name, drive, f"neuron {item.path!r} ({kind})")

    def _outputs(self, layers: dict[str, Layer]) -> list[Layer]:
        """Record every neuron whose spikes or membrane forward returns; a linear layer at the end becomes a readout."""
        extra: list[Layer] = []
        made: list[str] = []
        step = max(self.last.values())
        pending = list(reversed(self.trace.returned))
        while pending:
            value = pending.pop()
            if value.op in ("spikes", "membrane"):
                self._show(layers[value.data[0]], "spikes" if value.op == "spikes" else "v")
            elif value.op in (
                "sum",
                "scale",
                "reshape",
                "opaque",
            ):  # what the host does with the spikes, as a count over steps
                pending += reversed(value.args)
            elif value.op in ("module", "matrix", "avgpool", "maxpool"):
                at = max((leaf.data[1] for leaf in value.leaves() if leaf.op == "spikes"), default=-1)
                if at == step and value.label not in made:
                    made.append(value.label)
                    extra.append(self._readout(value, step, f"readout{len(extra)}" if extra else "readout"))
        if not self.shown:
            raise UnsupportedError(
                "forward returns nothing of the network; return the spikes or membranes of the last layer"
            )
        return extra

    def _readout(self, value: Expr, step: int, name: str) -> Layer:
        """A linear layer that forward returns: neurons without memory whose membrane is its output."""
        into = self.signal(value, step, value.label or value.op)
        zeros = np.zeros(into.size)
        self.shown.append(f"{name}.v")
        return Layer(name, into, zeros, zeros, spiking=False, record=("v",), node=name)

    def _show(self, layer: Layer, what: str) -> None:
        if what not in layer.record:
            layer.record = (*layer.record, what)
        if f"{layer.name}.{what}" not in self.shown:
            self.shown.append(f"{layer.name}.{what}")

    def signal(self, value: Expr, step: int, where: str) -> Signal:
        """An expression of call ``step`` as a sum of linear maps of spikes and inputs."""
        size = int(np.prod(value.shape, dtype=np.int64))
        if value.op == "constant":
            return signal.constant(value.shape, np.broadcast_to(value.data, value.shape))
        if value.op == "input":
            name, index = value.data
            chosen = self.places.map(name, index, step, where)
            return Signal(value.shape, {(signal.INPUT, name): chosen}, np.zeros(size))
        if value.op in ("spikes", "membrane"):
            name, number = value.data
            kind = signal.SPIKES if value.op == "spikes" else signal.MEMBRANE
            return signal.of(kind, name, value.shape).delayed(step - number, where)
        if value.op == "current":
            raise UnsupportedError(
                f"{where} is driven by the synaptic current of {value.data[0]!r}; only spikes are carried"
            )
        if value.op == "opaque":
            raise UnsupportedError(
                f"{where} is driven through the function {value.data!r}, which is not carried; between neurons there may be linear "
                "layers, pooling, sums and reshapes"
            )
        parts = [self.signal(a, step, where) for a in value.args]
        return self._apply(value, parts)

    def _apply(self, value: Expr, parts: list[Signal]) -> Signal:
        where = value.label or value.op
        first = parts[0]
        if value.op == "sum":
            return first.plus(parts[1], where)
        if value.op == "scale":
            return first.scaled(np.broadcast_to(value.data, value.shape))
        if value.op == "reshape":
            return first.reshaped(value.shape, where)
        if value.op == "matrix":
            weight, bias = value.data
            return first.mapped(maps.from_matrix(weight), value.shape, where, bias)
        if value.op == "avgpool":
            window, count_pads, divisor = value.data
            return mean_pool(first, window, where, count_pads, divisor)
        if value.op == "maxpool":
            return self._maxpool(value, first, value.data, where)
        kind = type(value.data).__name__
        if kind in SHAPERS:
            return first.reshaped(value.shape, where)
        if kind in MAXPOOLS:
            m = value.data
            if m.ceil_mode or m.return_indices:
                raise UnsupportedError(f"{where} has ceil_mode or return_indices; use windows that fit")
            flat = kind == "MaxPool1d"
            return self._maxpool(value, first, pool_window(m.kernel_size, m.stride, m.padding, m.dilation, flat), where)
        return LAYERS[kind](value.data, first, where)

    def _maxpool(self, value: Expr, x: Signal, window: Any, where: str) -> Signal:
        """The maximum of spikes is their OR: neurons without memory that fire on any spike of their window."""
        spikes = all(kind in (signal.SPIKES, signal.INPUT) for kind, _ in x.terms) and x.plain
        if not spikes:
            raise UnsupportedError(
                f"{where} takes the maximum of currents; put it behind the neurons (an OR of spikes), or use mean pooling"
            )
        flat = len(x.shape) == 2
        channels = (x.shape[0], 1, x.shape[1]) if flat else (x.shape[0], x.shape[1], x.shape[2])
        linear, (out, high, wide) = unroll.pool(channels, window, where)
        drive = x.mapped(linear, (out, wide) if flat else (out, high, wide), where)
        for layer in self.pools:
            if layer.notes == [where]:
                return signal.of(signal.SPIKES, layer.name, layer.shape)
        zeros = np.zeros(drive.size)
        name = f"maxpool{len(self.pools)}" if self.pools else "maxpool"
        self.pools.append(Layer(name, drive, zeros, zeros, reset="none", node=where, notes=[where]))
        return signal.of(signal.SPIKES, name, drive.shape)
