"""Where the graphs and the engines of tests/compiler/gated are found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "compiler" / "gated"


def load(name: str) -> ModuleType:
    """A module of tests/compiler/gated."""
    spec = importlib.util.spec_from_file_location(f"gated_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared = load("conftest")
GRAPHS, CONFIGS = shared.GRAPHS, shared.CONFIGS
