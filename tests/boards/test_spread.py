"""Cells left free in logic tiles: how many, where, and that the placeholders are no part of the design."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.registry import load_board
from neuroloom.boards.spread import CELLS_PER_TILE, FABRICS, reserved_sites, too_chained, write_spread


@pytest.mark.parametrize(
    ("device", "board"), [("up5k", "icebreaker"), ("hx8k", "ice40_hx8k_evn"), ("85k", "ulx3s_85f")]
)
def test_fabric_holds_exactly_the_devices_cells(device: str, board: str) -> None:
    fabric = FABRICS[device]
    assert load_board(board).device == device
    assert len(fabric.columns) * len(fabric.rows) * CELLS_PER_TILE == load_board(board).resources.luts


def test_two_cells_of_each_tile_outside_the_chain_columns() -> None:
    sites = reserved_sites("up5k", 3476, {"SB_CARRY": 262})
    assert len(sites) == len(set(sites)) == 2 * 30 * (22 - 3)
    assert {site.split("/")[2] for site in sites} == {"lc6", "lc7"}
    assert not [site for site in sites if site.split("/")[0] in ("X12", "X13", "X14")]


def test_fuller_designs_leave_less_free_and_the_fullest_nothing() -> None:
    counts = [len(reserved_sites("up5k", cells, {"SB_CARRY": 100})) for cells in (100, 3700, 3900, 4300, 4600, 5280)]
    assert counts == [1200, 1200, 600, 600, 0, 0]
    assert 5280 - len(reserved_sites("up5k", 3900, {"SB_CARRY": 100})) > 3900


def test_chains_without_end_keep_every_column() -> None:
    assert reserved_sites("up5k", 2000, {"SB_CARRY": 4000}) == []
    assert reserved_sites("LFE5U", 10, {}) == []


def test_half_of_each_ecp5_tile_outside_every_fifth_row() -> None:
    sites = reserved_sites("85k", 12_934, {"CCU2C": 421, "LUT4": 11_610})
    rows = {site.split("/")[1] for site in sites}
    assert len(rows) == 85 - 17 and "Y2" not in rows and "Y3" in rows
    assert len(sites) == len(set(sites)) == 4 * 123 * len(rows)
    assert {site.split("/")[2] for site in sites} == {f"SLICE{s}.K{k}" for s in "CD" for k in (0, 1)}


def test_ecp5_rows_for_chains_and_distributed_memories() -> None:
    """A distributed memory takes the three lower slices of a tile, so it counts as a whole one."""
    assert len({site.split("/")[2] for site in reserved_sites("85k", 4749, {})}) == 6
    plain = reserved_sites("85k", 20_000, {})
    memories = reserved_sites("85k", 20_000, {"TRELLIS_DPR16X4": 3000, "CCU2C": 1000})
    kept = 85 - len({site.split("/")[1] for site in memories})
    assert 0 < len(memories) < len(plain) and kept * 123 >= 3000 + 1000 * 2 / 8
    assert len({site.split("/")[2] for site in reserved_sites("85k", 55_000, {})}) == 2
    assert reserved_sites("85k", 80_000, {}) == []


def test_placeholders_are_added_and_nothing_else_changes(tmp_path: Path) -> None:
    design = {"creator": "x", "modules": {"top": {"ports": {"a": {"bits": [2]}}, "cells": {"c": {"type": "SB_LUT4"}}}}}
    (tmp_path / "in.json").write_text(json.dumps(design))
    write_spread(tmp_path / "in.json", tmp_path / "out.json", "up5k", ["X1/Y2/lc7"])
    result = json.loads((tmp_path / "out.json").read_text())
    added = result["modules"]["top"]["cells"].pop("reserved_X1_Y2_lc7")
    assert result == design
    assert added["attributes"] == {"BEL": "X1/Y2/lc7"} and added["type"] == "SB_LUT4"
    assert added["connections"] == {"I0": [], "I1": [], "I2": [], "I3": [], "O": []}


def test_ecp5_placeholder_is_a_table_fixed_to_its_site(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"modules": {"top": {"cells": {}}}}))
    write_spread(tmp_path / "in.json", tmp_path / "out.json", "85k", ["X2/Y3/SLICED.K1"])
    (cell,) = json.loads((tmp_path / "out.json").read_text())["modules"]["top"]["cells"].values()
    assert cell["type"] == "LUT4" and cell["attributes"] == {"BEL": "X2/Y3/SLICED.K1"}
    assert cell["port_directions"] == {"A": "input", "B": "input", "C": "input", "D": "input", "Z": "output"}


def test_engines_that_are_placed_with_free_cells() -> None:
    ulx3s, icebreaker = load_board("ulx3s_85f"), load_board("icebreaker")
    assert [FLOWS["ecp5"].spreads(ulx3s, engine) for engine in ("logic", "gated", "spiking")] == [True, True, False]
    assert FLOWS["ice40"].spreads(icebreaker, "spiking")


def test_very_many_chains_get_no_placeholders() -> None:
    """They are placed less densely instead."""
    few, many = {"CCU2C": 3500, "LUT4": 20_000}, {"CCU2C": 3501, "LUT4": 20_000}
    assert reserved_sites("85k", 29_000, few) and not too_chained("85k", few)
    assert reserved_sites("85k", 29_000, many) == [] and too_chained("85k", many)
    assert not too_chained("up5k", {"SB_CARRY": 5000}) and not too_chained("LFE5U", many)
