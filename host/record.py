"""Records a session while it runs: a transport around another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neuroloom.compiler.errors import DeviceError, InputError

from .session_file import FROM, MAGIC, TO, Event
from .transport import Transport


class Recorder:
    """Everything that happens on ``inner``, also written to the file ``path`` (see :mod:`neuroloom.host.session_file`).

    Its clock stands still between two events, so that whatever the host decides follows from the file alone: replayed, it
    decides the same. Each event is in the file before the next one happens, so a program that is killed leaves a whole file.
    ``timeout`` is the host's patience in seconds, which its decisions depend on. Raises InputError when the file cannot be written.
    """

    def __init__(self, inner: Transport, path: Path | str, *, timeout: float) -> None:
        self.name = inner.name
        self.latency: int | None = getattr(inner, "latency", None)
        self._inner = inner
        try:
            self._file = Path(path).open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            inner.close()
            raise InputError(f"--record must name a file that can be written: {path}: {error.strerror}") from None
        self._file.write(MAGIC + "\n")
        self._start = inner.now()
        self._now = 0.0
        self._note("open", text=f"timeout={timeout!r} port={self.name}")

    def _note(self, kind: str, data: bytes = b"", text: str = "") -> None:
        # The clock has the file's resolution: a replay must see the same times to the last bit.
        self._now = max(self._now, round(self._inner.now() - self._start, 6))
        if not self._file.closed:
            self._file.write(f"{Event(self._now, kind, data, text)}\n")

    def _try(self, act: Callable[[], bytes | None]) -> bytes | None:
        try:
            return act()
        except DeviceError as error:
            self._note("lost", text=str(error))
            raise

    def read(self, timeout: float) -> bytes:
        """As the port's."""
        data = self._try(lambda: self._inner.read(timeout)) or b""
        self._note(FROM, data)
        return data

    def write(self, data: bytes) -> None:
        """As the port's."""
        self._try(lambda: self._inner.write(data))
        self._note(TO, data)

    def discard(self) -> None:
        """As the port's."""
        self._try(self._inner.discard)
        self._note("discard")

    def now(self) -> float:
        """Seconds since the recording began, at the last event."""
        return self._now

    def close(self) -> None:
        """Give the line back, and finish the file."""
        if not self._file.closed:
            self._note("close")
            self._file.close()
        self._inner.close()
