"""The memories of the spiking core, each with one user at a time."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.isa import Op

from .ports import POOL_ADDR_BITS, PROGRAM_ADDR_BITS

POOL_FILE = "neuroloom_pool.v"
POOL_VERILOG = """\
// One port, no initial content: what the large memories of FPGAs (iCE40 SPRAM) can be inferred for.
module neuroloom_pool #(parameter LANES = 2, parameter DEPTH = 16384, parameter ADDR = 14) (
  input clk,
  input [ADDR-1:0] addr,
  input [LANES-1:0] write,
  input [32*LANES-1:0] data_w,
  output [32*LANES-1:0] data_r
);
  genvar lane;
  generate for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
    reg [31:0] mem [0:DEPTH-1];
    reg [31:0] q;
    assign data_r[32*lane +: 32] = q;
    always @(posedge clk)
      if (write[lane]) mem[addr] <= data_w[32*lane +: 32];
      else q <= mem[addr];
`ifndef SYNTHESIS
    integer i;
    initial begin
      q = 32'h5EED5EED;
      for (i = 0; i < DEPTH; i = i + 1) mem[i] = 32'h9E3779B9 * (DEPTH * lane + i + 1);
    end
`endif
  end endgenerate
endmodule
"""
"""Amaranth gives every memory an initial content, which iCE40's SPRAM cannot have; so this one is written out. In simulation it
starts with numbers that mean nothing, as on a board, so that whoever forgets to write a word before use is found out."""

ROWS_FILE = "neuroloom_pool_rows.v"
ROWS_VERILOG = """\
// A pool that one word is read from while another one is written, as a whole. Who reads the word that is written gets anything.
module neuroloom_pool_rows #(parameter LANES = 16, parameter DEPTH = 6144, parameter ADDR = 13) (
  input clk,
  input r_en,
  input [ADDR-1:0] r_addr,
  input [ADDR-1:0] w_addr,
  input write,
  input [32*LANES-1:0] data_w,
  output [32*LANES-1:0] data_r
);
  (* no_rw_check *) reg [32*LANES-1:0] mem [0:DEPTH-1];
  reg [32*LANES-1:0] q;
  assign data_r = q;
  always @(posedge clk) begin
    if (write) mem[w_addr] <= data_w;
`ifdef SYNTHESIS
    if (r_en) q <= mem[r_addr];
`else
    if (r_en) q <= write && r_addr == w_addr ? ~mem[r_addr] : mem[r_addr];
`endif
  end
`ifndef SYNTHESIS
  integer i, lane;
  initial begin
    q = {LANES{32'h5EED5EED}};
    for (i = 0; i < DEPTH; i = i + 1)
      for (lane = 0; lane < LANES; lane = lane + 1) mem[i][32*lane +: 32] = 32'h9E3779B9 * (DEPTH * lane + i + 1);
  end
`endif
endmodule
"""
"""The pool of a large core. Its words are written as a whole, so that block RAM 9 bits wide carries them without a
gap: 171 blocks of an ECP5 for 6,144 words of 512 bits, not 192."""


RAM_FILE = "neuroloom_ram.v"
RAM_VERILOG = """\
// A read and a write port. Who reads a word while it is written gets anything; so block RAM needs no logic around it.
module neuroloom_ram #(parameter WIDTH = 16, parameter DEPTH = 256, parameter ADDR = 8) (
  input clk,
  input r_en,
  input [ADDR-1:0] r_addr,
  output reg [WIDTH-1:0] r_data,
  input w_en,
  input [ADDR-1:0] w_addr,
  input [WIDTH-1:0] w_data
);
  (* no_rw_check *) reg [WIDTH-1:0] mem [0:DEPTH-1];
  integer i;
  initial for (i = 0; i < DEPTH; i = i + 1) mem[i] = 0;
  always @(posedge clk) begin
    if (w_en) mem[w_addr] <= w_data;
`ifdef SYNTHESIS
    if (r_en) r_data <= mem[r_addr];
`else
    if (r_en) r_data <= w_en && r_addr == w_addr ? ~mem[r_addr] : mem[r_addr];
  end
  initial begin
    r_data = 0;
`endif
  end
endmodule
"""
"""Amaranth promises the old or the new word to whoever reads it while it is written, which iCE40's block RAM does not."""


BLOCK = 4
"""Program words that large cores read at once; commands begin at multiples of it."""


class Ram(wiring.Component):
    """A memory that starts with zeros. ``r_data`` has the word of ``r_addr`` after a cycle with ``r_en``, undefined when it was
    written in that cycle.
    """

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, max(depth, 2)
        bits = (self._depth - 1).bit_length()
        super().__init__(
            {
                "r_en": In(1, init=1),
                "r_addr": In(bits),
                "r_data": Out(width),
                "w_en": In(1),
                "w_addr": In(bits),
                "w_data": In(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = Instance(
            "neuroloom_ram",
            p_WIDTH=self._width,
            p_DEPTH=self._depth,
            p_ADDR=len(self.r_addr),
            i_clk=ClockSignal(),
            i_r_en=self.r_en,
            i_r_addr=self.r_addr,
            o_r_data=self.r_data,
            i_w_en=self.w_en,
            i_w_addr=self.w_addr,
            i_w_data=self.w_data,
        )
        return m


class Pool(wiring.Component):
    """The pool: ``pool_words`` words of ``32 * lanes`` bits, one port, written by lanes.

    Members: ``addr``, ``write`` (one bit per lane), ``data_w``; ``data_r`` has the word of ``addr`` in the cycle after and is
    undefined after a write. On large cores ``write`` is one bit for the whole word of ``w_addr``, ``data_r`` comes two cycles later
    (in cycles of ``hold`` nothing that is read goes on), and what is read in the cycle of a write is undefined only if it is the
    same word.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        members = {
            "addr": In(POOL_ADDR_BITS),
            "write": In(1 if config.large else config.lanes),
            "data_w": In(config.word_bits),
            "data_r": Out(config.word_bits),
        }
        if config.large:
            members |= {"w_addr": In(POOL_ADDR_BITS), "hold": In(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self._config
        bits = (config.pool_words - 1).bit_length()
        name, ports = "neuroloom_pool", {"i_addr": self.addr[:bits], "i_write": self.write, "i_data_w": self.data_w}
        data_r = self.data_r
        if config.large:  # the ways to and from block RAM all over the chip take a cycle of their own
            r_addr, w_addr = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
            write, data = Signal(), Signal(config.word_bits, reset_less=True)
            m.d.sync += [w_addr.eq(self.w_addr), write.eq(self.write), data.eq(self.data_w)]
            data_r, kept = Signal(config.word_bits), Signal(config.word_bits, reset_less=True)
            with m.If(~self.hold):
                m.d.sync += [r_addr.eq(self.addr), kept.eq(data_r)]
            m.d.comb += self.data_r.eq(kept)
            name = "neuroloom_pool_rows"
            ports = {"i_r_en": ~self.hold, "i_r_addr": r_addr, "i_w_addr": w_addr, "i_write": write, "i_data_w": data}
        m.submodules.memory = Instance(
            name,
            p_LANES=config.lanes,
            p_DEPTH=config.pool_words,
            p_ADDR=bits,
            i_clk=ClockSignal(),
            o_data_r=data_r,
            **ports,
        )
        return m


class Program(wiring.Component):
    """The program memory. ``hold`` keeps ``data_r`` as it is; ``write`` writes ``data_w`` to ``addr``.

    On large cores ``block`` has the four words beside each other that ``data_r`` is one of, and ``takes_long`` says of ``data_r``,
    read as an instruction, that it is MUL or SQR (bit 0), that it is BST (bit 1): found out when the word is written, because the
    memory's outputs come late in their cycle.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._depth, self._large = config.program_words, config.large
        super().__init__(
            {
                "addr": In(PROGRAM_ADDR_BITS),
                "hold": In(1),
                "write": In(1),
                "data_w": In(32),
                "data_r": Out(32),
                **({"block": Out(32 * BLOCK), "takes_long": Out(2)} if config.large else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._large:
            return self._blocks(m)
        m.submodules.memory = memory = Ram(32, self._depth)
        m.d.comb += [
            memory.r_addr.eq(self.addr),
            memory.r_en.eq(~self.hold),
            memory.w_addr.eq(self.addr),
            memory.w_en.eq(self.write),
            memory.w_data.eq(self.data_w),
            self.data_r.eq(memory.r_data),
        ]
        return m

    def _blocks(self, m: Module) -> Module:
        part_bits = (BLOCK - 1).bit_length()
        part = Signal(part_bits, reset_less=True)
        with m.If(~self.hold):
            m.d.sync += part.eq(self.addr)
        op = self.data_w[26:31]
        takes_long = Cat((op == Op.MUL) | (op == Op.SQR), op == Op.BST)
        marks = Signal(2 * BLOCK)
        for number in range(BLOCK):
            m.submodules[f"memory{number}"] = memory = Ram(34, self._depth // BLOCK)
            m.d.comb += [
                memory.r_addr.eq(self.addr[part_bits:]),
                memory.r_en.eq(~self.hold),
                memory.w_addr.eq(self.addr[part_bits:]),
                memory.w_en.eq(self.write & (self.addr[:part_bits] == number)),
                memory.w_data.eq(Cat(self.data_w, takes_long)),
                self.block.word_select(number, 32).eq(memory.r_data),
                marks.word_select(number, 2).eq(memory.r_data[32:]),
            ]
        m.d.comb += [self.data_r.eq(self.block.word_select(part, 32)), self.takes_long.eq(marks.word_select(part, 2))]
        return m


class Events(wiring.Component):
    """A FIFO of events.

    Members: ``w_data``, ``w_en``, ``full``; ``level`` (events waiting, up to date from the second cycle on) and ``r_data`` (the
    oldest one, right when ``level`` counts it, and from the second cycle after ``r_en`` took the one before); ``clear`` drops all.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._bits = max((config.event_depth - 1).bit_length(), 1)
        super().__init__(
            {
                "w_data": In(32),
                "w_en": In(1),
                "full": Out(1),
                "r_data": Out(32),
                "r_en": In(1),
                "level": Out(self._bits + 1),
                "clear": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Ram(32, 1 << self._bits)
        head, tail = Signal(self._bits + 1), Signal(self._bits + 1)
        level = Signal(self._bits + 1)
        m.d.comb += [
            level.eq(head - tail),
            self.full.eq(level[-1]),
            memory.w_addr.eq(head),
            memory.w_data.eq(self.w_data),
            memory.w_en.eq(self.w_en),
            memory.r_addr.eq(tail),
            self.r_data.eq(memory.r_data),
        ]
        m.d.sync += self.level.eq(level)  # one cycle late, like the data
        m.d.sync += [head.eq(head + self.w_en), tail.eq(tail + self.r_en)]
        with m.If(self.clear):
            m.d.sync += [head.eq(0), tail.eq(0)]
        return m


class Staging(wiring.Component):
    """Spikes for the next step, by spike word; read like the other memories, written or cleared in the same cycle.

    Members: ``addr``, ``data_r`` (next cycle); ``w_addr``, ``write``, ``data_w``.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._depth = config.sources // SPIKE_WORD
        bits = (self._depth - 1).bit_length()
        super().__init__({"addr": In(bits), "data_r": Out(16), "w_addr": In(bits), "write": In(1), "data_w": In(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Ram(16, self._depth)
        m.d.comb += [
            memory.r_addr.eq(self.addr),
            self.data_r.eq(memory.r_data),
            memory.w_addr.eq(self.w_addr),
            memory.w_en.eq(self.write),
            memory.w_data.eq(self.data_w),
        ]
        return m
