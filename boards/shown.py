"""What a virtual board shows to whoever waits for it: the image that runs, or why none does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from neuroloom.compiler.errors import DeviceError


class Shown:
    """Shown by one thread, waited for by any; no wait outlasts the thread that shows.

    Attributes
    ----------
    image : what runs now, ``golden``, ``slot 1`` ..., or "" when the power is off or nothing could be loaded
    dark : why nothing runs although the power is on
    boots, ends, offs : images started so far; images that ended; times that the power was switched off or cut
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._showing = False
        self.image = self.dark = ""
        self.boots = self.ends = self.offs = 0

    def _begin_to_show(self) -> None:
        with self._changed:
            self._showing, self.dark = True, ""

    def _show(self, image: str, dark: str, *, off: bool = False, ended: bool = False) -> None:
        with self._changed:
            self.image, self.dark = image, dark
            self.boots += bool(image)
            self.ends += ended
            self.offs += off
            self._changed.notify_all()

    def _end_of_show(self) -> None:
        """Nothing will be shown any more: every wait ends."""
        with self._changed:
            self._showing = False
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: done() or not self._showing, timeout_s)
            if done():
                return
            if not self._showing:
                raise DeviceError(f"the virtual board was stopped and will not {what}; start it first")
            raise DeviceError(
                f"the virtual board did not {what} within {timeout_s:g} s; it shows {self.image or 'nothing'}"
            )

    def _refuse_dark(self) -> None:
        if dark := self.dark:
            raise DeviceError(f"the virtual board stays dark: {dark}")

    def wait_for(self, image: str, timeout_s: float = 600.0) -> None:
        """Wait until ``image`` runs; raises DeviceError if it does not come, at once when the board stays dark."""
        self._wait(lambda: self.image == image or bool(self.dark), timeout_s, f"run {image}")
        if image:
            self._refuse_dark()
