"""The UltraPlus multiply-accumulate cell in the configurations that Yosys infers, and in others set by hand."""

from __future__ import annotations

CELLS = [
    # 16 x 16 with every register, signed
    "A_REG B_REG C_REG D_REG TOP_8x8_MULT_REG BOT_8x8_MULT_REG PIPELINE_16x16_MULT_REG1 PIPELINE_16x16_MULT_REG2 "
    "TOPOUTPUT_SELECT=3 BOTOUTPUT_SELECT=3 A_SIGNED B_SIGNED",
    # 16 x 16 unsigned, accumulating over 32 bits
    "A_REG B_REG TOPOUTPUT_SELECT=1 BOTOUTPUT_SELECT=1 TOPADDSUB_LOWERINPUT=2 BOTADDSUB_LOWERINPUT=2 TOPADDSUB_CARRYSELECT=3",
    # two signed 8 x 8 products, registered, added to C and D without output register
    "MODE_8x8 TOP_8x8_MULT_REG BOT_8x8_MULT_REG TOPADDSUB_LOWERINPUT=1 BOTADDSUB_LOWERINPUT=1 TOPADDSUB_UPPERINPUT "
    "BOTADDSUB_UPPERINPUT A_SIGNED B_SIGNED",
    # 32-bit adder/subtractor of {A, B} and {C, D}, registered
    "TOPADDSUB_UPPERINPUT BOTADDSUB_UPPERINPUT TOPOUTPUT_SELECT=1 BOTOUTPUT_SELECT=1 TOPADDSUB_CARRYSELECT=2 C_REG",
    # two separate 16-bit accumulators with carry in, direct output
    "TOPADDSUB_CARRYSELECT=1 BOTADDSUB_CARRYSELECT=3 A_REG D_REG",
    # products and mixed signs directly out
    "MODE_8x8 TOPOUTPUT_SELECT=2 BOTOUTPUT_SELECT=2 A_SIGNED",
    # the upper half takes the sign of the lower half
    "TOPADDSUB_LOWERINPUT=3 TOPOUTPUT_SELECT=1 BOTOUTPUT_SELECT=0 BOTADDSUB_LOWERINPUT=1 B_SIGNED PIPELINE_16x16_MULT_REG1",
]
HEAD = """
module top(input clk, input [7:0] d, input ce, input rst, input [3:0] ctl, input [2:0] sel, output reg [7:0] q);
  reg [63:0] h = 0;
  reg [1:0] page = 0;
  always @(posedge clk) begin h <= {h[55:0], d}; page <= page + 1; end
  wire [31:0] o [0:7];
  wire [7:0] co;
  assign o[7] = {24'b0, co};
  always @* q = o[sel][8 * page +: 8];
"""


def _design(make_design):
    text = HEAD
    for index, cell in enumerate(CELLS):
        pairs = [item.partition("=") for item in cell.split()]
        parameters = ", ".join(f".{name}({value or 1})" for name, _, value in pairs)
        carry = ".CI(ctl[3])," if "BOTADDSUB_CARRYSELECT=3" in cell else ""
        hold = " ".join(f".{n}HOLD(ctl[{k}])," for k, n in enumerate("ABCD") if f"{n}_REG" in cell)
        text += f"""
  SB_MAC16 #({parameters}) mac{index} (.CLK(clk), .CE(ce), .A(h[15:0]), .B(h[31:16]), .C(h[47:32]), .D(h[63:48]),
    .IRSTTOP(rst), .IRSTBOT(rst), .ORSTTOP(rst), .ORSTBOT(rst & ctl[0]), {carry} {hold}
    .OLOADTOP(ctl == 1), .OLOADBOT(ctl == 2), .ADDSUBTOP(ctl[1]), .ADDSUBBOT(ctl[2]), .OHOLDTOP(ctl == 9), .OHOLDBOT(ctl == 5),
    .O(o[{index}]), .CO(co[{index}]));"""
    text += "\n  assign co[7] = 0;\nendmodule\n"
    inputs = {"d": 8, "ce": 0, "rst": 0, "ctl": 4, "sel": 3}
    # abc9 of Yosys 0.6x ends without a message on MAC16 cells in these modes; the plain mapper does not
    return make_design(text, inputs, {"q": 8}, rare=frozenset({"rst"}), synth="-noabc")


def test_configurations(flow, make_design):
    design = _design(make_design)
    unpacked = flow.unpack("dsp", design, "up5k")
    assert unpacked.cells["MAC16"] == len(CELLS)
    assert flow.simulate(design, unpacked, cycles=2500, key="dsp") > 40_000


INFERRED = """
module top(input clk, input [7:0] a, input [7:0] b, output reg [7:0] q);
  reg signed [15:0] x = 0, y = 0;
  reg signed [31:0] acc = 0;
  always @(posedge clk) begin x <= {x[7:0], a}; y <= {y[7:0], b}; acc <= acc + x * y; q <= acc[31:24] ^ acc[7:0]; end
endmodule
"""


def test_inferred_multiply_accumulate(flow, make_design):
    design = make_design(INFERRED, {"a": 8, "b": 8}, {"q": 8}, synth="-dsp")
    unpacked = flow.unpack("mac", design, "up5k")
    assert unpacked.cells["MAC16"] == 1
    assert flow.simulate(design, unpacked, key="mac") > 20_000
