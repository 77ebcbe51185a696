"""Finds populations, projections, learning, inputs and the decision in a clocked graph, by structure alone.

Names and records carry no meaning here: whatever computes the same with the same operations is mapped, and everything
else is refused with one sentence that names the node.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.ir import Graph, Node, ranges

from .recognised import Decision, Learn, Network, Population, Projection, Source, Trace

NEURON_STATES = {"izhikevich": ("v", "u"), "alpha_neuron": ("v", "e", "h"), "bernoulli": ("v",)}
DECISION_STATES = ("counts", "done", "winner", "at", "now")


def recognise(graph: Graph) -> Network:
    """The network that ``graph`` computes. Raises UnsupportedError, naming the node, for what no spiking core
    carries.
    """
    if not graph.clocked:
        raise UnsupportedError(f"graph {graph.name!r} must be clocked to run on a spiking core, not framed")
    return _Recogniser(graph).run()


class _Recogniser:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.net = Network(graph)
        self.values = graph.values()
        self.producer: dict[str, Node] = {v.name: n for n in graph.nodes for v in n.outputs}
        self.updates = {n.inputs[0]: n for n in graph.nodes if n.op == "update"}
        self.ranges = ranges(graph)
        self.inputs = {i.name: i for i in graph.inputs}
        self.used: set[int] = set()
        self.spikes: dict[str, str] = {}  # value → source name
        self.rows: dict[tuple[str, int], tuple[str, int] | None] = {}

    def run(self) -> Network:
        neurons = [n for n in self.graph.nodes if n.op == "lif" or n.op in NEURON_STATES]
        if not neurons:
            raise UnsupportedError(
                f"graph {self.graph.name!r} must have populations of neurons to run on a spiking core"
            )
        for item in self.graph.inputs:
            if item.value.type.is_bit and len(item.value.shape) == 1:
                self.spikes[item.name] = item.name
                self.net.inputs[item.name] = Source(item.name, item.value.size, item.name)
        for node in neurons:
            self.population(node)
        for node in neurons:
            self.current(node)
        for node in self.graph.nodes:
            if node.op == "stdp":
                self.learning(node)
        for projection in self.net.projections.values():
            if projection.state and not projection.learn:
                self.constant_state(projection.state)
        for node in self.graph.nodes:
            if node.op == "decide":
                self.decide(node)
        for shown in self.graph.outputs:
            self.output(shown.name, shown.value)
        self.leftovers()
        return self.net

    # helpers

    def refuse(self, node: Node | str, must: str) -> UnsupportedError:
        where = node if isinstance(node, str) else node.where()
        return UnsupportedError(f"{where} must {must} to run on a spiking core")

    def take(self, node: Node) -> Node:
        self.used.add(id(node))
        return node

    def state(self, name: str, new: str | None, user: Node) -> str:
        """Check that ``name`` is a state whose next value is ``new``; mark both nodes."""
        node = self.producer.get(name)
        if node is None or node.op != "state":
            raise self.refuse(user, f"read its state from a state node, not %{name}")
        update = self.updates.get(name)
        if update is None or (new is not None and update.inputs[1] != new):
            raise self.refuse(node, f"be updated by {user.where()} alone")
        self.take(node)
        self.take(update)
        return name

    def zero(self, state: str) -> None:
        """Refuse an initial state that the core cannot load."""
        if self.producer[state].attrs["init"].any():
            raise self.refuse(self.producer[state], "be 0 at first")

    # spikes

    def row(self, name: str, k: int, depth: int = 0) -> tuple[str, int] | None:
        """Source and delay of row ``k`` of a bit tensor ([rows, n], or [n] as row 0); None for zeros."""
        if (name, k) in self.rows:
            return self.rows[name, k]
        if depth > 400:
            raise UnsupportedError(
                f"spikes %{name} must come from a population or input through a history of at most 63 steps"
            )
        found = self._row(name, k, depth + 1)
        self.rows[name, k] = found
        return found

    def _row(self, name: str, k: int, depth: int) -> tuple[str, int] | None:
        if name in self.spikes:
            return self.spikes[name], 0
        node = self.producer.get(name)
        if node is None:
            raise UnsupportedError(f"input {name!r} must be bit[n] to be spikes of a spiking core")
        self.take(node)
        if node.op == "const" and not node.attrs["data"].any():
            return None
        if node.op == "reshape" and k == 0 and self.values[name].size == self.values[name].shape[-1]:
            return self.row(node.inputs[0], 0, depth)
        if node.op == "concat" and node.attrs["axis"] in (0, -2) and len(self.values[name].shape) == 2:
            for part in node.inputs:
                count = self.values[part].shape[0]
                if k < count:
                    return self.row(part, k, depth)
                k -= count
        if node.op == "slice" and len(self.values[name].shape) == 2:
            starts, steps = node.attrs["starts"], node.attrs["steps"]
            if self.values[name].shape[1] == self.values[node.inputs[0]].shape[1] and steps[1] == 1:
                return self.row(node.inputs[0], starts[0] + k * steps[0], depth)
        if node.op == "state":
            self.zero(name)
            self.state(name, None, node)
            found = self.row(self.updates[name].inputs[1], k, depth)
            return found and (found[0], found[1] + 1)
        raise self.refuse(node, "pass on whole rows of spikes (reshape, concat, slice, state)")

    def now(self, name: str, user: Node) -> str:
        """The source whose spikes of this step ``name`` is."""
        found = self.row(name, 0)
        if found is None or found[1]:
            raise self.refuse(user, f"take the spikes of this step, not %{name}")
        return found[0]

    # neurons

    def population(self, node: Node) -> None:
        self.take(node)
        if node.op == "lif":
            a = node.attrs
            words = [
                "v",
                "i" if "alpha" in a else "",
                "r" if a.get("refractory") else "",
                "a" if "adapt_decay" in a else "",
            ]
            words = [w for w in words if w]
        else:
            words = list(NEURON_STATES[node.op])
        value = node.outputs[0]
        base = value.name.removesuffix(".spikes")
        name = base if base not in self.net.sources else value.name
        states = {}
        for number, word in enumerate(words):
            states[word] = self.state(node.inputs[1 + number], node.outputs[1 + number].name, node)
        self.net.populations[name] = Population(name, value.size, value.name, node=node, states=states)
        self.spikes[value.name] = name

    def current(self, node: Node) -> None:
        """Follow the sum of a population's current."""
        population = self.net.populations[self.spikes[node.outputs[0].name]]
        shifts: set[int] = set()
        self.addend(node.inputs[0], population, 0, shifts)
        if len(shifts) > 1:
            raise self.refuse(node, "scale the current of all its projections alike")
        population.shift = max(shifts, default=0)
        population.current = self.ranges[node.inputs[0]]

    def addend(self, name: str, population: Population, shift: int, shifts: set[int]) -> None:
        if name in self.inputs:
            item = self.inputs[name]
            if item.value.type.is_bit or item.value.shape != (population.size,):
                raise self.refuse(
                    f"input {name!r}",
                    f"be a current int[{population.size}] to be added to population {population.name!r}",
                )
            if shift:
                raise self.refuse(f"input {name!r}", "be added without a factor")
            population.drives[f"d{len(population.drives)}"] = name
            return
        node = self.take(self.producer[name])
        if node.op == "add" and all(self.values[i].shape == (population.size,) for i in node.inputs):
            for part in node.inputs:
                self.addend(part, population, shift, shifts)
        elif node.op == "shift":
            self.addend(node.inputs[0], population, shift + node.attrs["amount"], shifts)
        elif node.op == "synapses":
            shifts.add(shift)
            self.synapses(node, population)
        elif node.op == "const" and not node.attrs["data"].any():
            return
        elif node.op == "requantize" and self.same(node):
            self.addend(node.inputs[0], population, shift, shifts)
        else:
            raise self.refuse(node, "be synapses, an input, or a sum of them")

    def same(self, node: Node) -> bool:
        """Whether a requantize changes no integer."""
        return node.attrs["factor"] in ("1", "1/1") and self.values[node.name].type.holds(self.ranges[node.inputs[0]])

    def synapses(self, node: Node, population: Population) -> None:
        a = node.attrs
        pre, post, delay = (a[k].astype(np.int64) for k in ("pre", "post", "delay"))
        state = None
        if len(node.inputs) == 2:
            state = node.inputs[1]
            if self.producer[state].op != "state":
                raise self.refuse(node, f"have its weights in a state or attribute, not %{state}")
            weights = self.net.initial(state)
        else:
            weights = a["weights"].astype(np.int64)
        rows = [self.row(node.inputs[0], k) for k in range(self.values[node.inputs[0]].shape[0])]
        name = node.name.removesuffix(".current")
        names = sorted({rows[d][0] for d in np.unique(delay) if rows[d]})
        if len(names) > 1:
            raise self.refuse(node, f"have one source, not {', '.join(names)}; use one node per source")
        used = np.unique(delay)
        lost = [int(d) for d in used if rows[d] is None]
        if lost and state is None:
            kept = ~np.isin(delay, lost)
            pre, post, delay, weights = pre[kept], post[kept], delay[kept], weights[kept]
        elif lost:
            raise self.refuse(node, f"have spikes for delay {lost[0]}, where the graph has constant zeros")
        if not names:
            return
        steps = np.array([row[1] if row else 0 for row in rows], np.int64)
        self.net.projections[name] = Projection(
            name, names[0], population.name, pre, post, steps[delay] if len(delay) else delay, weights, node, state
        )

    # learning

    def constant_state(self, state: str) -> None:
        update = self.updates.get(state)
        if update is None or update.inputs[1] != state:
            raise self.refuse(self.producer[state], "be changed by one stdp node")
        self.state(state, state, update)

    def learning(self, node: Node) -> None:
        self.take(node)
        a = node.attrs
        weights, pre, post, x, y, *rest = node.inputs
        users = [p for p in self.net.projections.values() if p.state == weights]
        if len(users) != 1:
            raise self.refuse(node, "change the weights of exactly one synapses node")
        projection = users[0]
        if not (
            np.array_equal(a["pre"], projection.node.attrs["pre"])
            and np.array_equal(a["post"], projection.node.attrs["post"])
        ):
            raise self.refuse(node, f"have the pre and post of {projection.node.where()}")
        source, target = self.now(pre, node), self.now(post, node)
        if (source, target) != (projection.source, projection.target):
            raise self.refuse(node, f"take the spikes of {projection.source!r} and {projection.target!r}")
        self.state(weights, node.outputs[0].name, node)
        learn = Learn(node, self.trace(x, source, node), self.trace(y, target, node))
        if a.get("rounding") == "stochastic":
            self.lfsr(rest.pop(0), node)
        if a.get("eligibility"):
            learn.eligibility = self.state(rest[0], node.outputs[1].name, node)
            learn.reward = self.reward(rest[1], node)
        projection.learn = learn

    def trace(self, state: str, source: str, user: Node) -> str:
        """Check a trace state of ``source`` and remember it there."""
        item = self.net.sources[source]
        if state in item.traces:
            return state
        update = self.updates.get(state)
        node = self.producer.get(update.inputs[1]) if update else None
        if node is None or node.op != "trace" or node.inputs[1] != state or self.now(node.inputs[0], node) != source:
            raise self.refuse(user, f"read the trace of {source!r}, not %{state}")
        self.take(node)
        self.state(state, node.name, node)
        self.zero(state)
        item.traces[state] = Trace(state, node.attrs["kind"], node.attrs["step"], node.attrs.get("decay", 1 << 16))
        return state

    def lfsr(self, state: str, user: Node) -> None:
        update = self.updates.get(state)
        node = self.producer.get(update.inputs[1]) if update else None
        if node is None or node.op != "lfsr" or node.inputs[0] != state or self.net.lfsr not in (None, state):
            raise self.refuse(user, "take its random bits from the one lfsr of the network")
        self.take(node)
        self.net.lfsr = self.state(state, node.name, node)

    def reward(self, name: str, user: Node) -> str:
        if name not in self.inputs or self.net.reward not in (None, name):
            raise self.refuse(user, f"take its reward from one input of the network, not %{name}")
        self.net.reward = name
        return name

    # decision and outputs

    def decide(self, node: Node) -> None:
        self.take(node)
        if self.net.decision is not None:
            raise self.refuse(node, "be the only early decision")
        source = self.now(node.inputs[0], node)
        if source not in self.net.populations:
            raise self.refuse(node, f"count the spikes of a population, not of input {source!r}")
        states = {}
        for number, word in enumerate(DECISION_STATES):
            states[word] = self.state(node.inputs[1 + number], node.outputs[number].name, node)
            self.zero(states[word])
        self.net.decision = Decision(node, source, states)

    def output(self, name: str, value: str) -> None:
        for population in self.net.populations.values():
            outputs = population.node.outputs
            shown = dict(zip((v.name for v in outputs[1:]), population.states, strict=False))
            if value == outputs[0].name:
                self.net.outputs[name] = ("spikes", population.name)
                return
            if value == outputs[-1].name:
                population.tested |= population.node.attrs.get("record") == "tested"
                self.net.outputs[name] = ("m" if population.tested else "v", population.name)
                return
            if value in shown:
                self.net.outputs[name] = (shown[value], population.name)
                return
        for projection in self.net.projections.values():
            if projection.learn and value in (v.name for v in projection.learn.node.outputs):
                kind = "weights" if value == projection.learn.node.outputs[0].name else "eligibility"
                self.net.outputs[name] = (kind, projection.name)
                return
        if self.net.decision:
            for role, item in zip(DECISION_STATES, self.net.decision.node.outputs, strict=True):
                if item.name == value:
                    self.net.outputs[name] = ("decision", role)
                    return
        if value in self.net.inputs:
            self.net.outputs[name] = ("spikes", value)
            return
        raise self.refuse(f"output {name!r}", "show spikes, a membrane or the decision; compute the rest on the host")

    def leftovers(self) -> None:
        """Refuse nodes that would be lost; forget inputs that nothing reads."""
        for node in self.graph.states:
            if id(node) not in self.used and self.values[node.name].type.is_bit and node.attrs["init"].ndim == 2:
                for k in range(len(node.attrs["init"])):  # a history that no projection reads
                    self.row(node.name, k)
        for node in self.graph.nodes:
            if id(node) not in self.used and node.op not in ("const", "reshape", "slice", "concat"):
                raise self.refuse(node, "be part of a population, a projection, learning or the decision")
        read = {p.source for p in self.net.projections.values()}
        for name in list(self.net.inputs):
            if name not in read and not any(v == ("spikes", name) for v in self.net.outputs.values()):
                self.net.unused.append(name)
