"""The host against the whole shell under Verilator, over a pseudo-terminal: the physical path with another port."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.device import Device, connect
from neuroloom.host.serial_port import SerialPort
from neuroloom.rtl.link.protocol import Command

BYTES_IN = 64


@pytest.fixture
def board(sum_board):
    return sum_board


def samples(count, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (count, BYTES_IN), np.uint8)
    return x, (np.cumsum(x.sum(axis=1, dtype=np.int64)) % 256).astype(np.uint8).reshape(-1, 1)


def test_streaming_keeps_the_line_busy(board, patient):
    """Nine tenths of the line carry samples, in line time: 80 clock cycles a byte at 24 MHz and 3 Mbaud."""
    x, y = samples(600)
    with connect(board.port, timeout=60) as device:
        assert device.identity.board == "icebreaker" and device.memtest().passed
        before = board.statistics().cycles
        assert np.array_equal(device.run_bytes(x), y)
        cycles = board.statistics().cycles - before
        assert device.repeats == 0
    # The clock runs on for a moment before and behind the run; 600 samples are 3 million cycles.
    assert x.size * 80 / cycles > 0.9


def test_both_directions_are_full_at_once(board, patient):
    """Requests and answers of the same length: with two of them on the way, each direction would wait for the other."""
    payload, count = bytes(range(1, 225)) * 2, 120
    with connect(board.port, timeout=60) as device:
        link = device._begin()
        before, sent = board.statistics(), 0
        for _ in range(count):
            while link.room and sent < count:
                link.submit(Command.PING, payload, expected=len(payload))
                sent += 1
            assert link.collect().payload == payload
        after = board.statistics()
        assert device.repeats == 0
    share = len(payload) * count * 80 / (after.cycles - before.cycles)
    assert share > 0.9 and after.sent - before.sent == after.received - before.received


def test_noisy_line(board, lines):
    class Noisy(SerialPort):
        noise = lines.Noise(3, flip=2e-4, drop=2e-4, double=2e-4, insert=2e-4)

        def read(self, timeout):
            return self.noise("in", super().read(timeout))

        def write(self, data):
            super().write(self.noise("out", data))

    x, y = samples(100, 1)
    with Device(Noisy(board.port), timeout=20) as device:
        device.reset()
        assert np.array_equal(device.run_bytes(x), y)
        assert device.repeats > 0


def test_killed_host(board):
    """A host that dies in mid-run, wherever that is, leaves a device that the next one can use."""
    program = (
        "import sys, numpy as np; from neuroloom.host.device import connect\n"
        "d = connect(sys.argv[1]); print('go', flush=True)\n"
        "while True: d.run_bytes(np.ones((500, 64), np.uint8))\n"
    )
    for delay in (0.0, 0.05, 0.13):
        with subprocess.Popen([sys.executable, "-c", program, board.port], stdout=subprocess.PIPE) as host:
            assert host.stdout.readline() == b"go\n"
            try:
                host.wait(delay)
            except subprocess.TimeoutExpired:
                pass
            os.kill(host.pid, signal.SIGKILL)
        x, y = samples(40, int(delay * 100))
        with connect(board.port) as device:
            assert np.array_equal(device.run_bytes(x), y)


def test_power_cut(board):
    x, y = samples(300, 5)
    cuts = []

    def cut(done, total):
        if done >= 150 and not cuts:
            cuts.append(board.reset())

    with connect(board.port) as device:
        with pytest.raises(Exception, match="restarted in mid-run|did not answer") as error:
            device.run_bytes(x, cut)
        assert len(cuts) == 1
        assert type(error.value).__name__ == "DeviceError"
        assert np.array_equal(device.run_bytes(x), y)


@pytest.mark.campaign
def test_campaign_of_faults(board, lines):
    """The same against the gateware: noise of every kind and rate, and resets in mid-run."""
    seed = int(os.environ.get("NEUROLOOM_SEED", "0"))
    runs = errors = faults = 0
    for device_seed in range(seed, seed + 60):
        rng = random.Random(device_seed)
        scale = 10 ** rng.uniform(-4, -2.7)
        noise = lines.Noise(device_seed, *(rng.random() * scale if rng.random() < 0.6 else 0 for _ in range(4)))
        noise.on = False

        class Noisy(SerialPort):
            def read(self, timeout, noise=noise):
                return noise("in", super().read(timeout))

            def write(self, data, noise=noise, rng=rng):
                if noise.on and rng.random() < 0.003:
                    board.reset()
                super().write(noise("out", data))

        with Device(Noisy(board.port), timeout=6) as device:
            for turn in range(2):
                x, y = samples(rng.randrange(1, 150), device_seed * 2 + turn)
                noise.on = True
                runs += 1
                try:
                    device.reset()
                    got = device.run_bytes(x)
                except DeviceError:
                    errors += 1
                else:
                    assert np.array_equal(got, y), f"NEUROLOOM_SEED={device_seed}"
                noise.on = False
                device.reset()
                assert np.array_equal(device.run_bytes(x), y), f"NEUROLOOM_SEED={device_seed}"
        faults += noise.count
    print(f"virtual board: {runs} runs under {faults} faults: {runs - errors} right, {errors} errors, 0 wrong")
