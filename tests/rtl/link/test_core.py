"""The link core, byte by byte: every command, every rule of the protocol, and what broken frames do to it."""

from __future__ import annotations

import random
import zlib

from neuroloom.rtl.link.protocol import (
    RESPONSE_BIT,
    STATUS_FIELDS,
    Command,
    Identity,
    Status,
    max_payload,
    unpack,
)


def test_commands(play, wire):
    async def script(line):
        answer = await line.ask(Command.SYNC, 200, b"nonce\0\0!")
        assert (answer.command, answer.sequence, answer.status, answer.next) == (
            Command.SYNC | RESPONSE_BIT,
            200,
            0,
            201,
        )
        assert answer.payload == b"nonce\0\0!"

        answer = await line.ask(Command.PING, 201, b"\0hello\0")
        assert (answer.command, answer.status, answer.next, answer.payload) == (0x82, 0, 202, b"\0hello\0")
        answer = await line.ask(Command.PING, 202)
        assert (answer.status, answer.payload) == (Status.OK, b"")

        answer = await line.ask(Command.IDENTIFY, 203)
        identity = Identity.from_bytes(answer.payload)
        assert identity == line.bench.core.identity
        assert identity.model_hash == wire.identity.model_hash
        assert (identity.max_payload, identity.window, identity.scratch_bytes) == (192, 2, 512)

        answer = await line.ask(Command.RUN, 204, bytes(range(60)), arg=60)
        assert (answer.status, answer.payload) == (Status.OK, bytes(b ^ 0x5A for b in range(60)))

        answer = await line.ask(Command.STATUS, 205)
        assert unpack(STATUS_FIELDS, answer.payload) == {
            "frames_ok": 6,
            "frames_bad": 0,
            "repeats": 0,
            "dropped": 0,
            "engine_timeouts": 0,
            "memory_difference": 0,
            "memory_address": 0,
        }
        answer = await line.ask(0x7F, 206, b"what")
        assert (answer.status, answer.payload, answer.next) == (Status.UNKNOWN_COMMAND, b"", 207)
        answer = await line.ask(Command.RUN, 207, b"x", arg=193)
        assert (answer.status, answer.payload) == (Status.BAD_LENGTH, b"")

    play(script)


def test_payload_sizes_and_zeros(play):
    rng = random.Random(1)

    async def script(line):
        await line.ask(Command.SYNC, 255)
        sequence = 0
        full = max_payload(512)
        # Around a full COBS block of 254 bytes, whose place depends on zeros in header and CRC; then zeros, then a mix.
        blocks = [bytes([255]) * size for size in (249, 254)]
        for data in (b"\0", *blocks, bytes(rng.choice((0, 1, 2, 255)) for _ in range(full))):
            answer = await line.ask(Command.PING, sequence, data)
            assert answer.payload == data
            sequence = (sequence + 1) % 256

    play(script, frame_bytes=512)


def test_repeats_are_answered_but_not_executed(play, wire):
    async def script(line):
        await line.ask(Command.SYNC, 9)
        first = await line.ask(Command.RUN, 10, b"ab", arg=2)
        assert first.payload == b"\x01\x02"
        assert await line.ask(Command.RUN, 10, b"ab", arg=2) == first
        second = await line.ask(Command.RUN, 11, b"c", arg=1)
        assert second.payload == b"\x03"
        # Both are within the window, in any order, any number of times.
        assert await line.ask(Command.RUN, 10, b"ab", arg=2) == first
        assert await line.ask(Command.RUN, 11, b"c", arg=1) == second
        assert (await line.ask(Command.RUN, 12, b"c", arg=1)).payload == b"\x04"
        nak = await line.ask(Command.RUN, 10, b"ab", arg=2)
        assert (nak.sequence, nak.status, nak.next) == (10, Status.OUT_OF_ORDER, 13)
        assert await line.ask(Command.RUN, 11, b"c", arg=1) == second
        nak = await line.ask(Command.RUN, 14, b"c", arg=1)
        assert (nak.status, nak.next) == (Status.OUT_OF_ORDER, 13)
        assert (await line.ask(Command.RUN, 13, b"c", arg=1)).payload == b"\x05"
        counters = unpack(STATUS_FIELDS, (await line.ask(Command.STATUS, 14)).payload)
        assert counters["repeats"] == 4

    play(script, engine="count")


def test_sync_forgets_the_old_session(play):
    async def script(line):
        nak = await line.ask(Command.PING, 0)
        assert (nak.status, nak.next) == (Status.NOT_SYNCED, 0)
        await line.ask(Command.SYNC, 4)
        await line.ask(Command.PING, 5, b"old")
        await line.ask(Command.SYNC, 77)
        for sequence in (5, 4, 76, 0):
            assert (await line.ask(Command.PING, sequence)).status == Status.OUT_OF_ORDER
        assert (await line.ask(Command.PING, 78, b"new")).payload == b"new"

    play(script)


def test_window_of_requests(play, wire):
    """Requests on their way at once are answered in order; the second is received while the first is executed."""

    async def script(line):
        await line.ask(Command.SYNC, 255)
        for sequence in range(0, 8, 2):
            await line.send(
                wire.frame(Command.RUN, sequence, bytes(50), 50) + wire.frame(Command.RUN, sequence + 1, b"\1" * 50, 50)
            )
            first, second = await line.settle()
            assert (first.sequence, first.payload) == (sequence, b"\x5a" * 50)
            assert (second.sequence, second.payload) == (sequence + 1, b"\x5b" * 50)

    play(script, spacing_out=12)


def test_full_buffers_drop_whole_frames(play, wire):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        # A host that ignores the window: the device keeps what it can, in order, and stays sane.
        await line.send(b"".join(wire.frame(Command.PING, i, bytes([i]) * 100) for i in range(6)))
        got = await line.settle()
        # One answer is being sent, one is ready, two requests wait: those four are whole, the others are gone.
        assert [(a.sequence, a.payload) for a in got] == [(i, bytes([i]) * 100) for i in range(4)]
        counters = unpack(STATUS_FIELDS, (await line.ask(Command.STATUS, got[-1].next)).payload)
        assert counters["dropped"] > 0
        assert counters["frames_ok"] + counters["dropped"] == 8

    play(script, spacing_out=40)


def test_broken_frames(play, wire):
    right = wire.frame(Command.PING, 0, b"0123\0567")

    def flipped(at):
        return bytes(b ^ (1 << at % 8) if i == at else b for i, b in enumerate(right))

    async def script(line):
        await line.ask(Command.SYNC, 255)
        for at in range(1, len(right) - 1):
            await line.send(flipped(at))
            for nak in await line.settle():
                assert (nak.command, nak.sequence, nak.status, nak.next) == (RESPONSE_BIT, 0, Status.BAD_FRAME, 0)
        for cut in (1, 2, 7, len(right) - 2):
            await line.send(right[:cut] + b"\0")
            await line.settle()
        # A vanished host leaves half a frame; the next frame's leading border ends it.
        await line.send(right[:9])
        await line.send(wire.frame(Command.PING, 0, b"alive"))
        got = await line.settle()
        assert [a.payload for a in got if a.status == Status.OK] == [b"alive"]
        assert {a.status for a in got} <= {Status.OK, Status.BAD_FRAME}
        # A byte lost by the UART.
        await line.send(right[:5])
        await line.error()
        await line.send(right[5:])
        (nak,) = await line.settle()
        assert nak.status == Status.BAD_FRAME
        # An echo of the device's own frames, empty frames, and an empty COBS block: silence.
        body = bytes.fromhex("82010000")
        response = b"\0" + wire.stuff(body + zlib.crc32(body).to_bytes(4, "little")) + b"\0"
        await line.send(response + b"\0\0\0" + b"\1\0")
        assert await line.settle() == []
        # The CRC of nothing is right, but a frame has a header.
        await line.send(b"\0" + wire.stuff(bytes(4)) + b"\0")
        (nak,) = await line.settle()
        assert nak.status == Status.BAD_FRAME
        assert (await line.ask(Command.PING, 1, b"next")).payload == b"next"

    play(script)


def test_too_long_frames(play, wire):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        largest = bytes(range(1, 193))
        assert (await line.ask(Command.PING, 0, largest)).payload == largest
        nak = await line.ask(Command.PING, 1, largest + b"!")
        assert nak.status == Status.BAD_FRAME
        await line.send(b"\0" + b"\x11" * 500 + b"\0")
        (nak,) = await line.settle()
        assert nak.status == Status.BAD_FRAME
        assert (await line.ask(Command.PING, 1, largest)).payload == largest

    play(script)


def test_garbage(play, wire):
    """After any garbage the next right frame is executed, exactly once."""
    rng = random.Random(7)

    async def script(line):
        await line.ask(Command.SYNC, 255)
        for sequence in range(25):
            await line.send(
                bytes(rng.choice((0, 0, 1, 2, 3, 9, 255, rng.randrange(256))) for _ in range(rng.randrange(60)))
            )
            await line.send(wire.frame(Command.RUN, sequence, b"x", 1))
            got = [a for a in await line.settle() if a.status == Status.OK]
            assert [(a.sequence, a.payload) for a in got] == [(sequence, bytes([sequence + 1]))]

    play(script, engine="count")


def test_engine_watchdog(play):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        line.ctx.set(line.bench.engine.dead, 1)
        answer = await line.ask(Command.RUN, 0, b"abc", arg=3)
        assert (answer.status, answer.payload) == (Status.ENGINE_TIMEOUT, b"")
        line.ctx.set(line.bench.engine.dead, 0)
        # It was reset, it works, and the lost answer stays lost.
        assert (await line.ask(Command.RUN, 1, b"abc", arg=3)).payload == b"\1\2\3"
        assert (await line.ask(Command.RUN, 0, b"abc", arg=3)).status == Status.ENGINE_TIMEOUT
        # Bytes that never come, after some that did.
        answer = await line.ask(Command.RUN, 2, b"abc", arg=4)
        assert (answer.status, answer.payload) == (Status.ENGINE_TIMEOUT, b"")
        counters = unpack(STATUS_FIELDS, (await line.ask(Command.STATUS, 3)).payload)
        assert counters["engine_timeouts"] == 2

    play(script, engine="count")


def test_engine_reset_and_split_samples(play):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        assert (await line.ask(Command.RUN, 0, b"abc", arg=3)).payload == b"\1\2\3"
        assert (await line.ask(Command.RESET, 1)).status == Status.OK
        assert (await line.ask(Command.RUN, 2, b"abc", arg=3)).payload == b"\1\2\3"
        # A sample in two frames: this engine holds one byte until it is taken.
        assert (await line.ask(Command.RUN, 3, b"d", arg=0)).payload == b""
        assert (await line.ask(Command.RUN, 4, b"ef", arg=3)).payload == b"\4\5\6"
        assert (await line.ask(Command.RUN, 5, b"", arg=0)).payload == b""

    play(script, engine="count")


def test_memory_march(play):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        for sequence, background in enumerate((0x00, 0x55)):
            answer = await line.ask(Command.MEMTEST, sequence, arg=background)
            assert unpack(STATUS_FIELDS, answer.payload)["memory_difference"] == 0
        # The kept responses are gone, and nothing is sent in their place.
        assert (await line.ask(Command.MEMTEST, 0)).status == Status.OUT_OF_ORDER
        assert (await line.ask(Command.PING, 2, b"x")).payload == b"x"

    play(script)


def test_window_of_one(play):
    async def script(line):
        await line.ask(Command.SYNC, 255)
        first = await line.ask(Command.RUN, 0, b"a", arg=1)
        assert await line.ask(Command.RUN, 0, b"a", arg=1) == first
        assert (await line.ask(Command.RUN, 1, b"a", arg=1)).payload == b"\2"
        assert (await line.ask(Command.RUN, 0, b"a", arg=1)).status == Status.OUT_OF_ORDER

    play(script, engine="count", window=1)


def test_memory_march_finds_a_stuck_bit(play):
    """A cell that loses a one shows its address and bit; the test stops there and the link lives on."""

    async def script(line):
        await line.ask(Command.SYNC, 255)
        line.stick(address=300, mask=0x10)
        answer = await line.ask(Command.MEMTEST, 0, arg=0x0F)
        record = unpack(STATUS_FIELDS, answer.payload)
        assert (record["memory_address"], record["memory_difference"]) == (300, 0x10)
        line.stick(address=300, mask=0)
        assert unpack(STATUS_FIELDS, (await line.ask(Command.MEMTEST, 1)).payload)["memory_difference"] == 0

    play(script, sticky=True)


def test_a_buffer_on_its_way_is_not_overwritten(play, wire):
    """A slow line still sends a repetition when its buffer is due for the next answer."""
    long = bytes(range(1, 151))

    async def script(line):
        await line.ask(Command.SYNC, 255)
        await line.ask(Command.PING, 0, long)
        await line.ask(Command.PING, 1)
        await line.send(wire.frame(Command.PING, 0, long) + wire.frame(Command.PING, 2, b"\xee" * 150))
        repeated, second = await line.settle()
        assert (repeated.sequence, repeated.payload) == (0, long)
        assert (second.sequence, second.payload) == (2, b"\xee" * 150)

    play(script, spacing_out=40)


def test_nothing_older_follows_a_sync(play, wire):
    """A SYNC in the middle of a long answer waits for its end, then answers, also while the memory test would run."""

    async def script(line):
        await line.ask(Command.SYNC, 255)
        await line.send(wire.frame(Command.PING, 0, b"\x77" * 150) + wire.frame(Command.SYNC, 0, b"new"))
        ping, sync = await line.settle()
        assert (ping.command, ping.payload) == (Command.PING | RESPONSE_BIT, b"\x77" * 150)
        assert (sync.command, sync.payload) == (Command.SYNC | RESPONSE_BIT, b"new")
        await line.send(wire.frame(Command.PING, 1, b"\x77" * 150) + wire.frame(Command.MEMTEST, 2))
        ping, march = await line.settle()
        assert ping.payload == b"\x77" * 150
        assert unpack(STATUS_FIELDS, march.payload)["memory_difference"] == 0

    play(script, spacing_out=40)
