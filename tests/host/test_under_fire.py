"""The property of the link, on the gateware's own pins: whatever goes wrong on the line, at any moment, an answer that the
host returns is right or it is an error; once the fault is over the next command works, and steady faults do not stop progress."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from neuroloom.boards.faults import PERFECT, LineFaults
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.device import Device, connect
from neuroloom.host.serial_port import SerialPort

BYTES_IN = 64


def samples(count, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (count, BYTES_IN), np.uint8)
    return x, (np.cumsum(x.sum(axis=1, dtype=np.int64)) % 256).astype(np.uint8).reshape(-1, 1)


def transfer(device, count, seed=0):
    """Whether a run was answered rightly; False when it ended in an error. Anything else fails the test."""
    x, y = samples(count, seed)
    try:
        device.reset()
        got = device.run_bytes(x)
    except DeviceError:
        return False
    assert np.array_equal(got, y)
    return True


def damaged(device):
    """Frames that came damaged so far, to the device and to the host; what was on its way before has come with the answer."""
    return device.status()["frames_bad"], device.broken


@pytest.mark.parametrize(
    "spec",
    [
        "ber=1e-3",
        "drop=2e-3,double=2e-3",
        "from.ber=1e-3,to.drop=1e-3,baud=1.5%,jitter=0.1",
        "stall=2e-3:3ms,cut=2e-4:1ms,ber=1e-4",
    ],
)
def test_ten_kilobytes_come_through(sum_board, spec):
    """Progress under steady faults, and nothing left of them afterwards."""
    with connect(sum_board.port, timeout=20) as device:
        before = sum_board.statistics().faults
        sum_board.set_faults(LineFaults.parse(spec))
        assert transfer(device, 160, 1)
        assert sum_board.statistics().faults > before
        sum_board.set_faults(PERFECT)
        before = damaged(device)
        assert transfer(
            device, 20, 2
        )  # on a busy machine an answer may be late, and four frames go twice; none is broken
        assert damaged(device) == before


@pytest.mark.parametrize("spec", ["baud=2%", "baud=-2%", "baud=1.5%,jitter=0.1", "baud=-1.5%,jitter=0.1"])
def test_a_host_with_another_clock_needs_no_repetition(sum_board, spec, patient):
    sum_board.set_faults(LineFaults.parse(spec))
    with connect(sum_board.port, timeout=60) as device:
        assert transfer(device, 100, 3) and device.repeats == 0


def test_faults_that_come_and_go_in_mid_run(sum_board):
    """Every kind of fault begins somewhere inside a run and ends somewhere; then the same session goes on."""
    rng = random.Random(7)
    specs = ["ber=1e-2", "drop=1", "from.drop=1", "double=0.3", "to.ber=0.3", "stall=0.5:1ms", "cut=1e-3:5ms"]
    with connect(sum_board.port, timeout=3) as device:
        for number, spec in enumerate(specs):
            x, y = samples(120, number)
            begin, end = sorted(rng.sample(range(1, 110), 2))
            state = {"begun": False, "timer": None}

            def progress(done, total, state=state, begin=begin, end=end, spec=spec):
                if done >= begin and not state["begun"]:
                    state["begun"] = True
                    sum_board.set_faults(LineFaults.parse(spec))
                    state["timer"] = threading.Timer(0.05 + end / 1000, sum_board.set_faults, (PERFECT,))
                    state["timer"].start()

            device.reset()
            try:
                assert np.array_equal(device.run_bytes(x, progress), y), spec
            except DeviceError:
                pass
            assert state["begun"]
            state["timer"].join()
            assert transfer(device, 30, number), spec


def test_a_line_that_opens_for_longer_than_the_host_waits(sum_board):
    with connect(sum_board.port, timeout=0.5) as device:
        sum_board.set_faults(LineFaults.parse("to.drop=1"))
        start = time.monotonic()
        with pytest.raises(DeviceError, match=r"did not answer for 0.5 s"):
            device.ping()
        with pytest.raises(DeviceError, match=r"did not answer for 0.5 s; nothing came: check the port"):
            device.ping()
        assert time.monotonic() - start < 10
        sum_board.set_faults(PERFECT)
        assert transfer(device, 30)


def test_an_unplugged_port(sum_board, tmp_path):
    """The port goes away in mid-run: an error; it comes back: the same device goes on."""
    name = tmp_path / "port"
    name.symlink_to(sum_board.port)
    x, y = samples(150, 4)
    pulled = []

    def pull(done, total):
        if not pulled:
            pulled.append(sum_board.unplug(50))
            name.unlink()
            name.symlink_to(sum_board.port)

    with connect(str(name), timeout=2) as device:
        with pytest.raises(DeviceError, match="went away|did not answer|restarted"):
            device.run_bytes(x, pull)
        assert transfer(device, 30)
        assert pulled


def test_two_hosts(sum_board):
    with connect(sum_board.port) as device:
        with pytest.raises(DeviceError, match="must be free, but another program holds it"):
            connect(sum_board.port)
        assert transfer(device, 30)


def test_a_slow_host_loses_nothing(sum_board):
    """The device sends nothing that was not asked for, and keeps `window` answers at most: nobody's buffer overflows."""

    class Slow(SerialPort):
        def read(self, timeout):
            time.sleep(0.004)
            if not self.rest:
                self.rest = super().read(timeout)
            part, self.rest = self.rest[:50], self.rest[50:]
            return part

        rest = b""

    before = sum_board.statistics()
    with Device(Slow(sum_board.port), timeout=20) as device:
        for size in (device.identity.max_payload, 3, 250):
            device.ping(bytes(range(250)) * (size // 250) + bytes(size % 250))
        assert transfer(device, 100, 6)
    assert sum_board.statistics().dropped == before.dropped


def kill_in_mid_run(port, delay):
    """A host that runs and runs, killed ``delay`` seconds after it began."""
    program = (
        "import sys, numpy as np; from neuroloom.host.device import connect\n"
        "d = connect(sys.argv[1], timeout=30); print('go', flush=True)\n"
        "while True: d.run_bytes(np.ones((500, 64), np.uint8))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, port], stdout=subprocess.PIPE) as host:
        assert host.stdout.readline() == b"go\n"
        time.sleep(delay)
        os.kill(host.pid, signal.SIGKILL)


@pytest.mark.campaign
def test_campaign_at_one_bit_in_a_thousand(sum_board):
    """A megabyte each way of the line at a bit error rate of 1e-3: no answer may be wrong, and every transfer completes."""
    seed = int(os.environ.get("NEUROLOOM_SEED", "0"))
    before, repeats = sum_board.statistics(), 0
    sum_board.set_faults(LineFaults.parse("ber=1e-3"))
    with connect(sum_board.port, timeout=30) as device:
        for turn in range(100):
            assert transfer(device, 160, seed + turn), f"NEUROLOOM_SEED={seed + turn}"
            repeats = device.repeats
    after = sum_board.statistics()
    print(
        f"line: {after.faults - before.faults} bit errors in 100 transfers of 10 kB, {repeats} frames repeated, "
        f"{(after.cycles - before.cycles) / 24e6:.1f} s of line time, 0 wrong"
    )


@pytest.mark.campaign
def test_campaign_of_everything(sum_board):
    """Random mixtures of faults, resets, cut lines and killed hosts, changing in mid-run."""
    seed = int(os.environ.get("NEUROLOOM_SEED", "0"))
    right = errors = kills = 0
    device = connect(sum_board.port, timeout=4)
    for turn in range(seed, seed + 150):
        rng = random.Random(turn)

        def mixture(rng=rng):
            rate = 10 ** rng.uniform(-5, -2)
            kinds = rng.sample(["ber={}", "to.ber={}", "from.drop={}", "to.double={}", "stall={}:5ms", "cut={}:2ms"], 3)
            texts = [kind.format(f"{rate * rng.random():.3g}") for kind in kinds]
            return LineFaults.parse(*texts, f"baud={rng.uniform(-0.02, 0.02):.4f}")

        def disturb(done, total, rng=rng, mixture=mixture):
            if rng.random() < 0.1:
                sum_board.set_faults(mixture())
            if rng.random() < 0.02:
                sum_board.cut_line(rng.uniform(0.01, 50))
            if rng.random() < 0.01:
                sum_board.reset()

        if rng.random() < 0.1:
            device.close()
            sum_board.set_faults(PERFECT)
            kill_in_mid_run(sum_board.port, rng.uniform(0, 0.2))
            kills += 1
            device = connect(sum_board.port, timeout=4)
        x, y = samples(rng.randrange(1, 200), turn)
        sum_board.set_faults(mixture())
        try:
            device.reset()
            assert np.array_equal(device.run_bytes(x, disturb), y), f"NEUROLOOM_SEED={turn}"
            right += 1
        except DeviceError:
            errors += 1
        sum_board.set_faults(PERFECT)
        assert transfer(device, 10, turn), f"NEUROLOOM_SEED={turn}"
    device.close()
    print(f"virtual board: {right} runs right, {errors} errors, {kills} killed hosts, 0 wrong")
