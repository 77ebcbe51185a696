"""The program memory and the word that is carried out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.gated.core import PROGRAM_COLUMN, GatedConfig
from neuroloom.compiler.gated.isa import WORD_BITS

from .memories import ram_of


class Fetch(wiring.Component):
    """Words of the program, one after the other.

    After a cycle with ``jump`` to ``target`` and one with ``next``, in a deep engine two, ``word`` is the word at ``target``; each
    further cycle with ``next`` brings the one behind it. In a deep engine the next word waits in a register, ``coming``, and the
    one behind it in the memory's output: there is nothing between the memory and a register.

    Members: ``next``, ``jump``, ``target``, ``word``; ``write`` (one bit per column), ``w_addr``, ``w_data`` store while nothing
    runs.
    """

    def __init__(self, config: GatedConfig) -> None:
        self._config = config
        bits = (config.program_words - 1).bit_length()
        super().__init__(
            {
                "next": In(1),
                "jump": In(1),
                "target": In(bits),
                "word": Out(WORD_BITS),
                "coming": Out(WORD_BITS),
                "write": In(WORD_BITS // PROGRAM_COLUMN),
                "w_addr": In(bits),
                "w_data": In(PROGRAM_COLUMN),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counter = Signal.like(self.target)  # of the word that is read next
        address, read, stored = Signal.like(counter), Signal(), Signal(WORD_BITS)
        for column, writes in enumerate(self.write):
            m.submodules[f"program{column}"] = program = ram_of(
                self._config, PROGRAM_COLUMN, self._config.program_words
            )
            m.d.comb += [
                program.w_en.eq(writes),
                program.w_addr.eq(self.w_addr),
                program.w_data.eq(self.w_data),
                program.r_addr.eq(address),
                program.r_en.eq(read),
                stored.word_select(column, PROGRAM_COLUMN).eq(program.r_data),
            ]
        if self._config.deep:
            m.d.comb += [address.eq(Mux(self.jump, self.target, counter)), read.eq(self.jump | self.next)]
            # both sums are there before it is known which one counts; the address goes far away, to the memory
            with m.If(self.jump):
                m.d.sync += counter.eq(self.target + 1)
            with m.Elif(self.next):
                m.d.sync += counter.eq(counter + 1)
            with m.If(self.next):
                m.d.sync += [self.coming.eq(stored), self.word.eq(self.coming)]
        else:
            m.d.comb += [address.eq(counter), read.eq(self.next), self.word.eq(stored)]
            with m.If(self.next):
                m.d.sync += counter.eq(counter + 1)
            with m.If(self.jump):
                m.d.sync += counter.eq(self.target)
        return m
