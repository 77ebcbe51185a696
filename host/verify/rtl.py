"""The rung "rtl": the emitted Verilog under Verilator and Icarus against the reference interpreter, bit and cycle exact."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import numpy as np
from neuroloom.boards import toolchain
from neuroloom.compiler.errors import MissingToolError
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.wire import answer_fields, pack, sample_fields
from neuroloom.rtl.logic.engine import plan, write_plan
from neuroloom.sim import reference

from .bench import Job, run_bench
from .result import RungResult, vectors_of

TOP = "core"


def check(
    graph: Graph,
    vectors: Mapping[str, np.ndarray] | np.ndarray,
    *,
    register_interval: int,
    lut_size: int = 4,
    seed: int = 0,
    limit: int | None = None,
    simulators: Sequence[str] | None = None,
) -> RungResult:
    """Simulate the logic engine's Verilog on the samples and compare it with the graph.

    All samples back to back (exact latency, one per clock), then 256 of them with random gaps and back-pressure, resets with
    samples on their way, and all again. ``simulators`` None takes both; without Icarus on the machine Verilator runs alone
    and the result says so, unless NEUROLOOM_REQUIRE_ALL=1. Raises MismatchError with the first difference, MissingToolError,
    UnsupportedError.
    """
    started = time.monotonic()
    arrays = vectors_of(graph, vectors, limit)
    note = ""
    if simulators is None:
        simulators, note = present()
    ready = plan(graph, register_interval, lut_size=lut_size)
    text = write_plan(ready, TOP)
    job = make_job(graph, arrays, ready.latency, seed)
    cycles = 0
    for simulator in simulators:
        cycles += run_bench("rtl", simulator, {f"{TOP}.v": text}, TOP, job)
    count = len(job.samples)
    detail = f"{' and '.join(simulators)}: latency {ready.latency} cycles, one sample per clock, {ready.registers} registers{note}"
    facts = {"latency": ready.latency, "registers": ready.registers, "verilog_bytes": len(text)}
    return RungResult("rtl", True, count, cycles, detail, time.monotonic() - started, facts)


def present() -> tuple[Sequence[str], str]:
    """The simulators to use, and what to say of one that is absent; raises MissingToolError where all are required."""
    try:
        toolchain.find("iverilog")
        toolchain.find("vvp")
    except MissingToolError as e:
        if os.environ.get("NEUROLOOM_REQUIRE_ALL") == "1":
            raise
        return ("verilator",), f"; icarus skipped: {e}"
    return ("verilator", "icarus"), ""


def make_job(graph: Graph, arrays: Mapping[str, np.ndarray], latency: int, seed: int) -> Job:
    """The testbench's job: samples and the reference interpreter's answers, packed as on the ports."""
    answers = reference.run(graph, arrays)
    inputs, outputs = sample_fields(graph), answer_fields(graph)
    return Job(pack(inputs, arrays), pack(outputs, answers), latency, inputs, outputs, seed)
