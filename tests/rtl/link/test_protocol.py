"""The protocol table: its document, its records, and what the sizes rest on."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from neuroloom.compiler.errors import DeviceError, InputError
from neuroloom.rtl.link import document, protocol
from neuroloom.rtl.link.core import complete
from neuroloom.rtl.link.protocol import IDENTITY_FIELDS, Identity, pack, unpack
from neuroloom.rtl.link.uart import uart_divisor

ROOT = Path(__file__).resolve().parents[3]


def test_document_is_up_to_date():
    text = (ROOT / "docs" / "link.md").read_text(encoding="utf-8")
    assert text == document.render(), "run: python -m neuroloom.rtl.link.document docs/link.md"


def test_identity_record():
    identity = Identity("gated", "ulx3s_85f", bytes(range(32)), 3, 70_000, 75_000_000, baud=3_000_000, max_payload=4032)
    data = identity.to_bytes()
    assert data[:4] == b"NL\x01\x03" and data[-32:] == bytes(range(32)) and len(data) == 88
    assert int.from_bytes(data[8:12], "little") == 70_000
    assert Identity.from_bytes(data) == identity
    with pytest.raises(DeviceError, match="does not speak the neuroloom protocol"):
        Identity.from_bytes(b"XX" + data[2:])
    with pytest.raises(DeviceError, match="speaks protocol version 9, this host speaks 1"):
        Identity.from_bytes(b"NL\x09")
    with pytest.raises(DeviceError, match="must have 88 bytes, not 87"):
        Identity.from_bytes(data[:-1])
    with pytest.raises(DeviceError, match=r"does not know \(code 77\)"):
        Identity.from_bytes(data[:3] + b"\x4d" + data[4:])
    assert data[23] == 0 and Identity.from_bytes(data[:23] + b"\x03" + data[24:]).boot == 3
    assert Identity.from_bytes(data[:23] + b"\x05" + data[24:]).boot == 5
    with pytest.raises(DeviceError, match="is not valid: boot must be one of 0, 1, 3, 5, not 2"):
        Identity.from_bytes(data[:23] + b"\x02" + data[24:])
    with pytest.raises(InputError, match="engine must be one of none, logic"):
        Identity("magic", "x", bytes(32), 1, 1, 1)
    with pytest.raises(InputError, match="bytes_in must be between 0 and 4294967295, not 4294967296"):
        Identity("logic", "x", bytes(32), 1 << 32, 1, 1).to_bytes()
    values = unpack(IDENTITY_FIELDS, data)
    assert pack(IDENTITY_FIELDS, values) == data


def test_codes_are_unique_and_requests_stay_below_the_response_bit():
    codes = [command.code for command in protocol.COMMANDS]
    reserved = {code for first, last, _ in protocol.RESERVED_COMMANDS for code in range(first, last + 1)}
    assert len(set(codes)) == len(codes) and not reserved & set(codes)
    assert max(*codes, *reserved) < protocol.RESPONSE_BIT
    assert {command.code for command in protocol.COMMANDS} == set(protocol.Command) - {protocol.Command.NAK}
    assert set(protocol.STATUS_ABOUT) == set(protocol.Status)


def test_crc_residue():
    for message in (b"", b"123456789"):
        assert zlib.crc32(message + zlib.crc32(message).to_bytes(4, "little")) == protocol.CRC_RESIDUE


def test_frames_fit_their_buffers(wire):
    """The longest response, however its zeros fall, ends before the place of the NAK; a NAK fits there."""
    size = protocol.FRAME_BYTES_MIN
    while size <= protocol.FRAME_BYTES_MAX:
        body = protocol.HEADER_BYTES + protocol.max_payload(size) + protocol.CRC_BYTES
        assert len(wire.stuff(b"\xff" * body)) + 2 <= size - protocol.NAK_RESERVE
        assert body < size
        size *= 2
    assert len(wire.stuff(b"\xff" * (protocol.HEADER_BYTES + protocol.CRC_BYTES))) + 2 <= protocol.NAK_RESERVE


@pytest.mark.parametrize(("clock", "baud", "divisor"), [(12, 3_000_000, 4), (24, 3_000_000, 8), (27, 3_000_000, 9)])
def test_divisors(clock, baud, divisor):
    assert uart_divisor(clock * 1_000_000, baud) == divisor


def test_divisors_that_are_refused():
    assert uart_divisor(25_000_000, 115_200) == 217
    with pytest.raises(
        InputError, match=r"within 1\.5% of clock / divisor, not \+4\.2% \(25000000 Hz / 8 = 3125000 baud"
    ):
        uart_divisor(25_000_000, 3_000_000)
    with pytest.raises(InputError, match=r"at least 4 clock cycles per bit, not 3\.33"):
        uart_divisor(10_000_000, 3_000_000)
    with pytest.raises(InputError, match="baud must be between 1 and 3000000, not 4000000"):
        uart_divisor(100_000_000, 4_000_000)


def test_parameters_that_are_refused():
    identity = Identity("none", "x", bytes(32), 0, 0, 24_000_000)
    with pytest.raises(InputError, match="frame_bytes must be a power of two from 256 to 4096, not 1000"):
        complete(identity, frame_bytes=1000, window=2)
    with pytest.raises(InputError, match="window must be 1, 2, 4 or 8, not 3"):
        complete(identity, frame_bytes=1024, window=3)
