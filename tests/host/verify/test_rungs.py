"""The rungs rtl and netlist on whole graphs, in both simulators and on every family's cells."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
from neuroloom.boards import toolchain
from neuroloom.compiler.errors import InputError, MismatchError, MissingToolError
from neuroloom.compiler.ir import Builder, Type
from neuroloom.host.verify import ladder, netlist, rtl
from neuroloom.host.verify.result import RungResult, random_vectors


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(2)
    b = Builder("small")
    x = b.input("x", Type(5), (6,), bounds=(0, 16))
    v = b.node("compare", [x], indices=np.arange(18, dtype=np.int32) % 6, thresholds=rng.integers(1, 17, 18))
    v = b.node(
        "lut",
        [v],
        indices=rng.integers(0, 18, (30, 4)).astype(np.int32),
        tables=rng.integers(1, 65535, 30, dtype=np.uint64),
    )
    s = b.node("group_sum", [v], offsets=np.array([0, 12, 20, 30]), indices=np.arange(30, dtype=np.int32))
    b.output("class", b.node("argmax", [s], axis=0, last=False))
    return b.finish()


@pytest.mark.parametrize("interval", [1, 3])
def test_rtl_in_both_simulators(small, require_tool, interval):
    require_tool("iverilog")
    result = rtl.check(small, random_vectors(small, 60, interval), register_interval=interval, seed=interval)
    assert result.ok and result.samples == 60 and result.facts["latency"] > 1
    assert "verilator and icarus" in result.detail


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s_85f", "tang_nano_9k"])
def test_netlist_of_every_family(small, require_tool, board):
    require_tool("iverilog")
    result = netlist.check(small, random_vectors(small, 60, 1), board=board, seed=3)
    assert result.ok and 30 < result.facts["luts"] < 400


def test_a_missing_icarus_is_named_or_refused(monkeypatch):
    monkeypatch.setenv("IVERILOG", "/nonexistent/iverilog")
    monkeypatch.delenv("NEUROLOOM_REQUIRE_ALL", raising=False)
    simulators, note = rtl.present()
    assert simulators == ("verilator",) and "icarus skipped" in note and "apt-get install iverilog" in note
    monkeypatch.setenv("NEUROLOOM_REQUIRE_ALL", "1")
    with pytest.raises(MissingToolError, match="iverilog"):
        rtl.present()


def test_limit_and_bad_vectors(small):
    with pytest.raises(InputError, match="at least 1"):
        rtl.check(small, np.zeros((3, 6), int), register_interval=1, limit=0)
    with pytest.raises(InputError, match="0..16, not 17"):
        rtl.check(small, np.full((3, 6), 17), register_interval=1)


def _rungs(monkeypatch, **slow):
    """The ladder with rungs of this test's own in place of those that simulate hardware."""
    monkeypatch.setattr(ladder, "RUNGS_OF", {"logic": {**ladder.RUNGS, **slow}})


def test_slow_rungs_run_at_once_and_are_reported_from_the_bottom_up(small, monkeypatch):
    both = threading.Barrier(2, timeout=20)  # each waits for the other: one after the other would never end

    def rung(name):
        def run(context):
            both.wait()
            return RungResult(name, True, 1, 1, "", 0.0)

        return run

    _rungs(monkeypatch, rtl=rung("rtl"), netlist=rung("netlist"))
    seen = []
    ladder.climb(small, random_vectors(small, 3, 1), to="netlist", jobs=2, on_rung=lambda r: seen.append(r.name))
    assert seen == ["graph", "fast", "rtl", "netlist"]


def test_a_difference_ends_the_tools_of_the_other_rungs(small, monkeypatch, tmp_path):
    begun = threading.Event()

    def netlist_rung(context):
        begun.set()
        python = toolchain.Tool("python", (sys.executable, "-c"), "", "path", tmp_path)
        toolchain.run(python, ["import time; time.sleep(60)"], cwd=tmp_path, timeout=60)

    def rtl_rung(context):
        begun.wait(20)
        raise MismatchError("bit 3")

    _rungs(monkeypatch, rtl=rtl_rung, netlist=netlist_rung)
    started, seen = time.monotonic(), []
    with pytest.raises(MismatchError, match="bit 3"):
        ladder.climb(small, random_vectors(small, 3, 1), to="netlist", jobs=2, on_rung=lambda r: seen.append(r.name))
    assert time.monotonic() - started < 30 and seen == ["graph", "fast"]
