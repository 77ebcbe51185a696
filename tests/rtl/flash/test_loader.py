"""The loader's gateware on a flash model: every opcode, what it refuses, and what it boots."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from neuroloom.boards.registry import load_board
from neuroloom.rtl.flash.layout import FLAGS, LABEL_BYTES, STATUS_AT, Layout, label
from neuroloom.rtl.flash.loader import Loader
from neuroloom.rtl.flash.protection import protection, protects, why_not

from .nor_model import ID, NorModel

LAYOUT = Layout(golden_bytes=0x10000, slot_bytes=0x10000, slots=3, flash_bytes=0x80000)
CLOCK_HZ = 6_000  # the waits, which are seconds, become short
IMAGE = np.random.default_rng(1).integers(0, 256, 700, np.uint8).tobytes()


def play(flash: NorModel, script, layout: Layout = LAYOUT) -> dict:
    """Run ``script(send, receive)`` against the loader; returns what it left in ``found`` and the image booted, if any."""
    dut = Loader(layout, CLOCK_HZ)
    found: dict = {"booted": None}

    async def pins(ctx) -> None:
        async for _, _, sck, cs_n, mosi, boot, image in ctx.tick().sample(
            dut.flash_sck, dut.flash_cs_n, dut.flash_mosi, dut.warmboot, dut.warmboot_image
        ):
            ctx.set(dut.flash_miso, flash.step(sck, cs_n, mosi))
            if boot and found["booted"] is None:
                found["booted"] = image

    async def host(ctx) -> None:
        async def send(data: bytes) -> None:
            for byte in data:
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.payload, byte)
                await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

        async def receive(count: int) -> bytes:
            out = bytearray()
            ctx.set(dut.o.ready, 1)
            while len(out) < count:
                (byte,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
                out.append(byte)
            ctx.set(dut.o.ready, 0)
            return bytes(out)

        async def reset() -> None:
            ctx.set(dut.reset, 1)
            await ctx.tick()
            ctx.set(dut.reset, 0)

        async def ask(data: bytes, count: int) -> bytes:
            await send(data)
            return await receive(count)

        await script(found, ask, reset, ctx)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(pins, background=True)
    sim.add_testbench(host)
    sim.run()
    return found


def at3(value: int) -> bytes:
    return value.to_bytes(3, "little")


def install(flash: NorModel, slot: int, image: bytes, *flags: str) -> None:
    where = LAYOUT.slot_at(slot)
    flash.data[where : where + len(image)] = image
    text = label(image)
    flash.data[LAYOUT.label_at(slot) : LAYOUT.label_at(slot) + len(text)] = text
    for name in flags:
        flash.data[flag_at(slot, name)] = 0


def flag_at(slot: int, name: str) -> int:
    return LAYOUT.label_at(slot) + LABEL_BYTES + FLAGS.index(name)


def test_reading() -> None:
    flash = NorModel(LAYOUT.flash_bytes)
    flash.data[0x12345 : 0x12345 + len(IMAGE)] = IMAGE

    async def script(found, ask, reset, ctx) -> None:
        found["jedec"] = await ask(b"J", 3)
        found["map"] = await ask(b"M", 16)
        found["read"] = await ask(b"R" + at3(0x12345) + at3(700), 700)
        found["crc"] = await ask(b"C" + at3(0x12345) + at3(700), 4)
        found["sfdp"] = await ask(b"S" + at3(0x10) + at3(4), 4)
        found["none"] = await ask(b"\x00\xffC" + at3(0) + at3(0), 4)  # what is no opcode is dropped

    found = play(flash, script)
    assert found["jedec"] == ID and Layout.from_bytes(found["map"]) == LAYOUT
    assert found["read"] == IMAGE and struct.unpack("<I", found["crc"])[0] == zlib.crc32(IMAGE)
    assert found["sfdp"] == bytes([0x10, 0x11, 0x12, 0x13]) and found["none"] == bytes(4)
    assert not flash.ignored


def test_writing_waits_and_golden_is_never_touched() -> None:
    flash = NorModel(LAYOUT.flash_bytes, busy_cycles=5000)
    flash.data[0x20000:0x20100] = bytes(256)
    golden = bytes(flash.data[: LAYOUT.golden_bytes])

    async def script(found, ask, reset, ctx) -> None:
        found["erase"] = await ask(b"E" + at3(0x20ABC) + b"\0", 1)
        found["program"] = await ask(b"P" + at3(0x20010) + struct.pack("<H", 32) + IMAGE[:32], 1)
        found["block"] = await ask(b"E" + at3(0x30000) + b"\1", 1)
        # golden, and behind the slots: the data that goes with it must not be taken for opcodes
        found["refused"] = await ask(b"P" + at3(0x0FF00) + struct.pack("<H", 256) + b"E" * 256, 1)
        found["refused"] += await ask(b"E" + at3(0x0FFFF) + b"\1", 1)
        found["refused"] += await ask(b"E" + at3(LAYOUT.end) + b"\0", 1)
        found["alive"] = await ask(b"J", 3)

    found = play(flash, script)
    assert (found["erase"], found["program"], found["block"]) == (b"\0", b"\0", b"\0")
    assert found["refused"] == b"\1\1\1" and found["alive"] == ID
    assert flash.erased == [0x20000, 0x30000] and bytes(flash.data[: LAYOUT.golden_bytes]) == golden
    assert flash.programmed == [(0x20010, IMAGE[:32])] and not flash.ignored


def test_boot_checks_journals_and_boots() -> None:
    flash = NorModel(LAYOUT.flash_bytes)
    install(flash, 2, IMAGE)

    async def script(found, ask, reset, ctx) -> None:
        found["empty"] = await ask(b"B\x01", 1)
        found["absent"] = await ask(b"B\x00", 1) + await ask(b"B\x04", 1)
        found["good"] = await ask(b"B\x02", 1)
        assert found["booted"] is None  # the answer comes first
        await ctx.tick().repeat(5)
        await reset()  # a host that already looks for the image must not call the boot back
        await ctx.tick().repeat(2000)

    found = play(flash, script)
    assert (found["empty"], found["absent"], found["good"]) == (b"\3", b"\1\1", b"\0")
    assert found["booted"] == 2 and flash.programmed == [(flag_at(2, "attempted"), b"\0")]


def test_a_damaged_image_or_label_is_not_booted() -> None:
    flash = NorModel(LAYOUT.flash_bytes)
    for slot in (1, 2, 3):
        install(flash, slot, IMAGE, "start")
    flash.data[LAYOUT.slot_at(1) + 699] ^= 1
    flash.data[LAYOUT.label_at(2) + 5] ^= 1
    flash.data[LAYOUT.label_at(3)] ^= 1

    async def script(found, ask, reset, ctx) -> None:
        found["answers"] = [await ask(b"B" + bytes([slot]), 1) for slot in (1, 2, 3)]
        await ctx.tick().repeat(2000)

    found = play(flash, script)
    assert found["answers"] == [b"\4", b"\3", b"\3"] and found["booted"] is None and not flash.programmed


@pytest.mark.parametrize(
    ("flags", "booted"),
    [
        ((), None),
        (("start",), 3),
        (("start", "attempted"), None),
        (("start", "attempted", "confirmed"), 3),
        (("start", "confirmed", "held"), None),
        (("confirmed",), None),
    ],
)
def test_power_up_boots_what_is_good_or_new(flags: tuple[str, ...], booted: int | None) -> None:
    flash = NorModel(LAYOUT.flash_bytes)
    install(flash, 3, IMAGE, *flags)

    async def script(found, ask, reset, ctx) -> None:
        await ctx.tick().repeat(40_000)
        found["written"] = list(flash.programmed)

    found = play(flash, script)
    assert found["booted"] == booted
    fresh = booted is not None and "confirmed" not in flags
    assert found["written"] == ([(flag_at(3, "attempted"), b"\0")] if fresh else [])


@pytest.mark.parametrize("sign", ["byte", "reset"])
def test_a_host_that_speaks_in_time_keeps_golden(sign: str) -> None:
    flash = NorModel(LAYOUT.flash_bytes)
    install(flash, 1, IMAGE, "start", "confirmed")

    async def script(found, ask, reset, ctx) -> None:
        await ctx.tick().repeat(4_000)
        if sign == "reset":
            await reset()
        else:
            await ask(b"J", 3)
        await ctx.tick().repeat(40_000)
        found["alive"] = await ask(b"J", 3)

    found = play(flash, script)
    assert found["booted"] is None and found["alive"] == ID


def test_reset_in_the_middle_of_an_erase_waits_for_the_flash() -> None:
    flash = NorModel(LAYOUT.flash_bytes, busy_cycles=6000)

    async def script(found, ask, reset, ctx) -> None:
        await ask(b"J", 3)
        for byte in b"E" + at3(0x10000) + b"\0":
            await ask(bytes([byte]), 0)
        await ctx.tick().repeat(1500)
        await reset()
        found["read"] = await ask(b"R" + at3(0x10000) + at3(4), 4)

    found = play(flash, script)
    assert found["read"] == b"\xff" * 4 and flash.erased == [0x10000]
    assert set(flash.ignored) <= {0xAB, 0x9F}  # only waking it and asking who it is was tried while it worked


LARGE = Layout(golden_bytes=0x40000, slot_bytes=0x10000, slots=3, flash_bytes=1 << 24)


@pytest.mark.parametrize(("layout", "status"), [(LARGE, 0x24), (LAYOUT, 0)])
def test_the_flash_protects_golden_itself(layout: Layout, status: int) -> None:
    flash = NorModel(layout.flash_bytes)

    async def script(found, ask, reset, ctx) -> None:
        found["map"] = await ask(b"M", 16)
        found["erase"] = await ask(b"E" + at3(layout.golden_bytes) + b"\0", 1)
        await reset()
        found["again"] = await ask(b"M", 16)

    found = play(flash, script, layout)
    assert Layout.from_bytes(found["map"]) == layout and found["map"][STATUS_AT] == status == flash.status
    assert found["again"] == found["map"] and found["erase"] == b"\0" and flash.erased == [layout.golden_bytes]
    assert protects(layout, ID, status) == (layout is LARGE) and not flash.ignored
    flash._in, flash._wel, flash._taken = bytearray(b"\xd8" + layout.golden_bytes.to_bytes(3, "big")), True, 0
    flash._end()
    flash._in, flash._wel = bytearray(b"\xd8" + (layout.golden_bytes - 1).to_bytes(3, "big")), True
    flash._end()  # what the loader does not, a wild image may do
    assert flash.erased[2:] == ([] if status else [layout.golden_bytes - 0x10000])


def test_which_chips_protect_which_maps() -> None:
    for board, wanted in (("icebreaker", 0x24), ("ulx3s_85f", 0x30), ("ice40_hx8k_evn", 0x2C)):
        layout = load_board(board).layout
        found = protection(layout)
        assert found is not None and found[1] == wanted, board
        # by the data sheets: BP times the smallest part, a 64th of the chip
        assert layout.flash_bytes // 64 << ((wanted >> 2 & 7) - 1) == layout.golden_bytes
    layout = load_board("icebreaker").layout
    assert protects(layout, b"\xef\x40\x18", 0x24) and protects(layout, b"\xef\x70\x18", 0x26)
    assert not protects(layout, b"\xef\x70\x18", 0x20) and not protects(layout, b"\x20\xba\x18", 0x24)
    assert "no volatile status register" in why_not(layout, b"\x20\xba\x16")
    assert "one-time programmable" in why_not(layout, b"\x9d\x60\x18") and "not known" in why_not(layout, b"\xc2\0\0")
    assert "older golden" in why_not(layout, b"\xef\x70\x18")
    assert protection(replace(layout, golden_bytes=0x30000)) is None
