"""How messages are cut into frames: never lost, never doubled, and the engine is never asked before it has a message whole."""

from __future__ import annotations

import random

import pytest
from neuroloom.compiler.errors import DeviceError
from neuroloom.host.device import Device, SimulatedDevice
from neuroloom.host.runner import MessageFeed, SampleFeed


def pieces(feed, size):
    found = []
    while (piece := feed.next_piece(size)) is not None:
        found.append((piece.payload, piece.answer))
    return found


def test_messages_fill_the_frames():
    messages = [(b"x" * 6, 3)] * 5 + [(b"y", 9)]
    assert [(len(p), a) for p, a in pieces(MessageFeed(messages), 13)] == [(13, 6), (13, 6), (5, 12)]
    assert [(len(p), a) for p, a in pieces(SampleFeed(bytes(30), 5, 6, 3), 13)] == [(13, 6), (13, 6), (4, 3)]
    assert pieces(MessageFeed([]), 13) == pieces(MessageFeed([(b"", 0)]), 13) == []


def test_a_long_message_asks_only_with_its_last_bytes():
    """And nothing is sent behind it before all of its answer was asked for: the engine could not take it."""
    assert pieces(MessageFeed([(b"ab", 1), (b"01234567", 9), (b"cd", 0)]), 4) == [
        *((b"ab01", 1), (b"2345", 0), (b"67", 4), (b"", 4), (b"cd", 1)),
    ]
    assert [(len(p), a) for p, a in pieces(SampleFeed(bytes(3000), 1, 3000, 2), 960)] == [(960, 0)] * 3 + [(120, 2)]
    assert [(len(p), a) for p, a in pieces(SampleFeed(bytes(4), 2, 2, 9), 4)] == [
        (2, 4),
        (0, 4),
        (2, 4),
        (0, 4),
        (0, 2),
    ]
    assert [len(p) for p, _ in pieces(MessageFeed([(bytes(10), 0)]), 4)] == [4, 4, 2]
    assert pieces(MessageFeed([(b"", 9)]), 4) == [(b"", 4), (b"", 4), (b"", 1)]


@pytest.mark.parametrize("seed", range(30))
def test_pieces_taken_back_come_again(seed):
    """Whatever the sizes, and whatever is taken back: the pieces that remain are the messages, in order."""
    rng = random.Random(seed)
    messages = [(rng.randbytes(rng.choice([0, 1, 5, 40])), rng.choice([0, 1, 7, 50])) for _ in range(rng.randrange(20))]
    drawn = 0

    def draw():
        nonlocal drawn
        for message in messages:
            drawn += 1
            yield message

    if seed % 2:
        data = rng.randbytes(7 * len(messages))
        messages = [(data[at : at + 7], 3) for at in range(0, len(data), 7)]
        feed = SampleFeed(data, len(messages), 7, 3)
    else:
        feed = MessageFeed(draw())
    done, waiting = [], []
    while True:
        piece = feed.next_piece(rng.choice([1, 4, 16, 64]))
        if piece is None and not waiting:
            break
        if piece is not None:
            waiting.append(piece)
        if rng.random() < 0.2:
            feed.rewind(len(waiting))
            waiting.clear()
        while waiting and (piece is None or rng.random() < 0.5):
            feed.done()
            done.append(waiting.pop(0))
    assert b"".join(p.payload for p in done) == b"".join(data for data, _ in messages)
    # An answer byte is asked for only once its message, and all before it, have been sent.
    sent = asked = 0
    ends = [sum(len(data) for data, _ in messages[: n + 1]) for n in range(len(messages))]
    for piece in done:
        assert len(piece.payload) <= 64 and piece.answer <= 64
        sent, asked = sent + len(piece.payload), asked + piece.answer
        assert asked <= sum(answer for end, (_, answer) in zip(ends, messages, strict=True) if end <= sent)
        # The engine takes nothing behind a message before the host took its answer, which a RUN that asks for less never ends.
        assert asked >= sum(answer for end, (_, answer) in zip(ends, messages, strict=True) if end < sent)
    assert asked == sum(answer for _, answer in messages)


def test_messages_are_drawn_as_the_line_takes_them(lines):
    """Not all at once, so that a transfer longer than the memory works, and a message may follow from an answer."""
    drawn = []

    def draw():
        for n in range(1000):
            drawn.append(n)
            yield bytes(lines.BYTES_IN), lines.BYTES_OUT

    feed = MessageFeed(draw())
    assert feed.next_piece(20).payload == bytes(20) and len(drawn) == 5  # the fifth did not fit
    feed.done()
    assert len(feed._kept) == 1


def test_messages_over_a_device(lines):
    with SimulatedDevice(lines.RunningSum(), bytes_in=5, bytes_out=2) as device:
        assert device.stream([(b"\1" * 5, 2), (b"\2" * 10, 4), (b"\0" * 5, 2)]) == b"\5\0\x0f\0\x19\0\x19\0"


def test_progress_of_messages_on_a_bad_line(lines):
    """One bit in a thousand wrong: frames of messages shrink as those of samples do."""
    model = lines.TableModel(payload_limit=960)
    device = Device(lines.FaultyLine(model, lines.Noise(9, flip=1e-3)))
    device.reset()
    messages = [(bytes([n % 256]) * 100, 40) for n in range(100)]
    sums, total = b"", 0
    for data, _ in messages:
        for at in range(0, 100, 5):
            total += sum(data[at : at + 5])
            sums += (total % 65536).to_bytes(2, "little")
    assert device.stream(messages) == sums
    assert device.repeats > 0


def test_an_answer_of_the_wrong_length_is_an_error(lines):
    model = lines.TableModel()
    device = Device(lines.FaultyLine(model))
    model.execute, execute = lambda *a: (model.OK, b"x" * 7), model.execute
    with pytest.raises(DeviceError, match="must answer 2 bytes, not 7"):
        device.stream([(b"abcde", 2)])
    model.execute = execute
    device.reset()
