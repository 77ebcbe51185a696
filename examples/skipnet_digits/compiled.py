"""The network with skip gates in fixed point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from neuroloom.host.accuracy import classes_of

import neuroloom as nl
from examples.digits_logic import data

FILE = Path(__file__).resolve().parent / "skipnet_digits.onnx"


def compiled(*, keep: tuple[str, ...] = (), **config: object) -> nl.Model:
    """The network calibrated on the training images; ``config`` as in ``--config``."""
    images = data.stratified_fifth().train_images
    return nl.compile(FILE, calibrate=images, keep=keep, config=config or None)


def gates(model: nl.Model) -> list[str]:
    """Names of the bits that open the blocks, first block first."""
    return [node.inputs[0] for node in model.graph.nodes if node.op == "when"]


def classes(model: nl.Model, images: np.ndarray) -> np.ndarray:
    """Class of every image, int64 [N]: the largest score, of equals the first."""
    return classes_of(np.asarray(model.simulate(images)))
