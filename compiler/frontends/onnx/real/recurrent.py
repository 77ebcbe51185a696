"""GRU, LSTM and RNN written out as loops, equation by equation as the ONNX operator schemas state them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from neuroloom.compiler.frontends.onnx.registry import Call
from neuroloom.compiler.frontends.onnx.tensors import Const, Sym, Tensor
from neuroloom.compiler.real.program import ProgramBuilder

from .importer import operator, real_data, result

ACTIVATIONS: dict[str, tuple[str, tuple[float | None, ...]]] = {
    "sigmoid": ("sigmoid", ()),
    "tanh": ("tanh", ()),
    "relu": ("relu", ()),
    "softsign": ("softsign", ()),
    "softplus": ("softplus", ()),
    "leakyrelu": ("leaky_relu", (0.01,)),
    "thresholdedrelu": ("thresholded_relu", (1.0,)),
    "elu": ("elu", (1.0,)),
    "hardsigmoid": ("hard_sigmoid", (0.2, 0.5)),
    "scaledtanh": ("scaled_tanh", (None, None)),
    "affine": ("affine", (None, None)),
}
"""Activation by its ONNX name in lower case: function, defaults of alpha and beta (None: must be given)."""


@dataclass(frozen=True)
class Activation:
    """A function with its parameters, and the cell's clip in front of it."""

    name: str
    params: tuple[float, ...]
    clip: float | None


class Cell:
    """One direction of a recurrent layer: its weights, and helpers that write equations into the program."""

    def __init__(self, call: Call, layer: Layer, direction: int) -> None:
        self.call, self.layer, self.direction = call, layer, direction
        self.builder: ProgramBuilder = call.importer.builder
        self.prefix = call.source if layer.directions == 1 else f"{call.source}.{('forward', 'backward')[direction]}"
        self.input_weights = layer.weights[direction]
        self.state_weights = layer.recurrence[direction]
        self.input_bias, self.state_bias = layer.bias[direction]
        per = len(layer.activations) // layer.directions
        self.activations = layer.activations[direction * per : (direction + 1) * per]

    def node(self, op: str, inputs: Sequence[str], name: str, **attrs: Any) -> str:
        """Append a node called ``name`` behind the layer's."""
        return self.builder.node(op, inputs, name=f"{self.prefix}.{name}", source=self.call.source, **attrs)

    def const(self, data: Any, name: str) -> str:
        """Append a constant."""
        return self.builder.const(np.asarray(data), name=f"{self.prefix}.{name}", source=self.call.source)

    def linear(self, x: str, weights: np.ndarray, bias: np.ndarray | None, name: str) -> str:
        """x W' + b."""
        given = {} if bias is None or not bias.any() else {"bias": bias}
        return self.node("linear", [x], name, weights=np.ascontiguousarray(weights), **given)

    def from_input(self, x: str, gate: int, name: str, *, state_bias: bool = False) -> str:
        """x W' + b of one gate; with the bias of the state's product too where both are added at once."""
        rows = self.rows(gate)
        bias = self.input_bias[rows] + (self.state_bias[rows] if state_bias else 0.0)
        return self.linear(x, self.input_weights[rows], bias, name)

    def from_state(self, h: str, gate: int, name: str, *, bias: bool = False) -> str:
        """h R' (+ b) of one gate."""
        rows = self.rows(gate)
        return self.linear(h, self.state_weights[rows], self.state_bias[rows] if bias else None, name)

    def rows(self, gate: int) -> slice:
        """Rows of the weight matrices of a gate."""
        return slice(gate * self.layer.hidden, (gate + 1) * self.layer.hidden)

    def activate(self, number: int, value: str, name: str, *, clip: bool = True) -> str:
        """Activation function ``number`` of this direction, behind the cell's clip (which a memory cell's output is not under)."""
        f = self.activations[number]
        if f.clip is not None and clip:
            value = self.node("min", [value, self.const(f.clip, f"{name}.limit")], f"{name}.below")
            value = self.node("max", [value, self.const(-f.clip, f"{name}.limit")], f"{name}.clipped")
        if f.name == "relu":
            return self.node("max", [value, self.const(0.0, "zero")], name)
        if f.name == "affine":
            scaled = self.node("mul", [value, self.const(f.params[0], f"{name}.alpha")], f"{name}.scaled")
            return self.node("add", [scaled, self.const(f.params[1], f"{name}.beta")], name)
        return self.node("function", [value], name, function=f.name, params=f.params)

    def one_minus(self, value: str, name: str) -> str:
        """1 - value."""
        return self.node("sub", [self.const(1.0, "one"), value], name)


class Layer:
    """What GRU, LSTM and RNN have in common: attributes, weights, axes, lengths, directions."""

    def __init__(self, call: Call, gates: int, activations: Sequence[str]) -> None:
        self.call = call
        x = call.sym(0)
        self.layout = call.integer("layout", 0)
        self.check_axes(x)
        self.x = x
        direction = call.text("direction", "forward")
        if direction not in ("forward", "reverse", "bidirectional"):
            call.bad(f"direction must be forward, reverse or bidirectional, not {direction!r}")
        self.directions = 2 if direction == "bidirectional" else 1
        self.backward = (direction == "reverse", True)
        weights = real_data(call, call.const(1, "the weights W"), "W")
        recurrence = real_data(call, call.const(2, "the weights R"), "R")
        if weights.ndim != 3 or recurrence.ndim != 3:
            call.bad(f"W and R must have three axes, not {weights.ndim} and {recurrence.ndim}")
        self.hidden = call.integer("hidden_size", recurrence.shape[-1])
        features, h, d = x.shape[-1], self.hidden, self.directions
        if weights.shape != (d, gates * h, features) or recurrence.shape != (d, gates * h, h):
            call.bad(
                f"W and R must have the shapes {[d, gates * h, features]} and {[d, gates * h, h]}, "
                f"not {list(weights.shape)} and {list(recurrence.shape)}"
            )
        self.weights, self.recurrence = weights, recurrence
        bias = real_data(call, call.const(3, "the bias B"), "B") if call.has(3) else np.zeros((d, 2 * gates * h))
        if bias.shape != (d, 2 * gates * h):
            call.bad(f"B must have the shape {[d, 2 * gates * h]}, not {list(bias.shape)}")
        self.bias = [(b[: gates * h], b[gates * h :]) for b in bias]
        self.activations = self.read_activations(activations)
        self.lead = x.shape[1:-1] if self.layout == 0 or x.batch is not None else x.shape[:1]
        self.steps = x.shape[0] if self.layout == 0 or x.batch is not None else x.shape[1]
        if self.steps < 1:
            call.bad("the sequence must have at least one step")
        self.length = self.read_lengths()

    def check_axes(self, x: Sym) -> None:
        """The batch axis must be the one that the layout says."""
        if self.layout not in (0, 1):
            self.call.bad(f"layout must be 0 or 1, not {self.layout}")
        if x.rank != 3:
            self.call.bad(f"X must have three axes, not {x.rank}")
        place = 1 - self.layout
        if x.batch not in (None, place):
            self.call.refuse(
                f"the batch axis of its input is {x.batch}, but layout {self.layout} has the samples on axis {place}",
                f"give --batch-axis for the model's input so that it is axis {place} here",
            )

    def read_activations(self, defaults: Sequence[str]) -> list[Activation]:
        """The activation functions of all directions; alphas and betas go, in order, to those that take them."""
        call, d = self.call, self.directions
        names = call.value("activations")
        listed = [n.decode() if isinstance(n, bytes) else n for n in names] if names else list(defaults) * d
        if len(listed) != len(defaults) * d:
            call.bad(f"activations must be {len(defaults) * d} names, not {len(listed)}")
        alphas, betas = (iter(call.value(f"activation_{k}") or []) for k in ("alpha", "beta"))
        clip = float(call.real("clip", 0.0)) if "clip" in call.attributes else None
        if clip is not None and not clip > 0:
            call.bad(f"clip must be above 0, not {clip}")
        out = []
        for name in listed:
            found = ACTIVATIONS.get(name.lower())
            if found is None:
                call.refuse(f"activation {name!r} is unknown", f"known are {', '.join(sorted(ACTIVATIONS))}")
            function, standard = found
            params = []
            for value, values, which in zip(standard, (alphas, betas), ("alpha", "beta"), strict=False):
                given = next(values, value)
                if given is None:
                    call.bad(f"activation {name!r} must be given its activation_{which}")
                if not np.isfinite(given):
                    call.bad(f"activation_{which} must be finite, not {given}")
                params.append(float(given))
            out.append(Activation(function, tuple(params), clip))
        return out

    def read_lengths(self) -> str | None:
        """Steps of every sample as an integer value; None when all samples have all steps."""
        call = self.call
        if not call.has(4):
            return None
        given = call.tensor(4)
        if isinstance(given, Const):
            lengths = given.array.reshape(-1)
            if (lengths < 0).any() or (lengths > self.steps).any():
                call.bad(f"sequence_lens must be in 0..{self.steps}, not {lengths.tolist()}")
            if (lengths == self.steps).all():
                return None
            if self.x.batch is not None and (lengths != lengths[0]).any():
                call.refuse(
                    "constant sequence_lens differ from sample to sample, which depends on the place in the batch",
                    "make them a model input",
                )
            data = lengths[0] if self.x.batch is not None else lengths.reshape(*self.lead, 1)
            return str(call.importer.builder.const(data, kind="int", name=f"{call.source}.lengths", source=call.source))
        lo, hi = call.importer.range(given.name)
        if hi > self.steps or lo < 0:
            call.refuse(
                f"sequence_lens is only known to be in {lo}..{hi}, but must be in 0..{self.steps}",
                f"give --input-bounds {given.name}=0..{self.steps}",
            )
        shape = (*self.lead, 1) if self.x.batch is None else ()
        if given.shape == shape:
            return given.name
        return str(call.importer.emit("reshape", [given.name], "lengths", shape=shape))

    def sequence(self) -> str:
        """The input as [steps, (samples of a model that is one sample,) features]."""
        if self.layout == 1 and self.x.batch is None:
            return str(self.call.importer.emit("transpose", [self.x.name], "steps_first", perm=(1, 0, 2)))
        return self.x.name

    def initial(self, number: int, name: str) -> list[str]:
        """The initial state from input ``number`` for every direction, [(samples,) hidden]; zeros when it is not given."""
        call, builder = self.call, self.call.importer.builder
        shape = (*self.lead, self.hidden)
        if not call.has(number):
            return [builder.const(np.zeros(shape), name=f"{call.source}.{name}") for _ in range(self.directions)]
        given = call.tensor(number)
        place = 1 if self.layout == 0 else 0  # of the samples: [D, N, H] or [N, D, H]
        if given.rank != 3 or call.shape(given)[2] != self.hidden or call.shape(given)[1 - place] != self.directions:
            call.bad(
                f"the initial {name} must be [{self.directions}, samples, {self.hidden}] (layout 1: samples first), "
                f"not {call.shape(given)}"
            )
        if isinstance(given, Const):
            data = real_data(call, given.array, f"initial {name}")
            if self.x.batch is not None:
                first = data.take([0], axis=place)
                if not (data == first).all():
                    call.refuse("a constant initial state that differs from sample to sample depends on the batch")
                rows = data.take(0, axis=place)
            else:
                rows = data if self.layout == 0 else data.transpose(1, 0, 2)
            return [builder.const(r, name=f"{call.source}.{name}", source=call.source) for r in rows]
        if given.batch not in (None, place) or (given.batch is None) != (self.x.batch is None):
            call.refuse(f"initial {name} must have its samples on axis {place}, not {given.batch}")
        value = given.name
        if self.layout == 1 and given.batch is None:
            value = call.importer.emit("transpose", [value], f"{name}.directions_first", perm=(1, 0, 2))
        out = []
        for d in range(self.directions):
            full = builder[value].shape
            starts, stops = (d,) + (0,) * (len(full) - 1), (d + 1, *full[1:])
            one = call.importer.emit("slice", [value], f"{name}{d}", starts=starts, stops=stops, steps=(1,) * len(full))
            out.append(call.importer.emit("reshape", [one], f"{name}{d}.row", shape=shape))
        return out

    def run(self, step: Step, states: list[list[str]], names: Sequence[str]) -> list[Tensor]:
        """Loop over the sequence in every direction and join the results: Y, then every state's last value."""
        builder, call = self.call.importer.builder, self.call
        sequence = self.sequence()
        everything, finals = [], [[] for _ in names]  # type: ignore[var-annotated]
        for d in range(self.directions):
            cell = Cell(call, self, d)
            loop = self.loop(cell, step, self.backward[d] if self.directions == 1 else bool(d))
            initial = [state[d] for state in states]
            outs = builder.scan(
                self.steps,
                initial,
                [sequence],
                loop,
                reverse=(int(self._reverse(d)),) * 2,
                name=f"{cell.prefix}.last",
                source=call.source,
                names=[f"{cell.prefix}.{n}" for n in names],
            )
            everything.append(outs[-1])
            for kept, value in zip(finals, outs[:-1], strict=True):
                kept.append(value)
        return [self.joined(everything, steps=True), *(self.joined(f, steps=False) for f in finals)]

    def _reverse(self, direction: int) -> bool:
        return bool(direction) if self.directions == 2 else self.backward[0]

    def loop(self, cell: Cell, step: Step, reverse: bool) -> Any:
        """The loop's body: the cell's step, and where lengths are given, old state and zero output behind a sample's end."""

        def body(carried: list[str], elements: list[str]) -> tuple[list[str], list[str]]:
            new = step(cell, elements[0], carried)
            if self.length is None:
                return new, [new[0]]
            at = cell.node("step", [], "step", count=self.steps)
            if reverse:
                last = cell.builder.const(np.array(self.steps - 1), kind="int", name=f"{cell.prefix}.last_step")
                at = cell.node("sub", [last, at], "position")
            active = cell.node("relation", [self.length, at], "active", kind="gt")
            kept = [cell.node("select", [active, n, o], "kept") for n, o in zip(new, carried, strict=True)]
            zero = cell.const(np.zeros(cell.builder[new[0]].shape), "nothing")
            return kept, [cell.node("select", [active, new[0], zero], "shown")]

        return body

    def joined(self, values: list[str], *, steps: bool) -> Sym:
        """The directions' results as Y [steps, D, N, H] or a last state [D, N, H] (layout 1: [N, steps, D, H], [N, D, H])."""
        call, d, h = self.call, self.directions, self.hidden
        batch = self.x.batch
        front = (self.steps,) if steps else ()
        order: tuple[int, ...] | None = None
        if batch is not None or self.layout == 0:
            shape = (*front, 1, *(() if batch is not None else self.lead), h)
            axis = len(front)
            place = 0 if self.layout else 1 + len(front)
        else:  # one sample: [steps, N, H] -> [N, steps, D, H]
            shape = (*front, *self.lead, 1, h)
            axis, place = len(shape) - 2, 0
            order = (1, 0, 2, 3) if steps else None
        parts = [call.importer.emit("reshape", [v], "direction", shape=shape) for v in values]
        name = parts[0] if d == 1 else call.importer.emit("concat", parts, "both", axis=axis)
        if order is not None:
            name = call.importer.emit("transpose", [name], "samples_first", perm=order)
        return result(call, name, self.x.dtype, None if batch is None else place)


Step = Callable[[Cell, str, list[str]], list[str]]
"""Writes one step: the cell, the input x, the state (hidden first) -> the new state."""


@operator("GRU")
def gru(call: Call) -> list[Tensor]:
    """Gated recurrent unit; gates update z, reset r, hidden h."""
    before = call.integer("linear_before_reset", 0)
    producer = call.importer.producer
    if not before and producer.startswith("pytorch"):
        call.importer.note(
            f"{call.where}: warning: linear_before_reset is 0, but pytorch's GRU computes with 1; older exporters wrote 0 by "
            "mistake, so compare with the torch module, or export again with a current torch"
        )

    def step(cell: Cell, x: str, state: list[str]) -> list[str]:
        (h,) = state

        def gate(number: int, name: str) -> str:
            total = [cell.from_input(x, number, f"Wx{name}", state_bias=True), cell.from_state(h, number, f"Rh{name}")]
            return cell.activate(0, cell.node("add", total, f"{name}.in"), name)

        z, r = gate(0, "z"), gate(1, "r")
        if before:
            reset = cell.node("mul", [r, cell.from_state(h, 2, "Rhn", bias=True)], "reset")
        else:
            reset = cell.from_state(cell.node("mul", [r, h], "rh"), 2, "reset", bias=True)
        n = cell.activate(1, cell.node("add", [cell.from_input(x, 2, "Wxn"), reset], "n.in"), "n")
        new = cell.node("mul", [cell.one_minus(z, "1-z"), n], "new")
        kept = cell.node("mul", [z, h], "old")
        return [cell.node("add", [new, kept], "next")]

    layer = Layer(call, 3, ["Sigmoid", "Tanh"])
    return layer.run(step, [layer.initial(5, "h")], ["h"])


@operator("LSTM")
def lstm(call: Call) -> list[Tensor]:
    """Long short-term memory; gates input i, output o, forget f, cell c; peepholes P for i, o, f."""
    coupled = call.integer("input_forget", 0)
    layer = Layer(call, 4, ["Sigmoid", "Tanh", "Tanh"])
    h = layer.hidden
    peepholes = real_data(call, call.const(7, "the peepholes P"), "P") if call.has(7) else None
    if peepholes is not None and peepholes.shape != (layer.directions, 3 * h):
        call.bad(f"P must have the shape {[layer.directions, 3 * h]}, not {list(peepholes.shape)}")

    def step(cell: Cell, x: str, state: list[str]) -> list[str]:
        hidden, memory = state

        def gate(number: int, name: str, seen: str | None) -> str:
            parts = [
                cell.from_input(x, number, f"Wx{name}", state_bias=True),
                cell.from_state(hidden, number, f"Rh{name}"),
            ]
            total = cell.node("add", parts, f"{name}.in")
            if seen is None or peepholes is None:
                return total
            place = "iof".index(name)
            look = cell.const(peepholes[cell.direction, place * h : (place + 1) * h], f"{name}.peephole")
            return cell.node("add", [total, cell.node("mul", [seen, look], f"{name}.look")], f"{name}.seen")

        i = cell.activate(0, gate(0, "i", memory), "i")
        f = cell.one_minus(i, "f") if coupled else cell.activate(0, gate(2, "f", memory), "f")
        c = cell.activate(1, gate(3, "c", None), "candidate")
        kept = cell.node("mul", [f, memory], "kept_memory")
        added = cell.node("mul", [i, c], "added")
        new = cell.node("add", [kept, added], "next_memory")
        o = cell.activate(0, gate(1, "o", new), "o")
        squashed = cell.activate(2, new, "squashed", clip=False)
        return [cell.node("mul", [o, squashed], "next"), new]

    return layer.run(step, [layer.initial(5, "h"), layer.initial(6, "memory")], ["h", "memory"])


@operator("RNN")
def rnn(call: Call) -> list[Tensor]:
    """h' = f(x W' + h R' + b)."""

    def step(cell: Cell, x: str, state: list[str]) -> list[str]:
        wx = cell.linear(x, cell.input_weights, cell.input_bias + cell.state_bias, "Wx")
        rh = cell.linear(state[0], cell.state_weights, None, "Rh")
        return [cell.activate(0, cell.node("add", [wx, rh], "in"), "next")]

    layer = Layer(call, 1, ["Tanh"])
    return layer.run(step, [layer.initial(5, "h")], ["h"])
