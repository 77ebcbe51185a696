"""The network in the flash, loaded without a host: what the engine gets, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from neuroloom.rtl.flash.layout import Layout
from neuroloom.rtl.flash.network import (
    COUNT_BITS,
    COUNT_END,
    NetworkImage,
    NetworkState,
    Start,
    count_of,
    crc32_highest_first,
    mark,
    network_image,
    step,
)
from neuroloom.rtl.flash.starter import StandaloneEngine, rest_end
from neuroloom.rtl.link.protocol import Buffers

from .nor_model import NorModel

LAYOUT = Layout(golden_bytes=0x10000, slot_bytes=0x10000, slots=1, flash_bytes=0x80000, network_bytes=0x20000)
CLOCK_HZ = 600_000  # the flash wakes in 30 cycles
ENGINE = bytes(range(32))
COMMANDS = np.random.default_rng(3).integers(0, 256, 70, np.uint8).tobytes()


class Keeper(wiring.Component):
    """Takes a byte every third cycle, shows what it took, and answers every byte: what a loading engine must not be heard of."""

    bytes_in = bytes_out = 0
    buffers = Buffers(256, 2)
    extra_files: dict[str, str] = {}

    def __init__(self) -> None:
        members = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "reset": In(1), "took": Out(1)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wait = Signal(2)
        m.d.sync += wait.eq(wait + 1)
        m.d.comb += [self.i.ready.eq(wait == 2), self.took.eq(self.i.valid & self.i.ready)]
        m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(0xAA)]
        with m.If(wait == 2):
            m.d.sync += wait.eq(0)
        return m


def network(commands: bytes = COMMANDS, engine: bytes = ENGINE) -> NetworkImage:
    return network_image(commands, engine, bytes(32), "net", LAYOUT.network_room)


def written(image: NetworkImage) -> NorModel:
    flash = NorModel(LAYOUT.flash_bytes)
    flash.data[LAYOUT.network_header_at : LAYOUT.network_header_at + 256] = image.header
    flash.data[LAYOUT.network_data_at : LAYOUT.network_data_at + len(image.data)] = image.data
    return flash


def start(flash: NorModel, before: Callable[[int], None] = lambda taken: None, cycles: int = 60_000) -> dict[str, Any]:
    """Let a board start; ``before`` is called with the bytes taken so far in every cycle. Returns what was seen."""
    keeper = Keeper()
    dut = StandaloneEngine(keeper, LAYOUT, ENGINE, CLOCK_HZ)
    seen: dict[str, Any] = {"taken": bytearray(), "resets": 0, "answers": 0, "cycles": 0}

    async def bench(ctx: Any) -> None:
        ctx.set(dut.i.valid, 1)  # a host that speaks too early waits
        ctx.set(dut.i.payload, 0x55)
        for cycle in range(cycles):
            before(len(seen["taken"]))
            ctx.set(
                dut.flash_miso, flash.step(ctx.get(dut.flash_sck), ctx.get(dut.flash_cs_n), ctx.get(dut.flash_mosi))
            )
            ctx.set(dut.reset, int(cycle == 200))  # nor does its reset take half a command away
            state = ctx.get(dut.network)
            if state != Start.LOADING:
                break
            if ctx.get(keeper.took):
                seen["taken"].append(ctx.get(keeper.i.payload))
            seen["resets"] += ctx.get(keeper.reset)
            seen["answers"] += ctx.get(dut.o.valid) | ctx.get(dut.i.ready)
            await ctx.tick()
        seen.update(state=Start(ctx.get(dut.network)), held=ctx.get(keeper.reset), cycles=cycle)
        await ctx.tick()
        assert ctx.get(dut.flash_cs_n) or state == Start.LOADING
        ctx.set(dut.reset, 1)
        assert ctx.get(keeper.reset)
        await ctx.tick()
        ctx.set(dut.reset, 0)
        assert not ctx.get(keeper.reset) and ctx.get(keeper.i.payload) == 0x55
        await ctx.tick().until(dut.i.ready)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return seen


def test_the_engine_gets_exactly_the_commands() -> None:
    flash = written(network())
    before = bytes(flash.data)
    seen = start(flash)
    assert seen["state"] == Start.LOADED and bytes(seen["taken"]) == COMMANDS
    assert (seen["resets"], seen["answers"], seen["held"]) == (0, 0, 0)
    assert bytes(flash.data) == before and not flash.ignored
    # two passes of 33 to 36 cycles a byte, twice a header, a check sum and a call of 64 cycles a word, and two wakings
    assert 2 * 17 * len(COMMANDS) < seen["cycles"] < 2 * 20 * len(COMMANDS) + 2 * (4 * 64 + 64) + 50


@pytest.mark.parametrize("size", [1, 2])
def test_the_shortest_networks(size: int) -> None:
    assert bytes(start(written(network(COMMANDS[:size])))["taken"]) == COMMANDS[:size]


def torn(change: Callable[[bytearray], None]) -> NorModel:
    flash = written(network())
    change(flash.data)
    return flash


AT, DATA = LAYOUT.network_header_at, LAYOUT.network_data_at


def flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


def counted(length: int) -> Callable[[bytearray], None]:
    """Another count; that of no bytes is not a state of the counter."""

    def change(data: bytearray) -> None:
        data[AT + 252 : AT + 256] = (count_of(length) if length else 0).to_bytes(4, "big")

    return change


@pytest.mark.parametrize(
    ("flash", "state"),
    [
        (lambda: NorModel(LAYOUT.flash_bytes), Start.EMPTY),
        (lambda: written(network(engine=bytes(32))), Start.OTHER),
        (lambda: torn(flip(AT + 248)), Start.OTHER),
        (lambda: torn(flip(AT + 251)), Start.OTHER),
        (lambda: torn(counted(71)), Start.BROKEN),
        (lambda: torn(counted(1)), Start.BROKEN),
        (lambda: torn(counted(0)), Start.BROKEN),  # no count at all, which would never end
        (lambda: torn(flip(DATA)), Start.BROKEN),
        (lambda: torn(flip(DATA + len(COMMANDS) - 1)), Start.BROKEN),
        (lambda: torn(flip(DATA + len(COMMANDS))), Start.BROKEN),  # the CRC
        (lambda: torn(flip(DATA + len(COMMANDS) + 3)), Start.BROKEN),
    ],
)
def test_what_is_not_whole_is_left_alone(flash: Callable[[], NorModel], state: Start) -> None:
    seen = start(flash())
    assert (seen["state"], bytes(seen["taken"]), seen["held"]) == (state, b"", 0)


def test_what_reads_differently_the_second_time_is_tried_again_and_then_held() -> None:
    flash = written(network())

    def later(taken: int) -> None:
        if taken == 10:
            flash.data[DATA + 40] = COMMANDS[40] ^ 4

    seen = start(flash, later)
    assert seen["state"] == Start.CHANGED and len(seen["taken"]) == len(COMMANDS) and seen["held"] == 1
    flash, count = written(network()), [0]

    def once(taken: int) -> None:
        if taken == 10:
            flash.data[DATA + 40] = COMMANDS[40] ^ 4
        elif taken == 60:
            flash.data[DATA + 40] = COMMANDS[40]
            count[0] += 1

    seen = start(flash, once)
    assert seen["state"] == Start.LOADED and count[0] and seen["held"] == 0
    assert bytes(seen["taken"][-len(COMMANDS) :]) == COMMANDS and seen["resets"] > 0


def test_the_format() -> None:
    assert crc32_highest_first(b"123456789").hex() == "fc891918"  # the check value of CRC-32/BZIP2
    image = network()
    state = NetworkState.from_bytes(image.header)
    assert state is not None and state == image.state
    assert (state.length, state.engine_hash, state.name) == (len(COMMANDS), ENGINE, "net")
    assert image.header[-8:] == mark(ENGINE) + count_of(len(COMMANDS)).to_bytes(4, "big")
    for at in (0, 5, 30, 100, 248, 255):
        broken = bytearray(image.header)
        broken[at] ^= 1
        assert NetworkState.from_bytes(bytes(broken)) is None, at
    assert NetworkState.from_bytes(b"\xff" * 256) is None
    long = network_image(b"x", ENGINE, bytes(32), "ü" * 40, 4096)
    assert long.state.name == "ü" * 24
    from neuroloom.compiler.errors import InputError

    for size in (0, LAYOUT.network_room - 3):
        with pytest.raises(InputError, match="network must take 1 to 65,532 bytes of commands"):
            network(bytes(size))


def test_the_counter_goes_through_all_states_but_one() -> None:
    """Worked out by hand for the first ones: a zero comes in as long as both taps are ones, which is 17 times."""
    assert [count_of(length) for length in (1, 2, 3)] == [0x7FFFF, 0x3FFFF, 0x1FFFF]
    state, seen = COUNT_END, 0
    while True:
        state, seen = step(state), seen + 1
        if state == COUNT_END:
            break
    assert seen == (1 << COUNT_BITS) - 1
    for length in (1, 70, 131_072, 1_000_000):
        state = count_of(length)
        for _ in range(length):
            state = step(state)
        assert state == COUNT_END


@pytest.mark.parametrize("cycles", [30, 1200, 3750])
def test_the_flash_has_its_time_to_wake(cycles: int) -> None:
    bits, value = rest_end(cycles)
    state, taken = COUNT_END, 0
    while state & ((1 << bits) - 1) != value:
        state, taken = step(state), taken + 1
    assert cycles <= taken < 2 * cycles + 50
