"""Artix-7 resources of the trained networks through Yosys, beside published rows."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from neuroloom.boards import toolchain
from neuroloom.host.flow import schedule_model
from neuroloom.rtl.logic.engine import module_name, write_plan

import neuroloom as nl
from bench import networks
from bench.benchmark import Benchmark, Say, register
from bench.results import table

NETWORKS = {"mnist_small": "97.24", "mnist_gates48k": "98.03"}
"""Networks and their accuracy on all 10,000 test images, which the examples' own tests hold."""

INTERVALS = (2, 4)

PUBLISHED = (
    ("DWN sm, encoder not counted", "97.1", "692", "422", "827 MHz, 2.4 ns"),
    ("DWN lg, encoder not counted", "98.3", "4082", "3385", "827 MHz, 6.0 ns"),
    ("DWN 1×300, encoder in, xc7a35t-1", "96.77", "1597", "945", "107 MHz, 4 cycles"),
    ("DWN 1×1000, encoder in, xc7a35t-1", "97.97", "3490", "1833", "93 MHz, 4 cycles"),
    ("TreeLUT II", "96", "3499", "759", "874 MHz, 2.3 ns"),
    ("NeuraLUT", "96", "54798", "3757", "431 MHz, 12 ns"),
    ("PolyLUT-Add", "96", "14810", "2609", "625 MHz, 10 ns"),
    ("FINN SFC-max", "96", "91131", "", "200 MHz, 310 ns"),
    ("difflogic 6×8000, 20×20 pixels, Efinix, LUT4", "96", "4480", "", "50 MHz"),
)
"""Network, accuracy in percent, LUT, FF, speed; as their authors published them, VU9P out of context unless noted."""


def run(say: Say, seed: int) -> dict[str, Any]:
    """Every network that is there, with registers after every second and every fourth LUT level."""
    found = {}
    for name in NETWORKS:
        path = networks.trained().get(name)
        if path is None:
            say(f"{name} is not there; left out")
            continue
        graph = nl.compile(path, lut_size=6).graph
        for interval in INTERVALS:
            ready = schedule_model(graph, register_interval=interval)
            cells, seconds = _xilinx(write_plan(ready), module_name(graph))
            found[f"{name}, interval {interval}"] = {
                "network": name,
                "interval": interval,
                "luts": sum(cells.get(f"LUT{k}", 0) for k in range(1, 7)),
                "ffs": sum(n for kind, n in cells.items() if kind.startswith("FD")),
                "carry4": cells.get("CARRY4", 0),
                "latency": ready.latency,
                "cells": cells,
                "yosys": toolchain.find("yosys").version,
                "yosys_s": round(seconds, 1),
            }
            say(f"{name}, interval {interval}: {found[f'{name}, interval {interval}']['luts']} LUT")
    return found


def _xilinx(verilog: str, top: str) -> tuple[dict[str, int], float]:
    """Cell counts of the flattened module, without pads and clock buffers; Yosys' seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        work = Path(name)
        (work / "core.v").write_text(verilog)
        script = f"""read_verilog core.v
synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}
tee -q -o stat.json stat -json
"""
        (work / "synth.ys").write_text(script)
        toolchain.run("yosys", ["-q", "-s", "synth.ys"], cwd=work, timeout=3600, log=work / "log")
        counts = json.loads((work / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {str(k): int(n) for k, n in counts.items()}, time.perf_counter() - started


def render(found: dict[str, Any]) -> str:
    """Our rows, then the published ones."""
    rows = [
        [
            f"**{b['network']}**, encoder and arg-max in, a register every {b['interval']} LUTs",
            NETWORKS[b["network"]],
            b["luts"],
            b["ffs"],
            f"{b['latency']} cycles, {b['carry4']} CARRY4",
        ]
        for b in found.values()
    ]
    head = ["MNIST, 10,000 test images", "%", "LUT6", "FF", "speed"]
    return (
        table(head, [*rows, *PUBLISHED])
        + "\n\nOurs: Yosys `synth_xilinx -family xc7`, out of context, flattened; no vendor placement, so no Fmax is claimed."
    )


register(Benchmark("synth", "Artix-7 figures of the MNIST networks through Yosys, beside published ones.", run, render))
