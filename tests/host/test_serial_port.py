"""The serial transport on a pseudo-terminal, and the sentences for ports that do not work."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
import tty

import numpy as np
import pytest
import serial
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.host.device import connect


@pytest.fixture
def board(lines):
    """A model of the device behind a pseudo-terminal; ``board.unplug()`` takes it away."""

    class Board:
        def __init__(self):
            self.model = lines.TableModel()
            self.plug()

        def plug(self):
            self.master, slave = os.openpty()
            tty.setraw(slave)
            self.port = os.ttyname(slave)
            self._slave = slave
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._serve)
            self._thread.start()

        def _serve(self):
            while not self._stop.is_set():
                if select.select([self.master], [], [], 0.02)[0]:
                    os.write(self.master, self.model.feed(os.read(self.master, 4096)))

        def unplug(self):
            if not self._stop.is_set():
                self._stop.set()
                self._thread.join(5)
                os.close(self._slave)
                os.close(self.master)

    board = Board()
    yield board
    board.unplug()


def test_runs_over_a_pseudo_terminal(board, lines, patient):
    x = np.random.default_rng(3).integers(0, 256, (2000, lines.BYTES_IN), np.uint8)
    with connect(board.port, timeout=60) as device:
        assert np.array_equal(device.run_bytes(x), lines.running_sum(x))
        assert device.repeats == 0
    # Closed and opened again: a new session on a device that knows the old one.
    with connect(board.port) as device:
        assert np.array_equal(device.run_bytes(x[:10]), lines.running_sum(x[:10]))


def test_busy_port(board):
    with connect(board.port):
        with pytest.raises(DeviceError, match=rf"the port {board.port} must be free, but another program holds it"):
            connect(board.port)
    connect(board.port).close()


def test_missing_port():
    with pytest.raises(DeviceError, match=r"the port /dev/ttyNONE must exist, but it does not; plug the board in"):
        connect("/dev/ttyNONE")


def test_not_a_serial_port(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(DeviceError, match=r"must be a serial port"):
        connect(str(path))


def test_silent_device(board):
    board.model.dead = True
    start = time.monotonic()
    with pytest.raises(DeviceError, match=r"did not answer for 0\.4 s; nothing came: check the port"):
        connect(board.port, timeout=0.4)
    assert time.monotonic() - start < 3
    board.model.dead = False
    connect(board.port).close()


def test_unplugged_in_mid_run(board, lines):
    x = np.zeros((5000, lines.BYTES_IN), np.uint8)
    with connect(board.port, timeout=1) as device:
        with pytest.raises(DeviceError, match="went away|did not answer"):
            device.run_bytes(x, lambda done, total: board.unplug())
        with pytest.raises(DeviceError):
            device.ping()


def test_a_port_that_comes_back_is_used_again(board, lines, tmp_path):
    """Unplugged and plugged in again, under the same name: the next command works without connecting anew."""
    port = tmp_path / "port"
    port.symlink_to(board.port)
    x = np.zeros((5000, lines.BYTES_IN), np.uint8)
    with connect(str(port), timeout=1) as device:
        with pytest.raises(DeviceError, match="went away|did not answer"):
            device.run_bytes(x, lambda done, total: board.unplug())
        port.unlink()
        with pytest.raises(DeviceError, match="must exist, but it does not"):
            device.ping()
        board.plug()
        port.symlink_to(board.port)
        assert np.array_equal(device.run_bytes(x), lines.running_sum(x))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_port_that_is_not_ours(board, monkeypatch, number):
    def refuse(*arguments, **options):
        raise serial.SerialException(number, f"could not open port: [Errno {number}] Permission denied")

    monkeypatch.setattr("serial.Serial", refuse)
    with pytest.raises(DeviceError) as error:
        connect(board.port)
    assert 'SUBSYSTEM=="tty"' in str(error.value) and "/etc/udev/rules.d/" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_baud_rate_that_the_driver_refuses(board, monkeypatch):
    def refuse(*arguments, **options):
        raise ValueError("Failed to set custom baud rate (2999999)")

    monkeypatch.setattr("serial.Serial", refuse)
    with pytest.raises(InputError, match=r"baud must be a rate that the driver of .* takes, not 2999999"):
        connect(board.port, baud=2999999)


def test_the_line_rate_is_found(monkeypatch, lines):
    """A board at 1 Mbaud: faster rates are tried first, bring nothing but broken bytes, and the right one is kept."""
    from neuroloom.host import device

    rates = []

    class Port(lines.FaultyLine):
        gone = False

        def __init__(self, name, baud, on_wait=None):
            super().__init__(lines.TableModel(), lambda direction, data: data if self.baud == 1_000_000 else data[::3])
            self.baud = baud

        def set_baud(self, baud):
            self.baud = baud
            rates.append(baud)

    monkeypatch.setattr(device, "SerialPort", Port)
    with connect("/dev/ttyUSB0") as opened:
        assert opened.ping() >= 0
    assert rates == [3_000_000, 2_000_000, 1_000_000] == device.line_rates()
    with pytest.raises(DeviceError, match="check the baud rate and the ground wire"):
        connect("/dev/ttyUSB0", baud=3_000_000, timeout=1)
    monkeypatch.setattr(device, "line_rates", lambda: [3_000_000, 2_000_000])
    with pytest.raises(DeviceError, match=r"check the baud rate .*\(tried 3,000,000, 2,000,000 baud\)"):
        connect("/dev/ttyUSB0", timeout=1)
