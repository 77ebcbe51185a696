"""Bytes of the link to samples of the logic engine, and answers back to bytes."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.wire import total_bits, total_bytes

from .engine import LogicEngine


class LogicAdapter(wiring.Component):
    """A logic engine behind two byte streams.

    A sample is ``bytes_in`` bytes, an answer ``bytes_out``, packed as :mod:`neuroloom.compiler.wire` says; the host's
    ``pack_samples`` and ``unpack_answers`` are the counterpart. Samples are answered in order; the next sample's bytes are
    taken while an answer is on its way out. One sample is in the pipeline at a time, so that the pipeline never has to stand
    still and needs no clock enable: an answer's first byte is offered ``engine.latency`` + 2 cycles after the edge that took
    the sample's last byte, later only if the answer before it is still being read.

    Only bits that the network reads are stored, each in one flip-flop without logic in front of it: every bit position of a
    byte has a shift register of its own, which moves with those bytes alone that it keeps.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Bytes of samples, back to back.
    o : ``Out(stream.Signature(8))``
        Bytes of answers, back to back.
    reset : ``In(1)``
        Synchronous: forgets half a sample, the sample in the pipeline and half an answer.

    Attributes
    ----------
    bytes_in, bytes_out : :class:`int`
        Bytes of one sample and of one answer.
    stored_bits : :class:`int`
        Flip-flops that hold the sample.
    extra_files : ``dict[str, str]``
        Verilog files by name that go with the component.
    """

    def __init__(self, engine: LogicEngine) -> None:
        self.engine = engine
        lowered = engine.plan.lowered
        self.bytes_in = max(total_bytes(lowered.inputs), 1)
        self.bytes_out = max(total_bytes(lowered.outputs), 1)
        self.extra_files = engine.extra_files
        used = np.zeros(8 * self.bytes_in, np.bool_)
        used[: total_bits(lowered.inputs)] = engine.plan.schedule.last[lowered.input_bits] >= 0
        self._lanes = [_Lane(used[bit::8]) for bit in range(8)]
        self.stored_bits = sum(lane.size for lane in self._lanes)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        count = Signal(range(max(self.bytes_in, 2)))  # bytes of the sample taken so far
        full = Signal()
        busy = Signal()  # from a sample's start until its answer is read

        taken = Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            taken.eq(self.i.valid & self.i.ready),
            engine.reset.eq(self.reset),
            engine.i.valid.eq(full & ~busy),
            engine.o.ready.eq(1),
        ]
        bits: list[object] = [Const(0, 1)] * (8 * self.bytes_in)
        for position, lane in enumerate(self._lanes):
            if lane.size == 0:
                continue
            cells = Signal(lane.size, name=f"lane{position}", reset_less=True)
            moves = taken if lane.mask is None else taken & Const(lane.mask, self.bytes_in).bit_select(count, 1)
            with m.If(moves):
                m.d.sync += cells.eq(Cat(self.i.payload[position], cells[:-1]))
            for byte, place in lane.places.items():
                bits[8 * byte + position] = cells[place]
        size = len(engine.i.payload.as_value())
        m.d.comb += engine.i.payload.as_value().eq(Cat(*bits[:size]))

        with m.If(taken):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self.bytes_in - 1):
                m.d.sync += [count.eq(0), full.eq(1)]
        with m.If(full & ~busy):
            m.d.sync += [full.eq(0), busy.eq(1)]

        answer = Signal(8 * self.bytes_out, reset_less=True)
        left = Signal(range(self.bytes_out + 1))
        m.d.comb += [self.o.valid.eq(left != 0), self.o.payload.eq(answer[:8])]
        with m.If(engine.o.valid):
            m.d.sync += [answer.eq(engine.o.payload.as_value()), left.eq(self.bytes_out)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [answer.eq(answer >> 8), left.eq(left - 1)]
            with m.If(left == 1):
                m.d.sync += busy.eq(0)
        with m.If(self.reset):
            m.d.sync += [count.eq(0), full.eq(0), busy.eq(0), left.eq(0)]
        return m


class _Lane:
    """The shift register of one bit position: which bytes it keeps, and where each of them stands when the sample is whole.

    ``mask`` None: it moves with every byte, and holds all from the first one kept to the last byte of the sample.
    """

    def __init__(self, used: np.ndarray) -> None:
        kept = np.flatnonzero(used)
        count = len(used)
        self.mask: int | None = None
        self.size = 0
        self.places: dict[int, int] = {}
        if len(kept) == 0:
            return
        self.size = count - int(kept[0])
        if self.size - len(kept) > 4 + count // 12:  # what telling the bytes apart costs, in LUTs
            self.mask = sum(1 << int(byte) for byte in kept)
            self.size = len(kept)
            self.places = {int(byte): len(kept) - 1 - number for number, byte in enumerate(kept)}
        else:
            self.places = {int(byte): count - 1 - int(byte) for byte in kept}
