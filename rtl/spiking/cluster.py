"""Several cores behind one stream of bytes, and what they have in common."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .bytes import ByteEngine

ALL = 0xFF
"""The number that names all cores at once."""


class Cluster(wiring.Component):
    """Takes envelopes of opcodes for its cores, and gives their answers in the order of the opcodes.

    An envelope is ``C``, a core's number or :data:`ALL`, a count of bytes (u16, little-endian), and so many bytes of opcodes, each
    of them whole. All cores take the bytes of an envelope for all in the same cycles; only core 0 is heard then. Outside of
    envelopes ``Q`` is core 0's, and other bytes are dropped. An envelope waits until the opcodes of the one before are done with
    (a run, which goes on by itself, is not waited for).

    Members
    -------
    i, o : ``In(stream.Signature(8))``, ``Out(stream.Signature(8))``
    """

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cores = [ByteEngine(self._config) for _ in range(self._config.cores)]
        for number, core in enumerate(cores):
            m.submodules[f"core{number}"] = core

        # What they have in common.
        go, word = Signal(), Signal(16, reset_less=True)
        m.d.sync += [
            go.eq(Cat(core.waits for core in cores).all() & ~go),
            word.eq(reduce(or_, (core.word_o for core in cores))),
        ]
        stalled, decided = Signal(), Signal()
        m.d.comb += [
            stalled.eq(Cat(core.stalled for core in cores).any()),
            decided.eq(Cat(core.decided for core in cores).any()),
        ]
        for core in cores:
            m.d.comb += [
                *(core.go.eq(go), core.word_i.eq(word)),
                *(core.any_stalled.eq(stalled), core.any_decided.eq(decided)),
            ]

        # Bytes.
        at = Signal(2, reset_less=True)
        number = Signal(8, reset_less=True)
        count = Signal(16, reset_less=True)
        every = number == ALL
        chosen = Signal(len(cores))
        m.d.comb += chosen.eq(Mux(every, -1, Cat(number == k for k in range(len(cores)))))
        passing = Signal()
        ready = Signal()  # a byte for a core that is not there is taken and dropped
        m.d.comb += ready.eq((~chosen | Cat(core.i.ready for core in cores)).all())
        for k, core in enumerate(cores):
            m.d.comb += [core.i.payload.eq(self.i.payload), core.i.valid.eq(passing & ready & chosen[k] & self.i.valid)]
            if k == 0:
                m.d.comb += core.o.ready.eq(self.o.ready)
            else:  # all are asked, one is heard
                m.d.comb += core.o.ready.eq(self.o.ready | every)
        heard = chosen & Mux(every, 1, -1)
        m.d.comb += self.o.valid.eq(Cat(core.o.valid & heard[k] for k, core in enumerate(cores)).any())
        m.d.comb += self.o.payload.eq(reduce(or_, (Mux(heard[k], core.o.payload, 0) for k, core in enumerate(cores))))
        between = Signal()
        m.d.comb += between.eq(Cat(core.between for core in cores).all())

        with m.FSM(name="envelopes"):
            with m.State("LETTER"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [at.eq(0), count.eq(1), number.eq(0)]
                with m.If(self.i.valid):
                    with m.Switch(self.i.payload):
                        with m.Case(ord("C")):
                            m.next = "HEAD"
                        with m.Case(ord("Q")):
                            m.d.comb += self.i.ready.eq(0)
                            m.next = "PASS"
            with m.State("HEAD"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += at.eq(at + 1)
                    with m.Switch(at):
                        with m.Case(0):
                            m.d.sync += number.eq(self.i.payload)
                        with m.Case(1):
                            m.d.sync += count[:8].eq(self.i.payload)
                        with m.Case(2):
                            m.d.sync += count[8:].eq(self.i.payload)
                            m.next = "PASS"
            with m.State("PASS"):
                with m.If(count == 0):
                    m.next = "DONE"
                with m.Else():
                    m.d.comb += [passing.eq(1), self.i.ready.eq(ready)]
                    with m.If(self.i.valid & ready):
                        m.d.sync += count.eq(count - 1)
            with m.State("DONE"):
                with m.If(between):
                    m.next = "LETTER"
        return m
