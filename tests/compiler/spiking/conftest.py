"""Random clocked graphs of spiking networks, built with the operations alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.ir.ops.neurons import CARRY_MODULUS

Pick = Callable[..., Any]


def random_lif(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Attributes of a lif node, every option by chance; values small enough that much happens."""
    pick = lambda *options: options[rng.integers(len(options))]  # noqa: E731
    leak = pick("none", "multiplicative", "subtractive")
    mode = pick("immediate", "immediate", "delayed", "delayed_new", "undelayed", "undelayed_new")
    reset = pick("zero", "value", "subtract", "none")
    refractory = int(pick(0, 0, 1, 3))
    alpha = pick(None, int(rng.integers(0, 65537)))
    size = pick((), (n,))
    attrs: dict[str, Any] = {
        "threshold": np.array(rng.integers(5, 120, size)),
        "leak": leak,
        "beta": int(pick(65536, 0, rng.integers(30000, 65536))) if leak == "multiplicative" else None,
        "decay": int(rng.integers(0, 20)) if leak == "subtractive" else None,
        "alpha": alpha,
        "bias": pick(None, np.array(rng.integers(-5, 9, pick((), (n,))))),
        "drive": pick(None, None, np.array(rng.integers(-5, 9, (n,)))),
        "strict": bool(pick(True, False)),
        "reset": reset,
        "v_reset": int(rng.integers(-9, 9)) if reset == "value" else None,
        "reset_mode": mode,
        "refractory": refractory or None,
        "refractory_v": int(rng.integers(-9, 9)) if refractory and rng.random() < 0.4 else None,
        "wta": pick(None, True),
        "rounding": pick(None, "half_up", "toward_zero"),
        "old_current": True if alpha is not None and rng.random() < 0.4 else None,
        "record": pick(None, "tested"),
    }
    if refractory and attrs["refractory_v"] is None and (not mode.startswith("undelayed") or attrs["wta"]):
        attrs["integrates"] = pick(None, True)
    if mode == "immediate" and rng.random() < 0.5:
        attrs["adapt_decay"] = int(rng.integers(50000, 65537))
        attrs["adapt_step"] = int(rng.integers(0, 30))
    return attrs


class GraphMaker:
    """A random network: inputs, populations, projections with histories, learning, a decision."""

    def __init__(
        self, rng: np.random.Generator, *, max_delay: int = 5, learning: str = "none", state_bits: int = 24
    ) -> None:
        self.rng, self.max_delay, self.rules = rng, max_delay, learning
        self.state = Type(state_bits, True)
        self.b = Builder("random", clocked=True)
        self.size: dict[str, int] = {}
        self.spikes: dict[str, str] = {}
        self.history: dict[str, str] = {}
        self.plastic: list[dict[str, Any]] = []
        self.lfsr = self.reward = ""

    def make(self) -> Graph:
        """The graph."""
        rng, b = self.rng, self.b
        for k in range(rng.integers(1, 3)):
            self.size[f"in{k}"] = int(rng.integers(1, 40))
            self.spikes[f"in{k}"] = b.input(f"in{k}", BIT, (self.size[f"in{k}"],))
        names = [f"p{k}" for k in range(rng.integers(1, 4))]
        for name in names:
            self.size[name] = int(rng.integers(2, 45))
        for name in self.size:
            shape = (self.max_delay, self.size[name])
            self.history[name] = b.state(np.zeros(shape, np.int64), BIT, "sample", name=f"{name}.history")
        if self.rules != "none":
            self.lfsr = b.state(np.array(int(rng.integers(1, 1 << 32))), Type(32), "persistent", name="lfsr")
        if self.rules == "reward":
            self.reward = b.input("reward", Type(8, True), ())
        for name in names:
            self.population(name)
        for name, state in self.history.items():
            row = b.node("reshape", [self.spikes[name]], shape=(1, self.size[name]))
            kept = b.node("slice", [state], starts=(0, 0), stops=(self.max_delay - 1, self.size[name]), steps=(1, 1))
            b.update(state, b.node("concat", [row, kept], axis=0))
        for item in self.plastic:
            self.learn(item)
        if self.lfsr:
            used = any(self.lfsr in n.inputs for n in b.graph.nodes)
            b.update(self.lfsr, b.node("lfsr", [self.lfsr]))
            if not used:
                b.graph.nodes[:] = [n for n in b.graph.nodes if self.lfsr not in (n.name, *n.inputs)]
                self.lfsr = ""
        if self.reward and not any(self.reward in n.inputs for n in b.graph.nodes):
            b.graph.inputs[:] = [i for i in b.graph.inputs if i.name != self.reward]
        self.decide(names[-1])
        return b.finish()

    def current(self, name: str) -> str:
        """Sum of one to three projections, a drive perhaps."""
        rng, b, total = self.rng, self.b, ""
        sources = list(self.spikes) + [n for n in self.history if n not in self.spikes]
        for k in range(rng.integers(1, 4)):
            source = str(rng.choice(sources))
            part = self.projection(f"{source}-{name}.{k}", source, name)
            total = b.node("add", [total, part]) if total else part
        if rng.random() < 0.2:
            room = (1 << 22) // max(1, *map(abs, b.ranges[total]))
            total = b.node("shift", [total], amount=min(int(rng.integers(1, 12)), room.bit_length() - 1))
        if rng.random() < 0.2:
            drive = b.input(f"{name}.drive", self.state, (self.size[name],), bounds=(-20, 20))
            total = b.node("add", [total, drive])
        return total

    def projection(self, name: str, source: str, target: str) -> str:
        """A projection; dense or thin, static or plastic, of one delay or many."""
        rng, b = self.rng, self.b
        pre, post = np.nonzero(rng.random((self.size[source], self.size[target])) < rng.choice([0.1, 0.5, 1.0]))
        if not len(pre):
            pre, post = np.array([0]), np.array([0])
        now = source in self.spikes
        low = 0 if now else 1
        delay = (
            rng.integers(low, self.max_delay + 1, len(pre))
            if rng.random() < 0.5
            else np.full(len(pre), rng.integers(low, 3))
        )
        plastic = self.rules != "none" and rng.random() < 0.6
        if not plastic and rng.random() < 0.2:  # parallel synapses
            pre, post, delay = np.append(pre, pre[0]), np.append(post, post[0]), np.append(delay, delay[0])
        scale = 30 if plastic else rng.choice([20, 90, 128, 700])
        weights = rng.integers(-scale // 2, scale, len(pre))
        zeros = b.const(np.zeros((1, self.size[source]), np.int64), BIT)
        first = b.node("reshape", [self.spikes[source]], shape=(1, self.size[source])) if now else zeros
        spikes = b.node("concat", [first, self.history[source]], axis=0)
        inputs = [spikes]
        if plastic:
            inputs.append(b.state(weights, Type(8, True), "persistent", name=f"{name}.weights"))
            self.plastic.append(
                {"name": name, "source": source, "target": target, "state": inputs[1], "pre": pre, "post": post}
            )
        return b.node(
            "synapses",
            inputs,
            name=f"{name}.current",
            pre=pre,
            post=post,
            delay=delay,
            n_post=self.size[target],
            weights=None if plastic else weights,
        )

    def population(self, name: str) -> None:
        """Neurons of some model."""
        rng, b, n = self.rng, self.b, self.size[name]
        models = ["lif"] * 6 + ["izhikevich", "alpha_neuron"] + ["bernoulli"] * (self.state.width >= 24)
        current, model = self.current(name), rng.choice(models)
        state = lambda word, low, high: b.state(rng.integers(low, high, n), self.state, "sample", name=f"{name}.{word}")  # noqa: E731
        rounding = rng.choice(["floor", "half_up", "toward_zero"])
        bias = np.array(rng.integers(-5, 9, (n,))) if rng.random() < 0.5 else None
        attrs: dict[str, Any]
        if model == "lif":
            attrs = random_lif(rng, n)
            states = [state("v", -30, 60)]
            if attrs["alpha"] is not None:
                states.append(state("i", -9, 9))
            if attrs["refractory"]:
                states.append(b.state(rng.integers(0, 2, n), Type(2), "sample", name=f"{name}.r"))
            if "adapt_decay" in attrs:
                states.append(state("a", 0, 40))
        elif model == "izhikevich":
            states = [state("v", -20000, -12000), state("u", -4000, 0)]
            attrs = {
                "a": int(rng.integers(1000, 7000)),
                "b": int(rng.integers(10000, 20000)),
                "c": -65 * 256,
                "d": int(rng.integers(200, 2048)),
                "substeps": int(rng.integers(1, 3)),
                "bias": np.array(2000) + bias if bias is not None else None,
            }
        elif model == "bernoulli":
            states = [state("v", 1, CARRY_MODULUS)]
            attrs = {"bias": np.array(rng.integers(0, 9)) * 4000 + bias if bias is not None else None}
        else:
            states = [state("v", -30, 60), state("e", -30, 60), state("h", -30, 60)]
            attrs = {
                "threshold": np.array(rng.integers(5, 80, (n,))),
                "alpha": int(rng.integers(50000, 65537)),
                "beta": int(rng.integers(40000, 60000)),
                "gain": int(rng.integers(100, 2000)),
                "gain_bits": int(rng.choice([8, 16])),
                "bias": bias,
                "reset": str(rng.choice(["zero", "subtract", "none"])),
                "wta": True if rng.random() < 0.3 else None,
            }
        if model in ("izhikevich", "alpha_neuron"):
            attrs["rounding"] = str(rounding)
        outputs = b.nodes(model, [current, *states], name=f"{name}.spikes", **attrs)
        for item, value in zip(states, outputs[1:-1], strict=True):
            b.update(item, value)
            b.output(item, value)
        self.spikes[name] = outputs[0]
        b.output(f"{name}.spikes", outputs[0])
        b.output(f"{name}.recorded", outputs[-1])

    def learn(self, item: dict[str, Any]) -> None:
        """A rule for a plastic projection."""
        rng, b = self.rng, self.b
        kind = str(rng.choice(["exponential", "nearest", "window"]))
        traces = []
        for side, word in ((item["source"], "x"), (item["target"], "y")):
            state = b.state(np.zeros(self.size[side], np.int64), Type(16), "sample", name=f"{item['name']}.{word}")
            step = int(rng.integers(1, 9)) if kind == "window" else int(rng.integers(100, 40000))
            decay = None if kind == "window" else int(rng.integers(40000, 65537))
            b.update(state, b.node("trace", [self.spikes[side], state], kind=kind, step=step, decay=decay))
            traces.append(state)
        eligible = self.rules == "reward" and rng.random() < 0.6
        rounding = str(rng.choice(["floor", "half_up", "stochastic"]))
        soft, window = bool(rng.random() < 0.4), kind == "window"
        f = int(rng.integers(9, 15)) + 2 * soft - (8 if window else 0)
        inputs = [item["state"], self.spikes[item["source"]], self.spikes[item["target"]], *traces]
        if rounding == "stochastic":
            inputs.append(self.lfsr)
        count = len(item["pre"])
        if eligible:
            e = b.state(np.zeros(count, np.int64), Type(8, True), "sample", name=f"{item['name']}.eligibility")
            inputs += [e, self.reward]
        outputs = b.nodes(
            "stdp",
            inputs,
            name=f"{item['name']}.next",
            pre=item["pre"],
            post=item["post"],
            enable=rng.integers(0, 2, count).astype(np.int8) if rng.random() < 0.4 else None,
            w_min=-40,
            w_max=60,
            f=min(f, 16),
            soft=soft,
            window=window,
            pot=int(rng.integers(1, 200)) if window else None,
            dep=int(rng.integers(1, 200)) if window else None,
            rounding=rounding,
            eligibility=eligible,
            e_decay=int(rng.integers(180, 257)) if eligible else None,
            g=int(rng.integers(0, 8)) if eligible else None,
        )
        b.update(item["state"], outputs[0])
        b.output(f"{item['name']}.weights", outputs[0])
        if eligible:
            b.update(e, outputs[1])
            b.output(f"{item['name']}.eligibility", outputs[1])

    def decide(self, name: str) -> None:
        """An early decision over the last population, sometimes."""
        rng, b = self.rng, self.b
        if rng.random() < 0.5:
            return
        types = {
            "counts": ((self.size[name],), Type(32)),
            "done": ((), BIT),
            "winner": ((), Type(32)),
            "at": ((), Type(32)),
            "now": ((), Type(32)),
        }
        states = [b.state(np.zeros(s, np.int64), t, "sample", name=f"decision.{k}") for k, (s, t) in types.items()]
        confident = rng.random() < 0.5
        table = np.array([100, 50, 25, 12, 6, 3, 1, 0]) if confident else None
        outputs = b.nodes(
            "decide",
            [self.spikes[name], *states],
            name="decision",
            mode="confidence" if confident else "margin",
            margin=None if confident else int(rng.integers(1, 5)),
            table=table,
            limit=150 if confident else None,
        )
        for item, value in zip(states, outputs, strict=True):
            b.update(item, value)
        for key, value in zip(types, outputs, strict=True):
            if key in ("done", "winner", "at", "counts"):
                b.output(f"decision.{key}", value)


@pytest.fixture
def random_graph() -> Callable[..., Graph]:
    """``random_graph(seed, max_delay=, learning=)``: a random clocked graph."""

    def make(seed: int, *, max_delay: int = 5, learning: str = "none") -> Graph:
        return GraphMaker(np.random.default_rng(seed), max_delay=max_delay, learning=learning).make()

    return make


@pytest.fixture(scope="session")
def network() -> Callable[..., Graph]:
    """``network(weights, ...)``: inputs to one population of integrators (``integrators.py``)."""
    path = Path(__file__).with_name("integrators.py")
    spec = importlib.util.spec_from_file_location("integrators_of_the_mapper", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.network
