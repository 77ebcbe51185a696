"""The memories of the gated engine: weights by columns, vectors by words, tables by ports."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.rtl.spiking.memories import RAM_FILE, RAM_VERILOG, Ram

COLUMN_FILE = "neuroloom_weight_column.v"
COLUMN_VERILOG = """\
// One port, no initial content: what the large memories of FPGAs (iCE40 SPRAM) can be inferred for.
module neuroloom_weight_column #(parameter WIDTH = 16, parameter DEPTH = 16384, parameter ADDR = 14) (
  input clk,
  input [ADDR-1:0] addr,
  input write,
  input [WIDTH-1:0] data_w,
  output reg [WIDTH-1:0] data_r
);
  reg [WIDTH-1:0] mem [0:DEPTH-1];
  always @(posedge clk)
    if (write) mem[addr] <= data_w;
    else data_r <= mem[addr];
`ifndef SYNTHESIS
  integer i;
  initial begin
    data_r = 0;
    for (i = 0; i < DEPTH; i = i + 1) mem[i] = 32'h9E3779B9 * (i + 1);
  end
`endif
endmodule
"""


def memory_files(config: GatedConfig) -> dict[str, str]:
    """Verilog files by name of the memories that an engine instantiates."""
    return {RAM_FILE: RAM_VERILOG, **({COLUMN_FILE: COLUMN_VERILOG} if config.spram else {})}


def _bits(depth: int) -> int:
    return max((depth - 1).bit_length(), 1)


class Delay(wiring.Component):
    """``o`` is ``i`` of ``cycles`` cycles before, 2 to 8: in memory, where a register for each bit and cycle is dear."""

    def __init__(self, width: int, cycles: int) -> None:
        self._width, self._cycles = width, cycles
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Ram(self._width, 16)
        now = Signal(4)
        m.d.sync += now.eq(now + 1)
        m.d.comb += [
            memory.w_en.eq(1),
            memory.w_addr.eq(now),
            memory.w_data.eq(self.i),
            memory.r_addr.eq(now - (self._cycles - 1)),
            self.o.eq(memory.r_data),
        ]
        return m


class Weights(wiring.Component):
    """Rows of one weight per lane, lane 0 lowest; ``row`` has the row of ``addr`` one cycle later.

    ``write`` (one bit per column) stores ``data`` in that column of the row ``addr``; nothing may be read meanwhile.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        self._width = config.column * config.weight
        super().__init__(
            {
                "addr": In(_bits(config.weight_rows)),
                "row": Out(config.lanes * config.weight),
                "write": In(config.columns),
                "data": In(self._width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = []
        for column in range(self._config.columns):
            if self._config.spram:
                row = wiring.Signature({"data": In(self._width)}).create().data
                m.submodules[f"column{column}"] = Instance(
                    "neuroloom_weight_column",
                    p_WIDTH=self._width,
                    p_DEPTH=self._config.weight_rows,
                    p_ADDR=len(self.addr),
                    i_clk=ClockSignal(),
                    i_addr=self.addr,
                    i_write=self.write[column],
                    i_data_w=self.data,
                    o_data_r=row,
                )
            else:
                ram = Ram(self._width, self._config.weight_rows)
                m.submodules[f"column{column}"] = ram
                row = ram.r_data
                m.d.comb += [
                    ram.r_addr.eq(self.addr),
                    ram.w_addr.eq(self.addr),
                    ram.w_en.eq(self.write[column]),
                    ram.w_data.eq(self.data),
                ]
            rows.append(row)
        m.d.comb += self.row.eq(Cat(*rows))
        return m


class Vectors(wiring.Component):
    """The vector memory: rows of ``ports`` words, one write port, ``reads`` read ports of one cycle.

    Members: ``addr0`` ... and ``row0`` ..., row numbers and rows, word 0 lowest; ``w_addr``, ``w_en`` (one bit per word),
    ``w_data``. A word that is written may not be read in the same cycle.
    """

    def __init__(self, config: GatedConfig, reads: int) -> None:
        self._config, self._reads = config, reads
        self._depth = -(-config.vector_words // config.ports)
        bits, width = _bits(self._depth), config.ports * config.word
        members = {"w_addr": In(bits), "w_en": In(config.ports), "w_data": In(width)}
        for number in range(reads):
            members |= {f"addr{number}": In(bits), f"row{number}": Out(width)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = self._config.word
        for number in range(self._reads):
            words = []
            for port in range(self._config.ports):
                ram = Ram(word, self._depth)
                m.submodules[f"copy{number}_{port}"] = ram
                m.d.comb += [
                    ram.r_addr.eq(getattr(self, f"addr{number}")),
                    ram.w_addr.eq(self.w_addr),
                    ram.w_en.eq(self.w_en[port]),
                    ram.w_data.eq(self.w_data.word_select(port, word)),
                ]
                words.append(ram.r_data)
            m.d.comb += getattr(self, f"row{number}").eq(Cat(*words))
        return m
