"""Small spiking networks: feed-forward with a decision, and recurrent with delays and STDP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import neuroloom as nl

LEARNING = """
network: pairs
dt: 1e-3
seed: 3
inputs: {in: 12}
populations:
  exc: {size: 8, model: LIF, tau: 20e-3, threshold: 1.0, refractory: 2, record: [spikes, v]}
  inh: {size: 3, model: LIF, tau: 10e-3, threshold: 0.8, record: [spikes]}
projections:
  - from: in
    to: exc
    name: plastic
    topology: all_to_all
    weights: {uniform: {low: 0.1, high: 0.5, seed: 2}}
    plasticity: {STDP: {a_plus: 0.03, a_minus: 0.02, w_max: 0.8}}
  - {from: exc, to: inh, topology: {fixed_fan_in: {count: 4, seed: 5}}, weights: 0.3, delay: {uniform: {low: 1, high: 5, seed: 4}}}
  - {from: inh, to: exc, topology: all_to_all, weights: -0.2, delay: 1}
"""

LAYERS = """
network: layers
dt: 1e-3
weight_bits: 5
inputs: {in: 10}
populations:
  hid: {size: 20, model: LIF, tau: 20e-3, threshold: 1.0}
  out: {size: 3, model: LIF, tau: 20e-3, threshold: 1.0, record: [spikes, v]}
projections:
  - {from: in, to: hid, topology: all_to_all, weights: {normal: {mean: 0.1, deviation: 0.3, seed: 2}}}
  - {from: hid, to: out, topology: all_to_all, weights: {normal: {mean: 0.05, deviation: 0.3, seed: 4}}, delay: 2}
"""


@pytest.fixture
def described(tmp_path: Path) -> Callable[..., Path]:
    """Return ``described(kind, **replacements)``: a .yaml of "learning" or "layers", with lines replaced or added."""

    def make(kind: str, name: str = "net.yaml", extra: str = "", **texts: str) -> Path:
        text = {"learning": LEARNING, "layers": LAYERS}[kind]
        for old, new in texts.get("replace", {}).items():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text + extra)
        return path

    return make


@pytest.fixture
def layers(described: Callable[..., Path]) -> nl.Model:
    """10 inputs, 20 and 3 neurons, a delay of 2 between them."""
    return nl.compile(described("layers"))


@pytest.fixture
def learning(described: Callable[..., Path]) -> nl.Model:
    """12 inputs, 8 and 3 neurons, STDP in front, delays behind."""
    return nl.compile(described("learning"))


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return ``noise(samples, steps, channels, rate)``: random spikes uint8."""

    def make(samples: int, steps: int, channels: int, rate: float = 0.2) -> np.ndarray:
        return (np.random.default_rng(5).random((samples, steps, channels)) < rate).astype(np.uint8)

    return make
