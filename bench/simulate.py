"""Images per second of the bit-packed engine and of its peers, on one core, from uint8 images to classes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import neuroloom as nl
from bench import networks, peers
from bench.benchmark import Benchmark, Say, register
from bench.results import table
from bench.timing import measure

IMAGES = 1 << 17
LAYERS, WIDTH = 6, 8000
TARGET = 4_000_000
READY_TARGET_MS = 100


def run(say: Say, seed: int) -> dict[str, Any]:
    """The random and the trained network of 48,000 gates, and the peers on the same files."""
    found: dict[str, Any] = {"networks": {}, "missing": _missing()}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        files = {"random_48k": networks.random_onnx(folder / "random_48k.onnx", LAYERS, WIDTH, seed)}
        if "mnist_gates48k" in networks.trained():
            files["mnist_gates48k"] = networks.trained()["mnist_gates48k"]
        for label, path in files.items():
            found["networks"][label] = _one(say, label, path, folder, seed)
    return found


def _missing() -> list[str]:
    return [name for name in ("difflogic", "torchlogix") if importlib.util.find_spec(name) is None]


def _one(say: Say, label: str, path: Path, folder: Path, seed: int) -> dict[str, Any]:
    images = networks.images(IMAGES, seed)
    engines: dict[str, dict[str, Any]] = {}
    want: np.ndarray | None = None
    models = {"neuroloom": nl.compile(path), "neuroloom -O0": nl.compile(path, optimise=False)}
    for name, model in models.items():
        timing = measure(lambda model=model: _label(model.outputs(images, engine="fast")))
        program = model._fast_engine(()).program
        engines[name] = {**timing.rate(IMAGES), "instructions": program.gates, "rows": program.memory_rows}
        say(f"{label}: {name} {engines[name]['per_second'] / 1e6:.2f} M images/s")
        if want is None:
            want = timing.result
        _same(name, timing.result, want)
    threads = os.cpu_count() or 1
    if threads > 1:
        timing = measure(lambda: models["neuroloom"].outputs(images, engine="fast", threads=threads))
        rate = timing.rate(IMAGES)
        engines[f"neuroloom, {threads} threads"] = {k: v for k, v in rate.items() if k != "per_cpu_second"}
    assert want is not None  # the first engine set it
    for name, make, count in _peers(path, folder):
        say(f"{label}: {name}")
        classify, prepare = make()
        timing = measure(lambda c=classify, n=count: c(images[:n]), repeats=5)
        _same(name, timing.result, want[:count])
        engines[name] = {**timing.rate(count), "prepare_s": round(prepare, 2)}
    file = models["neuroloom"].save(folder / f"{label}.nloom")
    return {"images": IMAGES, "engines": engines, "ready": _ready(file, folder)}


def _peers(path: Path, folder: Path) -> list[tuple[str, Callable[[], tuple[peers.Classify, float]], int]]:
    return [
        ("onnxruntime", lambda: (peers.onnxruntime(path), 0.0), 256),
        ("numpy, gates sorted", lambda: (peers.numpy_sorted(path), 0.0), 8192),
        ("C as difflogic's, gcc -O0", lambda: peers.straight_line_c(path, folder, "-O0"), 8192),
        ("C in functions of 100 gates, gcc -O1", lambda: peers.straight_line_c(path, folder, "-O1", piece=100), 16384),
    ]


def _label(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return outputs["label"]


def _same(name: str, got: np.ndarray, want: np.ndarray) -> None:
    if not np.array_equal(np.asarray(got).reshape(-1), want.reshape(-1)):
        raise RuntimeError(f"{name} must give the same classes as neuroloom, and does not")


_READY = """
import json, sys, time
import numpy as np
t = [time.perf_counter()]
import neuroloom as nl
import neuroloom.model, neuroloom.sim.fast
t.append(time.perf_counter())
m = nl.load(sys.argv[1])
t.append(time.perf_counter())
m._fast_engine(())
t.append(time.perf_counter())
m.outputs(np.zeros((1, 784), np.uint8), engine="fast")
t.append(time.perf_counter())
print(json.dumps([round(1e3 * (b - a), 1) for a, b in zip(t, t[1:])]))
"""


def _ready(file: Path, folder: Path) -> dict[str, list[float]]:
    """Milliseconds to import, load, prepare and answer once: medians of fresh processes, and with nothing compiled yet."""
    runs = [_fresh(file, {}) for _ in range(5)]
    first = _fresh(file, {"NUMBA_CACHE_DIR": str(folder / "jit")})
    return {"warm": [float(np.median(x)) for x in zip(*runs, strict=True)], "first_ever": first}


def _fresh(file: Path, extra: dict[str, str]) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _READY, str(file)],
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def render(found: dict[str, Any]) -> str:
    """A table per network, and the time until ready."""
    parts = []
    for label, body in found["networks"].items():
        own = body["engines"]["neuroloom"]["per_cpu_second"]
        rows = []
        for name, e in body["engines"].items():
            ratio = "" if name.startswith("neuroloom") else f"{own / e['per_cpu_second']:.0f}×"
            made = f"{e['prepare_s']:.1f} s" if e.get("prepare_s") else ""
            cpu = _m(e["per_cpu_second"]) if "per_cpu_second" in e else ""
            rows.append([name, _m(e["per_second"]), cpu, _m(e["best_per_second"]), made, ratio])
        head = [
            "engine",
            "M images/s (median)",
            "per processor second",
            "best run",
            "gcc",
            "neuroloom is faster by (processor time)",
        ]
        warm, first = body["ready"]["warm"], body["ready"]["first_ever"]
        size = body["engines"]["neuroloom"]
        parts.append(f"### {label}\n\n{table(head, rows)}\n")
        parts.append(
            f"The program has {size['instructions']} instructions per 512 images on {size['rows']} rows. From the `.nloom` file: "
            f"import {warm[0]:.0f} ms, load {warm[1]:.0f} ms, prepare {warm[2]:.0f} ms (at most {READY_TARGET_MS}), first answer "
            f"{warm[3]:.0f} ms; with nothing compiled yet, once per machine: {sum(first) / 1e3:.1f} s in all.\n"
        )
    if found["missing"]:
        parts.append(
            f"{' and '.join(found['missing'])} are not in this environment "
            "(difflogic builds with CUDA, torchlogix needs Python 3.12); "
            "the C rows are the benchmark's own code of the same form."
        )
    parts.append(f"Target: {TARGET / 1e6:.0f} M images/s on one core.")
    return "\n".join(parts)


def _m(rate: float) -> str:
    return f"{rate / 1e6:.2f}" if rate >= 1e5 else f"{rate / 1e6:.4f}"


register(
    Benchmark("simulate", "48,000 gates, uint8 images to classes, one core, beside peers in the same run.", run, render)
)
