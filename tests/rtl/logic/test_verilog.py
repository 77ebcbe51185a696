"""The emitted text: expressions, header, size and speed; what it computes is tested in simulators (tests/host/verify)."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.emit import to_rtlil
from neuroloom.rtl.logic.engine import LogicEngine, plan, write_plan, write_verilog
from neuroloom.rtl.logic.expressions import at_least, template


def evaluate(text: str, values: list[int]) -> int:
    """Verilog expression of one-bit operands in Python."""
    text = text.format(*values).replace("1'b", "")
    while match := re.search(r"\(([^()?]+) \? ([^()?:]+) : ([^()?:]+)\)", text) or re.search(r"\(([^()?]+)\)", text):
        parts = match.groups()
        value = plain(parts[0]) if len(parts) == 1 else plain(parts[1]) if plain(parts[0]) else plain(parts[2])
        text = text[: match.start()] + str(value) + text[match.end() :]
    return plain(text)


def plain(text: str) -> int:
    text = text.replace("~0", "T").replace("~1", "0").replace("T", "1")
    return eval(text, {"__builtins__": {}})  # digits and operators only


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_every_truth_table_up_to_three_inputs(size):
    for table in range(1 << (1 << size)):
        text, literals = template(table, size)
        assert literals <= 6
        for address in range(1 << size):
            assert evaluate(text, [address >> k & 1 for k in range(size)]) == table >> address & 1, (table, text)


@pytest.mark.parametrize("size", [4, 5, 6])
def test_random_truth_tables(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        table = int.from_bytes(rng.bytes(8), "little") & ((1 << (1 << size)) - 1)
        text, _ = template(table, size)
        for address in range(1 << size):
            assert evaluate(text, [address >> k & 1 for k in range(size)]) == table >> address & 1


def test_thresholds_for_every_input():
    for size in range(1, 6):
        for threshold in range(1 << size):
            text = at_least(threshold, size)
            for x in range(1 << size):
                assert evaluate(text, [x >> k & 1 for k in range(size)]) == (x >= threshold)


def test_header_states_layout_latency_and_throughput(network):
    graph = network(3, inputs=12, hi=16)
    ready = plan(graph, 2)
    text = write_verilog(graph, 2, name="mine")
    assert "module mine (" in text
    assert f"one sample per clock, {ready.latency} clock cycles of latency" in text
    assert "i_data[59:0]  x  12 x u5, shape [12]" in text
    assert re.search(r"o_data\[\d+:0\]  scores  5 x s\d+, shape \[5\]", text)
    assert text.isascii() and "SB_" not in text and "$" not in text


def test_plain_verilog_2001_without_warnings(zoo, require_tool, tmp_path):
    require_tool("iverilog")
    (tmp_path / "core.v").write_text(write_verilog(zoo, 2))
    done = toolchain.run("iverilog", ["-g2001", "-Wall", "-o", "core.vvp", "core.v"], cwd=tmp_path, timeout=120)
    assert done.output == ""


def test_equal_networks_give_equal_text(network):
    assert write_verilog(network(4), 2) == write_verilog(network(4), 2)


def test_names_from_outside_cannot_leave_a_comment(network):
    graph = network(1)
    graph.nodes[0].source = 'a\n`include "x"\\'
    text = write_verilog(graph, 1)
    assert "// a?`include" in text
    assert not any(line.lstrip().startswith("`include") for line in text.splitlines())


def test_two_engines_in_one_design_have_different_modules(network):
    a, b = LogicEngine(plan(network(1), 1)), LogicEngine(plan(network(2), 1))
    assert a.module != b.module and list(a.extra_files) == [f"{a.module}.v"]
    assert a.latency == a.plan.latency
    for engine in (a, b):
        assert f"cell \\{engine.module} " in to_rtlil(engine)


def test_fifty_thousand_gates_within_a_minute(network):
    graph = network(0, inputs=784, hi=255, compares=6000, layers=(8000,) * 6 + (2000,), groups=10)
    started = time.monotonic()
    ready = plan(graph, 3)
    text = write_plan(ready)
    seconds = time.monotonic() - started
    assert text.count("wire n") > 30_000
    assert seconds < 60
