"""The spiking operations against scalar programs, one neuron and one step at a time."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import GraphError
from neuroloom.compiler.ir import Builder, Graph, Type, ranges
from neuroloom.compiler.ir.ops.spiking import LEAKS, RECORDS, RESET_MODES, RESETS, ROUNDINGS
from neuroloom.sim.reference import run

BIT = Type(1)
STATE = Type(10, True)
STEPS, SAMPLES = 12, 3


def test_synapses_are_a_sum_over_delays() -> None:
    rng = np.random.default_rng(0)
    delays, sources, targets, count = 6, 7, 5, 90
    pre, post, delay = (rng.integers(0, m, count) for m in (sources, targets, delays))
    weights = rng.integers(-128, 128, count)
    history = rng.integers(0, 2, (4, delays, sources))
    dense = np.zeros((targets, delays, sources), np.int64)
    for k in range(count):
        dense[post[k], delay[k], pre[k]] += weights[k]
    b = Builder("synapses")
    h, w = b.input("h", BIT, (delays, sources)), b.input("w", Type(8, True), (count,))
    net = {"pre": pre, "post": post, "delay": delay, "n_post": targets}
    b.output("fixed", b.node("synapses", [h], weights=weights, **net))
    b.output("plastic", b.node("synapses", [h, w], **net))
    graph = b.finish()
    found = run(graph, {"h": history, "w": np.tile(weights, (4, 1))})
    want = np.tensordot(history, dense, ([1, 2], [1, 2]))
    np.testing.assert_array_equal(found["fixed"], want)
    np.testing.assert_array_equal(found["plastic"], want)
    per_target = [weights[post == i] for i in range(targets)]
    least, most = min(w[w < 0].sum() for w in per_target), max(w[w > 0].sum() for w in per_target)
    assert ranges(graph)[graph.outputs[0].value] == (least, most), "all of one sign on at once reaches the range"
    fan_in = int(np.bincount(post).max())
    assert ranges(graph)[graph.outputs[1].value] == (-128 * fan_in, 127 * fan_in)


def test_a_quarter_of_a_million_synapses_take_no_time() -> None:
    rng = np.random.default_rng(1)
    count, neurons = 1 << 18, 4096
    began = time.monotonic()
    b = Builder("large", clocked=True)
    h = b.input("h", BIT, (64, neurons))
    pre, post = rng.integers(0, neurons, count, dtype=np.int32), rng.integers(0, neurons, count, dtype=np.int32)
    delay, weights = rng.integers(0, 64, count, dtype=np.int32), rng.integers(-128, 128, count).astype(np.int8)
    b.output("y", b.node("synapses", [h], pre=pre, post=post, delay=delay, n_post=neurons, weights=weights))
    graph = b.finish()
    run(graph, np.ones((1, 3, 64, neurons), np.uint8))
    assert time.monotonic() - began < 10  # about 0.1 s; the margin is for a busy machine


def random_options(rng: np.random.Generator) -> dict[str, Any]:
    """Attributes of one ``lif``; every option appears, impossible pairs are not drawn."""

    def pick(choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    a: dict[str, Any] = {
        "threshold": rng.integers(20, 200, 4) if rng.random() < 0.7 else np.array(int(rng.integers(20, 200))),
        "leak": pick(LEAKS),
        "strict": pick([True, False]),
        "reset": pick(RESETS),
        "reset_mode": pick(RESET_MODES),
        "rounding": pick(ROUNDINGS),
        "record": pick(RECORDS),
        "wta": pick([True, False, False]),
    }
    if a["leak"] == "multiplicative":
        a["beta"] = int(rng.choice([0, 65536, 32768, 65536 - 8192, rng.integers(0, 65537)]))
    if a["leak"] == "subtractive":
        a["decay"] = int(rng.integers(0, 30))
    if a["reset"] == "value":
        a["v_reset"] = int(rng.integers(-60, 60))
    if rng.random() < 0.4:
        a["alpha"] = int(rng.integers(0, 65537))
        a["old_current"] = pick([True, False])
    for name in ("bias", "drive"):
        if rng.random() < 0.3:
            a[name] = rng.integers(-90, 90, 4) if rng.random() < 0.5 else np.array(int(rng.integers(-90, 90)))
    if rng.random() < 0.4:
        a["refractory"] = int(rng.integers(1, 4))
        how = int(rng.integers(3))
        if how == 1:
            a["refractory_v"] = int(rng.integers(-60, 60))
        elif how == 2:
            a["integrates"] = True
    if a["reset_mode"] == "immediate" and rng.random() < 0.5:
        a["adapt_decay"] = int(rng.integers(0, 65537))
        a["adapt_step"] = int(rng.integers(-50, 150))
    return a


def lif_graph(a: dict[str, Any], starts: dict[str, np.ndarray]) -> Graph:
    b = Builder("lif", clocked=True)
    current = b.input("x", STATE, (4,))
    names = ["v"] + ["i"] * ("alpha" in a) + ["r"] * ("refractory" in a) + ["a"] * ("adapt_decay" in a)
    states = [b.state(starts[n], Type(8) if n == "r" else STATE, "sample", name=n) for n in names]
    spike, *following, recorded = b.nodes("lif", [current, *states], **a)
    b.output("spike", spike)
    b.output("recorded", recorded)
    for name, state, value in zip(names, states, following, strict=True):
        b.update(state, value)
        b.output(name, value)
    return b.finish()


class Neuron:
    """One neuron as a person would program it: plain integers, early returns, no vectors."""

    def __init__(self, a: dict[str, Any], place: int, starts: dict[str, np.ndarray]) -> None:
        self.a = a
        self.v, self.i, self.r, self.adapt = (int(starts[n][place]) for n in ("v", "i", "r", "a"))
        if "adapt_decay" not in a:
            self.adapt = 0
        if "refractory" not in a:
            self.r = 0
        self.threshold, self.bias, self.drive = (self.per_neuron(n, place) for n in ("threshold", "bias", "drive"))
        self.to = int(a.get("v_reset", 0))

    def per_neuron(self, name: str, place: int) -> int:
        values = np.asarray(self.a.get(name, 0))
        return int(values[place]) if values.ndim else int(values)

    @staticmethod
    def sat(x: int) -> int:
        return max(-512, min(511, x))

    def mul(self, x: int, k: int) -> int:
        value = Fraction(x * k, 65536)
        return {
            "floor": math.floor(value),
            "half_up": math.floor(value + Fraction(1, 2)),
            "toward_zero": math.trunc(value),
        }[self.a["rounding"]]

    def above(self, x: int) -> bool:
        return x > self.theta or (x == self.theta and not self.a["strict"])

    def leak(self, x: int) -> int:
        if self.a["leak"] == "multiplicative":
            return self.mul(x, self.a["beta"])
        if self.a["leak"] == "subtractive":
            return max(x - self.a["decay"], 0) if x > 0 else min(x + self.a["decay"], 0)
        return x

    def integrate(self, current: int) -> bool:
        """Lines 1 to 8: sets theta, over (R) and tested; returns whether the neuron would spike."""
        reset, mode = self.a["reset"], self.a["reset_mode"]
        self.theta = self.sat(self.threshold + self.adapt)
        drive = self.sat(current + self.bias)
        if "alpha" in self.a:
            old, self.i = self.i, self.sat(self.mul(self.i, self.a["alpha"]) + drive)
            drive = old if self.a["old_current"] else self.i
        self.over = mode != "immediate" and self.above(self.v)
        base = self.v
        if self.over and reset in ("zero", "value") and mode in ("delayed", "undelayed"):
            base = self.to
        x = self.sat(self.sat(self.leak(base) + drive) + self.drive)
        if self.over and reset == "subtract":
            x = self.sat(x - self.theta)
        if self.over and reset in ("zero", "value") and mode.endswith("_new"):
            x = self.to
        self.tested, self.margin = x, self.sat(x - self.theta)
        return self.above(x) and self.r == 0

    def settle(self, spike: bool) -> tuple[int, int]:
        """Lines 10 to 13: the new state; returns the recorded membrane."""
        a, counting = self.a, self.r > 0
        if counting and not a.get("integrates"):
            self.v = self.resting()
            shown = self.v
        else:
            self.v = self.after(spike)
            shown = self.tested if a["record"] == "tested" else self.v
        if "refractory" in a:
            self.r = a["refractory"] if spike else max(self.r - 1, 0)
        if "adapt_decay" in a:
            decayed = self.mul(self.adapt, a["adapt_decay"])
            self.adapt = self.sat(decayed + a["adapt_step"]) if spike else decayed
        return int(spike), shown

    def resting(self) -> int:
        if "refractory_v" in self.a:
            return self.a["refractory_v"]
        if not self.over or self.a["reset_mode"] not in ("delayed", "delayed_new"):
            return self.v
        return {"none": self.v, "subtract": self.sat(self.v - self.theta)}.get(self.a["reset"], self.to)

    def after(self, spike: bool) -> int:
        x, reset, mode = self.tested, self.a["reset"], self.a["reset_mode"]
        if reset == "none" or mode in ("delayed", "delayed_new"):
            return x
        if spike and not self.over:
            return self.sat(x - self.theta) if reset == "subtract" else self.to
        if self.over and not spike:
            return self.sat(x + self.theta) if reset == "subtract" else self.sat(self.sat(2 * x) - self.to)
        return x


@pytest.mark.parametrize("seed", range(60))
def test_lif_of_random_options(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(4):
        a = random_options(rng)
        starts = {n: rng.integers(-300, 400, 4) for n in ("v", "i", "a")} | {"r": rng.integers(0, 4, 4)}
        x = rng.integers(-512, 512, (SAMPLES, STEPS, 4)) // int(rng.choice([1, 2, 8]))
        found = run(lif_graph(a, starts), x)
        for sample in range(SAMPLES):
            neurons = [Neuron(a, n, starts) for n in range(4)]
            for t in range(STEPS):
                fires = [n.integrate(int(c)) for n, c in zip(neurons, x[sample, t], strict=True)]
                if a["wta"] and any(fires):
                    best = max(n.margin for n, f in zip(neurons, fires, strict=True) if f)
                    first = next(k for k, n in enumerate(neurons) if fires[k] and n.margin == best)
                    fires = [k == first for k in range(4)]
                shown = [n.settle(f) for n, f in zip(neurons, fires, strict=True)]
                assert found["spike"][sample, t].tolist() == [s for s, _ in shown], (a, sample, t)
                assert found["recorded"][sample, t].tolist() == [v for _, v in shown], (a, sample, t)
                assert found["v"][sample, t].tolist() == [n.v for n in neurons], (a, sample, t)
                for name, member in (("i", "i"), ("r", "r"), ("a", "adapt")):
                    if name in found:
                        assert found[name][sample, t].tolist() == [getattr(n, member) for n in neurons], (a, sample, t)


def izhikevich_float(a: float, b: float, c: float, d: float, current: float, steps: int, substeps: int) -> list[int]:
    """Spike times of the published program."""
    v, u, times = -65.0, -65.0 * b, []
    for t in range(steps):
        for _ in range(substeps):
            v += (0.04 * v * v + 5 * v + 140 - u + current) / substeps
        u += a * (b * v - u)
        if v >= 30:
            times.append(t)
            v, u = c, u + d
    return times


@pytest.mark.parametrize("substeps", [1, 2])
@pytest.mark.parametrize(
    ("a", "b", "c", "d"),
    [(0.02, 0.2, -65, 8), (0.02, 0.2, -55, 4), (0.02, 0.2, -50, 2), (0.1, 0.2, -65, 2), (0.02, 0.25, -65, 2)],
    ids=["regular", "bursting", "chattering", "fast", "low_threshold"],
)
def test_izhikevich_fires_as_published(a: float, b: float, c: int, d: int, substeps: int) -> None:
    steps, t = 1000, Type(24, True)
    graph = Builder("izhikevich", clocked=True)
    current = graph.input("x", Type(16, True), (3,))
    v = graph.state(np.full(3, -65 * 256), t, "sample", name="v")
    u = graph.state(np.full(3, round(-65 * b * 256)), t, "sample", name="u")
    attrs = {"a": round(a * 65536), "b": round(b * 65536), "c": c * 256, "d": d * 256, "substeps": substeps}
    spike, new_v, new_u, _ = graph.nodes("izhikevich", [current, v, u], **attrs)
    graph.update(v, new_v)
    graph.update(u, new_u)
    graph.output("spike", spike)
    found = run(graph.finish(), np.tile(np.array([0, 7, 14]) * 256, (1, steps, 1)))["spike"][0]
    for neuron, level in enumerate((0, 7, 14)):
        want = len(izhikevich_float(a, b, c, d, level, steps, substeps))
        count = int(found[:, neuron].sum())
        # intervals of whole steps jump with the last digit (the floats' own counts move by 20 % when a grows by 0.1 %)
        assert abs(count - want) <= max(3, 0.25 * want), (level, count, want)


@pytest.mark.parametrize("substeps", [1, 2])
def test_izhikevich_step_is_the_equation(substeps: int) -> None:
    """From any state the integers are the equation's reals to 0.15 mV for v and 0.02 mV for u."""
    rng = np.random.default_rng(5)
    n, t = 2000, Type(24, True)
    v, u, x = (rng.uniform(lo, hi, (1, n)) for lo, hi in ((-90, 30), (-20, 10), (-10, 40)))
    v, u, x = (np.round(a * 256) for a in (v, u, x))
    graph = Builder("step")
    names = [graph.input(name, t, (n,), bounds=(-65536, 65536)) for name in "xvu"]
    attrs = {"a": 1311, "b": 13107, "c": -65 * 256, "d": 8 * 256, "substeps": substeps, "peak": 1 << 22}
    for name, value in zip(("spike", "v", "u", "seen"), graph.nodes("izhikevich", names, **attrs), strict=True):
        graph.output(name, value)
    found = run(graph.finish(), {"x": x.astype(int), "v": v.astype(int), "u": u.astype(int)})
    v, u, x = v / 256, u / 256, x / 256
    for _ in range(substeps):
        v = v + (0.04 * v * v + 5 * v + 140 - u + x) / substeps
    u = u + 0.02 * (0.2 * v - u)
    inside = np.abs(v) < 150  # before the second half step the integers stop at 180 mV
    assert inside.mean() > 0.6
    assert np.abs(found["v"] / 256 - v)[inside].max() < 0.15
    assert np.abs(found["u"] / 256 - u)[inside].max() < 0.02
    assert not found["spike"].any()


@pytest.mark.parametrize("mode", ["margin", "confidence"])
def test_decision(mode: str) -> None:
    rng = np.random.default_rng(3)
    n, samples, steps, temperature = 5, 20, 40, 2.5
    table = np.array([round(1000 * math.exp(-k / temperature)) for k in range(20)])
    attrs = {"margin": 5} if mode == "margin" else {"table": table, "limit": round(1000 / 0.8)}
    b = Builder("decision", clocked=True)
    spikes = b.input("x", BIT, (n,))
    names = {"counts": Type(23), "done": BIT, "winner": Type(4), "at": Type(23), "now": Type(23)}
    shapes: dict[str, tuple[int, ...]] = {"counts": (n,)}
    states = [b.state(np.zeros(shapes.get(k, ())), t, "sample", name=k) for k, t in names.items()]
    for name, state, value in zip(names, states, b.nodes("decide", [spikes, *states], mode=mode, **attrs), strict=True):
        b.update(state, value)
        b.output(name, value)
    x = (rng.random((samples, steps, n)) < rng.random((samples, 1, n)) * 0.7).astype(np.int64)
    found = run(b.finish(), x)
    decided = 0
    for s in range(samples):
        counts, answer = [0] * n, None
        for t in range(steps):
            counts = [c + int(bit) for c, bit in zip(counts, x[s, t], strict=True)]
            leader = counts.index(max(counts))
            if answer is None:
                behind = [counts[leader] - c for c in counts]
                if mode == "margin":
                    sure = sorted(counts)[-1] - sorted(counts)[-2] >= 5
                else:
                    sure = sum(int(table[min(d, 19)]) for d in behind) <= round(1000 / 0.8)
                answer = (leader, t) if sure else None
            shown = found["winner"][s, t], found["at"][s, t]
            assert shown == (answer or (leader, 0)) and found["done"][s, t] == (answer is not None)
        assert found["counts"][s, -1].tolist() == counts and found["now"][s, -1] == steps
        decided += answer is not None
    assert 5 < decided <= samples


def refused(match: str, **changes: Any) -> None:
    a: dict[str, Any] = {
        "threshold": np.array(10),
        "leak": "none",
        "strict": True,
        "reset": "zero",
        "reset_mode": "immediate",
    } | changes
    starts = {n: np.zeros(4) for n in ("v", "i", "r", "a")}
    with pytest.raises(GraphError, match=match):
        lif_graph(a, starts)


def test_refusals() -> None:
    refused("leak must be one of none", leak="exponential")
    refused("beta must be given", leak="multiplicative")
    refused("beta must be in 0..65536, not 65537", leak="multiplicative", beta=65537)
    refused("decay must be in 0..511, not -1", leak="subtractive", decay=-1)
    refused("threshold must be in -512..511, not 512", threshold=np.array(512))
    refused("threshold must be one integer or one per neuron", threshold=np.array([1, 2]))
    refused("v_reset must be 0 when reset is zero", v_reset=3)
    refused("reset_mode must be one of", reset_mode="later")
    refused("reset_mode must be immediate with an adaptive threshold", reset_mode="delayed", adapt_decay=3)
    refused("refractory must be a number of steps", refractory=-1)
    refused("counter %r must be unsigned", refractory=256)
    refused("refractory_v must go with", refractory_v=0)
    refused("integrates must go with", integrates=True)
    refused("old_current must go with alpha", old_current=True)


def test_a_current_that_may_not_fit_is_refused() -> None:
    b = Builder("wide", clocked=True)
    x = b.input("x", Type(11, True), (4,))
    v = b.state(np.zeros(4), STATE, "sample")
    with pytest.raises(
        GraphError, match=r"current must fit the state type s10, not reach -1024..1023; use a wider state"
    ):
        b.nodes("lif", [x, v], threshold=np.array(1), leak="none", strict=True, reset="zero", reset_mode="immediate")


def test_bad_synapses_are_refused() -> None:
    b = Builder("bad", clocked=True)
    h = b.input("h", BIT, (2, 3))
    good = {"pre": np.array([0]), "post": np.array([0]), "delay": np.array([1]), "n_post": 1, "weights": np.array([5])}
    for change, match in (
        ({"pre": np.array([3])}, r"index 3 at \[0\] must be in 0..2"),
        ({"delay": np.array([2])}, r"index 2 at \[0\] must be in 0..1"),
        ({"post": np.array([-1])}, "index -1"),
        ({"n_post": 0}, "n_post must be at least 1"),
        ({"weights": np.array([1, 2])}, "weights must be one per synapse, 1, not 2"),
        ({"weights": None}, "weights must be either the attribute"),
        ({"delay": np.array([1, 1])}, "pre, post and delay must be as many"),
    ):
        with pytest.raises(GraphError, match=match):
            b.node("synapses", [h], **(good | change))
