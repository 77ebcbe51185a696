"""The decoder in fixed point, as a clocked network: its state stays where it runs, one call per time bin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import neuroloom as nl
from examples.lorenz_lfads import data

FILE = Path(__file__).resolve().parent / "streaming_gru.onnx"


def compiled(training: data.Trials, **config: object) -> nl.Model:
    """The network calibrated on whole training trials, state and all; ``config`` as in ``--config``."""
    counts = training.counts[::16]
    return nl.compile(FILE, state={"state": "new_state"}, calibrate=counts, config=config or None)


def decode(model: nl.Model, counts: np.ndarray) -> np.ndarray:
    """Coordinates of the Lorenz system, float64 [N, T, 3]."""
    return np.asarray(model.dequantize(model.simulate(counts)))
