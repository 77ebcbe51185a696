"""The UART, bit by bit: every byte, clocks that disagree, noise on the line."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator
from neuroloom.rtl.link.uart import UartReceiver, UartTransmitter


def receive(divisor, line):
    """Bytes and error strobes of a receiver that sees ``line(cycle)`` for cycles 0, 1, …; line ends with None."""
    receiver = UartReceiver(divisor)
    got, errors = [], 0

    async def bench(ctx):
        nonlocal errors
        cycle = 0
        while (level := line(cycle)) is not None:
            ctx.set(receiver.rx, level)
            *_, valid, byte, error = await ctx.tick().sample(receiver.o.valid, receiver.o.payload, receiver.error)
            if valid:
                got.append(byte)
            errors += error
            cycle += 1

    sim = Simulator(receiver)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return bytes(got), errors


def levels(data, bit, start=20.0):
    """A line that carries ``data`` with ``bit`` cycles per bit, back to back, as a function of the cycle."""
    bits = [b for byte in data for b in (0, *((byte >> i) & 1 for i in range(8)), 1)]

    def line(cycle):
        at = int((cycle - start) // bit)
        if at >= len(bits) + 20:
            return None
        return bits[at] if 0 <= at < len(bits) else 1

    return line


@pytest.mark.parametrize(("divisor", "error"), [(4, 0.02), (5, 0.02), (8, 0.03), (9, 0.03), (25, 0.035)])
def test_receiver_follows_a_clock_that_is_off(divisor, error):
    data = random.Random(divisor).randbytes(8) + b"\x00\xff\x55\xaa"
    for bit in (divisor * (1 - error), divisor, divisor * (1 + error)):
        for start in (20.0, 20.3, 20.7):
            assert receive(divisor, levels(data, bit, start)) == (data, 0)


def test_receiver_ignores_glitches_and_reports_a_break_once():
    byte = levels(b"K", 8, 100)

    def line(cycle):
        if cycle == 30:
            return 0
        if 400 <= cycle < 800:
            return 0
        if cycle >= 1000:
            following = levels(b"!", 8, 1010)
            return following(cycle)
        return byte(cycle) if byte(cycle) is not None else 1

    assert receive(8, line) == (b"K!", 1)


@pytest.mark.parametrize("divisor", [4, 9])
def test_both_ways(divisor):
    """Transmitter into receiver: all bytes, back to back, each in exactly ten bits."""
    m = Module()
    m.submodules.transmitter = transmitter = UartTransmitter(divisor)
    m.submodules.receiver = receiver = UartReceiver(divisor)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    got, times = [], []

    async def send(ctx):
        for byte in range(256):
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(20 * divisor)
        assert not ctx.get(transmitter.busy)

    async def take(ctx):
        cycle = 0
        async for *_, valid, byte, error in ctx.tick().sample(receiver.o.valid, receiver.o.payload, receiver.error):
            cycle += 1
            assert not error
            if valid:
                got.append(byte)
                times.append(cycle)

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(send)
    sim.add_testbench(take, background=True)
    sim.run()
    assert got == list(range(256))
    assert {b - a for a, b in zip(times, times[1:], strict=False)} == {10 * divisor}
