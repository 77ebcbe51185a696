"""scikit-learn's handwritten digits (1,797 real 8x8 images, bundled with the package) and how the example splits them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Split(NamedTuple):
    """Images uint8 [N, 64] with values 0..16, labels int64 [N]."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """All 1,797 images in the order of the data set: neighbours come from the same writer."""
    data = load_digits()
    return data.data.astype(np.uint8), data.target.astype(np.int64)


def stratified_fifth() -> Split:
    """The example's split: a stratified fifth for the test, so most writers are in both parts."""
    images, labels = images_and_labels()
    a, b, c, d = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    return Split(a, c, b, d)


def last_fifth() -> Split:
    """The harder split: the last 360 images, from writers that the training part has not seen."""
    images, labels = images_and_labels()
    cut = len(images) - 360
    return Split(images[:cut], labels[:cut], images[cut:], labels[cut:])


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each image moved by -1, 0 or 1 pixel along each axis; what moves out is lost, what moves in is 0."""
    padded = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    dy, dx = generator.integers(0, 3, (2, len(images), 1, 1))
    rows = np.arange(8)[None, :, None] + dy
    columns = np.arange(8)[None, None, :] + dx
    return padded[np.arange(len(images))[:, None, None], rows, columns].reshape(len(images), 64)
