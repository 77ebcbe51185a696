"""The host against the gateware itself, in Amaranth's simulator."""

from __future__ import annotations

import os

import numpy as np
import pytest
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.device import Device


def samples(lines, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, lines.BYTES_IN), np.uint8)


def test_byte_by_byte(lines):
    line = lines.GatewareLine(frame_bytes=256, window=2, watchdog_cycles=2048)
    device = Device(line)
    assert device.identify() == line.link.identity
    assert device.identity.model_hash == lines.MODEL_HASH
    device.ping(bytes(range(192)))
    x = samples(lines, 120)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert device.repeats == 0
    assert device.status()["frames_bad"] == 0


def test_over_the_pins(lines):
    """The whole shell, bit by bit at 24 MHz and 3 Mbaud."""
    line = lines.GatewareLine(pins=True, frame_bytes=256)
    device = Device(line)
    x = samples(lines, 8)
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert device.repeats == 0


@pytest.mark.parametrize("seed", range(4))
def test_noise(lines, seed, monkeypatch):
    """Faults on the way to real gateware: right or an error, and then all is well."""
    noise = lines.Noise(seed, **[dict(flip=1e-3), dict(drop=8e-3), dict(double=8e-3), dict(insert=8e-3)][seed])
    noise.on = False
    monkeypatch.setattr(os, "urandom", noise.random.randbytes)  # the session's nonce, so that a run repeats exactly
    device = Device(lines.GatewareLine(frame_bytes=256, window=2, watchdog_cycles=1024, damage=noise), timeout=5)
    x = samples(lines, 30, seed)
    noise.on = True
    while noise.count < 2:
        try:
            device.reset()
            y = device.run_bytes(x)
        except DeviceError:
            pass
        else:
            assert np.array_equal(y, lines.running_sum(x))
    noise.on = False
    device.reset()
    assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
    assert device.repeats > 0
