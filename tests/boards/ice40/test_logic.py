"""Logic cells: random logic, carry chains, cascades, and every flip-flop variant."""

from __future__ import annotations

import pytest
from neuroloom.boards.ice40 import unpack
from neuroloom.boards.ice40.bitstream import flip, parse
from neuroloom.boards.ice40.fabric import Fabric
from neuroloom.boards.ice40.layout import bit_addresses
from neuroloom.boards.ice40.tables import load

LOGIC = """
module top(input clk, input rst, input set, input en, input [7:0] a, input [7:0] b,
           output reg [7:0] sum, output [7:0] dif, output lt, output eq, output [3:0] lut,
           output [7:0] ff);
  reg [23:0] wide = 0;
  always @(posedge clk) if (rst) sum <= 0; else if (en) sum <= sum + a + b[0];
  always @(posedge clk) if (en) wide <= wide + {a, b, 3'b101};
  assign dif = a - b + wide[23:16];
  assign lt = $signed(a) < $signed(b);
  assign eq = a == b;
  assign lut = {^{a, b}, (a[0] & b[1]) | (a[2] ^ b[3]), a[4] ? b[4] : ~b[5], &{a[7], ~b[6], en, rst}};
  reg q0 = 0, q1 = 0, q2 = 0, q3 = 0, q4 = 0, q5 = 0, q6 = 0, q7 = 0;
  always @(posedge clk) q0 <= a[0] ^ q0;
  always @(posedge clk) if (rst) q1 <= 0; else q1 <= a[1] ^ q1;
  always @(posedge clk) if (en) begin if (set) q2 <= 1; else q2 <= a[2] ^ q2; end
  always @(posedge clk or posedge rst) if (rst) q3 <= 0; else if (en) q3 <= a[3] ^ q3;
  always @(posedge clk or posedge set) if (set) q4 <= 1; else q4 <= a[4] ^ q4;
  always @(negedge clk) if (en) q5 <= a[5] ^ q5;
  always @(negedge clk or posedge rst) if (rst) q6 <= 0; else if (en) q6 <= a[6] ^ q6;
  always @(negedge clk) if (set) q7 <= 1; else q7 <= a[7] ^ q7;
  assign ff = {q7, q6, q5, q4, q3, q2, q1, q0};
endmodule
"""


@pytest.fixture(scope="module")
def logic(make_design):
    inputs = {"rst": 0, "set": 0, "en": 0, "a": 8, "b": 8}
    outputs = {"sum": 8, "dif": 8, "lt": 0, "eq": 0, "lut": 4, "ff": 8}
    return make_design(LOGIC, inputs, outputs, rare=frozenset({"rst", "set"}))


def test_logic_hx8k(flow, logic):
    unpacked = flow.unpack("logic", logic, "hx8k")
    assert flow.simulate(logic, unpacked, key="logic") > 100_000
    assert unpacked.cells["DFF"] >= 8 + 24 + 8
    assert unpacked.cells["CARRY"] >= 40
    fabric = Fabric(parse(flow.build("logic", logic, "hx8k")), load("8k"))
    assert any("CarryInSet" in names for names in fabric.options.values())


CASCADE = """
module top(input clk, input [1:0] a, output y);
  wire m, n;
  (* keep, BEL="X5/Y5/lc0" *) SB_LUT4 #(.LUT_INIT(16'h6666)) first (.O(m), .I0(a[0]), .I1(a[1]), .I2(1'b0), .I3(1'b0));
  (* keep, BEL="X5/Y5/lc1" *) SB_LUT4 #(.LUT_INIT(16'h5555)) second (.O(n), .I0(m), .I1(1'b0), .I2(1'b0), .I3(1'b0));
  reg q = 0;
  always @(posedge clk) q <= n;
  assign y = q;
endmodule
"""


def test_cascade(flow, make_design):
    """Place and route does not use the direct wire from one lookup table to the next: rewire a design to it by hand."""
    design = make_design(CASCADE, {"a": 2}, {"y": 0})
    image, pcf = flow.build("cascade", design, "up5k"), flow.pcf(design, "up5k")
    fabric = Fabric(parse(image), load("5k"))
    tables = fabric.tables
    out = tables.net(5, 5, "lutff_0/out")
    inputs = [tables.net(5, 5, f"lutff_1/in_{k}") for k in range(4)]
    (pin,) = (net for net in inputs if net in fabric.driver)
    local = fabric.driver[pin]
    assert fabric.driver[local] == out
    flips = {
        place
        for place, switch in tables.switches((5, 5)).items()
        if switch.net in (pin, local) and fabric.bits[5, 5][place]
    }
    flips.add(tables.functions["logic"]["LC_1"][0][:1] + (50,))  # the cascade bit is in the cell's first row
    now = fabric.option_bits(5, 5, "LC_1")
    for index, place in enumerate((4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)):
        if now[place] != (not index >> 2 & 1):  # the table becomes "not input 2"
            flips.add(tables.functions["logic"]["LC_1"][place])
    bank, ys, xs = bit_addresses("5k", "logic", 5, 5)
    rewired = flip(image, [("cram", bank, int(ys[place]), int(xs[place])) for place in flips])
    unpacked = unpack(rewired, pcf=pcf)
    assert "l_5_5_0" in unpacked.verilog
    assert flow.simulate(design, unpacked, key="cascade") > 1000
