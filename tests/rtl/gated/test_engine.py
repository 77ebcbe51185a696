"""The engine's RTL under Icarus and Verilator: answers as the graph says, cycles as the compiler says, to the bit and the cycle."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from neuroloom.compiler.errors import MismatchError
from neuroloom.compiler.gated import core, executor, timing
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.host.verify.gated import drive, engine_verilog
from neuroloom.host.verify.rtl import present
from neuroloom.rtl.gated import port

from .conftest import CONFIGS, GRAPHS

TINY = GatedConfig(
    *("tiny", 2, 1, 2, 16, 8, 32, 40, 6), vector_words=1024, weight_rows=1024, table_words=2048, program_words=256
)


def arrays_of(graph: Any, count: int, steps: int) -> dict[str, np.ndarray]:
    """Random samples."""
    rng = np.random.default_rng(5)
    lead = (count, steps) if graph.clocked else (count,)
    return {i.name: rng.integers(i.range[0], i.range[1] + 1, (*lead, *i.value.shape)) for i in graph.inputs}


def icarus() -> None:
    """Skip, loudly, without Icarus (a failure where everything is required)."""
    if "icarus" not in present()[0]:
        pytest.skip(present()[1])


@pytest.mark.parametrize("name", list(GRAPHS))
def test_graphs_under_icarus(name: str) -> None:
    icarus()
    graph = GRAPHS[name]()
    drive(graph, CONFIGS["split"], arrays_of(graph, 2, 2), "icarus")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("one", "gated"),
        ("wide", "dense"),
        ("own", "autoencoder"),
        ("own", "delta_step"),
        ("wide", "delta_scan"),
        ("own", "gru_scan"),
    ],
)
def test_other_engines_under_icarus(config: str, name: str) -> None:
    icarus()
    graph = GRAPHS[name]()
    drive(graph, CONFIGS[config], arrays_of(graph, 2, 2), "icarus")


def test_small_logic_under_icarus() -> None:
    """Weights in memory without initial content, samples bit by bit, few registers, places that wait in memory."""
    icarus()
    graph = GRAPHS["comparisons"]()
    small = replace(
        CONFIGS["one"], spram=True, lanes=4, serial=True, offsets=8, levels=4, ranks=False, delay_memory=True
    )
    drive(graph, small, arrays_of(graph, 2, 1), "icarus")
    graph = GRAPHS["dense"]()
    small = replace(small, ranks=True, lanes=6, delay_memory=False)
    drive(graph, small, arrays_of(graph, 2, 1), "icarus")


def test_under_verilator() -> None:
    """One engine, several programs one after the other: the bitstream knows none of them."""
    for name in ("gru_step", "gated", "states", "attention"):
        graph = GRAPHS[name]()
        drive(graph, TINY, arrays_of(graph, 4, 5), "verilator")


def test_a_broken_engine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that cannot fail is worth nothing: roundings mixed up, and a prediction that is off by a cycle."""
    icarus()
    graph = GRAPHS["states"]()
    with monkeypatch.context() as patch:
        patch.setattr(port, "Rounding", SimpleNamespace(HALF_UP=3, HALF_EVEN=2, TOWARD_ZERO=1))
        broken = engine_verilog(TINY)
    with pytest.raises(MismatchError, match="the engine under icarus disagrees with the graph"):
        drive(graph, TINY, arrays_of(graph, 2, 3), "icarus", verilog=broken)
    late = replace(timing.SHALLOW, branch=timing.SHALLOW.branch + 1)
    monkeypatch.setattr(
        executor.Executor, "timing", property(lambda self: late, lambda self, value: None), raising=False
    )
    with pytest.raises(MismatchError, match=r"takes \d+ cycles in run \[0, 0\], the prediction says \d+"):
        drive(graph, TINY, arrays_of(graph, 1, 1), "icarus")


@pytest.mark.parametrize(
    ("field", "name"), [("sum", "gru_step"), ("write", "states"), ("read", "comparisons"), ("apart", "comparisons")]
)
def test_a_deep_engine_needs_every_cycle(field: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs scheduled with one cycle less than the registers take give other answers: the cycles are exact, not generous."""
    icarus()
    text, short = engine_verilog(CONFIGS["split"]), replace(timing.DEEP, **{field: getattr(timing.DEEP, field) - 1})
    monkeypatch.setattr(core, "DEEP", short)
    graph = GRAPHS[name]()
    with pytest.raises(MismatchError, match="the engine under icarus disagrees with the graph"):
        drive(graph, CONFIGS["split"], arrays_of(graph, 2, 2), "icarus", verilog=text)


@pytest.mark.campaign
@pytest.mark.parametrize("config", list(CONFIGS))
def test_everything_under_verilator(config: str) -> None:
    for build in GRAPHS.values():
        graph = build()
        drive(graph, CONFIGS[config], arrays_of(graph, 20, 5), "verilator")
