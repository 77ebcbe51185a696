"""A serial port as a transport: a real UART, a USB adapter, or the slave side of a pseudo-terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable

import serial
from neuroloom.boards.hold import held
from neuroloom.compiler.errors import DeviceError, InputError

from .latency import set_low_latency

_PORT_ERRORS: tuple[type[Exception], ...] = (serial.SerialException, OSError, TypeError, ValueError)
if os.name == "posix":
    import fcntl
    import termios

    _PORT_ERRORS += (termios.error,)
"""What pyserial lets through when a port goes away (TypeError: its descriptor is None after close)."""

WRITE_TIMEOUT_S = 10.0
"""A line that takes nothing for so long is dead (a frame is on the line for milliseconds)."""

PSEUDO = "/dev/pts/"
"""Where pseudo-terminals are, which may be virtual boards'."""
HOLD_POLL_S = 0.1

UDEV_RULE = 'SUBSYSTEM=="tty", SUBSYSTEMS=="usb", TAG+="uaccess"'
"""Gives USB serial ports to whoever sits at the machine."""


class SerialPort:
    """An exclusively opened serial port, 8N1, without flow control.

    Raises DeviceError when the port is missing, busy, not permitted or not a terminal, and when it goes away later;
    InputError when the driver does not take the baud rate. A port that went away is opened again by :meth:`discard`, with
    which every session begins.

    While a virtual board asks its hosts to wait (see :mod:`neuroloom.boards.hold`), :meth:`read` does, the clock stands still, and
    ``on_wait`` is called with a sentence once.
    """

    def __init__(self, port: str, baud: int = 3_000_000, on_wait: Callable[[str], None] | None = None) -> None:
        self.name = port
        self._baud = baud
        self._gone = False
        self._on_wait = on_wait or (lambda sentence: None)
        self._stood_still = 0.0
        self._open()

    def _open(self) -> None:
        port, baud = self.name, self._baud
        try:
            self._serial = serial.Serial(
                port,
                baud,
                timeout=0,
                write_timeout=WRITE_TIMEOUT_S,
                exclusive=True,
                xonxoff=False,
                rtscts=False,
                dsrdtr=False,
            )
        except ValueError as error:
            raise _no_rate(port, baud, error) from error
        except _PORT_ERRORS as error:
            raise DeviceError(_why(port, error)) from error
        self._gone = False
        self._virtual = os.path.realpath(port).startswith(PSEUDO)
        if os.name == "posix":
            with contextlib.suppress(
                OSError
            ):  # the lock above holds among those who ask for it; this one keeps everybody out
                fcntl.ioctl(self._serial.fileno(), termios.TIOCEXCL)
        self.latency = set_low_latency(self._serial)

    @property
    def gone(self) -> bool:
        """Whether the port went away, and has not been opened again yet."""
        return self._gone

    def set_baud(self, baud: int) -> None:
        """Change the line rate; raises InputError when the driver does not take it, DeviceError when the port went away."""
        self._baud = baud
        if self._gone:
            return  # it is opened with the new one
        try:
            self._serial.baudrate = baud
        except ValueError as error:
            raise _no_rate(self.name, baud, error) from error
        except _PORT_ERRORS as error:
            raise self._lost(error) from error

    def read(self, timeout: float) -> bytes:
        """What came within ``timeout`` seconds, at once when something is there."""
        try:
            if os.name == "posix":  # setting pyserial's own timeout reconfigures the port each time
                if not select.select([self._serial.fileno()], [], [], timeout)[0]:
                    self._wait_while_held()
                    return b""
                return self._serial.read(max(1, self._serial.in_waiting))
            self._serial.timeout = timeout
            data = self._serial.read(1)
            return data + self._serial.read(self._serial.in_waiting) if data else data
        except _PORT_ERRORS as error:
            raise self._lost(error) from error

    def write(self, data: bytes) -> None:
        """Send all of it; raises DeviceError if the line takes nothing for 10 s."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise DeviceError(
                f"the port {self.name} must take bytes within {WRITE_TIMEOUT_S:g} s, but it took none; unplug and replug it"
            ) from error
        except _PORT_ERRORS as error:
            raise self._lost(error) from error

    def discard(self) -> None:
        """Forget both directions' buffers; a port that went away is opened again."""
        if self._gone:
            self._open()
        try:
            self._serial.reset_output_buffer()
            self._serial.reset_input_buffer()
        except _PORT_ERRORS as error:
            raise self._lost(error) from error

    def now(self) -> float:
        """Seconds of the monotonic clock, less those that a virtual board asked to wait."""
        return time.monotonic() - self._stood_still

    def _wait_while_held(self) -> None:
        if not self._virtual or not (reason := held(self.name)):
            return
        started = time.monotonic()
        self._on_wait(f"the virtual board on {self.name} {reason}; waiting")
        while held(self.name):
            time.sleep(HOLD_POLL_S)
        self._stood_still += time.monotonic() - started

    def close(self) -> None:
        """Give the port back."""
        with contextlib.suppress(Exception):
            # A full buffer of a dead line would keep close() waiting for it to drain.
            self._serial.reset_output_buffer()
        with contextlib.suppress(Exception):
            self._serial.close()

    def _lost(self, error: Exception) -> DeviceError:
        self._gone = True
        with contextlib.suppress(Exception):  # frees the name, which the port gets again when it comes back
            self._serial.close()
        return DeviceError(
            f"the port {self.name} must stay connected while it is in use, but it went away ({error});"
            " check the cable and connect again"
        )


def _no_rate(port: str, baud: int, error: Exception) -> InputError:
    return InputError(f"baud must be a rate that the driver of {port} takes, not {baud} ({error})")


def _why(port: str, error: Exception) -> str:
    """The sentence for a port that does not open."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number == errno.ENOENT or not os.path.exists(port):
        return (
            f"the port {port} must exist, but it does not; plug the board in and list ports with:"
            " python -m serial.tools.list_ports"
        )
    if "exclusively lock" in text or number in (errno.EBUSY, errno.EAGAIN):
        return f"the port {port} must be free, but another program holds it; close that program (find it with: fuser {port})"
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"the port {port} must be readable and writable for you, but it is not; put {UDEV_RULE} into"
            " /etc/udev/rules.d/70-neuroloom.rules and replug the board, or join the port's group with:"
            " sudo usermod -aG dialout $USER, and log in again"
        )
    return f"the port {port} must be a serial port, but it does not open ({text})"
