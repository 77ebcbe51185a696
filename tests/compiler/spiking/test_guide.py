"""docs/network.md runs: its Python blocks one behind the other, its YAML as a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from neuroloom.compiler.spiking.models import MODELS, Neuron
from neuroloom.compiler.spiking.plasticity import RULES
from neuroloom.compiler.spiking.topology import TOPOLOGIES

import neuroloom as nl

TEXT = (Path(__file__).parents[3] / "docs" / "network.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)


def test_the_python_blocks_run(require_tool: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("networkx")
    names: dict[str, Any] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "docs/network.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert int(printed[0].split()[0]) > 100 and int(printed[1].split()[0]) > 20
    learnt = [int(w) for w in re.findall(r"\d+", printed[2])]
    assert learnt[2] > learnt[0] and learnt[3] < learnt[1], "the first input gains, the second loses"
    assert float(printed[-2].split()[0]) < 0.02
    assert printed[-1] == "[[0, 0], [1, 1], [4, 2]]"


def test_the_yaml_block_compiles(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "yaml")
    (tmp_path / "net.yaml").write_text(text)
    net = nl.Network.load(tmp_path / "net.yaml")
    assert net.neurons == 92 and {p.name for p in net.projections.values()} >= {"recurrent"}
    m = nl.compile(tmp_path / "net.yaml")
    assert {o.name for o in m.graph.outputs} == {
        "exc.spikes",
        "exc.v",
        "out.v",
        "decision.done",
        "decision.winner",
        "decision.at",
    }


def test_the_tables_name_everything() -> None:
    hidden = {"RealNeuron", "RealIzhikevich", "RealAlpha", "IzhikevichNeuron", "AlphaNeuron"}
    for name in {*MODELS, *RULES, *TOPOLOGIES} - hidden:
        assert f"`{name}(" in TEXT or f", `{name}(" in TEXT, name


def test_lavas_decay_is_what_the_table_says() -> None:
    assert Neuron(leak="multiplicative", beta=65536 - 16 * 163).beta * 2**-16 == (4096 - 163) / 4096
