"""The longest paths of a netlist, on one that is added up by hand."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


def cell(kind: str, inputs: dict[str, int], outputs: dict[str, int]) -> dict[str, Any]:
    return {
        "type": kind,
        "connections": {port: [bit] for port, bit in (inputs | outputs).items()},
        "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
    }


def module() -> dict[str, Any]:
    """A register and a memory through a table and a chain of two to another register; a table between them."""
    return {
        "cells": {
            "first": cell("TRELLIS_FF", {"CLK": 1, "DI": 20}, {"Q": 2}),
            "memory": cell("DP16KD", {"CLKA": 1, "ADA0": 2}, {"DOA0": 3}),
            "table": cell("LUT4", {"A": 2, "B": 3}, {"Z": 4}),
            "low": cell("CCU2C", {"A0": 4, "B1": 2}, {"COUT": 5, "S0": 6}),
            "high": cell("CCU2C", {"CIN": 5, "A0": 2}, {"S0": 7}),
            "last": cell("TRELLIS_FF", {"CLK": 1, "DI": 7, "CE": 6}, {"Q": 20}),
        },
        "netnames": {
            "clk": {"bits": [1]},
            "core.start": {"bits": [2]},
            "word": {"bits": [3]},
            "sum": {"bits": [6, 7]},
            "stop": {"bits": [20]},
        },
    }


def test_paths_are_cells_and_wires_added_up() -> None:
    from bench import paths

    netlist = paths.Netlist(module())
    found = {(netlist.name(p.bits[0]), netlist.register(p.end.cell), p.end.pin): p for p in netlist.longest()}
    one = 0.55 + 0.19 * math.log2(2)  # the wire to one cell
    by_carry = found["word", "stop", "DI"]
    assert by_carry.bits == (3, 4, 5, 7)
    assert by_carry.delay == pytest.approx(5.83 + one + 0.24 + one + 0.45 + 0.44 + one)
    by_sum = found["word", "stop", "CE"]
    assert by_sum.delay == pytest.approx(5.83 + one + 0.24 + one + 0.44 + one)
    assert netlist.fan_out[2] == 4
    assert found["core.start", "memory", "ADA0"].delay == pytest.approx(0.52 + 0.55 + 0.19 * math.log2(5))
    assert found["stop", "core.start", "DI"].delay == pytest.approx(0.52 + one)
    assert [p.delay for p in netlist.longest()] == sorted((p.delay for p in found.values()), reverse=True)


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from bench import paths

    netlist = tmp_path / "netlist.json"
    netlist.write_text(json.dumps({"modules": {"top": module()}}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["paths.py", str(netlist), "--most", "1", "--show", "1"])
    assert paths.main() == 0
    first, *steps = capsys.readouterr().out.splitlines()
    assert first.endswith("word -> stop.DI") and len(steps) == 4
    monkeypatch.setattr(sys, "argv", ["paths.py", str(netlist), "--top", "core"])
    assert paths.main() == 2
    assert "must have a module 'core', not only top" in capsys.readouterr().err
