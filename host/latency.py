"""Low-latency mode of USB serial adapters: FTDI's hold a few bytes back for 16 ms, which each round trip would pay."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SYSFS = Path("/sys/bus/usb-serial/devices")
"""Where Linux lists USB serial ports; FTDI's driver has a file ``latency_timer`` there, in milliseconds."""
SHORTEST_MS = 1
UDEV_RULE = 'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"'
"""Sets the timer of every FTDI adapter when it is plugged in."""


def set_low_latency(port: Any, sysfs: Path = SYSFS) -> int | None:
    """Ask the driver of an open pyserial port for low latency; returns the adapter's timer in milliseconds afterwards.

    None where there is no such timer (pseudo-terminals, other adapters, other systems). Two ways are tried: the flag
    ASYNC_LOW_LATENCY, which FTDI's driver turns into 1 ms, and the driver's file, which needs the right to write it. A
    driver that refuses both works as it is, only slower.
    """
    try:
        port.set_low_latency_mode(True)
    except (AttributeError, NotImplementedError, OSError, ValueError):
        pass  # pyserial has it on Linux alone, and raises ValueError where the driver does not know it
    timer = sysfs / os.path.basename(os.path.realpath(port.name or "")) / "latency_timer"
    try:
        if int(timer.read_text()) > SHORTEST_MS:
            timer.write_text(f"{SHORTEST_MS}\n")
    except (OSError, ValueError):
        pass
    try:
        return int(timer.read_text())
    except (OSError, ValueError):
        return None


def advice(latency_ms: int | None) -> str:
    """What to say to the user about an adapter's timer; nothing where all is well."""
    if latency_ms is None or latency_ms <= SHORTEST_MS:
        return ""
    return (
        f"the serial adapter holds bytes back for {latency_ms} ms, which costs speed and which you may not change; put {UDEV_RULE}"
        " into /etc/udev/rules.d/70-neuroloom.rules and replug the board"
    )
