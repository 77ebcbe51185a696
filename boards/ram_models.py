"""Simulation models of the cells that Yosys maps to and has no models of: block RAMs of Gowin and ECP5, ECP5's multiplier.

Written from the vendors' documents (Gowin UG285 "BSRAM & SSRAM", Lattice FPGA-TN-02204 "ECP5 Memory Usage", FPGA-TN-02205
"ECP5 sysDSP Usage"). A parameter that a model does not carry ends the simulation with a sentence that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

SLICES = 64
"""Parameters with a part of the initial content each."""

_PORT = """
  integer i{p};
  wire [10:0] at{p} = ad_{p}[13:3] & ~(COUNT_{P} - 1);
  wire [2:0] bit{p} = ad_{p}[2:0] & ~(WIDTH_{P} - 1);
  reg [35:0] seen{p};
  always @* begin
    seen{p} = 36'd0;
    if (WIDTH_{P} < BYTE) seen{p}[NARROW_{P}-1:0] = mem[ad_{p}[13:3]][bit{p} +: NARROW_{P}];
    else for (i{p} = 0; i{p} < COUNT_{P}; i{p} = i{p} + 1) seen{p}[i{p}*BYTE +: BYTE] = mem[at{p} + i{p}];
    if (MODE_{P} == 1 && we_{p})
      if (WIDTH_{P} <= BYTE) seen{p}[NARROW_{P}-1:0] = di_{p}[NARROW_{P}-1:0];
      else for (i{p} = 0; i{p} < COUNT_{P}; i{p} = i{p} + 1)
        if (ad_{p}[i{p}]) seen{p}[i{p}*BYTE +: BYTE] = di_{p}[i{p}*BYTE +: BYTE];
  end
  integer j{p};
  wire edge{p} = clk_{p} ^ INVERT_{P};
  always @(posedge edge{p})
    if (en_{p} && we_{p})
      if (WIDTH_{P} < BYTE) mem[ad_{p}[13:3]][bit{p} +: NARROW_{P}] <= di_{p}[NARROW_{P}-1:0];
      else for (j{p} = 0; j{p} < COUNT_{P}; j{p} = j{p} + 1)
        if (COUNT_{P} == 1 || ad_{p}[j{p}]) mem[at{p} + j{p}] <= di_{p}[j{p}*BYTE +: BYTE];
  generate
    if (ASYNC) begin : async{p}
      always @(posedge edge{p} or posedge rst_{p})
        if (rst_{p}) do_{p} <= 36'd0;
        else if (en_{p} && (MODE_{P} != 0 || !we_{p})) do_{p} <= seen{p};
    end else begin : sync{p}
      always @(posedge edge{p})
        if (rst_{p}) do_{p} <= 36'd0;
        else if (en_{p} && (MODE_{P} != 0 || !we_{p})) do_{p} <= seen{p};
    end
  endgenerate
"""

BLOCK_RAM = (
    """
// 2,048 bytes of BYTE (8 or 9) bits with two ports of WIDTH 1, 2, 4, or 1, 2 or 4 bytes. MODE: what a write does to the port's
// output, 0 nothing, 1 shows the new word, 2 the old one. An address counts bits; its lowest bits enable bytes of a wide write.
// FILL: where it is not 0, the seed of a random first content in place of INIT.
module neuroloom_block_ram #(
  parameter BYTE = 9, WIDTH_A = 9, WIDTH_B = 9, MODE_A = 0, MODE_B = 0, ASYNC = 0, INVERT_A = 0, INVERT_B = 0,
  parameter [2048*BYTE-1:0] INIT = 0, parameter [31:0] FILL = 0
) (
  input clk_a, en_a, we_a, rst_a, input [13:0] ad_a, input [35:0] di_a, output reg [35:0] do_a,
  input clk_b, en_b, we_b, rst_b, input [13:0] ad_b, input [35:0] di_b, output reg [35:0] do_b
);
  localparam COUNT_A = WIDTH_A < BYTE ? 1 : WIDTH_A / BYTE, COUNT_B = WIDTH_B < BYTE ? 1 : WIDTH_B / BYTE;
  localparam NARROW_A = WIDTH_A < BYTE ? WIDTH_A : BYTE, NARROW_B = WIDTH_B < BYTE ? WIDTH_B : BYTE;
  reg [BYTE-1:0] mem [0:2047];
  integer n;
  reg [31:0] x;
  initial begin
    x = FILL;
    for (n = 0; n < 2048; n = n + 1) begin
      x = x ^ (x << 13); x = x ^ (x >> 17); x = x ^ (x << 5);
      mem[n] = FILL == 0 ? INIT[n*BYTE +: BYTE] : x[16 +: BYTE];
    end
    do_a = 36'd0;
    do_b = 36'd0;
  end
"""
    + _PORT.format(p="a", P="A")
    + _PORT.format(p="b", P="B")
    + "endmodule\n"
)


def _names(stem: str) -> list[str]:
    return [f"{stem}{number:02X}" for number in range(SLICES)]


def _parameters(stem: str, bits: int) -> str:
    return ", ".join(f"{name} = {bits}'d0" for name in _names(stem))


def _refuse(cell: str, wanted: Mapping[str, str]) -> str:
    """Ends the simulation unless parameters have the values that the model carries."""
    return "".join(
        f"  initial if ({name} != {value}) begin\n"
        f'    $display("{cell} must have {name} = %s to be simulated here", {_quoted(value)}); $fatal;\n  end\n'
        for name, value in wanted.items()
    )


def _quoted(value: str) -> str:
    return value if value.startswith('"') else f'"{value}"'


def _gowin_ports(cell: str) -> tuple[str, str, str]:
    """Of a Gowin cell: its ports, its own parameters, and how it uses the block RAM."""
    data = 36 if cell in ("SP", "SPX9", "SDPB", "SDPX9B") else 18
    if not cell.endswith(("9", "9B")):
        data -= data // 9
    bus = f"[{data - 1}:0]"
    if cell.startswith("SP"):
        ports = f"output {bus} DO, input {bus} DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET"
        own = "READ_MODE = 1'b0, WRITE_MODE = 2'b00, BIT_WIDTH = 9, BLK_SEL = 3'b000"
        use = """#(.BYTE(BYTE), .WIDTH_A(BIT_WIDTH), .MODE_A(WRITE_MODE), .ASYNC(RESET_MODE == "ASYNC"), .INIT(CONTENT)) ram (
    .clk_a(CLK), .en_a(CE), .we_a(WRE), .rst_a(RESET), .ad_a(AD), .di_a(DI), .do_a(DO),
    .clk_b(1'b0), .en_b(1'b0), .we_b(1'b0), .rst_b(1'b0), .ad_b(14'd0), .di_b(36'd0), .do_b());"""
        return ports, own, use + _refuse(cell, {"READ_MODE": "0", "BLK_SEL": "0"})
    own = "BIT_WIDTH_0 = 9, BIT_WIDTH_1 = 9, BLK_SEL_0 = 3'b000, BLK_SEL_1 = 3'b000"
    select = {"BLK_SEL_0": "0", "BLK_SEL_1": "0"}
    head = (
        """#(.BYTE(BYTE), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .ASYNC(RESET_MODE == "ASYNC"), .INIT(CONTENT)"""
    )
    if cell.startswith("SDP"):
        ports = "input CLKA, CEA, CLKB, CEB, OCE, RESETA, RESETB, input [13:0] ADA, ADB, input [2:0] BLKSELA, BLKSELB, "
        ports += f"input {bus} DI, output {bus} DO"
        use = f"""{head}) ram (
    .clk_a(CLKA), .en_a(CEA), .we_a(1'b1), .rst_a(RESETA), .ad_a(ADA), .di_a(DI), .do_a(),
    .clk_b(CLKB), .en_b(CEB), .we_b(1'b0), .rst_b(RESETB), .ad_b(ADB), .di_b(36'd0), .do_b(DO));"""
        return ports, own + ", READ_MODE = 1'b0", use + _refuse(cell, {"READ_MODE": "0", **select})
    ports = "input CLKA, CEA, CLKB, CEB, OCEA, OCEB, RESETA, RESETB, WREA, WREB, input [13:0] ADA, ADB, "
    ports += f"input [2:0] BLKSELA, BLKSELB, input {bus} DIA, DIB, output {bus} DOA, DOB"
    own += ", READ_MODE0 = 1'b0, READ_MODE1 = 1'b0, WRITE_MODE0 = 2'b00, WRITE_MODE1 = 2'b00"
    use = f"""{head}, .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1)) ram (
    .clk_a(CLKA), .en_a(CEA), .we_a(WREA), .rst_a(RESETA), .ad_a(ADA), .di_a(DIA), .do_a(DOA),
    .clk_b(CLKB), .en_b(CEB), .we_b(WREB), .rst_b(RESETB), .ad_b(ADB), .di_b(DIB), .do_b(DOB));"""
    return ports, own, use + _refuse(cell, {"READ_MODE0": "0", "READ_MODE1": "0", **select})


def _gowin(cell: str) -> str:
    ports, own, use = _gowin_ports(cell)
    byte = 9 if "9" in cell else 8
    content = ", ".join(reversed(_names("INIT_RAM_")))
    return (
        f"module {cell} ({ports});\n"
        f'  parameter {own}, RESET_MODE = "SYNC";\n'
        f"  parameter [{32 * byte - 1}:0] {_parameters('INIT_RAM_', 32 * byte)};\n"
        f"  localparam BYTE = {byte};\n  localparam [{2048 * byte - 1}:0] CONTENT = {{{content}}};\n"
        f"  neuroloom_block_ram {use}\nendmodule\n"
    )


def _bits(name: str, high: int) -> str:
    """Pins of one bit each as a bus."""
    return "{" + ", ".join(f"{name}{number}" for number in range(high, -1, -1)) + "}"


def _pins(name: str, high: int) -> str:
    return _bits(name, high)[1:-1]


def _dp16kd(cell: str) -> str:
    # A word of 18 bits has 20 in the parameters. A port of 36 bits takes both halves of the cell.
    words = (f"{name}[{20 * n + 17}:{20 * n}]" for name in reversed(_names("INITVAL_")) for n in range(15, -1, -1))
    inputs = [_pins(f"DI{port}", 17) for port in "AB"] + [_pins(f"AD{port}", 13) for port in "AB"]
    inputs += [_pins(f"CS{port}", 2) for port in "AB"]
    inputs += [f"CE{port}, OCE{port}, CLK{port}, WE{port}, RST{port}" for port in "AB"]
    wanted = {f"REGMODE_{port}": '"NOREG"' for port in "AB"} | {f"CSDECODE_{port}": '"0b000"' for port in "AB"}
    mode = '(WRITEMODE_{0} == "NORMAL" ? 0 : WRITEMODE_{0} == "WRITETHROUGH" ? 1 : 2)'
    return (
        f"module {cell} (input {', '.join(inputs)}, output {_pins('DOA', 17)}, {_pins('DOB', 17)});\n"
        "  parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;\n"
        '  parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";\n'
        '  parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000", WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";\n'
        '  parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB", GSR = "ENABLED", INIT_DATA = "STATIC";\n'
        f"  parameter [319:0] {_parameters('INITVAL_', 320)};\n"
        f"  localparam [18431:0] CONTENT = {{{', '.join(words)}}};\n"
        "  wire [35:0] qa, qb;\n"
        f"  assign {_bits('DOA', 17)} = DATA_WIDTH_B == 36 ? qb[17:0] : qa[17:0];\n"
        f"  assign {_bits('DOB', 17)} = DATA_WIDTH_B == 36 ? qb[35:18] : qb[17:0];\n"
        "  neuroloom_block_ram #(.WIDTH_A(DATA_WIDTH_A), .WIDTH_B(DATA_WIDTH_B), .INIT(CONTENT),\n"
        f"    .MODE_A{mode.format('A')}, .MODE_B{mode.format('B')},\n"
        '    .ASYNC(RESETMODE == "ASYNC"), .INVERT_A(CLKAMUX == "INV"), .INVERT_B(CLKBMUX == "INV")) ram (\n'
        f"    .clk_a(CLKA), .en_a(CEA & ~|{_bits('CSA', 2)}), .we_a(WEA), .rst_a(RSTA), .ad_a({_bits('ADA', 13)}),\n"
        f"    .di_a({{{_bits('DIB', 17)}, {_bits('DIA', 17)}}}), .do_a(qa),\n"
        f"    .clk_b(CLKB), .en_b(CEB & ~|{_bits('CSB', 2)}), .we_b(WEB), .rst_b(RSTB), .ad_b({_bits('ADB', 13)}),\n"
        f"    .di_b({{18'd0, {_bits('DIB', 17)}}}), .do_b(qb));\n{_refuse(cell, wanted)}endmodule\n"
    )


def _mult18x18d(cell: str) -> str:
    registers = [f"REG_{stage}" for stage in ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")]
    inputs = [_pins(letter, 17) for letter in "ABC"] + ["SIGNEDA, SIGNEDB, SOURCEA, SOURCEB"]
    inputs += [_pins(name, 3) for name in ("CLK", "CE", "RST")] + [_pins(name, 17) for name in ("SRIA", "SRIB")]
    outputs = [_pins(name, 17) for name in ("SROA", "SROB", "ROA", "ROB", "ROC")] + [_pins("P", 35), "SIGNEDP"]
    wanted = {f"{name}_CLK": '"NONE"' for name in registers[:-1]} | {"MULT_BYPASS": '"DISABLED"', "RESETMODE": '"SYNC"'}
    wanted |= {"REG_OUTPUT_CE": '"CE0"', "REG_OUTPUT_RST": '"RST0"'}
    own = [f'{name}_CLK = "NONE", {name}_CE = "CE0", {name}_RST = "RST0"' for name in registers]
    own += [
        'CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED", CLK3_DIV = "ENABLED", RESETMODE = "SYNC"'
    ]
    own += ['HIGHSPEED_CLK = "NONE", GSR = "ENABLED", CAS_MATCH_REG = "FALSE", MULT_BYPASS = "DISABLED"']
    own += ['SOURCEB_MODE = "B_SHIFT"']
    return (
        f"module {cell} (input {', '.join(inputs)}, output {', '.join(outputs)});\n"
        f"  parameter {', '.join(own)};\n"
        f"  wire signed [18:0] a = {{SIGNEDA & A17, {_bits('A', 17)}}}, b = {{SIGNEDB & B17, {_bits('B', 17)}}};\n"
        "  wire signed [37:0] p = a * b;\n"
        "  reg [35:0] kept = 0;\n"
        "  always @(posedge CLK0) if (RST0) kept <= 0; else if (CE0) kept <= p[35:0];\n"
        f'  assign {_bits("P", 35)} = REG_OUTPUT_CLK == "NONE" ? p[35:0] : kept;\n  assign SIGNEDP = SIGNEDA | SIGNEDB;\n'
        '  initial if (REG_OUTPUT_CLK != "NONE" && REG_OUTPUT_CLK != "CLK0") begin\n'
        f'    $display("{cell} must have REG_OUTPUT_CLK = \\"NONE\\" or \\"CLK0\\" to be simulated here"); $fatal;\n  end\n'
        f"  always @* if (SOURCEA | SOURCEB) begin\n"
        f'    $display("{cell} must take its factors from A and B to be simulated here"); $fatal;\n  end\n'
        f"{_refuse(cell, wanted)}endmodule\n"
    )


def _mult18x18(cell: str) -> str:
    registers = ("AREG", "BREG", "OUT_REG", "PIPE_REG", "ASIGN_REG", "BSIGN_REG", "SOA_REG")
    own = [f"{name} = 1'b0" for name in registers]
    return (
        f"module {cell} (input [17:0] A, SIA, B, SIB, input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,\n"
        "  output [35:0] DOUT, output [17:0] SOA, SOB);\n"
        f'  parameter {", ".join(own)}, MULT_RESET_MODE = "SYNC";\n'
        "  wire signed [18:0] a = {ASIGN & A[17], A}, b = {BSIGN & B[17], B};\n"
        "  wire signed [37:0] p = a * b;\n"
        "  assign DOUT = p[35:0];\n"
        f"  always @* if (ASEL | BSEL) begin\n"
        f'    $display("{cell} must take its factors from A and B to be simulated here"); $fatal;\n  end\n'
        f"{_refuse(cell, dict.fromkeys(registers, '0'))}endmodule\n"
    )


_GOWIN = ("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B")
OWN: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "gowin": {**dict.fromkeys(_GOWIN, _gowin), "MULT18X18": _mult18x18},
    "ecp5": {"DP16KD": _dp16kd, "MULT18X18D": _mult18x18d},
}
"""By family and cell, what writes its model."""


def own_models(family: str, cells: list[str]) -> str:
    """Verilog of those of ``cells`` that have a model here."""
    found = "".join(OWN[family][cell](cell) for cell in sorted(cells) if cell in OWN.get(family, {}))
    return BLOCK_RAM + found if found else ""
