"""A network in integers to the clocked graph that defines what it computes.

Names are fixed, so that mapper, probes and tests find the parts: ``POP.spikes``, states ``POP.v``, ``.i``, ``.r``, ``.a``, ``.u``,
``.x``, ``.y``, ``.history``; ``PROJ.current``, ``PROJ.weights``, ``PROJ.eligibility``; outputs ``POP.spikes``, ``POP.v``,
``decision.winner``, ``decision.at``, ``decision.done``.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from neuroloom.compiler.errors import InputError
from neuroloom.compiler.ir import BIT, Affine, Builder, Graph, Type

from .encoders import carry_states
from .lower_rules import COUNT, SIGNED8, Rules
from .models import AlphaNeuron, Bernoulli, IzhikevichNeuron, Neuron
from .network import Network, Population, Projection
from .order import evaluation_order
from .plasticity import Learning


def lower_network(network: Network) -> Graph:
    """The clocked graph of ``network``, whose numbers must be integers (``quantise`` makes them so).

    Inputs: one ``bit[n]`` per spike input, one integer [n] per current input, ``reward`` s8 when a rule uses it. Raises
    InputError for loops without delay, weights or parameters outside their widths, and a network that shows nothing.
    """
    if not network.exact:
        raise InputError(f"network {network.name!r} must be in integers to be lowered; call quantise(network) first")
    return _Lowering(network).run()


class _Lowering:
    def __init__(self, network: Network) -> None:
        self.net = network
        self.b = Builder(network.name, clocked=True)
        self.state = Type(network.state_bits, True)
        self.spikes: dict[str, str] = {}  # population or input -> value of this step's spikes
        self.membrane: dict[str, str] = {}
        self.history: dict[str, str] = {}
        self.rows: dict[str, str] = {}
        self.norow: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self.currents: dict[str, str] = {}  # current inputs

    def run(self) -> Graph:
        """Inputs, states, populations in order, learning, decision, outputs."""
        net, b = self.net, self.b
        if not net.populations:
            raise InputError(f"network {net.name!r} must have at least one population")
        if not net.decision and not any(p.record for p in net.populations.values()):
            raise InputError(f"network {net.name!r} must show something: record a population or add a decision")
        for item in net.inputs.values():
            if item.kind == "spikes":
                self.spikes[item.name] = b.input(item.name, BIT, (item.size,), source=item.source or item.name)
            else:
                self.currents[item.name] = self.current_input(item.name)
        learning = [p for p in net.projections.values() if p.plasticity is not None and p.size]
        reward = ""
        if any(p.plasticity.eligibility for p in learning if isinstance(p.plasticity, Learning)):
            reward = b.input("reward", SIGNED8, (), source="reward")
        if not b.graph.inputs:
            # The reference counts samples and steps by an input; a network that lives on its own gets a silent one.
            b.input("clock", BIT, (1,), source="clock")
        for name in [*net.inputs, *net.populations]:
            self.history_state(name)
        for projection in learning:
            self.weight_state(projection)
        for name in evaluation_order(net):
            self.population(net.populations[name])
        for name, state in self.history.items():
            self.shift_history(name, state)
        if learning:
            Rules(net, b, self.spikes, self.weights).run(learning, reward)
        if net.decision:
            self.decision()
        for population in net.populations.values():
            for what in population.record:
                self.show(population, what)
        b.graph.records["network"] = self.facts()
        return b.finish()

    def facts(self) -> dict[str, object]:
        """What is worth keeping in the file: time step, scales, where everything came from."""
        return {
            "dt": repr(self.net.dt),
            "neurons": self.net.neurons,
            "synapses": self.net.synapses,
            "scales": {p.name: repr(p.scale) for p in self.net.populations.values() if p.scale is not None},
            **self.net.records,
        }

    # inputs and spikes

    def current_input(self, name: str) -> str:
        """A graph input of currents: integers within its bounds, or reals by the population's scale."""
        item = self.net.inputs[name]
        low, high = item.bounds or (self.state.lo, self.state.hi)
        if low != int(low) or high != int(high):
            raise InputError(f"bounds of current input {name!r} must be integers, not {item.bounds}")
        affine = Affine.of(1 / Fraction(item.scale)) if item.scale else Affine()
        bounds = int(low), int(high)
        if not self.state.holds(bounds):
            raise InputError(f"bounds of current input {name!r} must fit {self.state}, not {bounds[0]}..{bounds[1]}")
        return self.b.input(
            name, self.state, (item.size,), affine=affine, bounds=bounds, source=item.source or item.name
        )

    def history_state(self, name: str) -> None:
        """The spikes of the last steps, as many as the longest delay out of ``name`` needs."""
        deepest = max(
            (int(p.delay.max()) for p in self.net.projections.values() if p.source == name and p.size), default=0
        )
        if deepest:
            shape = (deepest, self.net.size_of(name))
            self.history[name] = self.b.state(np.zeros(shape, np.int64), BIT, "sample", name=f"{name}.history")

    def row(self, name: str) -> str:
        """This step's spikes as bit[1, n]."""
        if name not in self.rows:
            size = self.net.size_of(name)
            self.rows[name] = self.b.node("reshape", [self.spikes[name]], shape=(1, size), name=f"{name}.row")
        return self.rows[name]

    def shift_history(self, name: str, state: str) -> None:
        """The history's update: this step in front, the oldest out."""
        depth, size = self.b[state].shape
        parts = [self.row(name)]
        if depth > 1:
            kept = self.b.node(
                "slice", [state], starts=(0, 0), stops=(depth - 1, size), steps=(1, 1), name=f"{name}.kept"
            )
            parts.append(kept)
        value = self.b.node("concat", parts, axis=0, name=f"{name}.history.next") if depth > 1 else parts[0]
        self.b.update(state, value)

    def delayed(self, projection: Projection) -> str:
        """H of a projection: row d holds the spikes of d steps ago."""
        name, size = projection.source, self.net.size_of(projection.source)
        if not int(projection.delay.min()):
            first = self.row(name)
        else:
            if name not in self.norow:
                self.norow[name] = self.b.const(np.zeros((1, size), np.int64), BIT, name=f"{name}.norow")
            first = self.norow[name]
        if name not in self.history:
            return first
        return self.b.node("concat", [first, self.history[name]], axis=0, name=f"{projection.name}.spikes")

    # currents

    def weight_type(self, projection: Projection) -> Type:
        """Signed type of a projection's weights; checks them."""
        bits = projection.weight_bits or self.net.weight_bits
        type_ = Type(bits, True)
        low, high = int(projection.weight.min()), int(projection.weight.max())
        if not type_.holds((low, high)):
            bad = low if low < type_.lo else high
            raise InputError(
                f"weights of projection {projection.name!r} must be in {type_.lo}..{type_.hi} ({bits} bits), not {bad}"
            )
        return type_

    def weight_state(self, projection: Projection) -> None:
        """The weights that learning changes; they live on across samples."""
        type_, rule = self.weight_type(projection), projection.plasticity
        assert isinstance(rule, Learning)
        if not type_.holds((rule.w_min, rule.w_max)):
            raise InputError(
                f"bounds of the learning rule of projection {projection.name!r} must be in {type_.lo}..{type_.hi}, "
                f"not {rule.w_min}..{rule.w_max}"
            )
        self.weights[projection.name] = self.b.state(
            projection.weight, type_, "persistent", name=f"{projection.name}.weights", source=projection.origin
        )

    def synapses(self, projection: Projection) -> str:
        """The current of one projection."""
        inputs = [self.delayed(projection)]
        fixed = None
        if projection.name in self.weights:
            inputs.append(self.weights[projection.name])
        else:
            self.weight_type(projection)
            fixed = projection.weight
        return self.b.node(
            "synapses",
            inputs,
            name=f"{projection.name}.current",
            source=projection.origin or projection.name,
            pre=projection.pre,
            post=projection.post,
            delay=projection.delay,
            n_post=self.net.populations[projection.target].size,
            weights=fixed,
        )

    def current(self, item: Population) -> str:
        """Everything that reaches a population in a step."""
        parts = [self.synapses(p) for p in self.net.into(item.name) if p.size]
        total = ""
        for part in parts:
            total = self.b.node("add", [total, part], name=f"{item.name}.current") if total else part
        if total and item.shift:
            total = self.b.node("shift", [total], amount=item.shift, name=f"{item.name}.scaled")
        for drive in (i for i in self.net.inputs.values() if i.target == item.name):
            value = self.currents[drive.name]
            total = self.b.node("add", [total, value], name=f"{item.name}.current") if total else value
        if not total:
            total = self.b.const(np.zeros(item.size, np.int64), name=f"{item.name}.current")
        low, high = self.b.ranges[total]
        if not self.state.holds((low, high)):
            raise InputError(
                f"current into population {item.name!r} must fit {self.state}, but its weights can add up to {low}..{high}; "
                "use more state bits, smaller weights, or a smaller scale"
            )
        return total

    # neurons

    def population(self, item: Population) -> None:
        """The states and the neuron operation of one population."""
        kind = type(item.model)
        if kind not in _NEURONS:
            raise InputError(f"model of population {item.name!r} must be in integers, not {kind.__name__}")
        _NEURONS[kind](self, item, self.current(item))

    def tensor(self, item: Population, what: str, value: int | np.ndarray) -> np.ndarray:
        """A parameter as an int64 tensor [n] or [], checked against the state's type."""
        array = np.asarray(value, np.int64)
        if array.size and not self.state.holds((int(array.min()), int(array.max()))):
            raise InputError(
                f"{what} of population {item.name!r} must be in {self.state.lo}..{self.state.hi} ({self.net.state_bits} state "
                f"bits), not {int(array.min())}..{int(array.max())}"
            )
        return array

    def full(self, item: Population, what: str, value: int | np.ndarray) -> np.ndarray:
        """A parameter as [n]."""
        return np.broadcast_to(self.tensor(item, what, value), (item.size,))

    def lif(self, item: Population, current: str) -> None:
        """A LIF population."""
        m, b, name = item.model, self.b, item.name
        assert isinstance(m, Neuron)
        states = [b.state(self.full(item, "v_init", m.v_init), self.state, "sample", name=f"{name}.v")]
        zeros = np.zeros(item.size, np.int64)
        if m.alpha is not None:
            states.append(b.state(zeros, self.state, "sample", name=f"{name}.i"))
        if m.refractory:
            counter = Type(int(m.refractory).bit_length())
            states.append(b.state(zeros, counter, "sample", name=f"{name}.r"))
        if m.adapt_decay is not None:
            lifetime = "persistent" if m.adapt_persistent else "sample"
            states.append(b.state(zeros, self.state, lifetime, name=f"{name}.a"))
        scalars = {"v_reset": m.v_reset, "decay": m.decay, "adapt_step": m.adapt_step}
        for what, value in scalars.items():
            self.tensor(item, what, value)
        threshold = self.full(item, "threshold", m.threshold) if m.spiking else np.full(item.size, self.state.hi)
        self.neurons(
            *("lif", item, current, states),
            threshold=threshold,
            leak=m.leak,
            beta=m.beta if m.leak == "multiplicative" else None,
            decay=m.decay if m.leak == "subtractive" else None,
            alpha=m.alpha,
            bias=self.optional(item, "bias", m.bias),
            drive=self.optional(item, "drive", m.drive),
            strict=m.strict or not m.spiking,
            reset=m.reset if m.spiking else "none",
            v_reset=m.v_reset if m.reset == "value" and m.spiking else None,
            reset_mode=m.reset_mode if m.spiking else "immediate",
            refractory=m.refractory or None,
            refractory_v=m.refractory_v,
            integrates=m.integrates or None,
            adapt_decay=m.adapt_decay,
            adapt_step=m.adapt_step if m.adapt_decay is not None else None,
            wta=m.wta or None,
            rounding=m.rounding,
            old_current=m.old_current or None,
            record=None if m.record_v == "stored" else m.record_v,
        )

    def optional(self, item: Population, what: str, value: int | np.ndarray) -> np.ndarray | None:
        """A tensor parameter, None when it is 0."""
        array = self.tensor(item, what, value)
        return array if array.any() else None

    def izhikevich(self, item: Population, current: str) -> None:
        """An Izhikevich population."""
        m, b, name = item.model, self.b, item.name
        assert isinstance(m, IzhikevichNeuron)
        states = [
            b.state(self.full(item, "v_init", m.v_init), self.state, "sample", name=f"{name}.v"),
            b.state(self.full(item, "u_init", m.u_init), self.state, "sample", name=f"{name}.u"),
        ]
        self.neurons(
            *("izhikevich", item, current, states),
            **{key: getattr(m, key) for key in ("a", "b", "c", "d", "peak", "substeps", "rounding")},
            bias=self.optional(item, "bias", m.bias),
        )

    def alpha(self, item: Population, current: str) -> None:
        """A population of snnTorch's Alpha."""
        m, b, name = item.model, self.b, item.name
        assert isinstance(m, AlphaNeuron)
        zeros = np.zeros(item.size, np.int64)
        states = [b.state(zeros, self.state, "sample", name=f"{name}.{s}") for s in "veh"]
        self.neurons(
            *("alpha_neuron", item, current, states),
            threshold=self.full(item, "threshold", m.threshold),
            **{key: getattr(m, key) for key in ("alpha", "beta", "gain", "gain_bits", "reset", "rounding")},
            bias=self.optional(item, "bias", m.bias),
            wta=m.wta or None,
        )

    def bernoulli(self, item: Population, current: str) -> None:
        """A population that spikes at random."""
        m, b, name = item.model, self.b, item.name
        assert isinstance(m, Bernoulli)
        if self.state.width < 24:
            raise InputError(
                f"state_bits must be 24 or more for the random generators of population {name!r}, not {self.state.width}"
            )
        states = [b.state(carry_states(item.size, m.seed), self.state, "sample", name=f"{name}.v")]
        self.neurons(
            *("bernoulli", item, current, states),
            bias=self.optional(item, "bias", m.bias),
        )

    def neurons(self, op: str, item: Population, current: str, states: list[str], **attrs: Any) -> None:
        """A population's node; its states are written, its spikes and recorded membrane remembered."""
        name = item.name
        outputs = self.b.nodes(op, [current, *states], name=f"{name}.spikes", source=item.source or name, **attrs)
        self.spikes[item.name], self.membrane[item.name] = outputs[0], outputs[-1]
        for state, value in zip(states, outputs[1:-1], strict=True):
            self.b.update(state, value)

    # decision and outputs

    def decision(self) -> None:
        """Counts and the decision over them."""
        d, b = self.net.decision, self.b
        assert d is not None
        size = self.net.populations[d.population].size
        if size < 2:
            raise InputError(f"decision must be over at least 2 neurons, not the {size} of population {d.population!r}")
        kinds = {
            "counts": (COUNT, (size,)),
            "done": (BIT, ()),
            "winner": (COUNT, ()),
            "at": (COUNT, ()),
            "now": (COUNT, ()),
        }
        states = [
            b.state(np.zeros(shape, np.int64), type_, "sample", name=f"decision.{key}")
            for key, (type_, shape) in kinds.items()
        ]
        outputs = b.nodes(
            "decide",
            [self.spikes[d.population], *states],
            name="decision",
            source="decision",
            mode=d.mode,
            margin=d.margin if d.mode == "margin" else None,
            table=np.array(d.table, np.int64) if d.mode == "confidence" else None,
            limit=d.limit if d.mode == "confidence" else None,
        )
        for state, value in zip(states, outputs, strict=True):
            b.update(state, value)
        for key, value in zip(kinds, outputs, strict=True):
            if key in ("winner", "at", "done"):
                b.output(f"decision.{key}", value)

    def show(self, item: Population, what: str) -> None:
        """One recorded output; membranes carry the scale as their rule."""
        if what == "spikes":
            self.b.output(f"{item.name}.spikes", self.spikes[item.name])
        else:
            affine = Affine.of(1 / Fraction(item.scale)) if item.scale else Affine()
            self.b.output(f"{item.name}.v", self.membrane[item.name], affine)


_NEURONS: dict[type, Callable[[_Lowering, Population, str], None]] = {
    Neuron: _Lowering.lif,
    IzhikevichNeuron: _Lowering.izhikevich,
    AlphaNeuron: _Lowering.alpha,
    Bernoulli: _Lowering.bernoulli,
}
"""How a population of each integer model is lowered."""
