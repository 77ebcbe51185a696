"""Faults of the virtual board's line: their text form, and that each does on the pins what it says."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
from neuroloom.boards.counters import Statistics
from neuroloom.boards.faults import PERFECT, DirectionFaults, LineFaults, milliseconds
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.compiler.errors import InputError

BIT = 8
"""Clock cycles of a bit."""
WIRE = """
module wire_(input clk, input rst, input rx, output tx);
    // what comes goes back, a few clocks later and sampled by nobody: what is wrong was done to the line
    reg a = 1, b = 1;
    always @(posedge clk) begin a <= rx | rst; b <= a; end
    assign tx = b;
endmodule
"""
DATA = bytes((7 * i + i // 256) % 256 for i in range(20_000))


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("none", PERFECT),
        ("ber=1e-3", LineFaults(DirectionFaults(ber=1e-3), DirectionFaults(ber=1e-3))),
        ("to.drop=0.5,from.double=0.25", LineFaults(DirectionFaults(drop=0.5), DirectionFaults(double=0.25))),
        ("from.stall=0.001:20ms", LineFaults(from_=DirectionFaults(stall=1e-3, stall_ms=20))),
        ("cut=1e-6:500us", LineFaults(*[DirectionFaults(cut=1e-6, cut_ms=0.5)] * 2)),
        ("delay=8ms,from.delay=0", LineFaults(DirectionFaults(delay_ms=8))),
        ("jitter=0.2,baud=-1.5%", LineFaults(*[DirectionFaults(jitter=0.2)] * 2, baud=-0.015)),
    ],
)
def test_text_form(text: str, faults: LineFaults) -> None:
    assert LineFaults.parse(text) == faults
    assert LineFaults.parse(str(faults)) == faults


def test_later_entries_replace_earlier_ones() -> None:
    assert LineFaults.parse("ber=1e-3,drop=0.1", "to.ber=0,drop=0") == LineFaults(from_=DirectionFaults(ber=1e-3))
    assert LineFaults.parse("ber=1e-3,none,baud=2%") == LineFaults(baud=0.02)
    assert str(LineFaults.parse("ber=1e-3,to.ber=1e-4")) == "to.ber=0.0001,from.ber=0.001"
    assert milliseconds("0.5s") == 500 and milliseconds("250us") == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise=1", r"must be one of ber=RATE, .*, or none; not 'noise=1'"),
        ("ber", r"not 'ber'"),
        ("to.baud=1%", r"not 'to.baud=1%'"),
        ("ber=x", "must have a number behind its name, as ber=1e-3 has, not 'ber=x'"),
        ("ber=1.5", "must be between 0 and 1, not 'ber=1.5'"),
        ("drop=nan", "must be between 0 and 1"),
        ("baud=6%", r"must be between -0.05 and 0.05"),
        ("jitter=0.5", "must be between 0 and 0.45"),
        ("stall=0.1", "Time must be a number with a unit, like 500us, 20ms or 1s, up to an hour, not ''"),
        ("stall=0.1:20", "not '20'"),
        ("stall=0.1:..ms", "not '..ms'"),
        ("", "not ''"),
    ],
)
def test_what_is_no_fault_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LineFaults.parse(text)


@pytest.fixture(scope="module")
def wire() -> Iterator[VirtualBoard]:
    with VirtualBoard({"wire.v": WIRE}, "wire_", BIT * 1_000_000, 1_000_000, seed=5) as board:
        yield board


@pytest.fixture
def through(wire: VirtualBoard) -> Iterator[Callable[[str], tuple[bytes, Statistics, Statistics]]]:
    """Send DATA under faults; returns what came back, and the counters before and behind it."""

    def send(text: str) -> tuple[bytes, Statistics, Statistics]:
        with serial.Serial(wire.port, 1_000_000, timeout=0) as port:
            wire.set_faults(LineFaults.parse(text))
            before = after = wire.statistics()
            port.write(DATA)
            received, last = b"", -1
            while after.sent - before.sent < len(DATA) or after.sent != last:  # doubled bytes are sent as well
                time.sleep(0.005)
                last, after = after.sent, wire.statistics()
                received += port.read(1 << 16)
            wire.set_faults(PERFECT)
            time.sleep(0.02)
            return received + port.read(1 << 16), before, after

    yield send
    wire.set_faults(PERFECT)


def spread(count: float) -> float:
    """Five standard deviations of a Poisson count."""
    return 5 * math.sqrt(count)


def test_a_perfect_line(through: Any) -> None:
    received, before, after = through("none")
    assert received == DATA and after.faults == before.faults


@pytest.mark.parametrize("side", ["to", "from"])
def test_bit_errors_come_at_their_rate(through: Any, side: str) -> None:
    received, before, after = through(f"{side}.ber=1e-3")
    expected = 1e-3 * (after.cycles - before.cycles) / BIT
    # The faults run on for a moment before and behind the counted time.
    assert abs(after.faults - before.faults - expected) < spread(expected) + 20
    # One in a hundred bytes is hit; a hit start or stop bit costs the place as well, until the next pause or luck.
    assert received != DATA and 0.9 * len(DATA) < len(received) < 1.1 * len(DATA)
    assert after.framing_errors > before.framing_errors


@pytest.mark.parametrize("side", ["to", "from"])
def test_bytes_are_dropped_and_doubled(through: Any, side: str) -> None:
    received, before, after = through(f"{side}.drop=0.01")
    assert len(DATA) - len(received) == after.faults - before.faults
    assert abs(len(DATA) - len(received) - 200) < spread(200)
    at = iter(DATA)
    assert all(byte in at for byte in received), "what is left must stand in its order"

    received, before, after = through(f"{side}.double=0.01")
    doubled = after.faults - before.faults
    assert abs(doubled - 200) < spread(200)
    assert len(received) == len(DATA) + doubled


def test_stalls_take_line_time(through: Any) -> None:
    received, before, after = through("to.stall=1e-3:2ms")
    assert received == DATA
    pauses = after.faults - before.faults
    assert pauses > 5
    assert after.cycles - before.cycles >= len(DATA) * 10 * BIT + pauses * 2e-3 * BIT * 1e6
    received, before, after = through("from.stall=1e-3:2ms")
    assert received == DATA and after.faults - before.faults > 5


def test_a_delay_takes_no_bytes_per_second(through: Any) -> None:
    """An adapter's latency comes once, not once a byte."""
    received, before, after = through("to.delay=20ms,from.delay=30ms")
    assert received == DATA and after.faults == before.faults
    took = (after.cycles - before.cycles) / (BIT * 1e6)
    assert 0.020 <= took - len(DATA) * 10 / 1e6  # the way back is not waited for here


def test_a_cut_line_loses_what_is_on_it(through: Any) -> None:
    received, before, after = through("to.cut=2e-4:1ms")
    cuts = after.faults - before.faults
    # 100 bytes of line time each, and a torn one at either end
    assert cuts >= 1 and 0 < len(DATA) - len(received) <= 102 * cuts
    at = iter(DATA)
    assert sum(byte not in at for byte in received) <= 2 * cuts


def test_a_host_with_another_clock(wire: VirtualBoard, through: Any) -> None:
    """Two per cent of drift and a fifth of a bit of jitter are understood; a wire alone gives back the host's own timing."""
    for text in ("baud=2%", "baud=-2%", "jitter=0.2", "baud=2%,jitter=0.1"):
        received, before, after = through(text)
        assert received == DATA, text
        pace = (after.cycles - before.cycles) / len(DATA) / (10 * BIT)
        assert pace > (0.975 if "baud=2%" in text else 1.015 if "baud=-2%" in text else 0.995), text
    assert through("to.jitter=0.45,from.jitter=0.45")[0] != DATA


def test_same_seed_same_faults() -> None:
    def noise(seed: int) -> list[int]:
        seen = []
        with VirtualBoard({"wire.v": WIRE}, "wire_", BIT * 1_000_000, 1_000_000, seed=seed) as board:
            # one byte drawn for each: independent of when the host writes
            board.set_faults(LineFaults.parse("to.drop=0.5"))
            with serial.Serial(board.port, 1_000_000, timeout=5) as port:
                port.write(bytes(range(64)))
                while board.statistics().sent < 64:
                    time.sleep(0.01)
                time.sleep(0.05)
                seen = list(port.read(port.in_waiting))
        return seen

    first = noise(3)
    assert first == noise(3) and 10 < len(first) < 54
    assert first != noise(4)


def test_unplug_takes_the_port_away_and_brings_it_back() -> None:
    told: list[str] = []
    with VirtualBoard({"wire.v": WIRE}, "wire_", BIT * 1_000_000, 1_000_000, on_port=told.append) as board:
        port = serial.Serial(board.port, 1_000_000, timeout=1)
        path = board.unplug(50)
        assert told == [path] and board.port == path
        with pytest.raises((serial.SerialException, OSError)):
            port.write(b"x")
            port.read(1)
        port.close()
        with serial.Serial(path, 1_000_000, timeout=5) as again:
            again.write(b"again")
            assert again.read(5) == b"again"
        assert os.path.exists(path)
        with pytest.raises(InputError, match="Duration must be between 0 and 3,600,000 ms, not -1 ms"):
            board.cut_line(-1)
