"""The routed experts predict in fixed point as well as in float32, and each stands in a branch of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from neuroloom.compiler.ir.graph import walk

import neuroloom as nl
from examples.experts_sunspots import data
from examples.experts_sunspots.compiled import compiled, predict


@pytest.fixture(scope="module")
def model(require_tool: Callable[[str], None]) -> nl.Model:
    require_tool("statsmodels")
    return compiled()


def test_predictions(model: nl.Model) -> None:
    part = data.part(*data.TESTS[0])
    assert data.relative_variance(part.targets, predict(model, part.windows)) < 0.14
    assert data.relative_variance(part.targets, part.windows[:, -1]) > 0.5, "last year's number again is much worse"


def test_the_chosen_expert_alone_runs(model: nl.Model) -> None:
    (branch,) = (n for n in model.graph.nodes if n.op == "when")
    kinds = [{n.op for n in walk(region.nodes)} for region in branch.regions]
    assert sum("scan" in k for k in kinds) == 1 and all("matvec" in k for k in kinds)
    windows = data.part(*data.TRAINING).windows[:20]
    assert np.array_equal(model.simulate(windows), model.simulate(windows, engine="reference"))
