"""INPUTS: the spikes of the host, or of a raster in the pool, become spikes of this step."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import SPIKE_WORD, CoreConfig
from neuroloom.compiler.spiking.isa import Step

from .ports import HIST_SLOT_BITS, HIST_WORD_BITS, POOL_ADDR_BITS, HistPort, PoolPort, command_members


class Inputs(wiring.Component):
    """The unit of INPUTS: one spike word per cycle, and ``pool_cycles`` more for each pool word of the raster, the first one less
    one on large cores, which take one more with and without a raster. On these a spike word is written in the cycle after;
    ``done`` does not wait for that.

    A word is what the host staged for it, or'ed with the raster's when that is used; the staged word becomes 0.

    Members
    -------
    start, done, fields of INPUTS, slot, pool, hist : as in :mod:`.ports`
    raster : In(1), spikes come from the raster as well
    position : In(16), pool word that the raster's next word has behind ``raster_base``; ``advance`` : Out(1), that word is used up
    staged : In(16), the staged word of ``stage_addr`` of the cycle before; ``stage_clear`` : Out(1), forget the word of
        ``stage_clear_addr``
    soon : In(1), of large cores: ``start`` may come in this cycle, and no unit uses the pool in it
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                **command_members(Step.INPUTS),
                "slot": In(HIST_SLOT_BITS),
                "pool": Out(PoolPort(config)),
                "hist": Out(HistPort()),
                "raster": In(1),
                "position": In(POOL_ADDR_BITS),
                "advance": Out(1),
                "stage_addr": Out(HIST_WORD_BITS),
                "stage_clear_addr": Out(HIST_WORD_BITS),
                "stage_clear": Out(1),
                "staged": In(16),
                **({"soon": In(1)} if config.large else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parts = self._config.word_bits // SPIKE_WORD
        part_bits = (parts - 1).bit_length()
        word = Signal(HIST_WORD_BITS, reset_less=True)
        left = Signal(12, reset_less=True)
        part = Signal(max(part_bits, 1), reset_less=True)
        last_part = part[:part_bits].all() if part_bits else Const(1)
        last = left == 1
        large = self._config.large
        drawn = self.pool.data_r.word_select(part[:part_bits], SPIKE_WORD)

        def write(place: Value, staged: Value, drawn: Value) -> list[Any]:
            return [
                self.hist.slot.eq(self.slot),
                self.hist.word.eq(place),
                self.hist.write.eq(1),
                self.hist.data_w.eq(staged | Mux(self.raster, drawn, 0)),
            ]

        writes = Signal()
        if large:  # no write of the history hangs on what has just been read
            shown = word, self.staged, drawn
            late = [Signal(len(value), name=f"late{n}", reset_less=True) for n, value in enumerate(shown)]
            late_writes = Signal()
            m.d.sync += [late_writes.eq(writes), *(kept.eq(value) for kept, value in zip(late, shown, strict=True))]
            with m.If(late_writes):
                m.d.comb += write(*late)

        with m.FSM(name="inputs"):
            with m.State("IDLE"):
                m.d.sync += [word.eq(self.first_word), left.eq(self.words), part.eq(0)]
                if large:
                    with m.If(self.soon):
                        m.d.comb += self.pool.addr.eq(self.raster_base + self.position)
                with m.If(self.start):
                    m.next = "COMES" if large else "READ"
            if large:
                with m.State("COMES"):
                    m.d.comb += self.pool.addr.eq(self.raster_base + self.position)
                    m.next = "READ"
            with m.State("READ"):  # the raster's word and the staged word
                m.d.comb += [
                    self.stage_addr.eq(word),
                    self.pool.addr.eq(self.raster_base + self.position),
                ]
                m.next = "WRITE"
            if large:
                with m.State("ANOTHER"):
                    m.d.comb += self.pool.addr.eq(self.raster_base + self.position)
                    m.next = "COMES"
            with m.State("WRITE"):
                m.d.comb += [
                    self.stage_addr.eq(word + 1),
                    self.stage_clear_addr.eq(word),
                    self.stage_clear.eq(1),
                    self.pool.addr.eq(self.raster_base + self.position),
                    *([writes.eq(1)] if large else write(word, self.staged, drawn)),
                ]
                m.d.sync += [word.eq(word + 1), left.eq(left - 1), part.eq(part + 1)]
                with m.If(self.raster & (last_part | last)):
                    m.d.comb += self.advance.eq(1)
                    m.next = "ANOTHER" if large else "READ"
                with m.If(last):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
        return m
