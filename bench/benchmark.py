"""What a benchmark is, and the registry of them; importing a module of this folder adds its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Say = Callable[[str], None]


@dataclass(frozen=True)
class Benchmark:
    """``run(say, seed)`` measures and returns what goes into the record; ``render(results)`` shows it as markdown."""

    name: str
    about: str
    run: Callable[[Say, int], Any]
    render: Callable[[Any], str]


REGISTRY: dict[str, Benchmark] = {}


def register(benchmark: Benchmark) -> None:
    """Add a benchmark; they run in the order in which they were added."""
    if benchmark.name in REGISTRY:
        raise ValueError(f"benchmark names must differ, {benchmark.name} is taken")
    REGISTRY[benchmark.name] = benchmark


MODULES = (
    "simulate",
    "spiking",
    "spiking_core",
    "spiking_line",
    "link",
    "virtual",
    "compile_onnx",
    "elaborate",
    "flashing",
    "synth",
    "gated",
    "place",
    "place_cores",
    "place_gated",
)
"""Modules of this folder that register benchmarks, the long ones last."""


def everything() -> Mapping[str, Benchmark]:
    """All benchmarks, in the order in which they run: that of MODULES, whichever was imported first."""
    for module in MODULES:
        importlib.import_module(f"bench.{module}")
    place = {f"bench.{module}": i for i, module in enumerate(MODULES)}
    return dict(sorted(REGISTRY.items(), key=lambda item: place[item[1].run.__module__]))
