"""``trace``, ``stdp`` and ``lfsr`` against the published equations, written over lists of spike times with exact fractions.

Nothing here steps a trace. A sum of exponentials over all earlier spikes is evaluated anew at every event; with decays of 1/2**k
the flooring of the operation's trace at every step equals flooring that sum once (floor((floor(x) + n) / m) =
floor((x + n) / m) for integers n, m), so equality is exact. Other decays are compared with real numbers and their error bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.ir import Builder, Graph, Type
from neuroloom.sim.reference import run

N_PRE, N_POST, STEPS, SAMPLES = 5, 4, 60, 3
SEED = 0xDEADBEEF
BIT = Type(1)


@dataclass(frozen=True)
class Rule:
    """A learning rule as the equations have it; ``a_plus`` and ``a_minus`` are what a spike leaves, ``shift`` halvings per step."""

    kind: str = "exponential"
    a_plus: int = 4096
    a_minus: int = 3000
    shift: int = 1
    w_min: int = -40
    w_max: int = 90
    f: int = 8
    soft: bool = False
    rounding: str = "floor"
    pot: int = 0
    dep: int = 0
    eligibility: bool = False
    e_decay: int = 256
    g: int = 0


RULES = {
    "all_to_all": Rule(),
    "all_to_all_slow": Rule(shift=0, a_plus=700, a_minus=650, f=9),
    "all_to_all_fast": Rule(shift=2),
    "half_up": Rule(rounding="half_up"),
    "nearest": Rule(kind="nearest", shift=1, f=7),
    "window": Rule(kind="window", a_plus=6, a_minus=9, pot=5, dep=3, f=0),
    "window_fraction": Rule(kind="window", a_plus=6, a_minus=9, pot=700, dep=300, f=8, rounding="half_up"),
    "soft": Rule(soft=True, f=14),
    "soft_window": Rule(kind="window", a_plus=4, a_minus=4, pot=3, dep=2, soft=True, f=5),
    "stochastic": Rule(rounding="stochastic", a_plus=200, a_minus=170, f=9),
    "soft_stochastic": Rule(rounding="stochastic", soft=True, f=16, a_plus=900),
    "eligibility": Rule(eligibility=True, e_decay=240, f=9, g=5),
    "eligibility_nearest": Rule(eligibility=True, e_decay=128, kind="nearest", f=8, g=3, rounding="half_up"),
    "eligibility_stochastic": Rule(eligibility=True, e_decay=256, f=9, g=9, rounding="stochastic", a_plus=2000),
    "eligibility_soft_window": Rule(
        eligibility=True, e_decay=250, kind="window", a_plus=5, a_minus=5, pot=3, dep=2, soft=True, f=3, g=6
    ),
}


@dataclass
class Experiment:
    """Random spike trains of both sides, synapses between them, rewards."""

    pre_times: list[list[list[int]]]
    post_times: list[list[list[int]]]
    pairs: list[tuple[int, int]]
    enable: list[int]
    weights: list[int]
    rewards: list[list[int]]

    @classmethod
    def random(cls, seed: int) -> Experiment:
        rng = np.random.default_rng(seed)

        def trains(count: int) -> list[list[list[int]]]:
            rates = rng.choice([0.03, 0.15, 0.5], (SAMPLES, count))
            return [[np.flatnonzero(rng.random(STEPS) < r).tolist() for r in sample] for sample in rates]

        pairs = [(j, i) for j in range(N_PRE) for i in range(N_POST) if rng.random() < 0.8]
        return cls(
            trains(N_PRE),
            trains(N_POST),
            pairs,
            (rng.random(len(pairs)) < 0.85).astype(int).tolist(),
            [int(w) for w in rng.integers(-40, 91, len(pairs))],
            [[int(r) if rng.random() < 0.3 else 0 for r in rng.integers(-128, 128, STEPS)] for _ in range(SAMPLES)],
        )


def raster(times: list[list[list[int]]]) -> np.ndarray:
    """[SAMPLES, STEPS, neurons] from lists of spike times."""
    out = np.zeros((SAMPLES, STEPS, len(times[0])), np.int64)
    for s, sample in enumerate(times):
        for n, train in enumerate(sample):
            out[s, train, n] = 1
    return out


def graph_of(rule: Rule, e: Experiment) -> Graph:
    """The operations wired as a projection is: traces and weights are states, all updated at the end of the step."""
    b = Builder("learning", clocked=True)
    pre, post = b.input("pre", BIT, (N_PRE,)), b.input("post", BIT, (N_POST,))
    x = b.state(np.zeros(N_PRE), Type(16), "sample", name="x")
    y = b.state(np.zeros(N_POST), Type(16), "sample", name="y")
    w = b.state(np.array(e.weights), Type(8, True), "sample", name="w")
    decay = None if rule.kind == "window" else 65536 >> rule.shift
    b.update(x, b.node("trace", [pre, x], kind=rule.kind, step=rule.a_plus, decay=decay))
    b.update(y, b.node("trace", [post, y], kind=rule.kind, step=rule.a_minus, decay=decay))
    inputs, states = [w, pre, post, x, y], [w]
    if rule.rounding == "stochastic":
        bits = b.state(np.array(SEED), Type(32), "sample", name="lfsr")
        b.update(bits, b.node("lfsr", [bits]))
        inputs.append(bits)
    if rule.eligibility:
        states.append(b.state(np.zeros(len(e.pairs)), Type(8, True), "sample", name="e"))
        inputs += [states[-1], b.input("reward", Type(8, True), ())]
    results = b.nodes(
        "stdp",
        inputs,
        pre=np.array([j for j, _ in e.pairs]),
        post=np.array([i for _, i in e.pairs]),
        enable=np.array(e.enable, np.uint8),
        w_min=rule.w_min,
        w_max=rule.w_max,
        f=rule.f,
        soft=rule.soft,
        window=rule.kind == "window",
        pot=rule.pot if rule.kind == "window" else None,
        dep=rule.dep if rule.kind == "window" else None,
        rounding=rule.rounding,
        eligibility=rule.eligibility,
        e_decay=rule.e_decay,
        g=rule.g,
    )
    for state, value in zip(states, results, strict=True):
        b.update(state, value)
        b.output(state, value)
    return b.finish()


def register(steps: int) -> int:
    """The random register after ``steps`` moves, as arithmetic of polynomials over GF(2): bit k is the coefficient of
    x**(31 - k), and a move multiplies by x modulo x**32 + x**31 + x**30 + x**10 + 1
    (the reciprocal of x**32 + x**22 + x**2 + x + 1)."""
    coefficients = [SEED >> 31 - k & 1 for k in range(32)]  # of x**0 .. x**31
    for _ in range(steps):
        top = coefficients[-1]
        coefficients = [0, *coefficients[:-1]]
        for power in (0, 10, 30, 31):
            coefficients[power] ^= top
    return sum(c << 31 - k for k, c in enumerate(coefficients))


def random_number(half: int, j: int, i: int) -> int:
    """Xorshift (Marsaglia 2003, triple 7, 9, 8 of 16 bits) of the synapse's starting value, in lists of bits."""
    start = (half + 40503 * j) % 65536 ^ (27469 * i) % 65536
    bits = [start >> k & 1 for k in range(16)]
    bits = [a ^ b for a, b in zip(bits, [0] * 7 + bits, strict=False)]
    bits = [a ^ b for a, b in zip(bits, bits[9:] + [0] * 9, strict=True)]
    bits = [a ^ b for a, b in zip(bits, [0] * 8 + bits, strict=False)]
    return sum(b << k for k, b in enumerate(bits))


def amount(rule: Rule, train: Sequence[int], t: int, peak: int, fixed: int) -> int:
    """What the earlier spikes of ``train`` are worth at ``t``: the sum (or the last, or the window) of the pair equation."""
    ages = [t - s for s in train if s < t]
    if rule.kind == "window":
        return fixed if any(age <= peak for age in ages) else 0
    if rule.kind == "nearest":
        ages = ages[-1:]
    return math.floor(sum((Fraction(peak, 2 ** (rule.shift * age)) for age in ages), Fraction(0)))


def rounded(rule: Rule, value: int, bits: int, random: Callable[[], int]) -> int:
    exact = Fraction(value, 2**bits)
    if rule.rounding == "half_up":
        return math.floor(exact + Fraction(1, 2)) if bits else value
    if rule.rounding == "stochastic":
        return math.floor(exact + Fraction(random() % 2**bits, 2**bits))
    return math.floor(exact)


def expected(rule: Rule, e: Experiment, sample: int, k: int) -> list[tuple[int, int]]:
    """(weight, eligibility) of synapse k after every step."""
    (j, i), w, trace = e.pairs[k], e.weights[k], 0
    before, after, out = e.pre_times[sample][j], e.post_times[sample][i], []
    for t in range(STEPS):
        if e.enable[k]:
            bits = register(t) if rule.rounding == "stochastic" else 0
            low, high = (lambda b=bits: random_number(b % 65536, j, i)), (lambda b=bits: random_number(b >> 16, j, i))
            trace = math.trunc(Fraction(trace * rule.e_decay, 256))
            if t in before:
                size = amount(rule, after, t, rule.a_minus, rule.dep) * (w - rule.w_min if rule.soft else 1)
                change = rounded(rule, size, rule.f, low)
                if rule.eligibility:
                    trace = max(trace - change, -128)
                else:
                    w = max(w - change, rule.w_min)
            if t in after:
                size = amount(rule, before, t, rule.a_plus, rule.pot) * (rule.w_max - w if rule.soft else 1)
                change = rounded(rule, size, rule.f, high)
                if rule.eligibility:
                    trace = min(trace + change, 127)
                else:
                    w = min(w + change, rule.w_max)
            if rule.eligibility and e.rewards[sample][t]:
                w += rounded(rule, e.rewards[sample][t] * trace, rule.g, high)
                w = rule.w_min if w < rule.w_min else rule.w_max if w > rule.w_max else w
        out.append((w, trace))
    return out


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", RULES)
def test_rule(name: str, seed: int) -> None:
    rule, e = RULES[name], Experiment.random(seed)
    inputs = {"pre": raster(e.pre_times), "post": raster(e.post_times)}
    if rule.eligibility:
        inputs["reward"] = np.array(e.rewards)
    found = run(graph_of(rule, e), inputs)
    changed = 0
    for sample in range(SAMPLES):
        for k in range(len(e.pairs)):
            history = expected(rule, e, sample, k)
            assert found["w"][sample, :, k].tolist() == [w for w, _ in history], (sample, k)
            if rule.eligibility:
                assert found["e"][sample, :, k].tolist() == [trace for _, trace in history], (sample, k)
            changed += history[-1][0] != e.weights[k]
    assert changed > len(e.pairs), "the trains must move most weights"


@pytest.mark.parametrize("distance", [-40, -9, -2, -1, 0, 1, 2, 9, 40])
def test_exponential_curve(distance: int) -> None:
    """One pair: the change is A·exp(-|distance| / tau), to within the truncation of the trace (1 per step at most)."""
    tau, peak, f = 20.0, 25600, 8
    decay = round(65536 * math.exp(-1 / tau))
    rule = replace(Rule(), a_plus=peak, a_minus=peak, w_min=-128, w_max=127, f=f)
    at = 5 + max(0, -distance)
    e = Experiment([[[at]] * N_PRE] * SAMPLES, [[[at + distance]] * N_POST] * SAMPLES, [(0, 0)], [1], [0], [])
    graph = graph_of(rule, e)
    for node in graph.nodes:
        if node.op == "trace":
            node.attrs["decay"] = decay
    found = run(graph, {"pre": raster(e.pre_times), "post": raster(e.post_times)})
    change = int(found["w"][0, -1, 0])
    sign = (distance > 0) - (distance < 0)
    ideal = sign * peak * math.exp(-abs(distance) / tau) / 2**f
    assert abs(change - ideal) <= 1 + (abs(distance) + abs(distance) * peak / 65536) / 2**f
    assert (change == 0) == (distance == 0)


def test_stochastic_rounding_is_unbiased() -> None:
    """Amounts of 0.3 weight integers add up to 0.3 per step over many steps and synapses."""
    n, steps = 64, 200
    b = Builder("unbiased", clocked=True)
    post = b.input("post", BIT, (n,))
    pre, y = b.const(np.zeros(1), BIT), b.const(np.zeros(n), Type(16))
    x = b.const(np.full(1, 77), Type(16))
    w = b.state(np.zeros(n), Type(16, True), "sample", name="w")
    bits = b.state(np.array(1), Type(32), "sample", name="lfsr")
    b.update(bits, b.node("lfsr", [bits]))
    attrs: dict[str, Any] = {"pre": np.zeros(n, np.int32), "post": np.arange(n), "w_min": 0, "w_max": 32767, "f": 8}
    (new,) = b.nodes("stdp", [w, pre, post, x, y, bits], rounding="stochastic", **attrs)
    b.update(w, new)
    b.output("w", new)
    final = run(b.finish(), np.ones((1, steps, n), np.int64))["w"][0, -1]
    p = 77 / 256
    assert abs(final.mean() - p * steps) < 4 * math.sqrt(p * (1 - p) * steps / n)
    assert len(set(final.tolist())) > 10, "synapses must not share their random numbers"


def test_register_is_maximal() -> None:
    """The move is a linear map of order 2**32 - 1: its power of that is the identity, and of no proper divisor."""
    b = Builder("lfsr")
    b.output("y", b.node("lfsr", [b.input("x", Type(32), ())]))
    columns = run(b.finish(), np.array([1 << k for k in range(32)]))["y"].tolist()

    def apply(matrix: list[int], vector: int) -> int:
        out = 0
        for k in range(32):
            out ^= matrix[k] if vector >> k & 1 else 0
        return out

    def power(exponent: int) -> list[int]:
        result, square = [1 << k for k in range(32)], columns
        while exponent:
            if exponent & 1:
                result = [apply(square, c) for c in result]
            square = [apply(square, c) for c in square]
            exponent >>= 1
        return result

    identity = [1 << k for k in range(32)]
    order = 2**32 - 1
    assert power(order) == identity
    assert all(power(order // prime) != identity for prime in (3, 5, 17, 257, 65537))
