"""Leave room in every logic tile of an iCE40, so that networks with arbitrary wiring can be routed.

An iCE40 tile has 8 logic cells of 4 inputs each and 32 local wires to feed them. nextpnr packs cells as densely as they
go; a tile of 8 unrelated four-input tables then needs every local wire, and the router rips up for ever. (Measured with
nextpnr 0.11 on a UP5K: router1 had not routed a logic-gate network of 3,394 cells after 100,000 iterations, router2 stayed
at 66 conflicts with one of 3,851; with two cells of each tile left free, one of 3,476 is routed by either.) So a
placeholder without connections is fixed to the top cells of the tiles. Carry chains fill whole tiles, so some columns stay
free of placeholders for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Grid:
    """Columns (block RAM columns left out) and rows of logic tiles."""

    columns: tuple[int, ...]
    rows: tuple[int, ...]


GRIDS: Mapping[str, Grid] = {
    "up5k": Grid(tuple(x for x in range(1, 25) if x not in (6, 19)), tuple(range(1, 31))),
    "hx8k": Grid(tuple(x for x in range(1, 33) if x not in (8, 25)), tuple(range(1, 33))),
}
"""Logic tiles by device."""

CELLS_PER_TILE = 8
MOST_RESERVED = 2
"""Cells of a tile left free at most."""

FULLEST = 0.92
"""Largest share of the remaining cells that a design may take: the placer needs some room of its own."""

_CHAIN_ROOM = 1.7
"""Tiles kept for carry chains, in tiles that the chains would fill without gaps."""


def reserved_sites(device: str, cells: int, carries: int) -> list[str]:
    """Names of the logic cells to leave free for a design of ``cells`` logic cells, ``carries`` of them in chains.

    Empty when the device is not known or the design is too full for it.
    """
    grid = GRIDS.get(device)
    if grid is None:
        return []
    rows = len(grid.rows)
    chain_columns = 1 + -(-int(carries * _CHAIN_ROOM) // (CELLS_PER_TILE * rows))
    middle = len(grid.columns) // 2
    first = max(0, middle - chain_columns // 2)
    columns = [x for i, x in enumerate(grid.columns) if not first <= i < first + chain_columns]
    total = len(grid.columns) * rows * CELLS_PER_TILE
    for count in range(MOST_RESERVED, 0, -1):
        if cells <= FULLEST * (total - count * len(columns) * rows):
            tops = range(CELLS_PER_TILE - count, CELLS_PER_TILE)
            return [f"X{x}/Y{y}/lc{z}" for x in columns for y in grid.rows for z in tops]
    return []


def write_spread(netlist: Path, target: Path, sites: list[str]) -> None:
    """Copy Yosys' JSON ``netlist`` to ``target`` with a placeholder fixed to each site."""
    design = json.loads(netlist.read_text(encoding="utf-8"))
    cells = design["modules"]["top"]["cells"]
    for site in sites:
        cells["reserved_" + site.replace("/", "_")] = _placeholder(site)
    target.write_text(json.dumps(design), encoding="utf-8")


def _placeholder(site: str) -> dict[str, Any]:
    ports = {"I0": "input", "I1": "input", "I2": "input", "I3": "input", "O": "output"}
    return {
        "hide_name": 0,
        "type": "SB_LUT4",
        "parameters": {"LUT_INIT": "0" * 16},
        "attributes": {"BEL": site},
        "port_directions": ports,
        "connections": {port: [] for port in ports},
    }
