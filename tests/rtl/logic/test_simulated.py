"""Every operation's hardware in real simulators."""

from __future__ import annotations

import pytest
from neuroloom.host.verify import rtl
from neuroloom.host.verify.result import random_vectors


def test_every_operation(zoo, require_tool):
    require_tool("iverilog")
    result = rtl.check(zoo, random_vectors(zoo, 100, 9), register_interval=4, seed=9, simulators=("icarus",))
    assert result.ok and result.samples == 100


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(30))
def test_random_networks_with_random_intervals(seed, network, require_tool):
    require_tool("iverilog")
    graph = network(seed, inputs=1 + seed, hi=[1, 16, 255][seed % 3], groups=1 + seed % 12, k=1 + seed % 6)
    vectors = random_vectors(graph, 100, seed)
    simulators = ("icarus",) if seed % 5 else ("verilator", "icarus")
    assert rtl.check(graph, vectors, register_interval=seed % 7, seed=seed, simulators=simulators).ok


@pytest.mark.campaign
@pytest.mark.parametrize("interval", [0, 1, 2, 8])
def test_every_operation_with_every_kind_of_pipeline(interval, zoo, require_tool):
    require_tool("iverilog")
    assert rtl.check(zoo, random_vectors(zoo, 100, interval), register_interval=interval).ok
