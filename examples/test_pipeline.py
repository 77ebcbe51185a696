"""Every committed logic network through the product: accuracy in the fast simulator, a proof that optimising changed nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards.equivalence import check_equivalence
from neuroloom.host.accuracy import run_source
from neuroloom.sim import reference

import neuroloom as nl
from examples.digits_logic.test_digits_logic import CORRECT as DIGITS_CORRECT
from examples.mnist_logic.test_mnist_logic import CORRECT as MNIST_CORRECT

HERE = Path(__file__).parent
MODELS = sorted(HERE.glob("*_logic/*.onnx"))
CORRECT = {"digits_logic": DIGITS_CORRECT} | {f"mnist_{name}": correct for name, correct in MNIST_CORRECT.items()}


@pytest.fixture(scope="module", params=MODELS, ids=lambda path: path.stem)
def source(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def compiled(source: Path) -> nl.Model:
    return nl.compile(source)


@pytest.fixture(scope="module")
def test_part(source: Path, require_tool) -> tuple[np.ndarray, np.ndarray]:
    """Test images and labels of the network's data set."""
    if source.stem == "digits_logic":
        require_tool("sklearn")
        from examples.digits_logic.data import stratified_fifth

        split = stratified_fifth()
        return split.test_images, split.test_labels
    from examples.mnist_logic import data

    path = Path(os.environ.get("NEUROLOOM_MNIST", data.DEFAULT_PATH))
    if not path.exists():
        pytest.skip(f"MNIST is not at {path}; name the file in NEUROLOOM_MNIST")
    test = data.load(path).test
    return test.images, test.labels


def test_every_network_has_its_figure() -> None:
    assert {path.stem for path in MODELS} == set(CORRECT)


def test_accuracy_in_the_fast_simulator(source: Path, compiled: nl.Model, test_part) -> None:
    images, labels = test_part
    answers = compiled.outputs(images, engine="fast")
    assert int((answers["label"] == labels).sum()) == CORRECT[source.stem]


def test_fast_simulator_reference_and_onnxruntime_agree(
    source: Path, compiled: nl.Model, test_part, require_tool
) -> None:
    require_tool("onnxruntime")
    images = test_part[0][:: max(1, len(test_part[0]) // 40)]
    fast, want = compiled.outputs(images, engine="fast"), reference.run(compiled.graph, images)
    for name in want:
        np.testing.assert_array_equal(fast[name], want[name])
    item = compiled.graph.inputs[0]
    theirs = run_source(source, {item.source: images.reshape(len(images), *item.value.shape)})
    np.testing.assert_array_equal(theirs["label"].reshape(-1), want["label"])
    scores = compiled.dequantize(want)["scores"].astype(np.float32)
    np.testing.assert_array_equal(theirs["scores"], scores)


LONG_PROOFS = ("mnist_conv",)
"""Networks whose proof takes ABC minutes (2 min 45 s on a busy machine): left to ``make campaign``."""


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.campaign if p.stem in LONG_PROOFS else (), id=p.stem) for p in MODELS],
)
def test_optimising_changed_no_bit(path: Path) -> None:
    """A proof by ABC over all inputs, not a sample."""
    plain, optimised = nl.compile(path, optimise=False).graph, nl.compile(path).graph
    assert check_equivalence(plain, optimised, timeout=3600) is None
