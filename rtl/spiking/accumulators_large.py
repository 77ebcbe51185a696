"""The accumulators of large cores: as :class:`~.accumulators.Accumulators`, with a register between memory and adder."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks
from neuroloom.rtl.copies import Copies

from .accumulators import accumulator_members, add_to_bank
from .memories import Ram

SHARE = 8
"""Banks that share a register of the row's number."""


class LargeAccumulators(wiring.Component):
    """The accumulators in banks: neuron i stands in bank i mod banks, row i // banks.

    A row is given in one cycle; in the second one behind it its values are out, and the banks of ``add`` add their weight to it
    (saturating), those of ``clear`` become 0. A row may be given again at once and shows what was just written.

    Many shallow banks are in distributed RAM, a few deep ones in block RAM.

    Members: as of :class:`~.accumulators.Accumulators`; ``saturated`` tells of an addition of the cycle before.
    """

    def __init__(self, config: CoreConfig) -> None:
        self._bits = config.state_bits
        self.banks = acc_banks(config)
        self._depth = max(-(-config.neurons // self.banks), 2)
        self._shallow = config.lanes >= 8
        super().__init__(accumulator_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._bits
        over = Signal(self.banks)
        rows: tuple[Value, Value, Value] | None = None
        for bank in range(self.banks):
            if bank % SHARE == 0:
                rows = self._rows(m, bank)
            assert rows is not None
            read_row, row, same = rows
            new, writes = Signal(bits, name=f"new{bank}"), Signal(name=f"writes{bank}")
            value = Signal(bits, name=f"value{bank}", reset_less=True)
            found = self._memory(m, bank, read_row, row, new, writes)
            m.d.sync += value.eq(Mux(same & writes, new, found))
            add_to_bank(m, self, bank, value, new, writes, over[bank])
        overs = Signal.like(over)
        m.d.sync += overs.eq(over)
        m.d.comb += self.saturated.eq(overs.any())
        return m

    def _rows(self, m: Module, bank: int) -> tuple[Value, Value, Value]:
        """Registers for the banks from this one on: the row that is read, the one that is written, whether they are the same."""
        width = len(self.row)
        # kept: synthesis merges registers that take the same, bit by bit, even those whose other bits start differently
        m.submodules[f"read{bank}"] = reads = Copies(width, 1)
        m.submodules[f"written{bank}"] = writes = Copies(width + 1, 1)
        row, same = writes.o[:width], writes.o[width]
        m.d.comb += [reads.i.eq(self.row), writes.i.eq(Cat(reads.o, self.row == reads.o))]
        return reads.o, row, same

    def _memory(self, m: Module, bank: int, read_row: Value, row: Value, new: Signal, writes: Signal) -> Value:
        """The value of ``read_row``, but for what is written in this cycle."""
        bits = self._bits
        if self._shallow:
            m.submodules[f"bank{bank}"] = memory = Memory(shape=bits, depth=self._depth, init=[])
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [read.addr.eq(read_row), write.addr.eq(row), write.en.eq(writes), write.data.eq(new)]
            return read.data
        m.submodules[f"bank{bank}"] = ram = Ram(bits, self._depth)
        written, stale = Signal(bits, name=f"written{bank}", reset_less=True), Signal(name=f"stale{bank}")
        m.d.sync += [written.eq(new), stale.eq(writes & (self.row == row))]
        m.d.comb += [ram.r_addr.eq(self.row), ram.w_addr.eq(row), ram.w_en.eq(writes), ram.w_data.eq(new)]
        return Mux(stale, written, ram.r_data)
