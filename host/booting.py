"""From image to image over the link: to golden, to a slot, and finding out what answers then."""

from __future__ import annotations

from typing import Any

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.link.protocol import GUARD_SECONDS, Identity

from .device import Device, connect

BOOT_S = 2.0
"""What loading an image takes at most: 135 kB at the slowest clock a device reads its flash with take 0.3 s."""


def connect_golden(port: str, **options: Any) -> Device:
    """A session with the golden image of the board on ``port``, which an image that knows the way is left for.

    ``options`` as of :func:`~neuroloom.host.device.connect`. Raises DeviceError when the board runs something that does not.
    """
    device = connect(port, **options)
    try:
        to_golden(device)
    except BaseException:
        device.close()
        raise
    return device


def to_golden(device: Device) -> Identity:
    """Bring the board to golden, if it is not there; raises DeviceError when that does not work."""
    identity = device.identity
    if identity.engine == "loader":
        return identity
    device.boot_golden()
    found = device.expect(max(BOOT_S, device.timeout), lambda found: found.engine == "loader")
    if found.engine != "loader":
        raise DeviceError(
            f"the board on {device.name} must boot golden, but {found.engine} answers; write golden by cable with:"
            f" neuroloom build --golden --board {found.board} and neuroloom flash golden.bin --board {found.board}"
        )
    return found


def after_boot(device: Device, slot: int) -> Identity:
    """Who answers after golden has booted a slot: the image, or raises DeviceError when golden is back or nobody answers."""
    device.expect_restart()
    found = device.expect(max(BOOT_S, device.timeout), lambda found: found.engine != "loader")
    if found.engine == "loader":
        raise DeviceError(
            f"the image in slot {slot} must answer within {GUARD_SECONDS} s of its boot, but golden is back on {device.name}; build"
            " the image again, or boot another slot"
        )
    return found
