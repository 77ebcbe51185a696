"""Small designs beside what their bitstream unpacks to: the same random inputs, every output compared."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroloom.boards import toolchain


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


def testbench(design: Design, unpacked: Any, cycles: int, extra: str) -> str:
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


def simulate(
    folder: Path,
    design: Design,
    unpacked: Any,
    cells: list[str],
    cycles: int,
    key: str,
    extra: str = "",
    fast: bool = False,
) -> int:
    """Run source and unpacked module on the same random inputs, changed in both clock phases, and compare every
    output bit that the source defines. Returns the number of bits compared; fails at the first difference.

    ``cells`` are arguments for models of the cells that the source has; ``fast`` takes Verilator in place of Icarus."""
    (folder / f"{key}_tb.v").write_text(testbench(design, unpacked, cycles, extra))
    (folder / f"{key}_chip.v").write_text(unpacked.verilog + getattr(unpacked, "models", ""))
    (folder / f"{key}_top.v").write_text(design.source)
    files = [f"{key}_tb.v", f"{key}_chip.v", f"{key}_top.v"]
    if fast:
        done = _verilated(folder, key, [*cells, *files])
    else:
        toolchain.run("iverilog", ["-g2012", "-s", "tb", "-o", f"{key}.vvp", *cells, *files], cwd=folder, timeout=60)
        done = toolchain.run("vvp", ["-n", f"{key}.vvp"], cwd=folder, timeout=120).output
    last = [line for line in done.strip().splitlines() if not line.startswith("- ")][-1]
    assert last.startswith("COMPARED"), done[-2000:]
    return int(last.split()[1])


def _verilated(folder: Path, key: str, files: list[str]) -> str:
    """What a testbench prints under Verilator, which takes longer to start than Icarus and runs large memories far faster."""
    make = "OPT_FAST=-O0 OPT_GLOBAL=-O0 OPT_SLOW=-O0 CFG_CXXFLAGS_PCH_I=-include"
    arguments = ["--binary", "--timing", "-j", "1", "--top-module", "tb", "-Wno-lint", "-Wno-style", "-Wno-fatal"]
    arguments += ["--Mdir", key, "-o", "tb", "-CFLAGS", "-fcoroutines", "-MAKEFLAGS", make]
    toolchain.run("verilator", [*arguments, *files], cwd=folder, timeout=300)
    command = [str(folder / key / "tb")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout


def _flips_bench(design: Design, variants: Sequence[Any], cycles: int, source: bool) -> str:
    """All variants beside the source, or the first of them; prints "NOTICED i" for each that differs in an output."""
    outs = {name: max(width, 1) for name, width in design.outputs.items()}
    lines = ["module tb; reg clk = 0; integer c;", f"  reg [{len(variants) - 1}:0] bad = 0;"]
    lines += [f"  reg [{max(w, 1) - 1}:0] {n} = 0;" for n, w in design.inputs.items()]
    for number, unpacked in enumerate(variants):
        pins = []
        lines += [f"  wire [{w - 1}:0] {n}_{number};" for n, w in outs.items()]
        for port in unpacked.ports.values():
            base, _, index = port.name.partition("[")
            index = f"[{index}" if index else ""
            if base in outs and (port.output or port.input):
                pins.append(f".{port.output or port.input}({base}_{number}{index})")
            elif base in design.inputs or base == "clk":
                pins.append(f".{port.input or port.output}({base}{index})")
        lines.append(f"  {unpacked.module} dut{number} ({', '.join(pins)});")
    if source:
        lines += [f"  wire [{w - 1}:0] {n};" for n, w in outs.items()]
        lines.append(f"  top src ({', '.join(f'.{n}({n})' for n in ['clk', *design.inputs, *outs])});")
    lines.append("  task step; begin #3;")
    wanted = "" if source else "_0"
    for number in range(len(variants)):
        differs = " || ".join(f"{n}{wanted} !== {n}_{number}" for n in outs)
        lines.append(f"    if ({differs}) bad[{number}] = 1;")
    lines.append("  end endtask")
    drive = " ".join(f"{n} = {'($urandom & 15) == 0' if n in design.rare else '$urandom'};" for n in design.inputs)
    lines.append(f"  initial begin rst = 1; repeat (4) #3 clk = ~clk; #3; for (c = 0; c < {cycles}; c = c + 1) begin")
    lines.append(f"    {drive} step; clk = 1; step; {drive} step; clk = 0; step; end")
    lines += [f'    if (bad[{n}]) $display("NOTICED {n}");' for n in range(len(variants))]
    return "\n".join([*lines, "    $finish; end", "endmodule", ""])


def noticed(folder: Path, design: Design, variants: Sequence[Any], cycles: int, source: bool = True) -> set[int]:
    """Which of some unpacked modules, of different names, differ in an output from the source, or else the first of them."""
    texts = [_flips_bench(design, variants, cycles, source), design.source if source else ""]
    texts += [*(v.verilog for v in variants), variants[0].models]
    (folder / "flips.v").write_text("\n".join(texts))
    toolchain.run("iverilog", ["-g2012", "-s", "tb", "-o", "flips.vvp", "flips.v"], cwd=folder, timeout=120)
    done = toolchain.run("vvp", ["-n", "flips.vvp"], cwd=folder, timeout=200)
    return {int(number) for number in re.findall(r"NOTICED (\d+)", done.output)}
