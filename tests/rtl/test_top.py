"""The board's top: PLL arithmetic, start-up reset, LEDs, and the way from the pins through shell and engine."""

from __future__ import annotations

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator, SimulatorContext
from neuroloom.compiler.errors import InputError
from neuroloom.rtl.clocking import PLLS, STARTUP_US, BoardClock, ClockPlan
from neuroloom.rtl.top import Top

BYTE = stream.Signature(8)


class FakeShell(wiring.Component):
    """Offers a counting byte for ever; shows on ``tx`` whether bit 0 of the last byte from the engine was 1."""

    def __init__(self) -> None:
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "engine_i": Out(BYTE),
                "engine_o": In(BYTE),
                "engine_reset": Out(1),
                "led_link": Out(1),
                "led_busy": Out(1),
                "led_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(8)
        last = Signal(8)
        m.d.comb += [self.engine_i.payload.eq(count), self.engine_i.valid.eq(1), self.engine_o.ready.eq(1)]
        m.d.comb += [self.tx.eq(last[0]), self.engine_reset.eq(~self.rx)]
        m.d.comb += [self.led_busy.eq(count[0]), self.led_error.eq(count[1]), self.led_link.eq(count[2])]
        with m.If(self.engine_i.ready):
            m.d.sync += count.eq(count + 1)
        with m.If(self.engine_o.valid):
            m.d.sync += last.eq(self.engine_o.payload)
        return m


class Increment(wiring.Component):
    """Gives each byte back plus one, in the same cycle; stands still while ``reset``."""

    def __init__(self) -> None:
        super().__init__({"i": In(BYTE), "o": Out(BYTE), "reset": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i.payload + 1),
            self.o.valid.eq(self.i.valid & ~self.reset),
            self.i.ready.eq(self.o.ready & ~self.reset),
        ]
        return m


def run(top: Top, bench: object, *, drive: Signal) -> None:
    """Simulate with ``drive`` toggling as the clock at 1 MHz."""
    simulator = Simulator(top)

    async def clock(ctx: SimulatorContext) -> None:
        while True:
            ctx.set(drive, 1)
            await ctx.delay(5e-7)
            ctx.set(drive, 0)
            await ctx.delay(5e-7)

    simulator.add_process(clock)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("active_low", [False, True])
@pytest.mark.parametrize("leds", [1, 2, 3, 5])
def test_bytes_pass_the_engine_and_leds_show_the_state(leds: int, active_low: bool) -> None:
    top = Top(FakeShell(), Increment(), plan=None, leds=leds, leds_active_low=active_low)
    seen: list[tuple[int, int]] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(top.rst, 0)
        ctx.set(top.rx, 1)
        await ctx.delay(2.5e-7)  # between the edges from here on
        for _ in range(8):
            seen.append((ctx.get(top.tx), ctx.get(top.leds)))
            await ctx.delay(1e-6)
        ctx.set(top.rx, 0)  # the shell resets the engine: nothing moves any more
        await ctx.delay(1e-6)
        held = ctx.get(top.leds)
        await ctx.delay(5e-6)
        assert ctx.get(top.leds) == held

    run(top, bench, drive=top.clk)
    for cycle, (tx, lit) in enumerate(seen, start=1):
        last = cycle  # the engine's byte of the cycle before: cycle - 1, plus one
        assert tx == last & 1
        busy, error, link = cycle & 1, cycle >> 1 & 1, cycle >> 2 & 1
        on = (1 ^ link) | error << 1 | busy << 2
        mask = (1 << leds) - 1
        assert lit == (on ^ (-1 if active_low else 0)) & mask


def test_reset_pin_of_the_simulated_top() -> None:
    top = Top(FakeShell(), Increment(), plan=None, leds=1)

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(top.rx, 1)
        ctx.set(top.rst, 1)
        await ctx.delay(5e-6)
        assert ctx.get(top.leds) == 0  # not running
        ctx.set(top.rst, 0)
        await ctx.delay(2e-6)
        assert ctx.get(top.leds) == 1

    run(top, bench, drive=top.clk)


def test_only_the_simulated_top_has_a_reset_pin() -> None:
    plan = ClockPlan(27_000_000, 27_000_000)
    board = Top(FakeShell(), Increment(), plan=plan, leds=2)
    text = rtlil.convert(board, name="top")
    assert set(board.signature.members) == {"clk", "rx", "tx", "leds"} and "\\rst" not in text.split("\n")[0]
    simulated = Top(FakeShell(), Increment(), plan=None, leds=2)
    rtlil.convert(simulated, name="top")
    assert set(simulated.signature.members) == {"clk", "rst", "rx", "tx", "leds"}


class ClockUnderTest(wiring.Component):
    """A counter in the domain that BoardClock makes: it counts cycles out of reset."""

    def __init__(self, plan: ClockPlan) -> None:
        self.plan = plan
        super().__init__({"clk": In(1), "rst": In(1), "count": Out(16)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.clock = clock = BoardClock(self.plan)
        m.domains.sync = domain = ClockDomain("sync")
        m.d.comb += [clock.clk_in.eq(self.clk), clock.rst_in.eq(self.rst)]
        m.d.comb += [ClockSignal().eq(clock.clk_out), domain.rst.eq(clock.rst_out)]
        m.d.sync += self.count.eq(self.count + 1)
        return m


def test_reset_lasts_at_least_the_start_up_time() -> None:
    plan = ClockPlan(1_000_000, 1_000_000)
    dut = ClockUnderTest(plan)
    first: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.rst, 0)
        for cycle in range(40):
            await ctx.delay(1e-6)
            if ctx.get(dut.count) and not first:
                first.append(cycle)
        running = ctx.get(dut.count)
        ctx.set(dut.rst, 1)
        await ctx.delay(2e-6)
        assert running > 10 and ctx.get(dut.count) == 0

    run(dut, bench, drive=dut.clk)
    assert STARTUP_US <= first[0] <= STARTUP_US + 6


@pytest.mark.parametrize(
    ("primitive", "input_hz", "settings", "logic_hz"),
    [
        ("SB_PLL40_PAD", 12_000_000, {"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}, 24_000_000),
        ("SB_PLL40_CORE", 12_000_000, {"DIVR": 0, "DIVF": 63, "DIVQ": 4, "FILTER_RANGE": 1}, 48_000_000),
        ("SB_PLL40_PAD", 12_000_000, {"DIVR": 0, "DIVF": 52, "DIVQ": 4, "FILTER_RANGE": 1}, 39_750_000),
        ("EHXPLLL", 25_000_000, {"CLKI_DIV": 1, "CLKFB_DIV": 4, "CLKOP_DIV": 6}, 100_000_000),
        ("EHXPLLL", 25_000_000, {"CLKI_DIV": 2, "CLKFB_DIV": 3, "CLKOP_DIV": 20}, 37_500_000),
        ("EHXPLLL", 25_000_000, {"CLKI_DIV": 1, "CLKFB_DIV": 1, "CLKOP_DIV": 21, "CLKOS_DIV": 8}, 65_625_000),
        ("MMCME2_BASE", 12_000_000, {"MULT_8": 500, "DIVIDE_8": 80}, 75_000_000),
    ],
)
def test_pll_settings_give_the_clock(primitive: str, input_hz: int, settings: dict[str, int], logic_hz: int) -> None:
    plan = ClockPlan(input_hz, logic_hz, primitive, settings)
    assert plan.startup_cycles == -(-logic_hz * 15 // 1_000_000)
    text = rtlil.convert(Top(FakeShell(), Increment(), plan=plan, leds=1), name="top")
    assert f"cell \\{primitive}" in text and set(settings) - PLLS[primitive].optional == PLLS[primitive].settings
    assert ("CLKOS_DIV" in settings) == (r"connect \CLKOS" in text)


def test_ice40_frequency_agrees_with_icepll() -> None:
    # `icepll -i 12 -o 24` and `-o 39.75` of icestorm 2023: DIVF 63/52, DIVQ 5/4, DIVR 0
    frequency = PLLS["SB_PLL40_PAD"].frequency
    assert frequency({"DIVR": 0, "DIVF": 63, "DIVQ": 5, "FILTER_RANGE": 1}, 12_000_000) == (24_000_000, 768_000_000)
    assert frequency({"DIVR": 0, "DIVF": 52, "DIVQ": 4, "FILTER_RANGE": 1}, 12_000_000) == (39_750_000, 636_000_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((12, 24), "must be the oscillator's 12 Hz without a PLL, not 24 Hz"),
        ((12, 12, None, {"DIVF": 1}), "no PLL settings without a PLL primitive"),
        ((12, 12, "PLL"), "PLL primitive must be one of"),
        (
            (25_000_000, 100_000_000, "EHXPLLL", {"CLKI_DIV": 1}),
            "Settings of EHXPLLL must be CLKFB_DIV, CLKI_DIV, CLKOP_DIV",
        ),
        (
            (25_000_000, 100_000_000, "EHXPLLL", {"CLKI_DIV": 1, "CLKFB_DIV": 4, "CLKOP_DIV": 2}),
            "must run at 400 to 800 MHz, not 200.000 MHz",
        ),
        (
            (25_000_000, 90_000_000, "EHXPLLL", {"CLKI_DIV": 1, "CLKFB_DIV": 4, "CLKOP_DIV": 6}),
            "must give 90000000 Hz, not 100000000.0 Hz",
        ),
        (
            (25_000_000, 40_000_000, "EHXPLLL", {"CLKI_DIV": 5, "CLKFB_DIV": 8, "CLKOP_DIV": 15}),
            "CLKI_DIV of EHXPLLL must leave at least 10 MHz of the input's 25, and 5 leaves 5",
        ),
    ],
)
def test_wrong_clock_plans_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClockPlan(*arguments)


class BootingShell(FakeShell):
    """Wants to leave for golden while ``rx`` is low."""

    def __init__(self) -> None:
        super().__init__()
        self.warmboot = Signal()

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self.warmboot.eq(~self.rx)
        return m


class BootingEngine(Increment):
    """Wants to boot image 2."""

    def __init__(self) -> None:
        super().__init__()
        self.warmboot = Signal(init=1)
        self.warmboot_image = Signal(2, init=2)


@pytest.mark.parametrize(("shell", "engine", "image"), [(BootingShell, Increment, 0), (FakeShell, BootingEngine, 2)])
def test_warm_boot_reaches_the_pins_of_the_simulation_and_the_cell_of_the_chip(shell, engine, image: int) -> None:
    top = Top(shell(), engine(), plan=None, leds=1)

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(top.rx, 0)
        await ctx.delay(2e-6)
        assert (ctx.get(top.warmboot), ctx.get(top.warmboot_image)) == (1, image)

    run(top, bench, drive=top.clk)
    chip = Top(shell(), engine(), plan=ClockPlan(12_000_000, 12_000_000), leds=1)
    text = rtlil.convert(chip, name="top")
    assert text.count("cell \\SB_WARMBOOT \\warmboot_cell") == 1 and "warmboot" not in text.split("\n")[0]
    assert not {"warmboot", "warmboot_image"} & set(chip.signature.members)
