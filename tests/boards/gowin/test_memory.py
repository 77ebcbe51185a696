"""Block RAM: every cell in its widths with content, write modes and resets; and the multiplier."""

from __future__ import annotations

import random

import pytest
from neuroloom.boards.ram_models import own_models

SINGLE = [("SPX9", width, mode) for width, mode in ((9, 0), (18, 1), (36, 0), (18, 2))]
SINGLE += [("SP", width, mode) for width, mode in ((1, 0), (2, 2), (4, 1), (8, 1), (16, 0), (32, 0))]
"""Single-port memories: width and write mode."""
SIMPLE = [("SDPX9B", a, b) for a, b in ((36, 36), (9, 18), (18, 9), (36, 9), (9, 36))]
SIMPLE += [("SDPB", a, b) for a, b in ((1, 8), (16, 16), (32, 32), (4, 16))]
"""Memories with a port for writing and one for reading: widths. (16, 2) is not there: nextpnr takes the data's pins by the width of
the reading port, and then the upper byte stands one pin off."""
DOUBLE = [("DPX9B", a, b) for a, b in ((9, 9), (18, 9))] + [("DPB", a, b) for a, b in ((1, 16), (8, 4), (2, 2))]
"""Memories with two ports: widths."""
READ_ONLY = [("pROM", 8), ("pROMX9", 36)]


def _content(cell: str, seed: int) -> str:
    bits = 288 if "9" in cell else 256
    draw = random.Random(seed)
    return ", ".join(f".INIT_RAM_{n:02X}({bits}'h{draw.getrandbits(bits):0{bits // 4}x})" for n in range(64))


def _instance(number: int, cell: str, parameters: str, pins: str, used: list[tuple[int, int]]) -> str:
    """One memory; of its outputs, the ``used`` ones (offset and count) are folded into one bit."""
    reset = ("SYNC", "ASYNC")[number % 2]
    width = 36 if "9" in cell else 32
    folded = ", ".join(f"o{number}[{offset} +: {count}]" for offset, count in used)
    return (
        f"  wire [{width - 1}:0] o{number};\n"
        f'  {cell} #({parameters}, .RESET_MODE("{reset}"), {_content(cell, number)}) m{number} ({pins});\n'
        f"  assign y[{number}] = ^{{{folded}}};\n"
    )


def _memories(step: int) -> tuple[str, int]:
    """Instances of every ``step``-th of these cells, each with its outputs folded into one bit: pins are few."""
    text, number = "", 0

    def data(width: int) -> str:
        return f"{{5{{word}}}} >> {number % 8}"

    for cell, width, mode in SINGLE[::step]:
        parameters = f".READ_MODE(1'b0), .WRITE_MODE(2'd{mode}), .BIT_WIDTH({width}), .BLK_SEL(3'd0)"
        pins = f".DO(o{number}), .DI({data(width)}), .BLKSEL(3'd0), .AD(a), .WRE(we), .CLK(clk), .CE(en), .OCE(1'b1), .RESET(rst)"
        text += _instance(number, cell, parameters, pins, [(0, width)])
        number += 1
    for cell, first, second in SIMPLE[::step]:
        parameters = (
            f".READ_MODE(1'b0), .BIT_WIDTH_0({first}), .BIT_WIDTH_1({second}), .BLK_SEL_0(3'd0), .BLK_SEL_1(3'd0)"
        )
        pins = f".DO(o{number}), .DI({data(first)}), .BLKSELA(3'd0), .BLKSELB(3'd0), .ADA(a), .ADB(b), .CLKA(clk), .CLKB(clk)"
        pins += ", .CEA(we), .CEB(en), .OCE(1'b1), .RESETA(1'b0), .RESETB(rst)"
        text += _instance(number, cell, parameters, pins, [(0, second)])
        number += 1
    for cell, first, second in DOUBLE[::step]:
        modes = f".WRITE_MODE0(2'd{number % 3}), .WRITE_MODE1(2'd{(number + 1) % 3})"
        parameters = f".READ_MODE0(1'b0), .READ_MODE1(1'b0), {modes}, .BIT_WIDTH_0({first}), .BIT_WIDTH_1({second})"
        parameters += ", .BLK_SEL_0(3'd0), .BLK_SEL_1(3'd0)"
        half = 18 if "9" in cell else 16
        pins = f".DOA(o{number}[{half - 1}:0]), .DOB(o{number}[{2 * half - 1}:{half}]), .DIA({data(first)})"
        pins += f", .DIB(~({data(second)})), .BLKSELA(3'd0), .BLKSELB(3'd0), .ADA(a), .ADB(b), .CLKA(clk), .CLKB(clk)"
        pins += ", .CEA(en), .CEB(1'b1)"
        pins += ", .OCEA(1'b1), .OCEB(1'b1), .RESETA(rst), .RESETB(1'b0), .WREA(we), .WREB(word[0])"
        text += _instance(number, cell, parameters, pins, [(0, first), (half, second)])
        number += 1
    for cell, width in READ_ONLY:
        pins = f".DO(o{number}), .AD(a), .CLK(clk), .CE(en), .OCE(1'b1), .RESET(rst)"
        text += _instance(number, cell, f".READ_MODE(1'b0), .BIT_WIDTH({width})", pins, [(0, width)])
        number += 1
    head = f"module top(input clk, input we, en, rst, input [13:0] a, input [7:0] word, output [{number - 1}:0] y);\n"
    return head + "  wire [13:0] b = {a[0], a[13:1]};\n" + text + "endmodule\n", number


def _read_only(cell: str) -> str:
    """A model of a read-only memory: a memory with one port that is never written."""
    memory = {"pROM": "SP", "pROMX9": "SPX9"}[cell]
    bits, top = (256, 31) if cell == "pROM" else (288, 35)
    names = [f"INIT_RAM_{n:02X}" for n in range(64)]
    return (
        f"module {cell} (output [{top}:0] DO, input [13:0] AD, input CLK, CE, OCE, RESET);\n"
        f'  parameter READ_MODE = 1\'b0, BIT_WIDTH = 9, RESET_MODE = "SYNC";\n'
        f"  parameter [{bits - 1}:0] {', '.join(f'{name} = 0' for name in names)};\n"
        f"  {memory} #(.BIT_WIDTH(BIT_WIDTH), .RESET_MODE(RESET_MODE), {', '.join(f'.{name}({name})' for name in names)}) m\n"
        f"    (.DO(DO), .DI({top + 1}'d0), .BLKSEL(3'd0), .AD(AD), .WRE(1'b0), .CLK(CLK), .CE(CE), .OCE(OCE), .RESET(RESET));\n"
        "endmodule\n"
    )


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.campaign)])
def test_block_ram(flow, make_design, step):
    """All of them, as a campaign, fill the chip's block RAM: place and route takes minutes."""
    source, count = _memories(step)
    design = make_design(
        source, {"we": 0, "en": 0, "rst": 0, "a": 14, "word": 8}, {"y": count}, rare=frozenset({"rst"})
    )
    unpacked = flow.unpack(f"memories{step}", design)
    assert unpacked.cells["BSRAM"] == count
    # the module of the block RAM itself comes with the unpacked one
    models = own_models("gowin", ["SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B"]).partition("endmodule\n")[2]
    models += "".join(_read_only(cell) for cell, _ in READ_ONLY)
    assert (
        flow.simulate(design, unpacked, cycles=4000, key=f"memories{step}", models=models, fast=True)
        > 4 * 4000 * count * 0.9
    )


MULTIPLIERS = """
module top(input clk, input [17:0] a, input [7:0] b, output reg [7:0] y);
  wire signed [17:0] s = {b, a[9:0]};
  wire [17:0] u = {a[8:0], b, a[17]};
  wire signed [35:0] p = $signed(a) * s;
  wire [35:0] q = a * u;
  wire signed [35:0] m = $signed(a) * $signed({1'b0, u[16:0]});
  always @(posedge clk) y <= p[35:28] ^ p[27:20] ^ p[19:12] ^ p[11:4] ^ p[3:0] ^ q[35:28] ^ q[27:20] ^ q[19:12] ^ q[11:4]
    ^ {q[3:0], 4'b0} ^ m[35:28] ^ m[20:13] ^ m[12:5];
endmodule
"""


def test_multipliers(flow, make_design):
    design = make_design(MULTIPLIERS, {"a": 18, "b": 8}, {"y": 8})
    unpacked = flow.unpack("multipliers", design)
    assert unpacked.cells["MULT18X18"] == 3
    assert flow.simulate(design, unpacked, key="multipliers") > 40_000
