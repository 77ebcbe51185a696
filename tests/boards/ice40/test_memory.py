"""Block RAM in every width, clock edge and mask, and the UltraPlus single-port RAM."""

from __future__ import annotations

import itertools
import random

PREAMBLE = """
module top(input clk, input [15:0] d, input we, input re, input ce, input [3:0] sel, output reg [15:0] q);
  // inputs are shifted through a long register so that few pins exercise every address and data bit
  reg [63:0] h = 0;
  always @(posedge clk) h <= {h[47:0], d};
  wire [15:0] r [0:15];
  always @* q = r[sel];
"""


def _ram(
    index: int, read_mode: int, write_mode: int, falling_read: bool, falling_write: bool, rng: random.Random
) -> str:
    kind = "SB_RAM40_4K" + ("NR" if falling_read else "") + ("NW" if falling_write else "")
    init = ", ".join(f".INIT_{i:X}(256'h{rng.getrandbits(256):064x})" for i in range(16))
    read_bits, write_bits = 8 + read_mode, 8 + write_mode
    # some address bits are held so that reads meet writes often
    read_pad, write_pad = (f"{11 - n}'b0, " if n < 11 else "" for n in (read_bits, write_bits))
    mask = ".MASK(h[63:48])," if write_mode == 0 else ""
    return f"""
  {kind} #(.READ_MODE({read_mode}), .WRITE_MODE({write_mode}), {init}) ram{index} (
    .RDATA(r[{index}]), .RADDR({{{read_pad}h[{read_bits - 1}:2], 2'b01}}), .RCLK{"N" if falling_read else ""}(clk),
    .RCLKE({"1'b1" if index & 1 else "ce"}), .RE(re), {mask}
    .WADDR({{{write_pad}h[{write_bits + 9}:12], 2'b01}}), .WCLK{"N" if falling_write else ""}(clk),
    .WCLKE({"ce" if index & 1 else "1'b1"}), .WE(we), .WDATA(h[47:32]));"""


def _design(make_design, seed: int):
    rng = random.Random(seed)
    modes = list(itertools.product(range(4), range(4)))
    text = PREAMBLE
    for index, (read_mode, write_mode) in enumerate(modes):
        text += _ram(index, read_mode, write_mode, bool(index & 2), bool(index & 4), rng)
    return make_design(text + "\nendmodule\n", {"d": 16, "we": 0, "re": 0, "ce": 0, "sel": 4}, {"q": 16})


def test_block_ram_modes_hx8k(flow, make_design):
    design = _design(make_design, 1)
    unpacked = flow.unpack("ram", design, "hx8k")
    assert unpacked.cells["RAM40_4K"] == 16
    assert flow.simulate(design, unpacked, cycles=2500, key="ram_hx8k") > 100_000


INFERRED = """
module top(input clk, input we, input [7:0] a, input [7:0] d, output reg [7:0] q, output reg [7:0] rom);
  reg [7:0] m [0:1023], t [0:511];
  reg [9:0] p = 0;
  integer i;
  initial begin for (i = 0; i < 1024; i = i + 1) m[i] = i * 37; for (i = 0; i < 512; i = i + 1) t[i] = i * i; end
  always @(posedge clk) begin
    p <= p + a;
    if (we) m[{2'b0, a}] <= d;
    q <= m[{2'b0, d}];
    rom <= t[p[8:0]];
  end
endmodule
"""


def test_inferred_block_ram_hx1k(flow, make_design):
    design = make_design(INFERRED, {"we": 0, "a": 8, "d": 8}, {"q": 8, "rom": 8})
    unpacked = flow.unpack("inferred", design, "hx1k")
    assert unpacked.cells["RAM40_4K"] == 3
    assert flow.simulate(design, unpacked, key="inferred") > 50_000


SPRAM = """
module top(input clk, input [7:0] d, input we, input cs, input [1:0] sel, output reg [15:0] q);
  // the same words are written to all four memories through different masks, then read back
  reg [31:0] h = 0;
  reg [2:0] told = 0;
  reg valid = 0, stby = 0;
  always @(posedge clk) begin h <= {h[23:0], d}; stby <= h[31:29] == 0; end
  wire [63:0] r;
  always @* q = r[16 * sel +: 16];
  genvar i;
  generate for (i = 0; i < 4; i = i + 1) begin
    SB_SPRAM256KA m (.ADDRESS({10'b0, h[3:0]} ^ (14'h1555 << i)), .DATAIN(h[23:8]), .MASKWREN(i[0] ? h[27:24] : 4'hf),
      .WREN(we), .CHIPSELECT(cs), .CLOCK(clk), .STANDBY(i == 3 ? stby : 1'b0), .SLEEP(1'b0), .POWEROFF(1'b1),
      .DATAOUT(r[16 * i +: 16]));
  end endgenerate
endmodule
"""


def test_single_port_ram_up5k(flow, make_design):
    design = make_design(SPRAM, {"d": 8, "we": 0, "cs": 0, "sel": 2}, {"q": 16})
    unpacked = flow.unpack("spram", design, "up5k")
    assert unpacked.cells["SPRAM256KA"] == 4
    assert flow.simulate(design, unpacked, cycles=2500, key="spram") > 100_000


def test_single_port_ram_starts_random(flow, make_design):
    """Two seeds give different first words, so nothing can rely on a memory without content."""
    design = make_design(SPRAM, {"d": 8, "we": 0, "cs": 0, "sel": 2}, {"q": 16})
    verilog = flow.unpack("spram", design, "up5k").verilog
    assert "parameter [31:0] SEED" in verilog
    assert verilog.count("SEED ^ 32'd") == 4
