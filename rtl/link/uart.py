"""UART 8N1 with an integer divisor, and the check that the divisor is good enough."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from neuroloom.compiler.errors import InputError

from .protocol import BAUD_MAX, BAUD_TOLERANCE, DIVISOR_MIN


def uart_divisor(clock_hz: int, baud: int) -> int:
    """Clock cycles per bit: the nearest integer to ``clock_hz / baud``.

    Raises InputError when ``baud`` exceeds 3 Mbaud, when fewer than 4 cycles remain per bit, or when the rate that the
    divisor gives is more than 1.5 % off (a UART tolerates about 5 % in all, and the host's side needs its share).
    """
    if not 0 < baud <= BAUD_MAX:
        raise InputError(f"baud must be between 1 and {BAUD_MAX}, not {baud}")
    divisor = (clock_hz + baud // 2) // baud
    if divisor < DIVISOR_MIN:
        raise InputError(
            f"baud must leave at least {DIVISOR_MIN} clock cycles per bit, not {clock_hz / baud:.2f}"
            f" ({clock_hz} Hz / {baud} baud); choose at most {clock_hz // DIVISOR_MIN} baud or a faster clock"
        )
    error = clock_hz / (divisor * baud) - 1
    if abs(error) > BAUD_TOLERANCE:
        raise InputError(
            f"baud must be within {BAUD_TOLERANCE:.1%} of clock / divisor, not {error:+.1%}"
            f" ({clock_hz} Hz / {divisor} = {clock_hz / divisor:.0f} baud instead of {baud});"
            " choose another baud rate or clock (12, 24, 27 and 75 MHz give exactly 3 Mbaud)"
        )
    return divisor


class UartReceiver(wiring.Component):
    """Bytes from a serial line: 8 data bits, least significant first, no parity, one stop bit.

    Each bit is sampled once, in its middle; a start bit that is gone by its middle is taken for a glitch. The byte leaves
    in the middle of the stop bit, so a sender that is a little too fast is still understood.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles per bit, at least 4.

    Members
    -------
    rx : ``In(1)``
        The line; synchronised here.
    o : ``Out(stream.Signature(8))``
        One valid cycle per byte, at least ``9 * divisor`` cycles apart; ``ready`` is not looked at, a byte that is not
        taken is lost.
    error : ``Out(1)``
        High for one cycle when a stop bit was not there (break, wrong baud rate, noise).
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8)), "error": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx = Signal(init=1)
        last = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.rx, rx, init=1)
        m.d.sync += last.eq(rx)

        timer = Signal(range(self._divisor), reset_less=True)
        bits = Signal(range(10), reset_less=True)
        shift = Signal(8, reset_less=True)
        tick = timer == 0
        m.d.comb += self.o.payload.eq(shift)
        # `shift` holds its byte until the next start bit's data arrive, so the strobes may be registered.
        m.d.sync += [self.o.valid.eq(0), self.error.eq(0)]
        with m.FSM(name="receive"):
            with m.State("IDLE"):
                # The first sample falls half a bit after the edge was seen, and tells noise from a start bit. Waiting for an
                # edge, not a level, makes a break one error; and it may come in the very next cycle after the stop bit's
                # sample, which a fast sender's does.
                m.d.sync += [timer.eq(self._divisor // 2 - 1), bits.eq(0)]
                with m.If(last & ~rx):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(tick):
                    m.d.sync += [timer.eq(self._divisor - 1), bits.eq(bits + 1)]
                    with m.If(bits == 9):
                        m.d.sync += [self.o.valid.eq(rx), self.error.eq(~rx)]
                        m.next = "IDLE"
                    with m.Elif(bits == 0):
                        with m.If(rx):
                            m.next = "IDLE"
                    with m.Else():
                        m.d.sync += shift.eq(Cat(shift[1:], rx))
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a serial line, 8N1, back to back.

    Parameters
    ----------
    divisor : :class:`int`
        Clock cycles per bit.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Bytes; one is taken every ``10 * divisor`` cycles.
    tx : ``Out(1)``
        The line, high when idle.
    busy : ``Out(1)``
        Whether a byte is on the line.
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self._divisor), reset_less=True)
        # Start bit, data, stop bit, and a marker above them: when only the marker is left, all bits have had their time.
        shift = Signal(11, init=1)
        tick = timer == 0
        m.d.comb += [
            self.busy.eq(shift != 1),
            self.i.ready.eq(~self.busy | (tick & (shift[1:] == 1))),
        ]
        # The line follows the shift register one cycle late, from a flip-flop, so that it never shows a glitch.
        m.d.sync += [self.tx.eq(~self.busy | shift[0]), timer.eq(timer - 1)]
        with m.If(tick & self.busy):
            m.d.sync += [timer.eq(self._divisor - 1), shift.eq(shift >> 1)]
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [timer.eq(self._divisor - 1), shift.eq(Cat(Const(0, 1), self.i.payload, Const(3, 2)))]
        return m
