"""Random spiking graphs over every option of every operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder, Graph, Type
from neuroloom.compiler.ir.ops.neurons import CARRY_MODULUS

TRACE, COUNT, S8 = Type(16), Type(32), Type(8, True)


class Maker:
    """Builds one random graph; every choice comes from ``rng``."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = Builder(f"random{seed}", clocked=True)
        self.state = Type(int(self.rng.choice([16, 24, 30, 32])), True)
        self.reads: list[str] = []

    def chance(self, p: float = 0.5) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def lifetime(self) -> str:
        return self.pick("sample", "sample", "sample", "persistent")

    def bits(self, shape) -> np.ndarray:
        return (self.rng.random(shape) < self.pick(0, 0, 0.3)).astype(np.int64)

    def graph(self) -> Graph:
        rng, b = self.rng, self.b
        inputs = [(b.input(f"in{k}", BIT, (int(rng.integers(1, 20)),))) for k in range(rng.integers(1, 3))]
        sizes = [int(rng.integers(1, 40)) for _ in range(rng.integers(1, 4))]
        sources = [(name, b[name].shape[0], None) for name in inputs]
        later = []
        for k, n in enumerate(sizes):
            depth = int(rng.integers(1, 6))
            flat = depth == 1 and self.chance()
            init = self.bits((n,) if flat else (depth, n))
            history = b.state(init, BIT, self.lifetime(), name=f"p{k}.history")
            later.append((f"p{k}", n, history, depth))
        spikes = {}
        for name, n, history, depth in later:
            current = self.current(n, sources, later, spikes)
            spikes[name] = self.neurons(name, n, current)
            b.output(f"{name}.spikes", spikes[name])
            sources.append((spikes[name], n, (history, depth)))
        for name, n, history, depth in later:
            self.shift(spikes[name], n, history, depth)
        if self.chance():
            self.decision(spikes["p0"], sizes[0])
        self.b.output("late", later[0][2])
        return b.finish()

    def shift(self, spikes: str, n: int, history: str, depth: int) -> None:
        b = self.b
        if b[history].shape == (n,):
            b.update(history, spikes)
            return
        row = b.node("reshape", [spikes], shape=(1, n))
        if self.chance():
            parts = [row]
            if depth > 1:
                parts.append(b.node("slice", [history], starts=(0, 0), stops=(depth - 1, n), steps=(1, 1)))
            b.update(history, b.node("concat", parts, axis=0))
        else:
            whole = b.node("concat", [row, history], axis=0)
            b.update(history, b.node("slice", [whole], starts=(0, 0), stops=(depth, n), steps=(1, 1)))

    def rows(self, spikes: str | None, n: int, history: str | None, depth: int) -> tuple[str, int]:
        """H of a projection, and its rows."""
        b, parts = self.b, []
        if spikes is None:
            parts.append(b.const(np.zeros((1, n), np.int64), BIT))
        else:
            parts.append(b.node("reshape", [spikes], shape=(1, n)))
        if history is not None:
            if b[history].shape == (n,):
                history = b.node("reshape", [history], shape=(1, n))
            parts.append(history)
        h = b.node("concat", parts, axis=0)
        if self.chance(0.15):  # a history the engine does not recognise
            h = b.node("transpose", [b.node("transpose", [h], perm=(1, 0))], perm=(1, 0))
        return h, b[h].shape[0]

    def current(self, n: int, sources, later, spikes) -> str:
        rng, b = self.rng, self.b
        total = ""
        for _ in range(rng.integers(1, 4)):
            if self.chance(0.4):
                name, m, history, depth = later[rng.integers(len(later))]
                own = spikes.get(name)
            else:
                name, m, past = sources[rng.integers(len(sources))]
                own = name
                history, depth = past or (None, 0)
            part = self.projection(own, m, history, depth, n, spikes, name)
            total = b.node("add", [total, part]) if total else part
        if self.chance(0.3):
            low, high = -200, 300
            drive = b.input("drive", Type(10, True), (n,), bounds=(low, high))
            total = b.node("add", [drive, total])
        if self.chance(0.2):
            total = b.node("add", [total, b.const(rng.integers(-5, 50, 1))])
        if self.chance(0.1):
            total = b.node("shift", [total], amount=1)
        if self.chance(0.1):
            b.output("seen", total) if "seen" not in [o.name for o in b.graph.outputs] else None
        return b.node(
            "requantize",
            [total],
            type=str(Type(14, True)),
            factor=self.pick("1", "3/4"),
            rounding="half_even",
            overflow="saturate",
        )

    def projection(self, own, m, history, depth, n, spikes, name) -> str:
        rng, b = self.rng, self.b
        if own is not None and self.chance(0.2):
            weights = rng.integers(-90, 128, (n, m)) * (rng.random((n, m)) < 0.4)
            return b.node(
                "matvec", [own], weights=weights, bias=self.pick(None, rng.integers(-9, 30, n)), weight_frac=0
            )
        h, count = self.rows(own, m, history, depth)
        least = 0 if own is not None else 1
        if self.chance(0.3):  # all to all
            pre, post = (x.reshape(-1) for x in np.meshgrid(np.arange(m), np.arange(n), indexing="ij"))
        else:
            k = int(rng.integers(0, 3 * m + 1))
            pre, post = rng.integers(0, m, k), rng.integers(0, n, k)
        delay = (
            rng.integers(least, count, len(pre)) if self.chance(0.7) else np.full(len(pre), rng.integers(least, count))
        )
        wide = self.pick(8, 8, 16)
        weights = rng.integers(-(1 << wide - 1) // 3, 1 << wide - 1, len(pre))
        attrs = {"pre": pre, "post": post, "delay": delay, "n_post": n}
        if not self.chance(0.5):
            return b.node("synapses", [h], weights=weights, **attrs)
        state = b.state(np.clip(weights, -128, 127), S8, self.lifetime())
        out = b.node("synapses", [h, state], **attrs)
        source = name if name in b.values else own
        target = b.input(f"teacher{len(self.reads)}", BIT, (n,))
        if own is None:
            source = b.input(f"other{len(self.reads)}", BIT, (m,))
        self.learning(state, own or source, target, m, n, pre, post)
        self.reads.append(state)
        return out

    def trace(self, spikes: str, n: int) -> str:
        b, kind = self.b, self.pick("exponential", "nearest", "window")
        x = b.state(self.rng.integers(0, 300, n), TRACE, self.lifetime())
        step = int(self.rng.integers(0, 9)) if kind == "window" else int(self.rng.integers(0, 40000))
        decay = None if kind == "window" else int(self.rng.integers(0, 65537))
        b.update(x, b.node("trace", [spikes, x], kind=kind, decay=decay, step=step))
        return x

    def learning(self, state, pre_spikes, post_spikes, m, n, pre, post) -> None:
        rng, b = self.rng, self.b
        rounding, eligible, window = self.pick("floor", "half_up", "stochastic"), self.chance(0.4), self.chance(0.3)
        inputs = [state, pre_spikes, post_spikes, self.trace(pre_spikes, m), self.trace(post_spikes, n)]
        if rounding == "stochastic":
            if "lfsr" not in b.values:
                b.state(np.array(rng.integers(1, 1 << 32)), COUNT, self.lifetime(), name="lfsr")
                b.update("lfsr", b.node("lfsr", ["lfsr"]))
            inputs.append("lfsr")
        count = len(pre)
        if eligible:
            e = b.state(rng.integers(-128, 128, count), S8, self.lifetime())
            if "reward" not in b.values:
                b.input("reward", S8, ())
            inputs += [e, "reward"]
        low = int(rng.integers(-128, 20))
        outputs = b.nodes(
            "stdp",
            inputs,
            pre=pre,
            post=post,
            enable=self.pick(None, rng.integers(0, 2, count)),
            w_min=low,
            w_max=int(rng.integers(max(low, 0), 128)),
            f=int(rng.integers(0, 17)),
            soft=self.chance(),
            window=window,
            pot=int(rng.integers(0, 3000)) if window else None,
            dep=int(rng.integers(0, 3000)) if window else None,
            rounding=rounding,
            eligibility=eligible,
            e_decay=int(rng.integers(0, 257)) if eligible else None,
            g=int(rng.integers(0, 8)) if eligible else None,
        )
        b.update(state, outputs[0])
        if eligible:
            b.update(e, outputs[1])

    def neurons(self, name: str, n: int, current: str) -> str:
        if self.state.width >= 24 and self.chance(0.15):
            return self.izhikevich(name, n, current)
        if self.chance(0.1):
            return self.alpha(name, n, current)
        if self.state.width >= 24 and self.chance(0.1):
            return self.bernoulli(name, n, current)
        return self.lif(name, n, current)

    def tensor(self, low: int, high: int, n: int) -> np.ndarray:
        return self.pick(self.rng.integers(low, high, n), self.rng.integers(low, high, ()), np.full(n, high))

    def keep(self, name: str, n: int, low: int, high: int, type_: Type) -> str:
        return self.b.state(self.rng.integers(low, high, n), type_, self.lifetime(), name=name)

    def lif(self, name: str, n: int, current: str) -> str:
        rng, b, t = self.rng, self.b, self.state
        near = self.pick(600, 8000, t.hi)
        start = (t.lo, t.hi + 1) if self.chance(0.3) else (-300, 400)  # saturation as well
        states = [self.keep(f"{name}.v", n, *start, t)]
        reset, leak = self.pick("zero", "value", "subtract", "none"), self.pick("none", "multiplicative", "subtractive")
        mode = self.pick("immediate", "immediate", "delayed", "delayed_new", "undelayed", "undelayed_new")
        alpha, refractory = self.chance(0.4), int(self.pick(0, 0, 1, 3))
        adapt = mode == "immediate" and self.chance(0.4)
        if alpha:
            states.append(self.keep(f"{name}.i", n, *start, t))
        if refractory:
            states.append(self.keep(f"{name}.r", n, 0, 2, Type(refractory.bit_length())))
        if adapt:
            states.append(self.keep(f"{name}.a", n, 0, 50, t))
        clamp = bool(refractory) and self.chance(0.3)
        outputs = b.nodes(
            "lif",
            [current, *states],
            name=f"{name}.spikes",
            threshold=self.tensor(-50, near, n),
            leak=leak,
            beta=int(rng.integers(0, 65537)) if leak == "multiplicative" else None,
            decay=int(rng.integers(0, 60)) if leak == "subtractive" else None,
            alpha=int(rng.integers(0, 65537)) if alpha else None,
            bias=self.pick(None, self.tensor(-20, 90, n)),
            drive=self.pick(None, self.tensor(-20, 90, n)),
            strict=self.chance(),
            reset=reset,
            v_reset=int(rng.integers(-90, 90)) if reset == "value" else None,
            reset_mode=mode,
            refractory=refractory or None,
            refractory_v=int(rng.integers(-90, 90)) if clamp else None,
            integrates=True if refractory and not clamp and self.chance(0.3) else None,
            adapt_decay=int(rng.integers(0, 65537)) if adapt else None,
            adapt_step=int(rng.integers(0, 300)) if adapt and self.chance(0.8) else None,
            wta=self.pick(None, None, True),
            rounding=self.pick(None, "floor", "half_up", "toward_zero"),
            old_current=self.pick(None, True) if alpha else None,
            record=self.pick(None, "stored", "tested"),
        )
        return self.finish(name, states, outputs)

    def izhikevich(self, name: str, n: int, current: str) -> str:
        rng, b = self.rng, self.b
        states = [
            self.keep(f"{name}.v", n, -17000, -15000, self.state),
            self.keep(f"{name}.u", n, -4000, 0, self.state),
        ]
        outputs = b.nodes(
            "izhikevich",
            [current, *states],
            name=f"{name}.spikes",
            a=int(rng.integers(1000, 7000)),
            b=int(rng.integers(12000, 17000)),
            c=-16640,
            d=int(rng.integers(0, 2100)),
            peak=self.pick(None, 5000),
            bias=self.pick(None, self.tensor(-20, 4000, n)),
            substeps=self.pick(None, 1, 2),
            rounding=self.pick(None, "floor", "toward_zero"),
        )
        return self.finish(name, states, outputs)

    def alpha(self, name: str, n: int, current: str) -> str:
        rng, b = self.rng, self.b
        states = [self.keep(f"{name}.{k}", n, -300, 400, self.state) for k in "veh"]
        outputs = b.nodes(
            "alpha_neuron",
            [current, *states],
            name=f"{name}.spikes",
            threshold=self.tensor(0, 900, n),
            alpha=int(rng.integers(30000, 65537)),
            beta=int(rng.integers(30000, 65537)),
            gain=int(rng.integers(0, 131072)),
            gain_bits=self.pick(8, 16),
            bias=self.pick(None, self.tensor(-20, 90, n)),
            reset=self.pick("zero", "subtract", "none"),
            wta=self.pick(None, True),
            rounding=self.pick(None, "half_up", "toward_zero"),
        )
        return self.finish(name, states, outputs)

    def bernoulli(self, name: str, n: int, current: str) -> str:
        states = [self.keep(f"{name}.x", n, 1, CARRY_MODULUS, self.state)]
        bias = self.pick(None, self.tensor(-20, 40000, n))
        return self.finish(
            name, states, self.b.nodes("bernoulli", [current, *states], name=f"{name}.spikes", bias=bias)
        )

    def finish(self, name: str, states: list[str], outputs: list[str]) -> str:
        for state, value in zip(states, outputs[1:-1], strict=True):
            self.b.update(state, value)
        self.b.output(f"{name}.v", outputs[-1])
        return outputs[0]

    def decision(self, spikes: str, n: int) -> None:
        b, count = self.b, self.pick(Type(3), COUNT)
        now = self.pick(Type(4), COUNT)
        shapes = {"counts": (count, (n,)), "done": (BIT, ()), "winner": (COUNT, ()), "at": (now, ()), "now": (now, ())}
        states = [b.state(np.zeros(s, np.int64), t, self.lifetime(), name=f"d.{k}") for k, (t, s) in shapes.items()]
        confident = self.chance()
        table = np.sort(self.rng.integers(0, 5000, self.rng.integers(1, 12)))[::-1]
        outputs = b.nodes(
            "decide",
            [spikes, *states],
            name="d",
            mode="confidence" if confident else "margin",
            margin=None if confident else int(self.rng.integers(1, 4)),
            table=table if confident else None,
            limit=int(table[0] * self.rng.uniform(0.5, 3)) if confident else None,
        )
        for key, state, value in zip(shapes, states, outputs, strict=True):
            b.update(state, value)
            b.output(f"decision.{key}", value)


@pytest.fixture
def spiking_graph() -> Callable[[int], Graph]:
    """A random clocked graph by seed."""
    return lambda seed: Maker(seed).graph()


@pytest.fixture
def samples() -> Callable[..., dict[str, np.ndarray]]:
    """Random inputs [count, steps, ...] of a graph."""

    def make(graph: Graph, seed: int, count: int = 2, steps: int = 25) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        out = {}
        for item in graph.inputs:
            shape, (low, high) = (count, steps, *item.value.shape), item.range
            if item.value.type.is_bit:
                out[item.name] = (rng.random(shape) < rng.choice([0.05, 0.3, 0.8])).astype(np.int64)
            else:
                out[item.name] = rng.integers(low, high + 1, shape) * (rng.random(shape) < 0.5)
        return out

    return make
