"""The link without a UART: framing and command execution over byte streams (a work in progress)."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from neuroloom.compiler.errors import InputError

from .protocol import FRAME_BYTES_MAX, FRAME_BYTES_MIN, WINDOW_MAX, Identity, max_payload


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


class LinkCore(wiring.Component):
    """Framing and command execution; parameters and engine ports as in :class:`LinkShell`."""

    def __init__(self, identity: Identity, *, frame_bytes: int, window: int, watchdog_cycles: int | None = None):
        if not (_power_of_two(frame_bytes) and FRAME_BYTES_MIN <= frame_bytes <= FRAME_BYTES_MAX):
            raise InputError(
                f"frame_bytes must be a power of two from {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX}, not {frame_bytes}"
            )
        if not (_power_of_two(window) and window <= WINDOW_MAX):
            raise InputError(f"window must be 1, 2, 4 or 8, not {window}")
        cycles = identity.clock_hz if watchdog_cycles is None else watchdog_cycles
        self._watchdog_bits = max(1, (cycles - 1).bit_length())
        self._frame_bytes = frame_bytes
        self._window = window
        self.identity = identity.with_link(
            max_payload=max_payload(frame_bytes),
            window=window,
            scratch_bytes=frame_bytes * window,
            watchdog_ms=-(-(1 << self._watchdog_bits) * 1000 // identity.clock_hz),
        )
        super().__init__(
            {
                "line_i": In(stream.Signature(8)),
                "line_error": In(1),
                "line_o": Out(stream.Signature(8)),
                "engine_i": Out(stream.Signature(8)),
                "engine_o": In(stream.Signature(8)),
                "engine_reset": Out(1),
                "led_link": Out(1),
                "led_busy": Out(1),
                "led_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        return Module()
