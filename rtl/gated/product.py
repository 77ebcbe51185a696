"""A multiplier with a register behind it, as one cell where the family's multipliers have that register."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

PRODUCT_FILE = "neuroloom_product.v"


def _bits(letter: str, count: int) -> str:
    return ", ".join(f".{letter}{bit}({letter.lower()}18[{bit}])" for bit in range(count))


PRODUCT_VERILOG = f"""\
// a * b of the cycle before, signed. ECP5's multiplier has the register (Lattice FPGA-TN-02205, sysDSP), but synthesis leaves it in
// the fabric, a long way behind the multiplier.
module neuroloom_product #(parameter A = 18, parameter B = 18) (
  input clk,
  input signed [A-1:0] a,
  input signed [B-1:0] b,
  output signed [A+B-1:0] p
);
`ifdef NEUROLOOM_ECP5
  wire signed [17:0] a18 = a, b18 = b;
  wire [35:0] p36;
  assign p = p36[A+B-1:0];
  MULT18X18D #(
    .REG_INPUTA_CLK("NONE"), .REG_INPUTB_CLK("NONE"), .REG_INPUTC_CLK("NONE"), .REG_PIPELINE_CLK("NONE"),
    .REG_OUTPUT_CLK("CLK0"), .REG_OUTPUT_CE("CE0"), .REG_OUTPUT_RST("RST0"), .GSR("DISABLED"), .RESETMODE("SYNC")
  ) cell_ (
    {_bits("A", 18)},
    {_bits("B", 18)},
    .SIGNEDA(1'b1), .SIGNEDB(1'b1), .SOURCEA(1'b0), .SOURCEB(1'b0), .CLK0(clk), .CE0(1'b1), .RST0(1'b0),
    {", ".join(f".P{bit}(p36[{bit}])" for bit in range(36))}
  );
`else
  reg signed [A+B-1:0] q;
  initial q = 0;
  always @(posedge clk) q <= a * b;
  assign p = q;
`endif
endmodule
"""


FACTOR_BITS = 18
"""The widest factor of the cell."""


class Product(wiring.Component):
    """Factors of at most ``FACTOR_BITS`` bits; nothing resets the product, which is 0 at the start.

    Members
    -------
    a, b : In, signed
    p : Out(a_bits + b_bits), signed, the product of the cycle before
    """

    def __init__(self, a_bits: int, b_bits: int) -> None:
        self._widths = a_bits, b_bits
        super().__init__({"a": In(a_bits), "b": In(b_bits), "p": Out(a_bits + b_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.product = Instance(
            "neuroloom_product",
            p_A=self._widths[0],
            p_B=self._widths[1],
            i_clk=ClockSignal(),
            i_a=self.a,
            i_b=self.b,
            o_p=self.p,
        )
        return m
