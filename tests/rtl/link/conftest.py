"""The link core in Amaranth's simulator, driven byte by byte, with its own reading of the frame format."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from neuroloom.rtl.link.core import LinkCore
from neuroloom.rtl.link.protocol import Identity

IDENTITY = Identity("loopback", "simulation", bytes(range(100, 132)), 1, 1, 24_000_000)


def stuff(data: bytes) -> bytes:
    """COBS by its definition: runs without zero, each behind its length plus one; full runs of 254 carry no zero."""
    out = b""
    for run in data.split(b"\0"):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
        out += bytes([len(run) + 1]) + run
    return out


def unstuff(data: bytes) -> bytes:
    """The way back; fails the test on anything that is not COBS."""
    out = b""
    while data:
        code, run, data = data[0], data[1 : data[0]], data[data[0] :]
        assert code and len(run) == code - 1 and 0 not in run
        out += run + (b"\0" if code < 255 and data else b"")
    return out


def frame(command: int, sequence: int, payload: bytes = b"", arg: int = 0) -> bytes:
    """A request as it goes over the line."""
    body = struct.pack("<BBH", command, sequence, arg) + payload
    return b"\0" + stuff(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def answers(line: bytes) -> list[SimpleNamespace]:
    """Responses in what the device sent; every byte must belong to a right frame."""
    out = []
    assert not line or (line[0] == 0 and line[-1] == 0)
    for part in line.split(b"\0"):
        if part:
            body = unstuff(part)
            assert struct.unpack("<I", body[-4:])[0] == zlib.crc32(body[:-4])
            out.append(
                SimpleNamespace(command=body[0], sequence=body[1], status=body[2], next=body[3], payload=body[4:-4])
            )
    return out


class XorEngine(wiring.Component):
    """One byte in, the same byte with 0x5A flipped out; while `dead` it swallows bytes and gives none."""

    def __init__(self) -> None:
        self.dead = Signal()
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid & ~self.dead), self.o.payload.eq(self.i.payload ^ 0x5A)]
        return m


class CountEngine(wiring.Component):
    """Every byte out is the number of bytes in so far: shows each execution, and each reset."""

    def __init__(self) -> None:
        self.dead = Signal()
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(8)
        m.d.comb += [self.i.ready.eq(~self.o.valid | self.o.ready)]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid & ~self.dead)
            with m.If(self.i.valid):
                m.d.sync += [count.eq(count + 1), self.o.payload.eq(count + 1)]
        return m


class Bench(Elaboratable):
    """A core with an engine."""

    def __init__(self, core: LinkCore, engine: Any):
        self.core = core
        self.engine = engine

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = self.core
        m.submodules.engine = ResetInserter(self.core.engine_reset)(self.engine)
        wiring.connect(m, self.core.engine_i, self.engine.i)
        wiring.connect(m, self.engine.o, self.core.engine_o)
        return m


class Line:
    """What a test's script drives: bytes in, bytes out, and time."""

    def __init__(self, ctx: Any, bench: Bench):
        self.ctx = ctx
        self.bench = bench
        self.received = bytearray()
        self.stuck = (0, 0)

    def stick(self, address: int, mask: int) -> None:
        """From now on these bits of a response buffer's byte are zero."""
        self.stuck = (address, mask)

    async def send(self, data: bytes, spacing: int = 12) -> None:
        """Put bytes on the line, `spacing` cycles apart, as a UART does: without waiting for ready."""
        port = self.bench.core.line_i
        for byte in data:
            self.ctx.set(port.payload, byte)
            self.ctx.set(port.valid, 1)
            *_, ready = await self.ctx.tick().sample(port.ready)
            assert ready, "the core must take a byte whenever the line brings one"
            self.ctx.set(port.valid, 0)
            await self.ctx.tick().repeat(spacing - 1)

    async def error(self) -> None:
        """One lost byte."""
        self.ctx.set(self.bench.core.line_error, 1)
        await self.ctx.tick()
        self.ctx.set(self.bench.core.line_error, 0)

    async def settle(self, limit: int = 40_000) -> list[SimpleNamespace]:
        """Wait until the core has nothing left to do; return the answers that came since the last call."""
        core = self.bench.core
        idle = 0
        for _ in range(limit):
            *_, busy, valid = await self.ctx.tick().sample(core.led_busy, core.line_o.valid)
            idle = 0 if busy or valid else idle + 1
            if idle == 8:
                break
        else:
            pytest.fail(f"the core is still busy after {limit} cycles")
        out = answers(bytes(self.received))
        self.received.clear()
        return out

    async def ask(self, command: int, sequence: int, payload: bytes = b"", arg: int = 0) -> SimpleNamespace:
        """Send one request and return its only answer."""
        await self.send(frame(command, sequence, payload, arg))
        (answer,) = await self.settle()
        return answer


Script = Callable[[Line], Awaitable[None]]


@pytest.fixture
def wire() -> SimpleNamespace:
    """The frame format, read independently of the product's code."""
    return SimpleNamespace(frame=frame, answers=answers, stuff=stuff, unstuff=unstuff, identity=IDENTITY)


@pytest.fixture(params=[False, True], ids=["plain", "registered"])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return ``play(script, engine="xor", **core)``: run an async script against a simulated core.

    Each test runs without and with registers behind the buffers' memories.
    """

    def run(script: Script, *, engine: str = "xor", spacing_out: int = 1, sticky: bool = False, **core: Any) -> None:
        core.setdefault("frame_bytes", 256)
        core.setdefault("window", 2)
        core.setdefault("watchdog_cycles", 1024)
        core.setdefault("registered", request.param)
        identity = replace(IDENTITY, boot=core.pop("boot", 0))
        bench = Bench(LinkCore(identity, **core), {"xor": XorEngine, "count": CountEngine}[engine]())
        sim = Simulator(bench)
        sim.add_clock(1e-6)
        lines: list[Line] = []

        async def main(ctx: Any) -> None:
            lines.append(Line(ctx, bench))
            await ctx.tick()
            await script(lines[0])

        async def listen(ctx: Any) -> None:
            port = bench.core.line_o
            while True:
                ctx.set(port.ready, 1)
                *_, valid, payload = await ctx.tick().sample(port.valid, port.payload)
                if valid:
                    lines[0].received.append(payload)
                if spacing_out > 1:
                    ctx.set(port.ready, 0)
                    for _ in range(spacing_out - 1):
                        await ctx.tick()

        async def hold(ctx: Any) -> None:
            while True:
                await ctx.tick()
                address, mask = lines[0].stuck
                if mask:
                    cell = bench.core.responses[address]
                    ctx.set(cell, ctx.get(cell) & ~mask)

        sim.add_testbench(main)
        if sticky:
            sim.add_testbench(hold, background=True)
        sim.add_testbench(listen, background=True)
        sim.run()

    return run
