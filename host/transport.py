"""What a link needs of a line: bytes in, bytes out, and a clock."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A byte line to a device. Every method returns in bounded time; a dead line raises DeviceError."""

    name: str
    """How messages call it, e.g. ``/dev/ttyUSB1``."""

    def read(self, timeout: float) -> bytes:
        """Wait at most ``timeout`` seconds for bytes; return what there is, ``b""`` if nothing came."""

    def write(self, data: bytes) -> None:
        """Send bytes, all of them."""

    def discard(self) -> None:
        """Forget what was received and not read, and what has not been sent yet."""

    def now(self) -> float:
        """Seconds on the clock that ``timeout`` is measured by."""

    def close(self) -> None:
        """Give the line back; may be called twice."""
