"""Accuracy in fixed point; every block stands in a branch that its gate opens."""

from __future__ import annotations

import numpy as np
import pytest

import neuroloom as nl
from examples.digits_logic import data
from examples.skipnet_digits.compiled import classes, compiled, gates

TEST = data.stratified_fifth()


@pytest.fixture(scope="module")
def model() -> nl.Model:
    return compiled()


def test_accuracy(model: nl.Model) -> None:
    assert int((classes(model, TEST.test_images) == TEST.test_labels).sum()) == 352


def test_every_block_stands_in_a_branch(model: nl.Model) -> None:
    assert len(gates(model)) == 4
    for node in model.graph.nodes:
        if node.op == "when":
            assert [n.op for n in node.regions[0].nodes].count("matvec") == 2
            assert not any(n.op == "matvec" for n in node.regions[1].nodes)
    images = TEST.test_images[:40]
    assert np.array_equal(model.simulate(images), model.simulate(images, engine="reference"))
