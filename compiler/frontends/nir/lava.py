"""Lava's fixed point (Loihi 2): all numbers are integers of 12-bit decays and of weights and thresholds shifted by 6 bits.

The formulas are those with which the NIR paper's networks were brought to Lava (``paper/nir_to_lava.py`` of the NIR
repository) and of ``PyLifModelBitAcc`` in lava-nc: dv = int(4095·dt/tau), w = int(256·weight), vth =
int(131071·threshold) >> 9, both then << 6.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .dialects import Cell, Parameters, Settings, _only

DECAY_ONE = 4096
SHIFT = 6
REFRACTORY_MARK = 128
"""What Loihi 2's membrane register holds in the step of a spike."""


def lava(p: Parameters, s: Settings) -> Cell:
    """The LIF process in fixed point. ``refractory`` (1 without) is the silent step behind a spike that Loihi's trace shows."""
    why = "Lava's import has no such parameter; choose the dialect nir-euler"
    _only(p, p.v_leak, "v_leak", 0, why)
    _only(p, p.v_reset, "v_reset", 0, why)
    one = np.ones(p.size)
    if p.node.type == "Threshold":
        raise UnsupportedError(f"{p.node} has no counterpart in Lava; choose the dialect nir-euler")
    gain, beta, alpha = p.r, one, None
    if p.tau_mem is not None:
        dt = s.step(p.node)
        leak = p.fraction(dt, "tau_mem" if p.tau_syn is not None else "tau")
        gain, beta = p.r * leak, 1 - np.floor(4095 * leak) / DECAY_ONE
        if p.tau_syn is not None:
            decay = p.fraction(dt, "tau_syn")
            gain, alpha = gain * p.w_in * decay, 1 - (np.floor(4095 * decay) + 1) / DECAY_ONE
    cell = Cell(gain, beta, threshold(p.threshold), alpha=alpha)
    cell.spiking = p.spiking
    if p.spiking:
        cell.reset = s.need_reset(p.node, ("value",), "value")
        cell.refractory = 1 if s.refractory is None else s.refractory
        cell.v_reset = one * (REFRACTORY_MARK if cell.refractory else 0)
        s.used["refractory"] = cell.refractory
    return cell


def threshold(real: np.ndarray) -> np.ndarray:
    """Loihi's effective threshold: a 17-bit mantissa, shifted left by 6."""
    return (np.trunc(real * 131071).astype(np.int64) >> 9 << SHIFT).astype(np.float64)


def weights(real: np.ndarray) -> np.ndarray:
    """Loihi's effective weights: truncated to 1/256, shifted left by 6."""
    return np.trunc(real * 256) * (1 << SHIFT)
