"""A product and its register in one cell of an ECP5: what synthesis makes of them gives a * b of the cycle before."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from neuroloom.boards import emit, toolchain
from neuroloom.boards.cell_models import cell_models
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.registry import load_board
from neuroloom.rtl.gated.product import PRODUCT_FILE, PRODUCT_VERILOG, Product

CYCLES = 500


def factors(bits: int, rng: np.random.Generator) -> np.ndarray:
    """Signed numbers of ``bits`` bits, the extremes among them."""
    ends = -(1 << bits - 1), (1 << bits - 1) - 1
    return np.concatenate([[ends[0], ends[0], ends[1], ends[1], 0], rng.integers(ends[0], ends[1] + 1, CYCLES - 5)])


def simulate(folder: Path, sources: str, a: np.ndarray, b: np.ndarray, widths: tuple[int, int]) -> list[int]:
    """The product after every clock edge, under Icarus."""
    rows = "\n".join(f"{x & (1 << 18) - 1:05x} {y & (1 << 18) - 1:05x}" for x, y in zip(a, b, strict=True))
    (folder / "factors.hex").write_text(rows)
    (folder / "all.v").write_text(
        sources
        + f"""
module bench;
  reg clk = 0;
  reg [17:0] rows [0:{2 * CYCLES - 1}];
  reg [17:0] a = 1, b = 1;
  wire signed [{sum(widths) - 1}:0] p;
  top unit(.clk(clk), .rst(1'b0), .a(a[{widths[0] - 1}:0]), .b(b[{widths[1] - 1}:0]), .p(p));
  integer n;
  initial begin
    $readmemh("factors.hex", rows);
    #1 $display("%0d", p);
    for (n = 0; n < {CYCLES}; n = n + 1) begin
      a = rows[2 * n]; b = rows[2 * n + 1];
      #1 clk = 1; #1 clk = 0; a = ~a; b = ~b; #1 $display("%0d", p);
    end
  end
endmodule
"""
    )
    command = [*toolchain.find("iverilog").argv, "-g2012", "-s", "bench", "-o", "bench.vvp", "all.v"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    done = subprocess.run([*toolchain.find("vvp").argv, "bench.vvp"], cwd=folder, check=True, capture_output=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize("widths", [(18, 16), (18, 18), (7, 5)])
def test_the_cell_gives_the_product_of_the_cycle_before(
    require_tool: Callable[[str], None], tmp_path: Path, widths: tuple[int, int]
) -> None:
    require_tool("iverilog")
    flow, board = FLOWS["ecp5"], load_board("ulx3s_85f")
    (tmp_path / PRODUCT_FILE).write_text(PRODUCT_VERILOG)
    (tmp_path / "top.il").write_text(emit.to_rtlil(Product(*widths)))
    script = ["read_rtlil top.il", "read_verilog neuroloom_product.v", "hierarchy -top top", "proc"]
    script += [
        "write_verilog -noattr rtl.v",
        "design -reset",
        "read_rtlil top.il",
        f"verilog_defines {flow.defines}",
        "read_verilog neuroloom_product.v",
    ]
    script += [flow.synth(board), "write_verilog -noattr netlist.v", "tee -q -o stat.json stat -json"]
    (tmp_path / "run.ys").write_text("\n".join(script) + "\n")
    toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=tmp_path, timeout=300)
    used = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert used.pop("$scopeinfo", 0) >= 0 and used == {"MULT18X18D": 1}, "the register must be the multiplier's own"

    rng = np.random.default_rng(0)
    a, b = (factors(bits, rng) for bits in widths)
    wanted = [0, *(int(x) * int(y) for x, y in zip(a, b, strict=True))]
    netlist = (tmp_path / "netlist.v").read_text() + cell_models("ecp5", used)
    assert simulate(tmp_path, netlist, a, b, widths) == wanted
    assert simulate(tmp_path, (tmp_path / "rtl.v").read_text(), a, b, widths) == wanted


def test_another_clock_of_the_cell_ends_the_simulation(require_tool: Callable[[str], None], tmp_path: Path) -> None:
    require_tool("iverilog")
    text = (
        cell_models("ecp5", ["MULT18X18D"])
        + 'module bench; MULT18X18D #(.REG_OUTPUT_CLK("CLK1")) cell_ (); endmodule\n'
    )
    (tmp_path / "all.v").write_text(text)
    command = [*toolchain.find("iverilog").argv, "-g2012", "-s", "bench", "-o", "bench.vvp", "all.v"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [*toolchain.find("vvp").argv, "bench.vvp"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and re.search(r'must have REG_OUTPUT_CLK = "NONE" or "CLK0"', done.stdout)
