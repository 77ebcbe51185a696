"""``bernoulli`` against number theory and statistics: its generator is Lehmer's, of known period; its spikes are independent."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.ir import Builder, Type
from neuroloom.compiler.ir.ops.neurons import CARRY_BITS, CARRY_FACTOR, CARRY_MODULUS
from neuroloom.compiler.spiking import encoders
from neuroloom.sim import reference

import neuroloom as nl

PERIOD = 4_187_135


def draws(start: np.ndarray, steps: int) -> np.ndarray:
    """States of the operation [steps, n] from ``start``."""
    wide, b = Type(24, True), Builder("draws", clocked=True)
    x = b.state(start, wide, "sample", name="x")
    _, after, _ = b.nodes("bernoulli", [b.input("current", wide, start.shape), x])
    b.update(x, after)
    b.output("x", after)
    return reference.run(b.finish(), {"current": np.zeros((1, steps, *start.shape), np.int64)})["x"][0]


def test_the_states_are_those_of_lehmers_generator() -> None:
    """x' = 4089·x mod m, because 4089·2048 is 1 mod m; in Python's integers."""
    start = [1, 2, 77, 2047, 2048, CARRY_MODULUS - 1, 4_000_000]
    expected, x = [], start
    for _ in range(50):
        x = [CARRY_FACTOR * v % CARRY_MODULUS for v in x]
        expected.append(x)
    np.testing.assert_array_equal(draws(np.array(start), 50), expected)


def test_the_period() -> None:
    """m is a prime, so the period is the order of 4089: (m − 1)/2, whose factors it does not divide out."""
    m = CARRY_MODULUS
    assert m == (CARRY_FACTOR << CARRY_BITS) - 1 and all(m % d for d in range(2, 2895)) and 2895**2 > m
    assert m - 1 == 2 * PERIOD and pow(CARRY_FACTOR, PERIOD, m) == 1
    primes = [p for p in range(2, PERIOD) if PERIOD % p == 0 and all(p % q for q in range(2, int(p**0.5) + 1))]
    assert primes and all(pow(CARRY_FACTOR, PERIOD // p, m) != 1 for p in primes)


def test_spikes_come_at_their_rates_and_independently() -> None:
    """Of 64 channels over 20,000 steps: rates, pairs of steps 1 to 3 apart, pairs of channels; within 5 standard deviations."""
    steps, values = 20_000, np.repeat([0.0, 0.004, 0.05, 0.3, 0.5, 0.8, 0.99, 1.0], 8)
    spikes = encoders.bernoulli(values[None], steps, seed=5)[0].astype(np.float64)
    sigma = np.sqrt(np.maximum(values * (1 - values), 1e-12) / steps)
    assert (abs(spikes.mean(axis=0) - values) <= 5 * sigma).all()
    assert not spikes[:, :8].any() and spikes[:, -8:].all()
    normal = (spikes[:, 8:-8] - values[8:-8]) / np.sqrt(values * (1 - values))[8:-8]
    for lag in (1, 2, 3):
        assert (abs((normal[lag:] * normal[:-lag]).mean(axis=0)) < 5 / np.sqrt(steps)).all()
    together = normal.T @ normal / steps - np.diag((normal**2).mean(axis=0))
    assert abs(together).max() < 5.5 / np.sqrt(steps)


def test_the_encoder_is_the_operation() -> None:
    """The host's encoder against the reference, bias and current together."""
    net = nl.Network("noise")
    noise = net.population(
        "noise", 5, nl.Bernoulli(seed=123, bias=np.array([0, 6554, 32768, 65536, -9])), record=["spikes"]
    )
    net.drive(noise, bounds=(0, 10))
    got = nl.compile(net).simulate(np.zeros((2, 300, 5), np.int64))
    want = encoders.bernoulli(np.array([0, 6554, 32768, 65536, 0]) / 65536, 300, seed=123)
    np.testing.assert_array_equal(got, np.stack([want, want]))
