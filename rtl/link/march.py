"""Memory test: March C- over a memory with one read and one write port."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

PHASES = 6
"""March C- (van de Goor, 1991): up w0; up r0 w1; up r1 w0; down r0 w1; down r1 w0; down r0. It finds every stuck-at,
transition, address-decoder and unlinked coupling fault between words; 0 and 1 are a background and its complement."""


class MemoryMarch(wiring.Component):
    """Runs March C- once, up to the first wrong byte; takes at most ``6 * 3 * 2**address_bits`` cycles, 4 for 3 if ``registered``.

    Members
    -------
    start : ``In(1)``
        Strobe.
    background : ``In(8)``
        Stands for 0; its complement for 1. Stable while ``busy``.
    busy : ``Out(1)``
        The memory is in use.
    at, read_data, write_en, write_data
        The memory's ports; reading has one cycle of latency, two if ``registered``.
    difference : ``Out(8)``
        Not 0 if a read differed, in these bits; its address stays on ``at``.
    """

    def __init__(self, address_bits: int, *, registered: bool = False):
        self._address_bits, self._registered = address_bits, registered
        super().__init__(
            {
                "start": In(1),
                "background": In(8),
                "busy": Out(1),
                "at": Out(address_bits),
                "read_data": In(8),
                "write_en": Out(1),
                "write_data": Out(8),
                "difference": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = Signal(self._address_bits, reset_less=True)
        phase = Signal(range(PHASES), reset_less=True)
        difference = Signal(8)
        m.d.comb += [
            self.at.eq(Mux(phase >= 3, ~step, step)),
            # Phases alternate: each reads the value that the previous one wrote and writes its complement.
            self.write_data.eq(Mux(phase[0], ~self.background, self.background)),
            self.difference.eq(difference),
        ]
        with m.FSM(name="march"):
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [step.eq(0), phase.eq(0), difference.eq(0)]
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.busy.eq(1)
                m.next = "WAIT" if self._registered else "COMPARE"
            if self._registered:
                with m.State("WAIT"):
                    m.d.comb += self.busy.eq(1)
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.comb += self.busy.eq(1)
                with m.If(phase != 0):
                    m.d.sync += difference.eq(self.read_data ^ ~self.write_data)
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += [self.busy.eq(1), self.write_en.eq(phase != PHASES - 1)]
                m.next = "READ"
                with m.If(difference != 0):
                    m.next = "IDLE"
                with m.Else():
                    m.d.sync += step.eq(step + 1)
                    with m.If(step.all()):
                        m.d.sync += phase.eq(phase + 1)
                        with m.If(phase == PHASES - 1):
                            m.next = "IDLE"
        return m
