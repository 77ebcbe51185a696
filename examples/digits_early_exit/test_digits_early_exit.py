"""Accuracy and share of early answers in fixed point; the exit really is a branch of the graph."""

from __future__ import annotations

import numpy as np
import pytest

from examples.digits_early_exit.compiled import ALWAYS, NEVER, classes, compiled
from examples.digits_logic import data

TEST = data.stratified_fifth()


@pytest.mark.parametrize(("threshold", "right"), [(ALWAYS, 354), (0.9, 356), (NEVER, 356)])
def test_accuracy_over_the_threshold(threshold: float, right: int) -> None:
    found = classes(compiled(threshold), TEST.test_images)
    assert int((found == TEST.test_labels).sum()) == right


def test_the_exit_is_a_branch_and_both_engines_agree() -> None:
    model = compiled()
    (branch,) = (n for n in model.graph.nodes if n.op == "when")
    assert [n.op for n in branch.regions[1].nodes].count("matvec") == 3
    assert not any(n.op == "matvec" for n in branch.regions[0].nodes)
    images = TEST.test_images[:40]
    assert np.array_equal(model.simulate(images), model.simulate(images, engine="reference"))
