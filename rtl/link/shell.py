"""The link shell: UART, framing and command execution around any engine with byte streams."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .core import LinkCore, complete
from .guard import ANSWER_BYTES, BootGuard
from .protocol import BOOTS, GUARD_SECONDS, GUARDED, STANDALONE, Buffers, Identity
from .uart import UartReceiver, UartTransmitter, uart_divisor


class LinkShell(wiring.Component):
    """Everything between a UART's pins and an engine's byte streams.

    Parameters
    ----------
    identity : :class:`Identity`
        What IDENTIFY answers. ``clock_hz`` is the clock of the ``sync`` domain; the link's own fields are filled in here.
    baud : :class:`int`
        Line rate, up to 3,000,000. Raises InputError if an integer divisor of the clock misses it by more than 1.5 %.
    frame_bytes : :class:`int`
        Size of one frame buffer, a power of two from 256 to 4096; the largest payload is 64 bytes less. The shell holds
        ``2 * window`` of them in block RAM (8 EBRs with the defaults).
    window : :class:`int`
        Requests that may be on their way at once: 1, 2, 4 or 8.
    registered : :class:`bool`
        A register behind the memory of the requests, see :class:`~.protocol.Buffers`.
    watchdog_cycles : :class:`int` or ``None``
        Clock cycles without any byte to or from the engine after which a RUN is given up, rounded up to a power of two.
        Default: one second of the clock.
    guard_cycles : :class:`int` or ``None``
        Clock cycles that a guarded design waits for CONFIRM. Default: :data:`~.protocol.GUARD_SECONDS` of the clock.

    Members
    -------
    rx, tx : ``In(1)``, ``Out(1)``
        UART pins, idle high; ``rx`` is synchronised inside.
    engine_i : ``Out(stream.Signature(8))``
        Bytes for the engine, samples back to back. A byte offered is withdrawn only while ``engine_reset`` is high.
    engine_o : ``In(stream.Signature(8))``
        Bytes from the engine, exactly ``bytes_out`` per sample.
    engine_reset : ``Out(1)``
        Synchronous reset of the engine (use it with ResetInserter): after RESET, and when the watchdog gave a RUN up.
    led_link : ``Out(1)``
        Changes with every 4 frames received.
    led_busy : ``Out(1)``
        A command is being executed.
    led_error : ``Out(1)``
        A broken frame came or an engine was given up since the last SYNC.
    warmboot : ``Out(1)``
        Boot golden now; only where the identity says that the design boots.
    network : ``In(3)``
        What NETWORK answers; only where the identity says that the design loads a network at its start.

    Attributes
    ----------
    identity : :class:`Identity`
        The identity as the device answers it, with the link's fields.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        baud: int = 3_000_000,
        frame_bytes: int = Buffers.frame_bytes,
        window: int = Buffers.window,
        registered: bool = Buffers.registered,
        watchdog_cycles: int | None = None,
        guard_cycles: int | None = None,
    ):
        if not identity.boot & GUARDED:
            self._guard_cycles = None
        else:
            self._guard_cycles = guard_cycles or GUARD_SECONDS * identity.clock_hz
        self._divisor = uart_divisor(identity.clock_hz, baud)
        self._buffers: dict[str, Any] = {
            "frame_bytes": frame_bytes,
            "window": window,
            "watchdog_cycles": watchdog_cycles,
        }
        self._registered = registered
        self.identity = complete(identity.with_link(baud=baud), **self._buffers)
        super().__init__(
            {
                **({"warmboot": Out(1)} if identity.boot & BOOTS else {}),
                **({"network": In(3)} if identity.boot & STANDALONE else {}),
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "engine_i": Out(stream.Signature(8)),
                "engine_o": In(stream.Signature(8)),
                "engine_reset": Out(1),
                "led_link": Out(1),
                "led_busy": Out(1),
                "led_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = LinkCore(self.identity, registered=self._registered, **self._buffers)
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            core.line_error.eq(receiver.error),
            self.engine_reset.eq(core.engine_reset),
            self.led_link.eq(core.led_link),
            self.led_busy.eq(core.led_busy),
            self.led_error.eq(core.led_error),
        ]
        if self.identity.boot & BOOTS:
            m.submodules.guard = guard = BootGuard(ANSWER_BYTES * 10 * self._divisor, self._guard_cycles)
            m.d.comb += [
                guard.leave.eq(core.leave),
                guard.confirm.eq(core.confirm),
                self.warmboot.eq(guard.warmboot),
            ]
        if self.identity.boot & STANDALONE:
            m.d.comb += core.network.eq(self.network)
        wiring.connect(m, receiver.o, core.line_i)
        wiring.connect(m, core.line_o, transmitter.i)
        wiring.connect(m, wiring.flipped(self.engine_i), core.engine_i)
        wiring.connect(m, core.engine_o, wiring.flipped(self.engine_o))
        return m
