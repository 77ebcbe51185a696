"""Shared fixtures: tools that may be absent are skipped with their install command, or fail when CI requires all."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from neuroloom.boards.ice40.tables import find_chipdb
from neuroloom.compiler.errors import MissingToolError
from neuroloom.compiler.ir import Builder, Graph, Type

INSTALL = {
    "iverilog": "apt-get install iverilog",
    "icebox": "apt-get install fpga-icestorm fpga-icestorm-chipdb",
    "onnxruntime": "pip install 'neuroloom[oracle]'",
    "torch": "pip install torch==2.13.0",
    "networkx": "pip install 'neuroloom[spiking]'",
    "nir": "pip install 'neuroloom[spiking]'",
    "snntorch": "pip install snntorch==1.0.0",
    "sklearn": "pip install 'neuroloom[train]'",
    "statsmodels": "pip install 'neuroloom[series]'",
}
"""Command that installs each tool a test may need."""


def _present(tool: str) -> bool:
    if tool == "icebox":
        try:
            find_chipdb("5k")  # in a package of its own, which fpga-icestorm only recommends
        except MissingToolError:
            return False
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


SUMMARY = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def shown(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return ``shown(line)``: a line of the summary that ends the run, for what a random test met."""
    return pytestconfig.stash.setdefault(SUMMARY, []).append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands its lines to the one that prints."""
    handed = getattr(session.config, "workeroutput", None)
    if handed is not None:
        handed["shown"] = session.config.stash.get(SUMMARY, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the lines of a process that has ended."""
    lines = getattr(node, "workeroutput", {}).get("shown", [])
    node.config.stash.setdefault(SUMMARY, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print those lines."""
    lines = config.stash.get(SUMMARY, [])
    if lines:
        terminalreporter.section("what random tests met")
    for line in lines:
        terminalreporter.write_line(line)


def _tensor(value: object) -> object:
    if isinstance(value, dict):
        return np.array(value["data"], value["tensor"])
    return tuple(value) if isinstance(value, list) else value


def _cases() -> dict[str, tuple[Graph, dict[str, np.ndarray], list[np.ndarray]]]:
    tables = [
        yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "golden").glob("operations*.yaml"))
    ]
    cases = {}
    for op, rows in (item for table in tables for item in table.items()):
        for number, row in enumerate(rows):
            builder = Builder(op)
            arrays, names = {}, []
            for place, item in enumerate(row["inputs"]):
                array = np.array(item["data"], np.int64)
                names.append(builder.input(f"x{place}", Type.parse(item["type"]), array.shape[1:]))
                arrays[names[-1]] = array
            if not names:  # a graph has at least one input: it tells the number of samples
                arrays[builder.input("unused", Type(1), ())] = np.zeros(1, np.int64)
            attrs = {k: _tensor(v) for k, v in row.get("attrs", {}).items()}
            outputs = builder.nodes(op, names, name="y", **attrs)
            for place, value in enumerate(outputs):
                builder.output(f"y{place}", value)
            cases[f"{op}-{number}"] = builder.finish(), arrays, [np.array(e, np.int64) for e in row["expect"]]
    return cases


OPERATION_CASES = _cases()
"""Hand-made vectors of every operation: graph, inputs, expected outputs."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take ``operation_case`` run once for every vector of golden/operations*.yaml."""
    if "operation_case" in metafunc.fixturenames:
        metafunc.parametrize("operation_case", OPERATION_CASES.values(), ids=OPERATION_CASES.keys())


@pytest.fixture
def random_graphs() -> Callable[..., Graph]:
    """Return ``make(seed, luts=2..6, ...)``: a random logic network from bytes to class and scores."""

    def make(seed: int, *, inputs: int = 20, layers: int = 3, width: int = 60, groups: int = 5) -> Graph:
        rng = np.random.default_rng(seed)
        builder = Builder(f"random{seed}")
        x = builder.input("x", Type(8), (inputs,))
        bits = builder.node(
            "compare",
            [x],
            indices=np.repeat(np.arange(inputs, dtype=np.int32), 3),
            thresholds=rng.integers(0, 258, 3 * inputs),
            name="encoder",
            source="encoder",
        )
        seen = [bits]
        for layer in range(layers):
            k = int(rng.integers(1, 7))
            total = sum(builder[name].size for name in seen)
            mask = np.uint64((1 << (1 << k)) - 1)
            seen.append(
                builder.node(
                    "lut",
                    seen,
                    indices=rng.integers(-1, total, (width, k)).astype(np.int32),
                    tables=rng.integers(0, 1 << 63, width, dtype=np.uint64) * np.uint64(3) & mask,
                    name=f"layer{layer}",
                    source=f"layer{layer}",
                )
            )
        count = width // groups * groups
        sums = builder.node(
            "group_sum",
            [seen[-1]],
            offsets=np.arange(0, count + 1, width // groups),
            indices=rng.permutation(count).astype(np.int32),
            weights=rng.integers(-3, 4, count),
            bias=rng.integers(-9, 9, groups),
            name="sum",
            source="sum",
        )
        builder.output("scores", sums)
        builder.output("label", builder.node("argmax", [sums], axis=0, last=bool(rng.integers(2)), name="argmax"))
        return builder.finish()

    return make


@pytest.fixture(scope="session")
def ecp5_bitstream() -> Callable[..., bytes]:
    """The commands in front of an ECP5 image's frames, as ecppack writes them, and bytes that stand for those."""

    def make(idcode: int = 0x41113043, *, boots: bool = False, filling: int = 0) -> bytes:
        control = 0x40100000 if boots else 0x40000000
        head = b"\xff\0\xff\xff\xff\xbd\xb3\xff\xff\xff\xff\x3b\0\0\0\xe2\0\0\0" + idcode.to_bytes(4, "big")
        return (
            head + b"\x22\0\0\0" + control.to_bytes(4, "big") + b"\x46\0\0\0" + bytes([filling]) + bytes(range(256)) * 4
        )

    return make
