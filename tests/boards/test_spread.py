"""Cells left free in iCE40 tiles: how many, where, and that the placeholders are no part of the design."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from neuroloom.boards.registry import load_board
from neuroloom.boards.spread import GRIDS, reserved_sites, write_spread


@pytest.mark.parametrize(("device", "board"), [("up5k", "icebreaker"), ("hx8k", "ice40_hx8k_evn")])
def test_grid_holds_exactly_the_devices_cells(device: str, board: str) -> None:
    grid = GRIDS[device]
    assert len(grid.columns) * len(grid.rows) * 8 == load_board(board).resources.luts


def test_two_cells_of_each_tile_outside_the_chain_columns() -> None:
    sites = reserved_sites("up5k", 3476, 262)
    assert len(sites) == len(set(sites)) == 2 * 30 * (22 - 3)
    assert {site.split("/")[2] for site in sites} == {"lc6", "lc7"}
    assert not [site for site in sites if site.split("/")[0] in ("X12", "X13", "X14")]


def test_fuller_designs_leave_less_free_and_the_fullest_nothing() -> None:
    counts = [len(reserved_sites("up5k", cells, 100)) for cells in (100, 3700, 3900, 4300, 4600, 5280)]
    assert counts == [1200, 1200, 600, 600, 0, 0]
    assert 5280 - len(reserved_sites("up5k", 3900, 100)) > 3900


def test_chains_without_end_keep_every_column() -> None:
    assert reserved_sites("up5k", 2000, 4000) == []
    assert reserved_sites("LFE5U", 10, 0) == []


def test_placeholders_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    design = {"creator": "x", "modules": {"top": {"ports": {"a": {"bits": [2]}}, "cells": {"c": {"type": "SB_LUT4"}}}}}
    (tmp_path / "in.json").write_text(json.dumps(design))
    write_spread(tmp_path / "in.json", tmp_path / "out.json", ["X1/Y2/lc7"])
    result = json.loads((tmp_path / "out.json").read_text())
    added = result["modules"]["top"]["cells"].pop("reserved_X1_Y2_lc7")
    assert result == design
    assert added["attributes"] == {"BEL": "X1/Y2/lc7"} and added["type"] == "SB_LUT4"
    assert added["connections"] == {"I0": [], "I1": [], "I2": [], "I3": [], "O": []}
