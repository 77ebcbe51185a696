"""Networks of real size on the ULX3S' engines under Icarus: answers and cycles, once in a campaign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from neuroloom.host.verify.gated import drive
from neuroloom.host.verify.rtl import present

from bench.gated import gru_step, lfads, profile_of


def arrays_of(graph: Any, count: int, steps: int) -> dict[str, np.ndarray]:
    """Inputs as they come in use: a few bits."""
    rng = np.random.default_rng(11)
    lead = (count, steps) if graph.clocked else (count,)
    return {i.name: rng.integers(max(i.range[0], 0), 1 << 13, (*lead, *i.value.shape)) for i in graph.inputs}


@pytest.mark.campaign
@pytest.mark.parametrize("profile", ["lanes16", "lanes128"])
def test_a_gru_of_64_units(profile: str) -> None:
    if "icarus" not in present()[0]:
        pytest.skip(present()[1])
    graph = gru_step()
    assert drive(graph, profile_of("ulx3s_85f", profile), arrays_of(graph, 1, 2), "icarus") > 0


@pytest.mark.campaign
def test_a_trial_of_the_size_of_lfads() -> None:
    if "icarus" not in present()[0]:
        pytest.skip(present()[1])
    graph = lfads()
    assert drive(graph, profile_of("ulx3s_85f", "lanes128"), arrays_of(graph, 1, 1), "icarus") > 0
