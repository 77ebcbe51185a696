"""Every operation's hardware in real simulators."""

from __future__ import annotations

from neuroloom.host.verify import rtl
from neuroloom.host.verify.result import random_vectors


def test_every_operation_in_both_simulators(zoo, require_tool):
    require_tool("iverilog")
    result = rtl.check(zoo, random_vectors(zoo, 150, 9), register_interval=3, seed=9)
    assert result.ok and result.samples == 150
