"""The branchy network in fixed point, at any exit threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from neuroloom.host.accuracy import classes_of
from onnx import numpy_helper

import neuroloom as nl
from examples.digits_logic import data

FILE = Path(__file__).resolve().parent / "digits_early_exit.onnx"
ALWAYS, NEVER = 0.0, 1.0
"""Thresholds with which every sample leaves early, or none does: a softmax probability is above 0 and at most 1."""


def compiled(threshold: float | None = None, **config: object) -> nl.Model:
    """The network calibrated on the training images; ``threshold`` in place of the file's 0.9; ``config`` as in ``--config``."""
    model = onnx.load(FILE)
    if threshold is not None:
        (place,) = (i for i in model.graph.initializer if i.name == "threshold")
        place.CopyFrom(numpy_helper.from_array(np.float32(threshold), "threshold"))
    images = data.stratified_fifth().train_images
    return nl.compile(model, batch_axis=0, calibrate=images, config=config or None)


def classes(model: nl.Model, images: np.ndarray) -> np.ndarray:
    """Class of every image, int64 [N]: the largest score, of equals the first."""
    return classes_of(np.asarray(model.simulate(images)))
