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
from .network import COUNT_BITS, COUNT_END, COUNT_TAP, POLYNOMIAL, TAIL_BYTES, Start, mark, step

WORD_BITS = 32


def rest_end(cycles: int) -> tuple[int, int]:
    """The fewest lowest bits of the counter, and a value, that come for the first time ``cycles`` steps from its end or later."""
    states = [COUNT_END]
    while len(states) < 4 * cycles:
        states.append(step(states[-1]))
    for bits in range(1, COUNT_BITS + 1):
        values = [state & ((1 << bits) - 1) for state in states]
        before = set(values[:cycles])
        for value in values[cycles:]:
            if value not in before:
                return bits, value
    raise AssertionError("a state does not come again so soon")


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
        self._rest_end = rest_end(round(clock_hz * WAKE_SECONDS))
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
        # One flip-flop per state, and each of them only while it is needed: what an iCE40 has to decode costs more than it holds.
        names = ("wake", "rest", "call", "mark", "length", "data", "give", "sum", "verdict", "done")
        wake, rest, call, mark, length, data, give, summing, verdict, done = (
            Signal(name=name, init=name == "wake") for name in names
        )
        n, byte, crc = Signal(5), Signal(8, reset_less=True), Signal(32, reset_less=True)
        right, whole = Signal(reset_less=True), Signal(reset_less=True)
        giving, changed = Signal(), Signal()
        bit, sck, go = self.flash_miso, self.flash_sck, Signal()

        # The clock is high only where something is shifted, so its high phase is the strobe at whose end that happens.
        byte_end, last = Signal(), Signal()
        m.d.comb += [byte_end.eq(sck & n[:3].all()), last.eq(byte_end & n[3:].all())]
        m.d.sync += [
            self.flash_cs_n.eq(rest | done),
            sck.eq(~sck & ~self.flash_cs_n & ~(rest | give | verdict | done)),
            n[:3].eq(n[:3] + sck),
            n[3:].eq(n[3:] + (byte_end & ~data)),
        ]
        with m.If(sck):
            m.d.sync += byte.eq(Cat(bit, byte[:-1]))

        def highest_first(value: int) -> Any:
            """The bit of a word whose turn it is."""
            return Array(C(value >> at & 1, 1) for at in reversed(range(WORD_BITS)))[n]

        # 0xAB goes out four times: three bytes behind it mean nothing
        m.d.comb += self.flash_mosi.eq(Mux(wake, highest_first(0xABABABAB), highest_first(0x03 << 24 | self._at)))

        # Counts the bytes to their end, and from there on the time that the flash takes to wake; complemented.
        count, count_in, tick, over = Signal(COUNT_BITS, reset_less=True), Signal(), Signal(), Signal()
        m.d.comb += [
            tick.eq(rest | (sck & (wake | length)) | (data & byte_end)),
            count_in.eq(~(count[COUNT_BITS - 1] ^ count[COUNT_TAP - 1])),
            over.eq(~count.any()),
        ]
        with m.If(wake):
            m.d.comb += count_in.eq(0)  # where it begins
        with m.If(length):
            m.d.comb += count_in.eq(~bit)
        with m.If(tick):
            m.d.sync += count.eq(Cat(count_in, count[:-1]))
        bits, value = self._rest_end
        awake = rest & (~count[:bits] == value)

        # The CRC, complemented, so that it starts with zeros; its own last bits move out beside those that come in.
        unlike = crc[-1] ^ bit
        with m.If(sck):
            m.d.sync += crc.eq(Mux(call, 0, Cat(C(1, 1), crc[:-1]) ^ ((~unlike & ~summing).replicate(32) & POLYNOMIAL)))

        # right: the mark is. whole: behind a right mark, that there is a one in the count (another one would never end) and
        # that the CRC is right; behind another mark, that it is blank.
        m.d.comb += go.eq(right & whole)
        with m.If(rest):
            m.d.sync += [right.eq(1), whole.eq(1)]
        with m.If(sck & mark):
            m.d.sync += whole.eq(whole & bit)
            with m.If(bit != highest_first(int.from_bytes(self._mark, "big"))):
                m.d.sync += right.eq(0)
        with m.If(sck & length & right & bit):
            m.d.sync += whole.eq(1)
        with m.If(sck & summing & unlike):
            m.d.sync += whole.eq(0)

        given, again = give & (~giving | self.o.ready), giving ^ go
        m.d.sync += [
            wake.eq(wake & ~last),
            rest.eq((wake & last) | (rest & ~awake) | (verdict & again)),
            call.eq(awake | (call & ~last)),
            mark.eq(Mux(last, call, mark)),
            length.eq(Mux(last, mark, length)),
            data.eq((length & last & right & (whole | bit)) | (data & ~byte_end) | (given & ~over)),
            give.eq((data & byte_end) | (give & ~given)),
            summing.eq((given & over) | (summing & ~last)),
            verdict.eq(summing & last),
            done.eq(done | (length & last & ~(right & (whole | bit))) | (verdict & ~again)),
        ]
        # Only what is read twice alike is the network; what was not is held back from use, and may be right the next time.
        with m.If(verdict):
            m.d.sync += [giving.eq(go), changed.eq(Mux(go, changed & ~giving, changed | giving))]
        with m.If(done & changed & self.host):
            m.d.sync += giving.eq(1)
        result = Mux(
            changed, Start.CHANGED, Array((Start.OTHER, Start.EMPTY, Start.BROKEN, Start.LOADED))[Cat(whole, right)]
        )
        m.d.comb += [
            self.o.payload.eq(byte),
            self.o.valid.eq(give & giving),
            self.loading.eq(~done),
            self.hold.eq(changed & ~giving),
            self.state.eq(Mux(done, result, Start.LOADING)),
        ]
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
        self.buffers = getattr(engine, "standalone_buffers", engine.buffers)
        self.extra_files = engine.extra_files
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
