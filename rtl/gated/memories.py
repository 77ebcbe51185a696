"""The memories of the gated engine: weights by columns, vectors by words, tables by ports."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.rtl.copies import COPIES_FILE, COPIES_VERILOG, Copies
from neuroloom.rtl.spiking.memories import RAM_FILE, RAM_VERILOG, Ram

from .product import PRODUCT_FILE, PRODUCT_VERILOG
from .slices import slices

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


PAIR_FILE = "neuroloom_ram_pair.v"
PAIR_VERILOG = """\
// Two ports of one address each; the first one writes or reads. For block RAM with two whole ports (ECP5, Artix-7).
module neuroloom_ram_pair #(parameter WIDTH = 18, parameter DEPTH = 1024, parameter ADDR = 10) (
  input clk,
  input [ADDR-1:0] a_addr,
  input a_write,
  input [WIDTH-1:0] a_data_w,
  output reg [WIDTH-1:0] a_data,
  input [ADDR-1:0] b_addr,
  output reg [WIDTH-1:0] b_data
);
  (* no_rw_check *) reg [WIDTH-1:0] mem [0:DEPTH-1];
  integer i;
  initial for (i = 0; i < DEPTH; i = i + 1) mem[i] = 0;
  always @(posedge clk)
    if (a_write) mem[a_addr] <= a_data_w;
    else a_data <= mem[a_addr];
  always @(posedge clk) b_data <= mem[b_addr];
endmodule
"""


def memory_files(config: GatedConfig) -> dict[str, str]:
    """Verilog files by name of the memories that an engine instantiates."""
    files = {RAM_FILE: RAM_VERILOG}
    if config.spram:
        files[COLUMN_FILE] = COLUMN_VERILOG
    if config.deep:
        files |= {COPIES_FILE: COPIES_VERILOG, PAIR_FILE: PAIR_VERILOG, PRODUCT_FILE: PRODUCT_VERILOG}
    return files


def _bits(depth: int) -> int:
    return max((depth - 1).bit_length(), 1)


class SlicedRam(Ram):
    """A :class:`Ram` of slices (:mod:`.slices`): deep, and with nothing between its address or its word and the blocks."""

    def elaborate(self, platform: object) -> Module:
        if len(parts := list(slices(self._depth, self._width))) == 1:
            return super().elaborate(platform)
        m = Module()
        for number, part in enumerate(parts):
            m.submodules[f"slice{number}"] = ram = Ram(part.stop - part.start, self._depth)
            m.d.comb += [
                ram.r_en.eq(self.r_en),
                ram.r_addr.eq(self.r_addr),
                self.r_data[part].eq(ram.r_data),
                ram.w_en.eq(self.w_en),
                ram.w_addr.eq(self.w_addr),
                ram.w_data.eq(self.w_data[part]),
            ]
        return m


def ram_of(config: GatedConfig, width: int, depth: int) -> Ram:
    """A memory of an engine, of slices where it has such."""
    return (SlicedRam if config.sliced else Ram)(width, depth)


class RamPair(wiring.Component):
    """A memory with two read ports that starts with zeros: ``r_data0`` and ``r_data1`` have the words of ``r_addr0`` and
    ``r_addr1`` a cycle later. ``w_en`` stores ``w_data`` at ``r_addr0``. ``sliced``: it is made of slices (:mod:`.slices`).
    """

    def __init__(self, width: int, depth: int, sliced: bool = False) -> None:
        self._width, self._depth, self._sliced = width, max(depth, 2), sliced
        bits = _bits(self._depth)
        super().__init__(
            {
                "r_addr0": In(bits),
                "r_addr1": In(bits),
                "r_data0": Out(width),
                "r_data1": Out(width),
                "w_en": In(1),
                "w_data": In(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = list(slices(self._depth, self._width)) if self._sliced else [slice(0, self._width)]
        for number, part in enumerate(parts):
            m.submodules["memory" if len(parts) == 1 else f"slice{number}"] = Instance(
                "neuroloom_ram_pair",
                p_WIDTH=part.stop - part.start,
                p_DEPTH=self._depth,
                p_ADDR=len(self.r_addr0),
                i_clk=ClockSignal(),
                i_a_addr=self.r_addr0,
                i_a_write=self.w_en,
                i_a_data_w=self.w_data[part],
                o_a_data=self.r_data0[part],
                i_b_addr=self.r_addr1,
                o_b_data=self.r_data1[part],
            )
        return m


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


NEAR_BITS = 16 * 18 * 1024
"""Bits of weights whose address comes out of one register, in a deep engine: so many blocks of memory lie together."""


class Weights(wiring.Component):
    """Rows of one weight per lane, lane 0 lowest; ``row`` has the row of ``addr`` one cycle later, in a deep engine four.

    ``write`` (one bit per column) stores ``data`` in that column of the row ``addr``; nothing may be read meanwhile. In a deep
    engine the address goes through two registers, and from there to one for every :data:`NEAR_BITS`; in a sliced one whose lanes
    share their multipliers, one of the two stands behind the memory.
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
        c = self._config
        # shared multipliers choose between a weight and an operand: a register before that, in place of one of the address's
        late = c.sliced and c.shared
        near = max(1, NEAR_BITS // (self._width * c.weight_rows))  # columns
        nears = -(-c.columns // near)
        addrs, datas, write = [self.addr] * nears, [self.data] * nears, self.write
        if c.deep:
            bits = len(self.addr)
            m.submodules.copies = copies = Copies(bits + self._width, nears)
            place: Value = Cat(self.addr, self.data)
            for _ in range(1 if late else 2):
                places, writes = Signal.like(place, reset_less=True), Signal(c.columns)
                m.d.sync += [places.eq(place), writes.eq(write)]
                place, write = places, writes
            writes = Signal(c.columns)
            m.d.sync += writes.eq(write)
            m.d.comb += copies.i.eq(place)
            write = writes
            addrs, datas = ([copies.copy(n)[part] for n in range(nears)] for part in (slice(bits), slice(bits, None)))
        for column in range(c.columns):
            addr, data = addrs[column // near], datas[column // near]
            if self._config.spram:
                row = wiring.Signature({"data": In(self._width)}).create().data
                m.submodules[f"column{column}"] = Instance(
                    "neuroloom_weight_column",
                    p_WIDTH=self._width,
                    p_DEPTH=self._config.weight_rows,
                    p_ADDR=len(self.addr),
                    i_clk=ClockSignal(),
                    i_addr=addr,
                    i_write=write[column],
                    i_data_w=data,
                    o_data_r=row,
                )
            else:
                ram = ram_of(c, self._width, c.weight_rows)
                m.submodules[f"column{column}"] = ram
                row = ram.r_data
                m.d.comb += [
                    ram.r_addr.eq(addr),
                    ram.w_addr.eq(addr),
                    ram.w_en.eq(write[column]),
                    ram.w_data.eq(data),
                ]
            rows.append(row)
        domain = m.d.sync if late else m.d.comb
        domain += self.row.eq(Cat(*rows))
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
                ram = ram_of(self._config, word, self._depth)
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
