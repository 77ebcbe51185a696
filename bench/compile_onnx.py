"""Seconds and memory from an ONNX file to the optimised graph, for 10 thousand, 100 thousand and 1 million gates."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import networks
from bench.benchmark import Benchmark, Say, register
from bench.results import table

SIZES = {"10k": (5, 2_000), "100k": (10, 10_000), "1M": (20, 50_000)}
TARGET_S, TARGET_GIB = 20, 4

_RUN = """
import json, resource, sys, time
t = time.perf_counter()
import neuroloom as nl
imported = time.perf_counter() - t
t, c = time.perf_counter(), time.process_time()
m = nl.compile(sys.argv[1])
wall, cpu = time.perf_counter() - t, time.process_time() - c
luts = sum(len(n.attrs["tables"]) for n in m.graph.nodes if n.op == "lut")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"import_s": round(imported, 2), "seconds": round(wall, 2), "cpu_s": round(cpu, 2),
                  "peak_gib": round(peak, 2), "luts": luts, "passes": m.graph.records.get("seconds")}))
"""


def run(say: Say, seed: int) -> dict[str, Any]:
    """Each size in a fresh process, after one small network has filled the cache of compiled loops."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _fresh(networks.random_onnx(folder / "small.onnx", 2, 100, seed))
        for label, (layers, width) in SIZES.items():
            path = networks.random_onnx(folder / f"random_{label}.onnx", layers, width, seed)
            found[label] = {"gates": layers * width, "file_mib": round(path.stat().st_size / 2**20, 1), **_fresh(path)}
            say(f"{label}: {found[label]['seconds']} s, {found[label]['peak_gib']} GiB")
            path.unlink()
    return found


def _fresh(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path)], capture_output=True, text=True, check=True, timeout=1800
    )
    return json.loads(done.stdout)


def render(found: dict[str, Any]) -> str:
    """One row per size."""
    rows = [
        [
            b["gates"],
            b["file_mib"],
            b["seconds"],
            b["cpu_s"],
            f"{1e6 * b['cpu_s'] / b['gates']:.1f}",
            b["peak_gib"],
            b["luts"],
        ]
        for b in found.values()
    ]
    head = [
        "gates",
        "file, MiB",
        "seconds",
        "processor seconds",
        "processor µs per gate",
        "peak memory, GiB",
        "LUT4 left",
    ]
    return f"{table(head, rows)}\n\nTarget: 1,000,000 gates within {TARGET_S} s and {TARGET_GIB} GiB, growing linearly."


register(
    Benchmark("compile", "ONNX of random two-input gates to the optimised graph, each in a fresh process.", run, render)
)
