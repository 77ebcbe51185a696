"""The two experts and their router in fixed point."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import neuroloom as nl
from examples.experts_sunspots import data

FILE = Path(__file__).resolve().parent / "experts_sunspots.onnx"


def compiled(**config: object) -> nl.Model:
    """The network calibrated on the years for training; ``config`` as in ``--config``."""
    windows = data.part(*data.TRAINING).windows
    return nl.compile(FILE, batch_axis=0, calibrate=windows, config=config or None)


def predict(model: nl.Model, windows: np.ndarray) -> np.ndarray:
    """Predictions in scaled sunspot numbers, float64 [N]."""
    return np.asarray(model.dequantize(model.simulate(windows)))[:, 0]
