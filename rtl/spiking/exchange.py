"""EXCHANGE: spike words of this step go from one of several cores to others."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.isa import Role, Step

from .ports import HIST_SLOT_BITS, HIST_WORD_BITS, HistPort, command_members

BUS_CYCLES = 2
"""From the cycle in which the sender asks for a word until the one in which the receivers write it."""


class Exchange(wiring.Component):
    """The unit of EXCHANGE: waits until all cores have come to it, then a spike word per cycle is on the bus.

    Members
    -------
    start, done, fields of EXCHANGE, slot, hist : as in :mod:`.ports`
    waits : Out(1), this core has come to the exchange; ``go`` : In(1), all have: one cycle, the last one of ``waits``
    word_o : Out(16), what it sends, 0 when it does not; ``word_i`` : In(16), what was sent in the cycle before
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                **command_members(Step.EXCHANGE),
                "slot": In(HIST_SLOT_BITS),
                "hist": Out(HistPort()),
                "waits": Out(1),
                "go": In(1),
                "word_o": Out(16),
                "word_i": In(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal(HIST_WORD_BITS, reset_less=True)  # of the sender's memory, or of a receiver's
        left = Signal(13, reset_less=True)  # words that are not yet written
        sends, receives = self.role == Role.SEND, self.role == Role.RECEIVE
        late = Signal(BUS_CYCLES)  # receivers follow the sender

        with m.FSM(name="exchange") as fsm:
            m.d.comb += self.waits.eq(fsm.ongoing("WAIT"))
            with m.State("IDLE"):
                m.d.sync += [word.eq(self.first_word), left.eq(self.words), late.eq(0)]
                with m.If(self.start):
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(self.go):
                    m.next = "MOVE"
            with m.State("MOVE"):
                m.d.sync += late.eq((late << 1) | 1)
                arrives = late[-1]
                with m.If(sends | arrives):
                    m.d.sync += word.eq(word + 1)
                with m.If(sends):
                    m.d.comb += [self.hist.slot.eq(self.slot), self.hist.word.eq(word)]
                    with m.If(late[0]):
                        m.d.comb += self.word_o.eq(self.hist.data_r)
                with m.If(arrives):
                    with m.If(receives):
                        m.d.comb += [
                            self.hist.slot.eq(self.slot),
                            self.hist.word.eq(word),
                            self.hist.write.eq(1),
                            self.hist.data_w.eq(self.word_i),
                        ]
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
        return m
