"""The committed MNIST networks are those the README describes, the same in numpy and in onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
CORRECT = {"small": 9724, "gates48k": 9803, "conv": 9882}
"""Test images right, of 10,000, by network."""


@pytest.fixture(scope="module")
def test_part():
    from examples.mnist_logic import data

    path = Path(os.environ.get("NEUROLOOM_MNIST", data.DEFAULT_PATH))
    if not path.exists():
        pytest.skip(f"MNIST is not at {path}; name the file in NEUROLOOM_MNIST")
    return data.load(path).test


def model(name: str) -> Path:
    return HERE / f"mnist_{name}.onnx"


@pytest.mark.parametrize("name", CORRECT)
def test_committed_file_is_small(name: str) -> None:
    assert model(name).stat().st_size < 1_000_000


def test_numpy_accuracy_is_the_one_stated(test_part) -> None:
    """Of the small network only: numpy takes long on the others, whose figures ``examples/test_pipeline.py`` holds."""
    from examples.training.onnx_file import read

    assert read(model("small")).correct(test_part.images, test_part.labels) == CORRECT["small"]


@pytest.mark.parametrize("name", CORRECT)
def test_onnxruntime_gives_the_same_scores(name: str, test_part, onnx_scores) -> None:
    from examples.training.onnx_file import read

    network = read(model(name))
    images = test_part.images[::100]
    counts = network.scores(images)
    scores, labels = onnx_scores(model(name), images)
    assert np.array_equal(scores, counts.astype(np.float32) / np.float32(network.layers[-1].tau))
    assert np.array_equal(labels, counts.argmax(1))


def test_gates48k_has_48000_gates() -> None:
    from examples.training.hardened import Tables
    from examples.training.onnx_file import read

    shapes = [layer.tables.shape for layer in read(model("gates48k")).layers if isinstance(layer, Tables)]
    assert shapes == [(nodes, 4) for nodes in (24_000, 12_000, 6_000, 3_000, 2_000, 1_000)]
