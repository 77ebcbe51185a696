"""Seconds from the optimised graph to Verilog."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from neuroloom.host.flow import core_verilog

import neuroloom as nl
from bench import networks
from bench.benchmark import Benchmark, Say, register
from bench.results import table

LAYERS, WIDTH = 10, 5000
TARGET_S = 60


def run(say: Say, seed: int) -> dict[str, Any]:
    """50,000 random gates, as they are and optimised."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = networks.random_onnx(Path(name) / "random_50k.onnx", LAYERS, WIDTH, seed)
        for label, optimise in (("as imported", False), ("optimised", True)):
            model = nl.compile(path, optimise=optimise)
            luts = sum(len(n.attrs["tables"]) for n in model.graph.nodes if n.op == "lut")
            wall, cpu = time.perf_counter(), time.process_time()
            text = core_verilog(model.graph, register_interval=2)
            found[label] = {
                "gates": LAYERS * WIDTH,
                "luts": luts,
                "seconds": round(time.perf_counter() - wall, 2),
                "cpu_s": round(time.process_time() - cpu, 2),
                "verilog_mib": round(len(text) / 2**20, 2),
            }
            say(f"{label}: {found[label]['seconds']} s")
    return found


def render(found: dict[str, Any]) -> str:
    """One row per graph."""
    rows = [[k, b["gates"], b["luts"], b["seconds"], b["cpu_s"], b["verilog_mib"]] for k, b in found.items()]
    head = ["graph", "gates", "tables", "seconds", "processor seconds", "Verilog, MiB"]
    return f"{table(head, rows)}\n\nTarget: {TARGET_S} s."


register(Benchmark("elaborate", "50,000 gates to Verilog, registers after every second LUT level.", run, render))
