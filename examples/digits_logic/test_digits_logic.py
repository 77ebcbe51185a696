"""The committed digits network is the one the README describes, bit by bit the same in numpy and in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

MODEL = Path(__file__).parent / "digits_logic.onnx"
CORRECT = 350
"""Of the 360 test images."""


@pytest.fixture(scope="module")
def split(require_tool):
    require_tool("sklearn")
    from examples.digits_logic import data

    return data.stratified_fifth()


def test_committed_file_is_small() -> None:
    assert MODEL.stat().st_size < 100_000


def test_numpy_accuracy_is_the_one_stated(split) -> None:
    from examples.training.onnx_file import read

    network = read(MODEL)
    assert network.correct(split.test_images, split.test_labels) == CORRECT
    tables = [layer.tables.shape for layer in network.layers if hasattr(layer, "tables")]
    assert tables == [(800, 16), (300, 16)]


def test_onnxruntime_gives_the_same_scores(split, onnx_scores) -> None:
    from examples.training.onnx_file import read

    network = read(MODEL)
    scores, labels = onnx_scores(MODEL, split.test_images)
    counts = network.scores(split.test_images)
    expected = (counts.astype(np.float32) / np.float32(network.layers[-1].tau)).astype(np.float32)
    assert np.array_equal(scores, expected)
    assert np.array_equal(labels, counts.argmax(1))
    assert int((labels == split.test_labels).sum()) == CORRECT
