"""COBS and frames against published vectors and a frame worked out by hand."""

from __future__ import annotations

import random

import pytest
from neuroloom.host.framing import FrameDecoder, encode, stuff, unstuff

# From Cheshire & Baker's paper and the table of examples in the Wikipedia article on COBS.
VECTORS = [
    ("", "01"),
    ("00", "01 01"),
    ("00 00", "01 01 01"),
    ("00 11 00", "01 02 11 01"),
    ("11 22 00 33", "03 11 22 02 33"),
    ("11 22 33 44", "05 11 22 33 44"),
    ("11 00 00 00", "02 11 01 01 01"),
    ("45 00 00 2c 4c 79 00 00 40 06 4f 37", "02 45 01 04 2c 4c 79 01 05 40 06 4f 37"),
]


@pytest.mark.parametrize(("data", "stuffed"), VECTORS)
def test_published_examples(data, stuffed):
    data, stuffed = bytes.fromhex(data), bytes.fromhex(stuffed)
    assert stuff(data) == stuffed
    assert unstuff(stuffed) == data


def test_long_runs():
    run = bytes(range(1, 255))
    assert stuff(run)[:255] == b"\xff" + run
    assert unstuff(b"\xff" + run) == run  # the published form, without the empty block that stuff() appends
    assert unstuff(stuff(run)) == run
    assert stuff(b"\0" + run[:-1]) == b"\x01\xfe" + run[:-1]
    assert stuff(run + b"\xff") == b"\xff" + run + b"\x02\xff"
    assert unstuff(b"\xff" + run + b"\x01\x01") == run + b"\0"


def test_what_is_not_cobs():
    for data in (b"\x02", b"\x05\x01\x01", b"\xff" + bytes([1]) * 253):
        assert unstuff(data) is None


def test_frame_with_the_check_value_of_crc32():
    # "123456789" has the CRC-32 0xCBF43926, in every catalogue of CRCs.
    frame = encode(b"123456789")
    assert frame == b"\0\x0e123456789\x26\x39\xf4\xcb\0"
    assert FrameDecoder().feed(frame) == [b"123456789"]


def test_decoder_in_pieces():
    rng = random.Random(2)
    bodies = [bytes(rng.choice((0, 1, 255)) for _ in range(rng.randrange(4, 700))) for _ in range(40)]
    line = b"".join(encode(body) for body in bodies)
    decoder, got, at = FrameDecoder(), [], 0
    while at < len(line):
        step = rng.randrange(1, 300)
        got += decoder.feed(line[at : at + step])
        at += step
    assert got == bodies and decoder.broken == 0


def test_decoder_drops_what_is_broken_and_goes_on():
    decoder = FrameDecoder(largest=600)
    good = encode(b"good")
    assert decoder.feed(b"garbage" + good + b"\0\0" + good[:5] + good) == [b"good", b"good"]
    assert decoder.broken == 2
    assert decoder.feed(b"\x11" * 5000 + good) == [b"good"]
    assert decoder.broken == 3
    assert decoder.feed(b"\0" + stuff(bytes(4)) + b"\0") == []  # the CRC of nothing is right
    flipped = bytearray(encode(b"some body"))
    for bit in range(8 * len(flipped)):
        flipped[bit // 8] ^= 1 << bit % 8
        assert b"some body" not in FrameDecoder().feed(bytes(flipped) + b"\0") or bit // 8 in (0, len(flipped) - 1)
        flipped[bit // 8] ^= 1 << bit % 8
