"""Engines of several shapes, and graphs to run on them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from neuroloom.compiler.gated.core import GatedConfig


def _graphs() -> dict[str, Callable[[], Any]]:
    spec = importlib.util.spec_from_file_location("gated_graphs", Path(__file__).with_name("graphs.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[], Any]] = module.GRAPHS
    return found


GRAPHS = _graphs()

MEMORY = {"vector_words": 2048, "weight_rows": 2048, "table_words": 4096, "program_words": 1024}
DELTA = {"changes": 64, "banks": 16}

CONFIGS = {
    c.profile: c
    for c in (
        GatedConfig("one", lanes=1, groups=1, ports=1, word=16, weight=8, acc=32, wide=48, terms=6, **MEMORY),
        GatedConfig(
            "split",
            lanes=8,
            groups=2,
            ports=2,
            word=16,
            weight=8,
            acc=40,
            wide=48,
            terms=6,
            **MEMORY,
            **DELTA,
            deep=True,
            sliced=True,
        ),
        GatedConfig(
            "wide", lanes=16, groups=4, ports=4, word=18, weight=16, acc=44, wide=64, terms=8, **MEMORY, **DELTA
        ),
        GatedConfig(
            *("own", 12, 1, 4, 17, 9, 36, 50, 6),
            **{**MEMORY, "weight_rows": 1024},
            **DELTA,
            shared=False,
            deep=True,
            sliced=True,
        ),
    )
}


@pytest.fixture(params=list(GRAPHS))
def graph(request: pytest.FixtureRequest) -> Any:
    """Every graph in turn."""
    return GRAPHS[request.param]()


@pytest.fixture(params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> GatedConfig:
    """Every engine in turn."""
    return CONFIGS[request.param]
