"""I/O blocks: tristate, registered, double data rate, both clock edges; and how pins are named."""

from __future__ import annotations

import pytest
from neuroloom.boards.ice40 import read_pcf, unpack
from neuroloom.compiler.errors import InputError

PADS = """
module top(input clk, input [7:0] d, input oe, input ce, input reg_in, input reg_n, input ddr_in,
           output plain, output inverted, output registered, output ddr, output ddr_n, output [6:0] seen,
           inout io_simple, inout io_reg, inout io_up);
  wire [7:0] n;
  SB_IO #(.PIN_TYPE(6'b0101_00)) p0 (.PACKAGE_PIN(registered), .OUTPUT_CLK(clk), .CLOCK_ENABLE(ce), .D_OUT_0(d[0]));
  SB_IO #(.PIN_TYPE(6'b0111_00)) p1 (.PACKAGE_PIN(inverted), .OUTPUT_CLK(clk), .CLOCK_ENABLE(1'b1), .D_OUT_0(d[1]));
  SB_IO #(.PIN_TYPE(6'b0100_00)) p2 (.PACKAGE_PIN(ddr), .OUTPUT_CLK(clk), .CLOCK_ENABLE(1'b1), .D_OUT_0(d[2]), .D_OUT_1(d[3]));
  SB_IO #(.PIN_TYPE(6'b0100_00), .NEG_TRIGGER(1'b1)) p3 (.PACKAGE_PIN(ddr_n), .OUTPUT_CLK(clk), .CLOCK_ENABLE(ce),
    .D_OUT_0(d[4]), .D_OUT_1(d[5]));
  assign plain = ^d;
  SB_IO #(.PIN_TYPE(6'b0000_00)) p4 (.PACKAGE_PIN(reg_in), .INPUT_CLK(clk), .CLOCK_ENABLE(ce), .D_IN_0(seen[0]));
  SB_IO #(.PIN_TYPE(6'b0000_00), .NEG_TRIGGER(1'b1)) p5 (.PACKAGE_PIN(reg_n), .INPUT_CLK(clk), .CLOCK_ENABLE(1'b1),
    .D_IN_0(seen[1]));
  SB_IO #(.PIN_TYPE(6'b0000_00)) p6 (.PACKAGE_PIN(ddr_in), .INPUT_CLK(clk), .CLOCK_ENABLE(ce), .D_IN_0(seen[2]), .D_IN_1(seen[3]));
  SB_IO #(.PIN_TYPE(6'b1010_01)) p7 (.PACKAGE_PIN(io_simple), .OUTPUT_ENABLE(oe), .D_OUT_0(d[6]), .D_IN_0(seen[4]));
  SB_IO #(.PIN_TYPE(6'b1101_00)) p8 (.PACKAGE_PIN(io_reg), .OUTPUT_ENABLE(oe), .OUTPUT_CLK(clk), .INPUT_CLK(clk),
    .CLOCK_ENABLE(1'b1), .D_OUT_0(d[7]), .D_IN_0(seen[5]));
  SB_IO #(.PIN_TYPE(6'b1010_01), .PULLUP(1'b1)) p9 (.PACKAGE_PIN(io_up), .OUTPUT_ENABLE(~oe), .D_OUT_0(1'b0), .D_IN_0(seen[6]));
endmodule
"""


@pytest.fixture(scope="module")
def pads(make_design):
    inputs = {"reg_in": 0, "reg_n": 0, "ddr_in": 0, "d": 8, "oe": 0, "ce": 0}
    outputs = {"inverted": 0, "registered": 0, "ddr": 0, "ddr_n": 0, "plain": 0, "seen": 7}
    inouts = {"io_simple": 0, "io_reg": 0, "io_up": 0}
    special = ("inverted", "registered", "ddr", "ddr_n", "reg_in", "reg_n", "ddr_in", *inouts)
    return make_design(PADS, inputs, outputs, inouts, first=special)


@pytest.mark.parametrize("part", ["hx8k", "up5k"])
def test_pads(flow, pads, part):
    unpacked = flow.unpack("pads", pads, part)
    assert flow.simulate(pads, unpacked, key=f"pads_{part}") > 50_000
    ports = unpacked.ports
    assert ports["io_up"].pullup and not ports["io_simple"].pullup
    assert (ports["io_reg"].output, ports["io_reg"].enable, ports["io_reg"].input) == (
        "io_reg_o",
        "io_reg_oe",
        "io_reg_i",
    )
    assert ports["plain"].direction == "output" and ports["clk"].direction == "input"


def test_names_without_constraints(flow, pads):
    """Without a constraint file, ports carry the package's pin numbers."""
    image = flow.build("pads", pads, "up5k")
    named = unpack(image, pcf=flow.pcf(pads, "up5k"))
    plain = unpack(image)
    assert set(plain.ports) == {f"pin_{port.pin}" for port in named.ports.values()}


def test_constrained_and_unused_pin_is_an_input(flow, pads):
    image = flow.build("pads", pads, "up5k")
    free = (set(map(str, range(2, 49))) - set(flow.pcf(pads, "up5k").values())) & {"45", "46", "47", "48", "2", "3"}
    unpacked = unpack(image, pcf={"spare": min(free)})
    assert unpacked.ports["spare"].input == "spare"


def test_wrong_names_are_refused(flow, pads):
    image = flow.build("pads", pads, "up5k")
    with pytest.raises(InputError, match="pin 99 of constraint led must exist on package sg48"):
        unpack(image, pcf={"led": "99"})
    with pytest.raises(InputError, match="package must be one of"):
        unpack(image, package="tq144")


def test_pcf_text():
    text = "# board\nset_io -nowarn clk 35 # clock\nset_io -pullup yes led[0] 11\nset_frequency clk 12\n"
    assert read_pcf(text) == {"clk": "35", "led[0]": "11"}
    with pytest.raises(InputError, match="line 1 must read set_io NAME PIN"):
        read_pcf("set_io clk\n")
