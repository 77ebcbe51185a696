"""Lines for the host to talk over: a device model behind faults, and the gateware in Amaranth's simulator."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from neuroloom.boards.emulate import emulate
from neuroloom.boards.faults import PERFECT
from neuroloom.boards.registry import load_board
from neuroloom.boards.virtual import VirtualBoard
from neuroloom.rtl.link.core import LinkCore
from neuroloom.rtl.link.protocol import Identity
from neuroloom.rtl.link.shell import LinkShell

BYTES_IN, BYTES_OUT = 5, 2
MODEL_HASH = bytes(range(32))


class RunningSum:
    """An engine that remembers: answer = sum of all bytes since reset. A run executed twice, or never, shows."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(self, samples: bytes) -> bytes:
        out = b""
        for at in range(0, len(samples), BYTES_IN):
            self.total += sum(samples[at : at + BYTES_IN])
            out += (self.total % 65536).to_bytes(2, "little")
        return out

    def reset(self) -> None:
        self.total = 0


def running_sum(samples: np.ndarray) -> np.ndarray:
    """What RunningSum must answer, from reset on."""
    totals = np.cumsum(samples.sum(axis=1, dtype=np.int64)) % 65536
    return totals.astype("<u2").view(np.uint8).reshape(-1, 2)


class TableModel:
    """The device side, written from the protocol's document alone; shares no code with the product."""

    OK, UNKNOWN, LENGTH, TIMEOUT, BAD, ORDER, UNSYNCED = 0, 1, 2, 3, 0x40, 0x41, 0x42

    def __init__(self, payload_limit: int = 192, window: int = 2) -> None:
        self.limit, self.window = payload_limit, window
        self.engine = RunningSum()
        self.power_up()

    def power_up(self) -> None:
        self.buffer = b""
        self.synced, self.next, self.kept = False, 0, deque(maxlen=self.window)
        self.engine.reset()
        self.half, self.ready = b"", b""
        self.executed = 0
        self.dead = False

    def identity(self) -> bytes:
        word = lambda value, size: value.to_bytes(size, "little")  # noqa: E731
        out = b"NL" + bytes([1, 4]) + word(BYTES_IN, 4) + word(BYTES_OUT, 4) + word(24_000_000, 4) + word(3_000_000, 4)
        out += word(self.limit, 2) + bytes([self.window, 0]) + word(2048, 4) + word(700, 4)
        return out + b"table model".ljust(24, b"\0") + MODEL_HASH

    def feed(self, data: bytes) -> bytes:
        out = b""
        self.buffer += data
        *frames, self.buffer = self.buffer.split(b"\0")
        for frame in frames:
            if frame:
                out += self.frame(frame)
        return b"" if self.dead else out

    def reply(self, command: int, sequence: int, status: int, payload: bytes = b"") -> bytes:
        body = bytes([command | 0x80, sequence, status, self.next]) + payload
        body += zlib.crc32(body).to_bytes(4, "little")
        out, run = bytearray(), bytearray()
        for byte in body:  # COBS, byte by byte
            if byte == 0:
                out += bytes([len(run) + 1]) + run
                run.clear()
            else:
                run.append(byte)
                if len(run) == 254:
                    out += b"\xff" + run
                    run.clear()
        out += bytes([len(run) + 1]) + run
        return b"\0" + bytes(out) + b"\0"

    def frame(self, frame: bytes) -> bytes:
        body, at = b"", 0
        while at < len(frame):
            code = frame[at]
            if at + code > len(frame):
                return self.reply(0, 0, self.BAD)
            body += frame[at + 1 : at + code]
            at += code
            if code != 255 and at != len(frame):
                body += b"\0"
        if len(body) < 8 or len(body) > self.limit + 8 or zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            return self.reply(0, 0, self.BAD)
        command, sequence, arg, payload = body[0], body[1], body[2] + 256 * body[3], body[4:-4]
        if command >= 0x80:
            return b""
        if command == 1:
            self.synced = True
            self.kept.clear()
        elif not self.synced:
            return self.reply(command, sequence, self.UNSYNCED)
        elif any(number == sequence for number, _ in self.kept):
            return next(kept for number, kept in self.kept if number == sequence)
        elif sequence != self.next:
            return self.reply(command, sequence, self.ORDER)
        self.next = (sequence + 1) % 256
        status, result = self.execute(command, payload, arg)
        answer = self.reply(command, sequence, status, result)
        self.kept.append((sequence, answer))
        return answer

    def execute(self, command: int, payload: bytes, arg: int) -> tuple[int, bytes]:
        if command in (1, 2):
            return self.OK, payload
        if command == 3:
            return self.OK, self.identity()
        if command == 4:
            return self.OK, bytes(8)
        if command == 5:
            self.kept.clear()
            return self.OK, bytes(8)
        if command == 6:
            self.engine.reset()
            self.half = self.ready = b""
            return self.OK, b""
        if command != 0x10:
            return self.UNKNOWN, b""
        if arg > self.limit:
            return self.LENGTH, b""
        self.executed += 1
        self.half += payload
        whole = len(self.half) // BYTES_IN * BYTES_IN
        self.ready += self.engine(self.half[:whole])
        self.half = self.half[whole:]
        if len(self.ready) < arg:
            self.engine.reset()
            self.half = self.ready = b""
            return self.TIMEOUT, b""
        result, self.ready = self.ready[:arg], self.ready[arg:]
        return self.OK, result


class FaultyLine:
    """A line to a model, with a simulated clock; ``damage(direction, data)`` does to the bytes what it likes."""

    def __init__(self, model: Any, damage: Callable[[str, bytes], bytes] | None = None, delay: float = 0.0) -> None:
        self.name = "the faulty line"
        self.model, self.damage, self.delay = model, damage or (lambda direction, data: data), delay
        self.clock = 0.0
        self.on_the_way: deque[tuple[float, bytes]] = deque()
        self.closed = False
        self.waits = 0

    def read(self, timeout: float) -> bytes:
        assert 0 <= timeout <= 60
        self.waits += 1
        assert self.waits < 200_000, "the host waits for ever"
        until = self.clock + timeout
        if self.on_the_way and self.on_the_way[0][0] <= until:
            at, data = self.on_the_way.popleft()
            self.clock = max(self.clock, at)
            return data
        self.clock = until + 1e-6
        return b""

    def write(self, data: bytes) -> None:
        answer = self.damage("in", self.model.feed(self.damage("out", data)))
        self.clock += 1e-5 * len(data)
        if answer:
            self.on_the_way.append((self.clock + self.delay, answer))

    def discard(self) -> None:
        self.on_the_way.clear()

    def now(self) -> float:
        return self.clock

    def close(self) -> None:
        self.closed = True


class Noise:
    """Seeded faults by rate: flipped bits, dropped, doubled and inserted bytes."""

    def __init__(self, seed: int, flip: float = 0, drop: float = 0, double: float = 0, insert: float = 0) -> None:
        self.random = random.Random(seed)
        self.flip, self.drop, self.double, self.insert = flip, drop, double, insert
        self.on = True
        self.count = 0

    def __call__(self, direction: str, data: bytes) -> bytes:
        if not self.on:
            return data
        rng, out = self.random, bytearray()
        for byte in data:
            if rng.random() < self.insert:
                out.append(rng.randrange(256))
                self.count += 1
            if rng.random() < self.drop:
                self.count += 1
                continue
            for bit in range(8):
                if rng.random() < self.flip:
                    byte ^= 1 << bit
                    self.count += 1
            out.append(byte)
            if rng.random() < self.double:
                out.append(byte)
                self.count += 1
        return bytes(out)


class SumEngine(wiring.Component):
    """RunningSum in gateware, behind byte streams."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(16)
        count = Signal(range(BYTES_IN))
        with m.FSM():
            with m.State("IN"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [total.eq(total + self.i.payload), count.eq(count + 1)]
                    with m.If(count == BYTES_IN - 1):
                        m.d.sync += count.eq(0)
                        m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(total[:8])]
                with m.If(self.o.ready):
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(total[8:])]
                with m.If(self.o.ready):
                    m.next = "IN"
        return m


class GatewareBench(Elaboratable):
    """Core or shell, with the engine."""

    def __init__(self, link: Any):
        self.link = link

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.link = self.link
        engine = SumEngine()
        m.submodules.engine = ResetInserter(self.link.engine_reset)(engine)
        wiring.connect(m, self.link.engine_i, engine.i)
        wiring.connect(m, engine.o, self.link.engine_o)
        return m


BOARD_BYTES_IN = 64


class BoardSum(wiring.Component):
    """64 bytes in, one out: the sum of all bytes since reset, so that a sample run twice, or never, shows."""

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total, count, full = Signal(8), Signal(range(BOARD_BYTES_IN)), Signal()
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full), self.o.payload.eq(total)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                total.eq(total + self.i.payload),
                count.eq(count + 1),
                full.eq(count == BOARD_BYTES_IN - 1),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += full.eq(0)
        with m.If(self.reset):
            m.d.sync += [total.eq(0), count.eq(0), full.eq(0)]
        return m


@pytest.fixture(scope="session")
def running_board(require_tool: Callable[[str], None]) -> Iterator[VirtualBoard]:
    """A virtual iCEBreaker with BoardSum, for all tests of a process; take ``sum_board``, which leaves the line good."""
    require_tool("verilator")
    identity = Identity("loopback", "icebreaker", MODEL_HASH, BOARD_BYTES_IN, 1, 24_000_000)
    with emulate(BoardSum, identity, load_board("icebreaker")) as virtual:
        yield virtual


@pytest.fixture
def sum_board(running_board: VirtualBoard) -> Iterator[VirtualBoard]:
    """The board, on a good line before and behind the test."""
    yield running_board
    running_board.set_faults(PERFECT)


CLOCK_S = 1 / 24e6
SLOWNESS = 200
"""Host seconds per second of the gateware, so that the host's shortest wait is a few thousand simulated cycles."""


class GatewareLine:
    """A transport to gateware that runs only while the host waits; byte by byte, or over UART pins."""

    def __init__(self, *, pins: bool = False, damage: Callable[[str, bytes], bytes] | None = None, **link: Any) -> None:
        identity = Identity("loopback", "simulation", MODEL_HASH, BYTES_IN, BYTES_OUT, 24_000_000)
        self.name = "the simulated gateware"
        self.damage = damage or (lambda direction, data: data)
        self.link = LinkShell(identity, **link) if pins else LinkCore(identity, **link)
        self.to_device: deque[int] = deque()
        self.to_host = bytearray()
        self.time = 0.0
        self.sim = Simulator(GatewareBench(self.link))
        self.sim.add_clock(CLOCK_S)
        for process in (self._drive_pin, self._listen_pin) if pins else (self._drive, self._listen):
            self.sim.add_testbench(process, background=True)

        async def keep_running(ctx: Any) -> None:
            while True:
                await ctx.delay(1)

        self.sim.add_testbench(keep_running)

    async def _drive(self, ctx: Any) -> None:
        port = self.link.line_i
        while True:
            if self.to_device:
                ctx.set(port.payload, self.to_device.popleft())
                ctx.set(port.valid, 1)
                await ctx.tick()
                ctx.set(port.valid, 0)
            for _ in range(10):
                await ctx.tick()

    async def _listen(self, ctx: Any) -> None:
        port = self.link.line_o
        ctx.set(port.ready, 1)
        async for *_, valid, payload in ctx.tick().sample(port.valid, port.payload):
            if valid:
                self.to_host.append(payload)

    async def _drive_pin(self, ctx: Any) -> None:
        while True:
            if self.to_device:
                byte = self.to_device.popleft()
                for bit in (0, *((byte >> i) & 1 for i in range(8)), 1):
                    ctx.set(self.link.rx, bit)
                    for _ in range(8):
                        await ctx.tick()
            else:
                await ctx.tick()

    async def _listen_pin(self, ctx: Any) -> None:
        while True:
            *_, level = await ctx.tick().sample(self.link.tx)
            if not level:
                for _ in range(3):
                    await ctx.tick()
                bits = []
                for _ in range(9):
                    for _ in range(7):
                        await ctx.tick()
                    *_, level = await ctx.tick().sample(self.link.tx)
                    bits.append(level)
                assert bits[8] == 1, "the stop bit is missing"
                self.to_host.append(sum(bit << i for i, bit in enumerate(bits[:8])))

    def read(self, timeout: float) -> bytes:
        until = self.time + timeout / SLOWNESS
        while not self.to_host and self.time < until:
            self.time += 64 * CLOCK_S
            self.sim.run_until(self.time)
        data = bytes(self.to_host)
        self.to_host.clear()
        return self.damage("in", data)

    def write(self, data: bytes) -> None:
        self.to_device.extend(self.damage("out", data))

    def discard(self) -> None:
        self.to_host.clear()

    def now(self) -> float:
        return self.time * SLOWNESS

    def close(self) -> None:
        pass


@pytest.fixture
def lines() -> SimpleNamespace:
    """The lines, models and faults of this module."""
    return SimpleNamespace(
        RunningSum=RunningSum,
        running_sum=running_sum,
        TableModel=TableModel,
        FaultyLine=FaultyLine,
        Noise=Noise,
        GatewareLine=GatewareLine,
        BYTES_IN=BYTES_IN,
        BYTES_OUT=BYTES_OUT,
        MODEL_HASH=MODEL_HASH,
    )


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that repeats nothing in half a minute: on a busy machine a good line's answers may be late, which is no loss."""
    monkeypatch.setattr("neuroloom.host.link.SHORTEST_WAIT_S", 30.0)
    monkeypatch.setattr("neuroloom.host.link.FIRST_WAIT_S", 30.0)
