"""Leave room in every logic tile, so that networks with arbitrary wiring can be routed.

nextpnr packs cells as densely as they go, and a tile full of unrelated four-input tables needs more of the wires around it
than there are; the router then rips up for ever. Measured with nextpnr 0.11:

- iCE40 (UP5K; 8 cells and 32 local wires a tile): router1 had not routed a logic-gate network of 3,394 cells after 100,000
  iterations, router2 stayed at 66 conflicts with one of 3,851; with two cells of each tile left free, one of 3,476 is routed
  by either.
- ECP5 (85F, 8 tables a tile): 48,000 gates in 12,934 tables, 15 % of the chip, filled most of their tiles to the last table;
  router2 stayed at 11,000 overused wires, router1 at two thirds of the arcs. With half of each tile free: routed. 2,200
  four-input gates (4,749 tables in all) still had 1,900 overused wires after 17 iterations even so, falling slowly, when that
  run was stopped; with three quarters free they are routed (one seed).

So placeholders without connections are fixed to some cells of the tiles. Carry chains, and on ECP5 distributed memories, fill
whole tiles, so some columns or rows stay free of placeholders for them. For a design of very many chains nextpnr finds no place
beside placeholders (the gated engine of 128 lanes: 3,862 carry cells); it gets none, and nextpnr is told to fill regions less.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fabric:
    """The logic tiles of a device: columns and rows (those of block RAM and multipliers left out), and their cells.

    ``shares`` are the cells of a tile that can be left free together, first choice first; with so many of them left free, a
    design may take the part ``fullest`` of the remaining cells: the placer needs some room of its own, and wires grow with
    the area, so the emptiest tiles are for small designs. Chains run along columns, or along
    rows where ``chains_in_rows`` is set. The lanes kept for them are neighbours in the middle; with ``lane_every`` n they
    are instead one in n, evenly spaced, or more where the chains need it. ``kind``, ``ports`` (input, output) and ``table``
    describe the placeholder: its cell type, its pins, and the parameter of its content. ``whole_tiles`` are the cells that
    need whole tiles, by type of Yosys, with the tables that each takes; with more than ``most_carries`` carry cells, the first of
    these types, there is no place for placeholders.
    """

    columns: tuple[int, ...]
    rows: tuple[int, ...]
    shares: tuple[tuple[str, ...], ...]
    fullest: tuple[float, ...]
    kind: str
    ports: tuple[tuple[str, ...], str]
    table: str
    chains_in_rows: bool = False
    lane_every: int = 0
    most_carries: int = 1 << 30
    whole_tiles: Mapping[str, int] = field(default_factory=dict)

    @property
    def lanes(self) -> tuple[int, ...]:
        """The rows or columns along which chains run."""
        return self.rows if self.chains_in_rows else self.columns

    @property
    def lane_cells(self) -> int:
        """Cells of one lane."""
        return CELLS_PER_TILE * (len(self.columns) if self.chains_in_rows else len(self.rows))


CELLS_PER_TILE = 8


def _ice40(columns: tuple[int, ...], rows: tuple[int, ...]) -> Fabric:
    ports = (("I0", "I1", "I2", "I3"), "O")
    return Fabric(
        columns, rows, (("lc7",), ("lc6",)), (0.92, 0.92), "SB_LUT4", ports, "LUT_INIT", whole_tiles={"SB_CARRY": 1}
    )


FABRICS: Mapping[str, Fabric] = {
    "up5k": _ice40(tuple(x for x in range(1, 25) if x not in (6, 19)), tuple(range(1, 31))),
    "hx8k": _ice40(tuple(x for x in range(1, 33) if x not in (8, 25)), tuple(range(1, 33))),
    "85k": Fabric(
        tuple(range(2, 125)),
        tuple(y for y in range(2, 94) if y not in (10, 22, 34, 46, 58, 70, 82)),
        # whole slices: a wide multiplexer takes both tables of one
        (("SLICED.K0", "SLICED.K1"), ("SLICEC.K0", "SLICEC.K1"), ("SLICEB.K0", "SLICEB.K1")),
        (0.92, 0.92, 0.3),
        "LUT4",
        (("A", "B", "C", "D"), "Z"),
        "INIT",
        chains_in_rows=True,
        lane_every=5,
        most_carries=3500,
        whole_tiles={"CCU2C": 2, "TRELLIS_DPR16X4": 8},
    ),
}
"""Logic tiles by device."""

SPARSE = 0.6
"""Part of a region's cells that nextpnr's placer may fill (0.9 otherwise) in a design that gets no placeholders."""

_CHAIN_ROOM = 1.7
"""Tiles kept for carry chains, in tiles that the chains would fill without gaps."""


def too_chained(device: str, counts: Mapping[str, int]) -> bool:
    """Whether a design of these cells (Yosys' types) has too many carry chains for placeholders."""
    fabric = FABRICS.get(device)
    return fabric is not None and counts.get(next(iter(fabric.whole_tiles)), 0) > fabric.most_carries


def reserved_sites(device: str, cells: int, counts: Mapping[str, int]) -> list[str]:
    """Names of the cells to leave free for a design that fills ``cells`` of them; ``counts`` are Yosys' cells by type.

    Empty when the device is not known, or the design is too full or has too many carry chains for it.
    """
    fabric = FABRICS.get(device)
    if fabric is None or too_chained(device, counts):
        return []
    chained = sum(counts.get(kind, 0) * tables for kind, tables in fabric.whole_tiles.items())
    spread = _spread_lanes(fabric, 1 + -(-int(chained * _CHAIN_ROOM) // fabric.lane_cells))
    columns, rows = (fabric.columns, spread) if fabric.chains_in_rows else (spread, fabric.rows)
    total = len(fabric.columns) * len(fabric.rows) * CELLS_PER_TILE
    for shares in range(len(fabric.shares), 0, -1):
        free = [name for share in fabric.shares[:shares] for name in share]
        if cells <= fabric.fullest[shares - 1] * (total - len(free) * len(columns) * len(rows)):
            return [f"X{x}/Y{y}/{name}" for x in columns for y in rows for name in free]
    return []


def _spread_lanes(fabric: Fabric, kept: int) -> tuple[int, ...]:
    """The lanes that get placeholders when at least ``kept`` of them stay free for chains."""
    lanes = fabric.lanes
    if not fabric.lane_every:
        first = max(0, len(lanes) // 2 - kept // 2)
        return tuple(lane for i, lane in enumerate(lanes) if not first <= i < first + kept)
    kept = min(len(lanes), max(kept, -(-len(lanes) // fabric.lane_every)))
    return tuple(lane for i, lane in enumerate(lanes) if i * kept // len(lanes) == (i - 1) * kept // len(lanes))


def write_spread(netlist: Path, target: Path, device: str, sites: list[str]) -> None:
    """Copy Yosys' JSON ``netlist`` to ``target`` with a placeholder fixed to each site of the device."""
    design = json.loads(netlist.read_text(encoding="utf-8"))
    cells = design["modules"]["top"]["cells"]
    for site in sites:
        cells["reserved_" + site.replace("/", "_").replace(".", "_")] = _placeholder(FABRICS[device], site)
    target.write_text(json.dumps(design), encoding="utf-8")


def _placeholder(fabric: Fabric, site: str) -> dict[str, Any]:
    inputs, output = fabric.ports
    return {
        "hide_name": 0,
        "type": fabric.kind,
        "parameters": {fabric.table: "0" * 16},
        "attributes": {"BEL": site},
        "port_directions": {**dict.fromkeys(inputs, "input"), output: "output"},
        "connections": {port: [] for port in (*inputs, output)},
    }
