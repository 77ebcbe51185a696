"""The models of block RAMs and multipliers against RTL: what Yosys maps to them does, with random input, what was written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from neuroloom.boards import toolchain
from neuroloom.boards.cell_models import cell_models, defines
from neuroloom.boards.flows import FLOWS
from neuroloom.boards.registry import load_board

CYCLES = 4000

MEMORIES = """
// One port whose output stays on a write, shows the new word, or shows the old one; with content.
module single #(parameter W = 9, D = 10, MODE = 0) (input clk, en, we, input [D-1:0] at, input [W-1:0] d, output reg [W-1:0] q);
  reg [W-1:0] mem [0:(1<<D)-1];
  integer i;
  initial begin q = 0; for (i = 0; i < 64; i = i + 1) mem[i] = i * 40503 + (i << 9); end
  always @(posedge clk) if (en) begin
    if (we) mem[at] <= d;
    if (MODE == 2 || !we) q <= mem[at];
    else if (MODE == 1) q <= d;
  end
endmodule
// A write port with a bit per byte, and a read port.
module bytes #(parameter B = 9, N = 2, D = 9) (input clk, input [N-1:0] we, input [D-1:0] wat, rat, input [N*B-1:0] d,
                                               output reg [N*B-1:0] q);
  reg [N*B-1:0] mem [0:(1<<D)-1];
  integer i;
  initial begin q = 0; for (i = 0; i < 64; i = i + 1) mem[i] = i * 77777; end
  always @(posedge clk) begin
    for (i = 0; i < N; i = i + 1) if (we[i]) mem[wat][i*B +: B] <= d[i*B +: B];
    q <= mem[rat];
  end
endmodule
// Two ports of different widths: words of W bits are written, of R words read.
module mixed #(parameter W = 4, R = 4, D = 8) (input clk, we, input [D+1:0] wat, input [D-1:0] rat, input [W-1:0] d,
                                               output reg [W*R-1:0] q);
  reg [W-1:0] mem [0:R*(1<<D)-1];
  integer i, j;
  initial begin q = 0; for (i = 0; i < 64; i = i + 1) mem[i] = i * 13 + 5; end
  always @(posedge clk) begin
    if (we) mem[wat] <= d;
    for (j = 0; j < R; j = j + 1) q[j*W +: W] <= mem[rat * R + j];
  end
endmodule
module top(input clk, input [63:0] r, s, output [35:0] q0, q1, q2, q3, q4, q5, q6, q7, q8);
  single #(.W(9), .D(10), .MODE(0)) m0(clk, r[0], r[1], {6'd0, r[5:2]}, r[40:32], q0[8:0]);
  single #(.W(18), .D(9), .MODE(1)) m1(clk, r[0], r[1], {5'd0, r[5:2]}, r[49:32], q1[17:0]);
  single #(.W(16), .D(10), .MODE(2)) m2(clk, r[0], r[1], {6'd0, r[5:2]}, r[49:32], q2[15:0]);
  single #(.W(1), .D(13), .MODE(0)) m3(clk, r[0], r[1], {7'd0, r[5:2], r[12:11]}, r[32], q3[0]);
  bytes #(.B(9), .N(2), .D(9)) m4(clk, r[1:0], {6'd0, r[4:2]}, {6'd0, r[7:5]}, r[49:32], q4[17:0]);
  bytes #(.B(8), .N(4), .D(9)) m5(clk, r[3:0], {6'd0, r[6:4]}, {6'd0, r[9:7]}, r[63:32], q5[31:0]);
  mixed #(.W(4), .R(4), .D(8)) m6(clk, r[0], {6'd0, r[5:2]}, {6'd0, r[8:7]}, r[35:32], q6[15:0]);
  mixed #(.W(8), .R(4), .D(8)) m7(clk, r[0], {6'd0, r[5:2]}, {6'd0, r[8:7]}, r[39:32], q7[31:0]);
  assign {q0[35:9], q1[35:18], q2[35:16], q3[35:1], q4[35:18], q5[35:32], q6[35:16], q7[35:32]} = 0;
`ifdef MULTIPLIERS
  wire signed [17:0] a = r[17:0], b = r[35:18];
  assign q8 = s[0] ? a * b : s[1] ? r[17:0] * r[35:18] : $signed({a}) * $signed({1'b0, r[34:18]});
`else
  assign q8 = 0;
`endif
endmodule
"""

BENCH = f"""
module bench;
  reg clk = 0;
  reg [63:0] r = 0, s = 0;
  wire [35:0] w [0:8], c [0:8];
  rtl_top wanted(clk, r, s, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]);
  top cells(.clk(clk), .r(r), .s(s), .q0(c[0]), .q1(c[1]), .q2(c[2]), .q3(c[3]), .q4(c[4]), .q5(c[5]), .q6(c[6]), .q7(c[7]),
            .q8(c[8]));
  integer n, k, wrong = 0, changes = 0;
  initial begin
    for (n = 0; n < {CYCLES}; n = n + 1) begin
      r = {{$random, $random}}; s = {{$random, $random}};
      #1 clk = 1; #1 clk = 0; #1;
      for (k = 0; k < 9; k = k + 1) begin
        if (w[k] !== c[k]) begin
          wrong = wrong + 1;
          if (wrong < 5) $display("cycle %0d output %0d: %h wanted, %h found", n, k, w[k], c[k]);
        end
        if (w[k] !== 0) changes = changes + 1;
      end
    end
    $display("%0d wrong, %0d others than 0", wrong, changes);
    $finish;
  end
endmodule
"""


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("tang_nano_9k", {"SPX9", "DPX9B", "MULT18X18"}),
        ("ulx3s_85f", {"DP16KD", "MULT18X18D"}),
    ],
)
def test_mapped_memories_do_what_was_written(
    require_tool: Callable[[str], None], tmp_path: Path, name: str, cells: set[str]
) -> None:
    require_tool("iverilog")
    board = load_board(name)
    define = "-DMULTIPLIERS " if any(cell.startswith("MULT") for cell in cells) else ""
    (tmp_path / "top.v").write_text(MEMORIES)
    (tmp_path / "run.ys").write_text(
        f"read_verilog {define}top.v\n{FLOWS[board.family].synth(board)}\nwrite_verilog -noattr netlist.v\n"
        "tee -q -o stat.json stat -json\ndesign -reset\n"
    )
    toolchain.run("yosys", ["-q", "-s", "run.ys"], cwd=tmp_path, timeout=300)
    used = json.loads((tmp_path / "stat.json").read_text())["design"]["num_cells_by_type"]
    assert cells <= set(used), "synthesis must use what this test is about"
    netlist, models = (tmp_path / "netlist.v").read_text(), cell_models(board.family, used)
    assert all(defines(models + netlist, kind) for kind in used if not kind.startswith("$"))
    rtl = MEMORIES
    for module in ("top", "single", "bytes", "mixed"):
        rtl = rtl.replace(f"module {module}", f"module rtl_{module}").replace(f"  {module} #(", f"  rtl_{module} #(")
    (tmp_path / "all.v").write_text(rtl + models + netlist + BENCH)
    iverilog = toolchain.find("iverilog")
    command = [*iverilog.argv, "-g2012", *define.split(), "-s", "bench", "-o", "bench.vvp", "all.v"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    out = subprocess.run([*toolchain.find("vvp").argv, "bench.vvp"], cwd=tmp_path, check=True, capture_output=True)
    wrong, _, rest = out.stdout.decode().strip().splitlines()[-1].partition(" wrong, ")
    assert wrong == "0" and int(rest.split()[0]) > 4 * CYCLES, out.stdout.decode()


def test_a_parameter_that_a_model_does_not_carry_ends_the_simulation(
    require_tool: Callable[[str], None], tmp_path: Path
) -> None:
    require_tool("iverilog")
    text = cell_models("ecp5", ["DP16KD"]) + 'module bench; DP16KD #(.REGMODE_A("OUTREG")) ram (); endmodule\n'
    (tmp_path / "all.v").write_text(text)
    command = [*toolchain.find("iverilog").argv, "-g2012", "-s", "bench", "-o", "bench.vvp", "all.v"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [*toolchain.find("vvp").argv, "bench.vvp"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and 'DP16KD must have REGMODE_A = "NOREG"' in done.stdout.replace("NOREG", '"NOREG"', 1)
