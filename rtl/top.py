"""The whole design of a board: clock and reset, the link shell on the UART pins, and one engine behind it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from neuroloom.rtl.boot_cells import BOOT_CELLS, BootCell
from neuroloom.rtl.clocking import BoardClock, ClockPlan


class Top(wiring.Component):
    """Everything between the pins.

    Parameters
    ----------
    shell : component with the members of :class:`~neuroloom.rtl.link.shell.LinkShell`
    engine : component with ``i`` (in, stream of 8), ``o`` (out, stream of 8) and ``reset`` (in): bytes of samples in,
        bytes of results out.
    plan : ClockPlan of the board, or None for simulation.
    leds : number of LEDs, at least 1; ``leds_active_low`` when they light at level 0.
    family : of the FPGA, for designs that boot or work on the flash: see :mod:`~neuroloom.rtl.boot_cells`.

    Members
    -------
    clk : In(1), the board's oscillator (the logic clock itself in simulation)
    rst : In(1), present in simulation only
    rx, tx : UART, idle high
    leds : Out(leds); LED 0 is on once the design runs and blinks with the link's traffic, LED 1 is on after an error,
        LED 2 while a command is executed; the others are off
    warmboot, warmboot_image : Out(1), Out(2), in simulation of a design that boots; on the chip they go to the family's cell or pin

    A design whose shell has ``network`` has an engine with ``network``: what became of the network in the flash.
    A design boots when its shell has ``warmboot`` (to image 0, golden) or its engine has ``warmboot`` and ``warmboot_image``.
    Latency is the shell's and the engine's; nothing is added in between.
    """

    def __init__(
        self,
        shell: Any,
        engine: Any,
        *,
        plan: ClockPlan | None,
        leds: int,
        leds_active_low: bool = False,
        family: str = "ice40",
    ) -> None:
        self.shell = shell
        self.engine = engine
        self.plan = plan
        self.leds_active_low = leds_active_low
        # in simulation every pin is a port, and nothing boots by itself
        self.cell: BootCell | None = None if plan is None else BOOT_CELLS.get(family)
        self.pins = getattr(engine, "pins", {})
        hidden = self.cell.inner if self.cell else frozenset()
        shown = {name: member for name, member in self.pins.items() if name not in hidden}
        members = {"clk": In(1), "rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(leds), **shown}
        self.boots = next((part for part in (shell, engine) if hasattr(part, "warmboot")), None)
        if plan is None:
            members["rst"] = In(1)
            if self.boots is not None:
                members |= {"warmboot": Out(1), "warmboot_image": Out(2)}
        elif self.cell is not None:
            if self.boots is not None:
                members |= self.cell.ports
            if "flash_cs_n" in self.pins:
                members |= {name: Out(1, init=level) for name, level in self.cell.flash_ports.items()}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.clock = clock = BoardClock(self.plan)
        m.submodules.shell = shell = self.shell
        m.submodules.engine = engine = self.engine
        m.domains.sync = ClockDomain("sync")
        m.d.comb += [ClockSignal().eq(clock.clk_out), ResetSignal().eq(clock.rst_out), clock.clk_in.eq(self.clk)]
        m.d.comb += [shell.rx.eq(self.rx), self.tx.eq(shell.tx)]
        if self.plan is None:
            m.d.comb += clock.rst_in.eq(self.rst)
        for name, member in self.pins.items():
            inside = getattr(engine, name)
            if self.cell is not None and name in self.cell.inner:
                self.cell.flash_clock(m, inside)
                continue
            outside = getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        wiring.connect(m, shell.engine_i, engine.i)
        wiring.connect(m, engine.o, shell.engine_o)
        m.d.comb += engine.reset.eq(shell.engine_reset)
        if hasattr(shell, "network"):
            m.d.comb += shell.network.eq(engine.network)

        if self.boots is not None:
            image = getattr(self.boots, "warmboot_image", None)
            if self.plan is None:
                m.d.comb += [
                    self.warmboot.eq(self.boots.warmboot),
                    self.warmboot_image.eq(0 if image is None else image),
                ]
            elif self.cell is not None:
                self.cell.boot(m, self.boots.warmboot, image, self)

        running = Signal()
        m.d.sync += running.eq(1)
        dark = -1 if self.leds_active_low else 0
        m.d.comb += self.leds.eq(Cat(running ^ shell.led_link, shell.led_error, shell.led_busy) ^ dark)
        return m
