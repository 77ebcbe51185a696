"""PLLs, oscillators, warm boot and the LED driver. The source's simulation branch passes the reference clock on."""

from __future__ import annotations

from fractions import Fraction

import pytest
from neuroloom.compiler.errors import UnsupportedError

PAD = """
module top(input clk, input [3:0] a, output reg [3:0] q, output locked);
  wire c;
`ifdef SYNTHESIS
  SB_PLL40_PAD #(.FEEDBACK_PATH("SIMPLE"), .PLLOUT_SELECT("GENCLK"), .DIVR(4'd0), .DIVF(7'd63), .DIVQ(3'd5),
    .FILTER_RANGE(3'd1)) pll (.PACKAGEPIN(clk), .PLLOUTGLOBAL(c), .RESETB(1'b1), .BYPASS(1'b0), .LOCK(locked));
`else
  assign c = clk, locked = 1;
`endif
  reg [3:0] n = 0;
  always @(posedge c) begin n <= n + a; q <= n; end
endmodule
"""
TWO = """
module top(input clk, input xin, input [3:0] a, output reg [3:0] q = 0, output reg [3:0] p = 0);
  wire c, d;
`ifdef SYNTHESIS
  SB_PLL40_2F_CORE #(.FEEDBACK_PATH("SIMPLE"), .PLLOUT_SELECT_PORTA("GENCLK"), .PLLOUT_SELECT_PORTB("GENCLK_HALF"),
    .DIVR(4'd0), .DIVF(7'd63), .DIVQ(3'd4), .FILTER_RANGE(3'd1)) pll (.REFERENCECLK(xin), .PLLOUTGLOBALA(c), .PLLOUTCOREB(d),
    .RESETB(1'b1), .BYPASS(1'b0));
`else
  assign c = clk, d = ~clk;
`endif
  always @(posedge c) q <= q + a;
  always @(posedge d) p <= p ^ a;
endmodule
"""
HARD = """
module top(input clk, input [3:0] a, output reg [3:0] q = 0, output reg slow = 0, output [2:0] led);
  wire c, l;
  reg boot = 0; reg [1:0] slot = 0;
`ifdef SYNTHESIS
  SB_HFOSC #(.CLKHF_DIV("0b10")) hf (.CLKHFPU(1'b1), .CLKHFEN(1'b1), .CLKHF(c));
  SB_LFOSC lf (.CLKLFPU(1'b1), .CLKLFEN(1'b1), .CLKLF(l));
  SB_WARMBOOT w (.BOOT(boot), .S0(slot[0]), .S1(slot[1]));
  SB_RGBA_DRV #(.RGB0_CURRENT("0b000001"), .RGB2_CURRENT("0b000011"), .CURRENT_MODE("0b1")) rgb (.CURREN(1'b1), .RGBLEDEN(a[3]),
    .RGB0PWM(q[0]), .RGB1PWM(q[1]), .RGB2PWM(q[2]), .RGB0(led[0]), .RGB1(led[1]), .RGB2(led[2]));
`else
  assign c = clk, l = ~clk, led = ~(q[2:0] & {3{a[3]}});
`endif
  always @(posedge c) begin q <= q + a; slot <= a[1:0]; boot <= &q; end
  always @(posedge l) slow <= a[2];
endmodule
"""


def test_pad_pll_up5k(flow, make_design):
    design = make_design(PAD, {"a": 4}, {"q": 4, "locked": 0}, pins={"clk": "35"})
    unpacked = flow.unpack("pad", design, "up5k")
    (pll,) = unpacked.plls
    assert (pll.kind, pll.ratio["A"], pll.reference, pll.clocks) == ("SB_PLL40_PAD", Fraction(2), "clk", {"A": "clk"})
    assert (pll.parameters["DIVF"], pll.parameters["DIVQ"], pll.parameters["FILTER_RANGE"]) == (63, 5, 1)
    assert flow.simulate(design, unpacked, key="pad") > 20_000
    separate = flow.unpack("pad", design, "up5k", pll="input")
    assert separate.ports["pll0_a"].direction == "clock"


def test_two_outputs_hx8k(flow, make_design):
    design = make_design(TWO, {"a": 4, "xin": 0}, {"q": 4, "p": 4}, drives={"pll0_a": "clk", "pll0_b": "~clk"})
    with pytest.raises(UnsupportedError, match="outputs of different frequency; unpack with pll='input'"):
        flow.unpack("two", design, "hx8k")
    unpacked = flow.unpack("two", design, "hx8k", pll="input")
    assert unpacked.plls[0].ratio == {"A": Fraction(4), "B": Fraction(2)}
    assert flow.simulate(design, unpacked, key="two") > 20_000


def test_hard_cells_up5k(flow, make_design):
    design = make_design(
        HARD,
        {"a": 4},
        {"q": 4, "slow": 0, "led": 3},
        pins={"led[0]": "39", "led[1]": "40", "led[2]": "41"},
        drives={"hfosc": "clk", "lfosc": "~clk"},
        signals={"warmboot_boot": "src.boot", "warmboot_s0": "src.slot[0]", "warmboot_s1": "src.slot[1]"},
    )
    unpacked = flow.unpack("hard", design, "up5k")
    assert {"SB_HFOSC", "SB_LFOSC", "SB_WARMBOOT", "SB_RGBA_DRV"} <= set(unpacked.cells)
    assert "SB_HFOSC, divided by 4" in unpacked.verilog
    assert flow.simulate(design, unpacked, key="hard") > 20_000
