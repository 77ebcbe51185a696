"""Time of the optimiser grows in proportion to the gates; ``test_million`` shows the figures (campaign)."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from neuroloom.compiler.ir import BIT, Builder
from neuroloom.compiler.netlist.gains import table_counts
from neuroloom.compiler.pipeline import compile_graph

USEFUL = np.array([1, 2, 4, 6, 7, 8, 9, 11, 13, 14], np.uint64)
"""The two-input tables in which both inputs matter."""


def network(gates, layers=10, inputs=784):
    rng = np.random.default_rng(0)
    b = Builder("random")
    seen, width = b.input("x", BIT, (inputs,)), gates // layers
    for number in range(layers):
        rows = rng.integers(0, b[seen].size, (width, 2)).astype(np.int32)
        seen = b.node("lut", [seen], indices=rows, tables=rng.choice(USEFUL, width), source=f"layer{number}")
    groups = np.linspace(0, width, 11).astype(np.int64)
    b.output("scores", b.node("group_sum", [seen], offsets=groups, indices=np.arange(width, dtype=np.int32)))
    return b.finish()


def seconds(gates):
    """Processor time, tables after, of one compilation."""
    graph = network(gates)
    start = time.process_time()
    done = compile_graph(graph)
    return time.process_time() - start, sum(table_counts(done).values())


def test_time_grows_linearly():
    seconds(1000)  # compiles the loops
    small, _ = seconds(20_000)
    large, tables = seconds(200_000)
    assert large < 20 * max(small, 0.1)
    assert tables < 0.56 * 200_000


@pytest.mark.campaign
@pytest.mark.parametrize("gates", [10_000, 100_000, 1_000_000])
def test_million(gates):
    taken, tables = seconds(gates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{gates} gates: {taken:.1f} s, {tables} tables, peak {peak} MiB")
    assert taken < 20 and peak < 4096
