"""What ``doctor`` says of a line: late answers are no fault of it, lost and damaged frames are."""

from __future__ import annotations

from neuroloom.host.cli.cmd_doctor import _LineQuality
from neuroloom.host.device import Device
from neuroloom.host.simulated import DeviceModel
from neuroloom.rtl.link.protocol import Identity


def judged(lines, damage=None, late: float = 0.0) -> tuple[bool, str]:
    line = lines.FaultyLine(DeviceModel(Identity("none", "icebreaker", bytes(32), 0, 0, 24_000_000), bytes))
    with Device(line, timeout=20) as device:
        device.identify()
        quality = _LineQuality(device)
        line.delay = late
        if damage is not None:
            line.damage = damage
        for size in range(4):
            device.ping(bytes(size))
        line.damage = lambda direction, data: data
        return quality.verdict()


class Once:
    """Does something to the second piece of bytes of one direction."""

    def __init__(self, direction: str, act) -> None:
        self._direction, self._act, self._count = direction, act, 0

    def __call__(self, direction: str, data: bytes) -> bytes:
        self._count += direction == self._direction
        return self._act(data) if direction == self._direction and self._count == 2 else data


def test_a_good_line(lines) -> None:
    assert judged(lines) == (True, "0 frames damaged, 0 repeated")


def test_late_answers_are_no_fault_of_the_line(lines) -> None:
    good, text = judged(lines, late=0.4)
    assert good and text.startswith("0 frames damaged") and "because the answer came late" in text
    assert "0 repeated" not in text


def test_a_request_that_is_lost_whole(lines) -> None:
    assert judged(lines, Once("out", lambda data: b"")) == (False, "0 frames damaged, 1 repeated")


def test_damaged_frames_either_way(lines) -> None:
    for direction in ("out", "in"):
        good, text = judged(lines, Once(direction, lambda data: data[:5] + bytes([data[5] ^ 1 or 3]) + data[6:]))
        assert not good and text.startswith("1 frames damaged, 1 repeated"), (direction, text)
