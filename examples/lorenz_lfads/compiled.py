"""The trained network in fixed point: 16-bit activations, 8-bit weights, calibrated on training trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from neuroloom.boards.registry import load_board
from neuroloom.compiler.gated.program import compile_program

import neuroloom as nl
from examples.lorenz_lfads import data

HERE = Path(__file__).resolve().parent
FILE = HERE / "lorenz_lfads.onnx"
CALIBRATION_TRIALS = 130


def compiled(training: data.Trials, **config: object) -> nl.Model:
    """The network calibrated on every eighth training trial; ``config`` as in ``--config``."""
    counts = training.counts[:: len(training.counts) // CALIBRATION_TRIALS]
    return nl.compile(FILE, calibrate=counts, config=config or None)


def rates(model: nl.Model, counts: np.ndarray) -> np.ndarray:
    """Inferred rates, spikes per bin, float64 [N, T, 70]: exact integers times the output's step."""
    return np.asarray(model.dequantize(model.simulate(counts)))


def cycles(model: nl.Model) -> int:
    """Most cycles of a trial on the ULX3S' 128 lanes."""
    (engine,) = (c for c in load_board("ulx3s_85f").gated if c.profile == "lanes128")
    return compile_program(model.graph, engine).cycles[1]
