"""MNIST from one .npz file (x_train, y_train, x_test, y_test in the official order) and how the example splits it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

DEFAULT_PATH = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist.npz"
"""Where the file is looked for when none is given: ../shared/data/mnist.npz beside the repository."""

VALIDATION = 10_000
"""The last images of the training part are kept back to choose settings and the epoch to keep."""


class Part(NamedTuple):
    """Images uint8 [N, 784], row-major 28 x 28, values 0..255; labels int64 [N]."""

    images: np.ndarray
    labels: np.ndarray


class Mnist(NamedTuple):
    """50,000 images to train on, 10,000 to validate on, the official 10,000 to test on."""

    train: Part
    validation: Part
    test: Part


def load(path: Path = DEFAULT_PATH) -> Mnist:
    """Read the file; FileNotFoundError says where it was looked for."""
    if not path.exists():
        raise FileNotFoundError(f"MNIST must be given as an .npz file; there is none at {path}; name it with --data")
    with np.load(path) as arrays:
        images = {name: arrays[f"x_{name}"].reshape(-1, 784) for name in ("train", "test")}
        labels = {name: arrays[f"y_{name}"].astype(np.int64) for name in ("train", "test")}
    cut = len(images["train"]) - VALIDATION
    return Mnist(
        Part(images["train"][:cut], labels["train"][:cut]),
        Part(images["train"][cut:], labels["train"][cut:]),
        Part(images["test"], labels["test"]),
    )


def shifted(images: np.ndarray, generator: np.random.Generator, share: float) -> np.ndarray:
    """A ``share`` of the images moved by -1, 0 or 1 pixel along each axis; what moves in is 0."""
    padded = np.pad(images.reshape(-1, 28, 28), ((0, 0), (1, 1), (1, 1)))
    offset = generator.integers(0, 3, (2, len(images)))
    offset[:, generator.random(len(images)) >= share] = 1
    rows = np.arange(28)[None, :, None] + offset[0][:, None, None]
    columns = np.arange(28)[None, None, :] + offset[1][:, None, None]
    return padded[np.arange(len(images))[:, None, None], rows, columns].reshape(len(images), 784)
