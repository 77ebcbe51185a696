"""Low-latency mode: the driver's flag where there is one, FTDI's timer where it may be written, nothing elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from neuroloom.host.device import Device
from neuroloom.host.latency import advice, set_low_latency
from neuroloom.host.record import Recorder


def port(refusal=None, name="/dev/ttyUSB0"):
    asked = []

    def set_low_latency_mode(value):
        asked.append(value)
        if refusal:
            raise refusal

    return SimpleNamespace(name=name, set_low_latency_mode=set_low_latency_mode, asked=asked)


@pytest.fixture
def sysfs(tmp_path):
    (tmp_path / "ttyUSB0").mkdir()
    (tmp_path / "ttyUSB0" / "latency_timer").write_text("16\n")
    return tmp_path


@pytest.mark.parametrize("refusal", [None, ValueError("no"), OSError(25, "no"), NotImplementedError()])
def test_the_timer_is_set(sysfs, refusal):
    one = port(refusal)
    assert set_low_latency(one, sysfs) == 1
    assert one.asked == [True] and (sysfs / "ttyUSB0" / "latency_timer").read_text() == "1\n"


def test_a_link_to_the_port_is_followed(sysfs, tmp_path):
    (tmp_path / "board").symlink_to("/dev/ttyUSB0")
    assert set_low_latency(port(name=str(tmp_path / "board")), sysfs) == 1


def test_other_ports_have_no_timer(sysfs):
    assert set_low_latency(port(name="/dev/pts/3"), sysfs) is None
    assert set_low_latency(SimpleNamespace(name=None), sysfs) is None


def test_a_timer_that_may_not_be_written_is_told(sysfs, monkeypatch):
    def refuse(self, text):
        raise PermissionError(13, "no")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert set_low_latency(port(), sysfs) == 16


def test_the_user_is_told_what_to_do(lines, tmp_path):
    assert advice(None) == advice(1) == ""
    assert "16 ms" in advice(16) and 'ATTR{latency_timer}="1"' in advice(16) and "\n" not in advice(16)
    line = lines.FaultyLine(lines.TableModel())
    line.latency = 16
    with Device(line) as device:
        assert device.adapter_latency_ms == 16
    with Device(Recorder(line, tmp_path / "s.nls", timeout=5.0)) as device:
        assert device.adapter_latency_ms == 16
    with Device(lines.FaultyLine(lines.TableModel())) as device:
        assert device.adapter_latency_ms is None
