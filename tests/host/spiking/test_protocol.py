"""Bytes of the opcodes, worked out by hand from docs/spiking-core.md."""

from __future__ import annotations

import numpy as np
import pytest
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.spiking import protocol as p


def test_opcodes_as_bytes():
    assert p.write(p.Space.POOL, 0x123456, b"abcd", 960) == [p.Call(b"W\x01\x56\x34\x12\x00\x04\x00abcd")]
    assert p.read(p.Space.HIST, 6, 10, 960) == [p.Call(b"R\x02\x06\0\0\0\x0a\0", 10)]
    assert p.go(260, p.Go.RASTER | p.Go.CONTINUE) == p.Call(b"G\x04\x01\0\0\x05")
    assert p.control(p.Control.REWARD, -2) == p.Call(b"W\x03\0\0\0\0\x04\0\xfe\xff\xff\xff")
    assert p.inject(np.array([1, 0x203])) == [p.Call(b"I\x02\x01\0\x03\x02")]
    assert p.inject(np.array([])) == []
    assert p.drain(3, 960) == [p.Call(b"D\x03\0", 12)]
    assert [c.data for c in (p.status(), p.zero(), p.query())] == [b"S", b"Z", b"Q"]


def test_long_transfers_are_cut_to_frames():
    data = bytes(range(250)) * 4
    calls = p.write(p.Space.POOL, 8, data, 256)
    assert all(len(c.data) <= 256 and len(c.data) % 4 == 0 for c in calls)
    assert b"".join(c.data[8:] for c in calls) == data
    assert [int.from_bytes(c.data[2:6], "little") for c in calls] == [8, 256, 504, 752, 1000]
    assert sum(c.answer for c in p.read(p.Space.POOL, 0, 1000, 256)) == 1000
    assert [c.answer for c in p.drain(130, 256)] == [256, 256, 8]
    assert [c.data[1] for c in p.inject(np.arange(600))] == [255, 255, 90]


def test_status_and_events():
    data = bytes([0b1011, 5, 7, 0]) + b"".join(n.to_bytes(4, "little") for n in (1, 2, 3, 4)) + b"\x09\0\0\0"
    status = p.Status.from_bytes(data)
    assert (status.running, status.stalled, status.stopped, status.decided) == (True, True, False, True)
    assert (status.saturated, status.events, status.step, status.cycles, status.stalls) == (5, 7, 1, 2, 3)
    assert (status.decided_at, status.winner) == (4, 9)
    with pytest.raises(DeviceError, match="24 bytes, not 23"):
        p.Status.from_bytes(data[1:])
    events = p.events_of(b"\x01\0\x02\0" + b"\xff" * 4 + b"\xff\xff\x03\0")
    assert events.tolist() == [[1, 2], [0xFFFF, 3]]
