"""From image to image over the link: to golden, to a slot, and finding out what answers then."""

from __future__ import annotations

import time
from typing import Any

from neuroloom.compiler.errors import DeviceError
from neuroloom.rtl.link.protocol import GUARD_SECONDS, Identity

from .device import Device, connect

BOOT_S = 2.0
"""What loading an image takes at most: 135 kB at the slowest clock a device reads its flash with take 0.3 s."""

TRIES = 3
"""How often an image is asked for golden: a host that is held up speaks too late, when golden has started the image again."""


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
    for _ in range(TRIES):
        device.boot_golden()
        found = device.expect(max(BOOT_S, device.timeout), _Settled())
        if found.engine == "loader":
            return found
    raise DeviceError(
        f"the board on {device.name} must boot golden, but {found.engine} answers; write golden by cable with:"
        f" neuroloom build --golden --board {found.board} and neuroloom flash golden.bin --board {found.board}"
    )


class _Settled:
    """Whether golden answers, or another image has answered for so long that it is not on its way out."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, found: Identity) -> bool:
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return found.engine == "loader" or now - self._since > BOOT_S


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
