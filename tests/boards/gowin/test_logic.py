"""Logic tiles: random logic, carry chains, wide multiplexers, every flip-flop, and memories of look-up tables."""

from __future__ import annotations

LOGIC = """
module top(input clk, input rst, input set, input en, input [5:0] a, input [5:0] b, output reg [5:0] sum,
           output [5:0] dif, output lt, output eq, output [3:0] lut, output [11:0] ff, output wide, inout pad);
  reg [23:0] count = 0;
  always @(posedge clk) if (rst) sum <= 0; else if (en) sum <= sum + a + b[0];
  always @(posedge clk) if (en) count <= count + {a, b, 3'b101};
  assign dif = a - b + count[21:16];
  assign lt = $signed(a) < $signed(b);
  assign eq = a == b;
  assign lut = {^{a, b}, (a[0] & b[1]) | (a[2] ^ b[3]), a[4] ? b[4] : ~b[5], &{a[5], ~b[3], en, rst}};
  reg q0 = 0, q1 = 0, q2 = 1, q3 = 0, q4 = 1, q5 = 0, q6 = 0, q7 = 1, q8 = 1, q9 = 0, qa = 1, qb = 0;
  always @(posedge clk) q0 <= a[0] ^ q0;
  always @(posedge clk) if (rst) q1 <= 0; else if (en) q1 <= a[1] ^ q1;
  always @(posedge clk) if (set) q2 <= 1; else if (en) q2 <= a[2] ^ q2;
  always @(posedge clk or posedge rst) if (rst) q3 <= 0; else if (en) q3 <= a[3] ^ q3;
  always @(posedge clk or posedge set) if (set) q4 <= 1; else q4 <= a[4] ^ q4;
  always @(negedge clk) if (en) q5 <= a[5] ^ q5;
  always @(negedge clk or posedge rst) if (rst) q6 <= 0; else if (en) q6 <= a[0] ^ q6;
  always @(negedge clk) if (set) q7 <= 1; else q7 <= a[1] ^ q7;
  always @(negedge clk or posedge set) if (set) q8 <= 1; else if (en) q8 <= a[2] ^ q8;
  always @(negedge clk) if (rst) q9 <= 0; else if (en) q9 <= a[3] ^ q9;
  always @(posedge clk) if (set) qa <= 1; else qa <= a[4] ^ qa;
  always @(posedge clk or posedge rst) if (rst) qb <= 0; else qb <= a[5] ^ qb;
  assign ff = {qb, qa, q9, q8, q7, q6, q5, q4, q3, q2, q1, q0};
  wire [255:0] field = {11{count}};
  wire [7:0] index = {a[3:0], b[3:0]};
  assign wide = field[index];
  assign pad = en ? q0 : 1'bz;
endmodule
"""


def test_logic(flow, make_design):
    inputs = {"rst": 0, "set": 0, "en": 0, "a": 6, "b": 6}
    outputs = {"sum": 6, "dif": 6, "lt": 0, "eq": 0, "lut": 4, "ff": 12, "wide": 0}
    design = make_design(LOGIC, inputs, outputs, {"pad": 0}, rare=frozenset({"rst", "set"}))
    unpacked = flow.unpack("logic", design)
    assert flow.simulate(design, unpacked, key="logic") > 100_000
    assert unpacked.cells["DFF"] >= 40
    assert unpacked.cells["ALU"] >= 30
    assert unpacked.cells["MUX2"] >= 20


MEMORY = """
module top(input clk, input en, input [7:0] a, input [3:0] w, input [3:0] r, output [7:0] y, output [3:0] z);
  reg [7:0] m [0:15];
  reg [3:0] n [0:31];
  reg [4:0] count = 0;
  integer i;
  initial for (i = 0; i < 16; i = i + 1) m[i] = 8'hff;
  initial for (i = 0; i < 32; i = i + 1) n[i] = 4'hf;
  always @(posedge clk) begin if (en) m[w] <= a; count <= count + 1; if (a[0]) n[{a[1], w}] <= a[7:4]; end
  assign y = m[r];
  assign z = n[count];
endmodule
"""


def test_memory_of_tables(flow, make_design):
    """The packer leaves the first content of these memories out: whatever the source says, they start with ones."""
    design = make_design(MEMORY, {"en": 0, "a": 8, "w": 4, "r": 4}, {"y": 8, "z": 4})
    unpacked = flow.unpack("tables", design)
    assert flow.simulate(design, unpacked, key="tables") > 30_000
    assert unpacked.cells["RAM16"] >= 3


SETS = """
module top(input clk, input set, input a, output [7:0] s);
  reg [63:0] r = ~64'd0;
  always @(posedge clk) if (set) r <= ~64'd0; else r <= {r[62:0], a ^ r[63] ^ r[60]};
  assign s = r[63:56];
endmodule
"""


def test_registers_that_are_set_and_have_no_fuse(flow, make_design):
    """Two of them in a slice leave no fuse of it set."""
    design = make_design(SETS, {"set": 0, "a": 0}, {"s": 8}, rare=frozenset({"set"}))
    unpacked = flow.unpack("sets", design)
    assert flow.simulate(design, unpacked, key="sets") > 30_000 and unpacked.cells["DFF"] == 64
