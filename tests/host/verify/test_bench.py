"""The testbench finds what it must find: wrong bits, wrong latency, lost back-pressure, answers that outlive a reset."""

from __future__ import annotations

import re

import pytest
from neuroloom.compiler.errors import MismatchError
from neuroloom.compiler.ir import BIT, Builder, Type
from neuroloom.host.verify.bench import run_bench
from neuroloom.host.verify.result import random_vectors
from neuroloom.host.verify.rtl import make_job
from neuroloom.rtl.logic.engine import plan, write_plan


@pytest.fixture(scope="module")
def design():
    b = Builder("counter")
    x = b.input("x", Type(3), (4,))
    y = b.input("flag", BIT, (1,))
    b.output("total", b.node("add", [b.node("sum", [x], axes=(0,)), y]))
    b.output("best", b.node("argmax", [x], axis=0, last=False))
    graph = b.finish()
    ready = plan(graph, 2)
    job = make_job(graph, random_vectors(graph, 40, 1), ready.latency, seed=5)
    return write_plan(ready, "core"), job


def run(text, job):
    return run_bench("rtl", "icarus", {"core.v": text}, "core", job)


def broken(text: str, pattern: str, replacement: str, count: int = 1) -> str:
    out, found = re.subn(pattern, replacement, text, count=count)
    assert found
    return out


def test_the_design_as_written_passes(design, require_tool):
    require_tool("iverilog")
    text, job = design
    assert run(text, job) > 2 * 40


def test_a_wrong_bit_is_named_with_both_values(design, require_tool):
    require_tool("iverilog")
    text, job = design
    wrong = broken(text, r"assign o_data = \{([^,]*),", r"assign o_data = {~\1,")
    with pytest.raises(MismatchError) as e:
        run(wrong, job)
    message = str(e.value)
    assert re.search(
        r"rtl \(icarus\) disagrees with the graph at sample 0: output 'best'\[\] is \d, the graph says \d", message
    )
    assert "at cycle" in message and "back to back" in message and "replay it with seed 5" in message


def test_a_wrong_latency_is_found(design, require_tool):
    require_tool("iverilog")
    text, job = design
    late = type(job)(job.samples, job.answers, job.latency + 1, job.inputs, job.outputs, job.seed)
    with pytest.raises(MismatchError, match="o_valid is 1, expected 0"):
        run(text, late)


def test_lost_back_pressure_is_found(design, require_tool):
    require_tool("iverilog")
    text, job = design
    with pytest.raises(MismatchError, match="gaps and back-pressure"):
        run(broken(text, r"wire en = [^;]*;", "wire en = 1'b1;"), job)


def test_one_register_that_does_not_stand_still_is_found(design, require_tool):
    require_tool("iverilog")
    text, job = design
    with pytest.raises(MismatchError, match="gaps and back-pressure"):
        run(broken(text, r"if \(en\) (r1_0)", r"\1"), job)


def test_samples_that_outlive_a_reset_are_found(design, require_tool):
    require_tool("iverilog")
    text, job = design
    wrong = broken(text, r"if \(rst\) valid <= \d+'d0;", f"if (rst) valid[{job.latency - 1}] <= 1'b0;")
    with pytest.raises(MismatchError, match="o_valid is X, expected 0"):
        run(wrong, job)
