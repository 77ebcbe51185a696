"""Random numbers of the learning rules: the step's LFSR and the number of one synapse; see "Learning" in docs/spiking-core.md."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

POLYNOMIAL = 0x80200003
"""Taps of x^32 + x^22 + x^2 + x + 1 of the right-shifting Galois form; it passes through all 2^32 - 1 states but 0."""


def scramble(value: Value) -> Value:
    """The 16-bit xorshift (7, 9, 8) of ``value``, a permutation of 0..65535 that keeps 0."""
    value = (value ^ Cat(Const(0, 7), value))[:16]
    value = value ^ value[9:16]
    return (value ^ Cat(Const(0, 8), value))[:16]


class Lfsr(wiring.Component):
    """The 32-bit Galois LFSR; ``value`` is a register, which no reset changes.

    Members
    -------
    load, seed : ``In(1)``, ``In(32)``
        Strobe: take the seed, 1 to 2^32 - 1. Before ``advance``.
    advance : ``In(1)``
        Strobe: one step to the right.
    value : ``Out(32)``
    """

    def __init__(self) -> None:
        super().__init__({"load": In(1), "seed": In(32), "advance": In(1), "value": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state = Signal(32, init=1, reset_less=True)  # learning goes on behind a reset of the link
        m.d.comb += self.value.eq(state)
        with m.If(self.load):
            m.d.sync += state.eq(self.seed)
        with m.Elif(self.advance):
            m.d.sync += state.eq(state[1:] ^ Mux(state[0], POLYNOMIAL, 0))
        return m


def source_part(half: Signal, product: Signal) -> Value:
    """``(L + 40503*j) mod 2^16`` from a half of the LFSR and the product modulo 2^16."""
    return (half + product)[:16]
