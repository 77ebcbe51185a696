"""Shared fixtures: tools that may be absent are skipped with their install command, or fail when CI requires all."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable

import pytest

INSTALL = {
    "iverilog": "apt-get install iverilog",
    "icebox": "apt-get install fpga-icestorm",
    "onnxruntime": "pip install 'neuroloom[oracle]'",
    "torch": "pip install torch==2.13.0",
    "sklearn": "pip install 'neuroloom[train]'",
}
"""Command that installs each tool a test may need."""


def _present(tool: str) -> bool:
    if tool == "icebox":
        return shutil.which("icebox_vlog") is not None
    return shutil.which(tool) is not None or importlib.util.find_spec(tool) is not None


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], None]:
    """Return ``require(tool)``: skip the test when ``tool`` is absent, or fail it when NEUROLOOM_REQUIRE_ALL=1."""

    def require(tool: str) -> None:
        if _present(tool):
            return
        reason = f"{tool} is not installed; run: {INSTALL.get(tool, 'make setup')}"
        if os.environ.get("NEUROLOOM_REQUIRE_ALL") == "1":
            pytest.fail(f"{reason} (NEUROLOOM_REQUIRE_ALL=1)")
        pytest.skip(reason)

    return require
