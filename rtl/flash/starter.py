"""An engine that loads its network out of the board's flash by itself when the board starts.

The flash is read twice: first every bit goes through the CRC, and only if that is right every byte goes to the engine, through
the CRC again. What fails leaves the engine as it is, waiting for a host.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layout import BLOCK_BYTES, Layout
from .loader import PINS, WAKE_SECONDS
from .network import POLYNOMIAL, TAIL_BYTES, Start, mark

WORD_BITS = 32


class NetworkStarter(wiring.Component):
    """Reads the partition and hands the network's commands out; SPI mode 0 at half the clock.

    A network of n bytes takes 33 n cycles and those of two wakings, less what the engine makes it wait.

    Parameters
    ----------
    layout : map of the flash, with a partition for a network
    engine_hash : 32 bytes, of the engine that the network must be for
    clock_hz : clock of the ``sync`` domain

    Members
    -------
    flash_sck, flash_cs_n, flash_mosi : Out(1), ``flash_miso``: In(1)
    o : Out(stream of 8), the network's commands
    host : In(1), strobe: a host resets the engine; ends ``hold``
    loading : Out(1), until it is known what becomes of the network
    hold : Out(1), the engine has taken what must not be used: reset it
    state : Out(3), a :class:`~.network.Start`
    """

    def __init__(self, layout: Layout, engine_hash: bytes, clock_hz: int) -> None:
        self._at = layout.network_at + BLOCK_BYTES - TAIL_BYTES
        self._mark = mark(engine_hash)
        self._count_bits = max(
            (layout.network_room - 1).bit_length() + 1, round(clock_hz * WAKE_SECONDS).bit_length() + 1
        )
        self._wake_bit = round(clock_hz * WAKE_SECONDS).bit_length()
        super().__init__(
            {
                **PINS,
                "o": Out(stream.Signature(8)),
                "host": In(1),
                "loading": Out(1),
                "hold": Out(1),
                "state": Out(3),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # `count` counts bytes down, and below zero the time that the flash takes to wake
        n, count = Signal(5), Signal(self._count_bits)
        byte, crc = (
            Signal(8, reset_less=True),
            Signal(32, reset_less=True),
        )  # crc: complemented, so that it starts with zeros
        right, blank = Signal(reset_less=True), Signal(reset_less=True)
        giving, changed = Signal(), Signal()
        bit, shift, fall, last, take, compare = self.flash_miso, Signal(), Signal(), Signal(), Signal(), Signal()
        unlike = Signal()  # the bit and the CRC's highest one: feeds the CRC back, and tells its own last bits from it
        m.d.comb += [fall.eq(shift & self.flash_sck), last.eq(fall & n.all()), self.o.payload.eq(byte)]
        m.d.comb += [self.loading.eq(self.state == Start.LOADING), self.hold.eq(changed & ~giving)]
        with m.If(shift):
            m.d.sync += self.flash_sck.eq(~self.flash_sck)
        with m.If(fall):
            m.d.sync += [n.eq(n + 1), byte.eq(Cat(bit, byte[:-1]))]
        m.d.comb += unlike.eq(crc[-1] ^ bit)
        with m.If(fall & take):
            m.d.sync += crc.eq(Cat(C(1, 1), crc[:-1]) ^ ((~unlike & ~compare).replicate(32) & POLYNOMIAL))

        def highest_first(value: int) -> Any:
            """The bit of a word whose turn it is."""
            return Array(C(value >> at & 1, 1) for at in reversed(range(WORD_BITS)))[n]

        def done(state: Any) -> None:
            m.d.sync += [self.state.eq(state), self.flash_cs_n.eq(1)]
            m.next = "DONE"

        with m.FSM(name="starter"):
            with m.State("START"):
                m.d.sync += self.flash_cs_n.eq(0)
                m.next = "WAKE"
            with m.State("WAKE"):
                m.d.comb += [shift.eq(1), self.flash_mosi.eq(highest_first(0xAB << 24))]
                with m.If(fall & n[:3].all()):
                    m.d.sync += self.flash_cs_n.eq(1)
                    m.next = "REST"
            with m.State("REST"):
                m.d.sync += [count.eq(count - 1), n.eq(0), crc.eq(0), right.eq(1), blank.eq(1)]
                with m.If(~count[self._wake_bit] & count[self._wake_bit - 1]):
                    m.d.sync += self.flash_cs_n.eq(0)
                    m.next = "CALL"
            with m.State("CALL"):
                m.d.comb += [shift.eq(1), self.flash_mosi.eq(highest_first(0x03 << 24 | self._at))]
                with m.If(last):
                    m.next = "MARK"
            with m.State("MARK"):
                m.d.comb += [shift.eq(1), take.eq(1)]
                with m.If(fall):
                    m.d.sync += blank.eq(blank & bit)
                    with m.If(bit != highest_first(int.from_bytes(self._mark, "big"))):
                        m.d.sync += right.eq(0)
                with m.If(last):
                    m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.comb += [shift.eq(1), take.eq(1)]
                with m.If(fall):
                    m.d.sync += count.eq(Cat(bit, count[:-1]))
                with m.If(last):
                    m.next = "DATA"
                    with m.If(~right):
                        done(Mux(changed, Start.CHANGED, Mux(blank, Start.EMPTY, Start.OTHER)))
            with m.State("DATA"):
                m.d.comb += [shift.eq(1), take.eq(1)]
                with m.If(fall & n[:3].all()):
                    m.d.sync += [count.eq(count - 1), n.eq(0)]
                    m.next = "GIVE"
            with m.State("GIVE"):
                m.d.comb += self.o.valid.eq(giving)
                with m.If(~giving | self.o.ready):
                    m.next = "DATA"
                    with m.If(count == 0):
                        m.next = "SUM"
            with m.State("SUM"):  # the CRC moves out, beside the one that comes in
                m.d.comb += [shift.eq(1), take.eq(1), compare.eq(1)]
                with m.If(fall & unlike):
                    m.d.sync += right.eq(0)
                with m.If(last):
                    m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.sync += self.flash_cs_n.eq(1)
                m.next = "REST"
                with m.If(~right):
                    # only what it read twice alike is the network; it may be right again the next time
                    m.d.sync += giving.eq(0)
                    with m.If(giving):
                        m.d.sync += changed.eq(1)
                    with m.Else():
                        done(Mux(changed, Start.CHANGED, Start.BROKEN))
                with m.Elif(~giving):
                    m.d.sync += giving.eq(1)
                with m.Else():
                    m.d.sync += changed.eq(0)
                    done(C(Start.LOADED, 3))
            with m.State("DONE"):
                with m.If(self.host):
                    m.d.sync += changed.eq(0)
        return m


class StandaloneEngine(wiring.Component):
    """An engine with the members ``i``, ``o`` and ``reset`` behind a :class:`NetworkStarter`.

    While the network is loaded the host's bytes wait and its resets are ignored: the engine then is as if it had just been reset,
    with the network in it.

    Members: i, o, reset as the engine's, its pins, the flash's pins, and ``network`` : Out(3), a :class:`~.network.Start`.
    Attributes: the engine's.
    """

    def __init__(self, engine: Any, layout: Layout, engine_hash: bytes, clock_hz: int) -> None:
        self._engine, self._starter = engine, NetworkStarter(layout, engine_hash, clock_hz)
        self.bytes_in, self.bytes_out = engine.bytes_in, engine.bytes_out
        self.buffers, self.extra_files = engine.buffers, engine.extra_files
        inner = getattr(engine, "pins", {})
        self._inner_pins = tuple(inner)
        self.pins = {**inner, **PINS}
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "reset": In(1),
                "network": Out(3),
                **self.pins,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self._engine
        m.submodules.starter = starter = self._starter
        for part, names in ((engine, self._inner_pins), (starter, tuple(PINS))):
            for name in names:
                inside, outside = getattr(part, name), getattr(self, name)
                m.d.comb += inside.eq(outside) if self.pins[name].flow is In else outside.eq(inside)
        loading = starter.loading
        m.d.comb += [
            self.network.eq(starter.state),
            starter.host.eq(self.reset),
            engine.reset.eq((self.reset & ~loading) | starter.hold),
            engine.i.payload.eq(Mux(loading, starter.o.payload, self.i.payload)),
            engine.i.valid.eq(Mux(loading, starter.o.valid, self.i.valid)),
            starter.o.ready.eq(engine.i.ready),
            self.i.ready.eq(engine.i.ready & ~loading),
            # loading has no answers
            self.o.payload.eq(engine.o.payload),
            self.o.valid.eq(engine.o.valid & ~loading),
            engine.o.ready.eq(self.o.ready | loading),
        ]
        return m
