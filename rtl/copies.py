"""A register several times, each for another part of the chip."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

COPIES_FILE = "neuroloom_copies.v"
COPIES_VERILOG = """\
// The same register several times, each for another part of the chip; synthesis would make one of them without the attribute.
module neuroloom_copies #(parameter WIDTH = 1, parameter COPIES = 2) (
  input clk,
  input [WIDTH-1:0] d,
  output [WIDTH*COPIES-1:0] q
);
  genvar copy;
  generate for (copy = 0; copy < COPIES; copy = copy + 1) begin : copies
    (* keep *) reg [WIDTH-1:0] r;
    initial r = 0;
    (* keep *) always @(posedge clk) r <= d;
    assign q[WIDTH*copy +: WIDTH] = r;
  end endgenerate
endmodule
"""


class Copies(wiring.Component):
    """``o`` is ``i`` of the cycle before, ``count`` times."""

    def __init__(self, width: int, count: int) -> None:
        self._width, self._count = width, count
        super().__init__({"i": In(width), "o": Out(width * count)})

    def copy(self, number: int) -> Value:
        """One of them."""
        return self.o.word_select(number, self._width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.copies = Instance(
            "neuroloom_copies",
            p_WIDTH=self._width,
            p_COPIES=self._count,
            i_clk=ClockSignal(),
            i_d=self.i,
            o_q=self.o,
        )
        return m
