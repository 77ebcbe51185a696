"""Spikes in and out on a board's pins, so that a loop can be closed without the UART."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.spiking.core import CoreConfig

from .bytes import ByteEngine
from .engine import buffers, memory_files

NIBBLE = 4
MARK = 0xFFFF
"""The source number that is none: towards the core "make a step", from the core "the step is done"."""

SPIKE_PINS = {
    "spike_data": In(NIBBLE),
    "spike_req": In(1),
    "spike_ack": Out(1),
    "event_data": Out(NIBBLE),
    "event_req": Out(1),
    "event_ack": In(1),
    "loop_n": In(1, init=1),
}
"""The pins by name; see "Spikes on pins" in ``docs/spiking-core.md``."""


class Receiver(wiring.Component):
    """Words of ``bits`` bits, nibbles lowest first, each by a four-phase handshake with data bundled to the request.

    Members: ``data``, ``req`` (from another clock), ``ack``; ``word`` : Out(stream). The acknowledge of a word's first nibble waits
    until the word before was taken.
    """

    def __init__(self, bits: int) -> None:
        self._count = bits // NIBBLE
        super().__init__({"data": In(NIBBLE), "req": In(1), "ack": Out(1), "word": Out(stream.Signature(bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        req, left = Signal(), Signal(range(self._count), init=self._count - 1)
        m.submodules.req = FFSynchronizer(self.req, req)
        with m.FSM(name="receiver"):
            with m.State("WAIT"):
                with m.If(req):  # the data have been there for two cycles
                    m.d.sync += [self.word.payload.eq(Cat(self.word.payload[NIBBLE:], self.data)), self.ack.eq(1)]
                    m.next = "HOLD"
            with m.State("HOLD"):
                with m.If(~req):
                    m.d.sync += [self.ack.eq(0), left.eq(left - 1)]
                    m.next = "WAIT"
                    with m.If(left == 0):
                        m.d.sync += left.eq(self._count - 1)
                        m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += self.word.valid.eq(1)
                with m.If(self.word.ready):
                    m.next = "WAIT"
        return m


class Sender(wiring.Component):
    """The other direction; ``data`` stand a cycle before ``req`` and until ``ack`` has come and gone."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        super().__init__({"word": In(stream.Signature(bits)), "data": Out(NIBBLE), "req": Out(1), "ack": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self._bits // NIBBLE
        ack, left, word = Signal(), Signal(range(count)), Signal(self._bits, reset_less=True)
        m.submodules.ack = FFSynchronizer(self.ack, ack)
        m.d.comb += self.data.eq(word)
        with m.FSM(name="sender"):
            with m.State("REST"):
                m.d.comb += self.word.ready.eq(1)
                m.d.sync += left.eq(count - 1)
                with m.If(self.word.valid):
                    m.d.sync += word.eq(self.word.payload)
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.sync += self.req.eq(1)
                with m.If(ack):
                    m.d.sync += self.req.eq(0)
                    m.next = "DROP"
            with m.State("DROP"):
                with m.If(~ack):
                    m.d.sync += [word.eq(word[NIBBLE:]), left.eq(left - 1)]
                    m.next = "ASK"
                    with m.If(left == 0):
                        m.next = "REST"
        return m


class PinEngine(wiring.Component):
    """The engine of :class:`~.engine.SpikingEngine` whose spikes also come and go by pins while ``loop_n`` is 0.

    A word of 16 bits towards the core is a spike's source, or :data:`MARK`: make a step. A word of 32 bits from the core is the
    step (low half) and source of a watched spike; behind the last one of a step comes the number of steps made, and MARK. A word
    towards the core is acknowledged when the core has room for it: never while it makes a step. With ``loop_n`` 1 the pins rest,
    and events are read by the opcode D.

    Members: i, o, reset as there, and :data:`SPIKE_PINS`, which ``pins`` lists for the board's top.
    """

    pins = SPIKE_PINS

    def __init__(self, config: CoreConfig) -> None:
        self.config, self.extra_files, self.buffers = config, memory_files(config), buffers(config)
        self.bytes_in = self.bytes_out = 0
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1), **SPIKE_PINS})

    def elaborate(self, platform: object) -> Module:
        outer = Module()
        m = Module()
        m.submodules.bytes = inner = ByteEngine(self.config, ports=True)
        m.submodules.receiver = receiver = Receiver(16)
        m.submodules.sender = sender = Sender(32)
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        off, on = Signal(init=1), Signal()
        m.submodules.off = FFSynchronizer(self.loop_n, off, init=1)
        m.d.comb += [
            on.eq(~off),
            inner.event_enable.eq(on),
            receiver.data.eq(self.spike_data),
            receiver.req.eq(self.spike_req & on),
            self.spike_ack.eq(receiver.ack),
            self.event_data.eq(sender.data),
            self.event_req.eq(sender.req),
            sender.ack.eq(self.event_ack),
            inner.spike.payload.eq(receiver.word.payload),
            inner.advance.payload.eq(1),
        ]
        marked, done = receiver.word.payload == MARK, Signal()
        m.d.comb += [
            sender.word.valid.eq(inner.event.valid | done),
            sender.word.payload.eq(Mux(done, Cat(inner.step, Const(MARK, 16)), inner.event.payload)),
            inner.event.ready.eq(sender.word.ready),
        ]
        with m.FSM(name="pins"):
            with m.State("SPIKES"):
                m.d.comb += [
                    inner.spike.valid.eq(receiver.word.valid & ~marked),
                    inner.advance.valid.eq(receiver.word.valid & marked),
                    receiver.word.ready.eq(Mux(marked, inner.advance.ready, inner.spike.ready)),
                ]
                with m.If(inner.advance.valid & inner.advance.ready):
                    m.next = "STEP"
            with m.State("STEP"):  # idle tells that all its events went to the sender
                with m.If(inner.idle & sender.word.ready):
                    m.d.comb += done.eq(1)
                    m.next = "SPIKES"
        outer.submodules.inner = ResetInserter(self.reset)(m)
        return outer
