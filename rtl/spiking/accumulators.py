"""The accumulators that weights are added to, with a whole row of neurons at once."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig
from neuroloom.compiler.spiking.cycles import acc_banks

from .memories import Ram


def accumulator_members(config: CoreConfig) -> dict[str, wiring.Member]:
    """Members of :class:`Accumulators`."""
    banks, bits = acc_banks(config), config.state_bits
    depth = -(-config.neurons // banks)
    return {
        "row": In(max((depth - 1).bit_length(), 1)),
        "add": In(banks),
        "clear": In(banks),
        "weights": In(banks * bits),
        "values": Out(banks * bits),
        "saturated": Out(1),
    }


def add_to_bank(m: Module, acc: Any, bank: int, value: Value, new: Signal, writes: Signal, over: Signal) -> None:
    """What a bank makes of its ``value``: whether it writes, what is ``new`` (0 when it is cleared), whether that is cut;
    ``acc`` has the :func:`accumulator_members`.
    """
    bits = len(new)
    total = Signal(bits + 1, name=f"total{bank}")
    weight = acc.weights.word_select(bank, bits).as_signed()
    m.d.comb += [
        acc.values.word_select(bank, bits).eq(value),
        total.eq(value.as_signed() + weight),
        over.eq(acc.add[bank] & (total[-1] ^ total[-2])),
        writes.eq(acc.add[bank] | acc.clear[bank]),
    ]
    limit = Cat((~total[-1]).replicate(bits - 1), total[-1])
    with m.If(~acc.clear[bank]):
        m.d.comb += new.eq(Mux(over, limit, total[:bits]))


class Accumulators(wiring.Component):
    """The accumulators in banks: neuron i stands in bank i mod banks, row i // banks.

    A row is given in one cycle; in the next one its values are out, and the banks of ``add`` add their weight to it
    (saturating), those of ``clear`` become 0. A row may be given again at once and shows what was just written. Large cores have
    :class:`LargeAccumulators`.

    Members: ``row``; ``add``, ``clear`` (one bit per bank); ``weights`` (state_bits per bank, lowest first); ``values``;
    ``saturated`` (an addition of this cycle does not fit).
    """

    def __init__(self, config: CoreConfig) -> None:
        self._bits = config.state_bits
        self._depth = -(-config.neurons // acc_banks(config))
        self.banks = acc_banks(config)
        super().__init__(accumulator_members(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self._bits
        row = Signal.like(self.row)
        m.d.sync += row.eq(self.row)
        over = Signal(self.banks)
        for bank in range(self.banks):
            value, new, writes = Signal(bits), Signal(bits), Signal()
            m.submodules[f"bank{bank}"] = ram = Ram(bits, self._depth)
            # what was written while it was read comes from a register instead
            written, stale = Signal(bits, reset_less=True), Signal()
            m.d.sync += [written.eq(new), stale.eq(writes & (self.row == row))]
            m.d.comb += [
                ram.r_addr.eq(self.row),
                value.eq(Mux(stale, written, ram.r_data)),
                ram.w_addr.eq(row),
                ram.w_en.eq(writes),
                ram.w_data.eq(new),
            ]
            add_to_bank(m, self, bank, value, new, writes, over[bank])
        m.d.comb += self.saturated.eq(over.any())
        return m
