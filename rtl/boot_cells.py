"""How an FPGA is told to load another image, and how it reaches the flash it was loaded from: one entry per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Const, Instance, Module, Value
from amaranth.lib.wiring import Member, Out

Connect = Callable[[Module, Value, Value | None, Any], None]
"""(module, boot now, image to boot or None for golden, the top with the ports)."""


@dataclass(frozen=True)
class BootCell:
    """One family.

    ``ports`` of a design that boots, beside the others; ``inner`` are pins of an engine that a cell takes inside the chip;
    ``boot`` connects a request to boot, ``flash_clock`` the flash's clock where it has no pin of its own; ``flash_ports`` of a
    design that works on the flash, with the level that they have.
    """

    ports: Mapping[str, Member]
    inner: frozenset[str]
    boot: Connect
    flash_clock: Callable[[Module, Value], None]
    flash_ports: Mapping[str, int]


def _ice40_boot(m: Module, boot: Value, image: Value | None, top: Any) -> None:
    # Image 0 is what open pins choose; constants would be a net of their own, which often cannot be routed to the corner where the
    # cell is.
    pins = {} if image is None else {"i_S0": image[0], "i_S1": image[1]}
    m.submodules.warmboot_cell = Instance("SB_WARMBOOT", a_keep=1, i_BOOT=boot, **pins)


def _ecp5_boot(m: Module, boot: Value, image: Value | None, top: Any) -> None:
    # PROGRAMN low loads the image at the boot address in the configuration of the one that runs: golden's names the slot, the
    # slot's golden. A register, so that no glitch reboots.
    m.d.sync += top.program_n.eq(~boot)


def _ecp5_clock(m: Module, clock: Value) -> None:
    # the clock's pin belongs to the configuration logic, which gives it away through this cell (Lattice FPGA-TN-02039, "MCLK")
    m.submodules.usrmclk = Instance("USRMCLK", a_keep=1, i_USRMCLKI=clock, i_USRMCLKTS=Const(0))


BOOT_CELLS: Mapping[str, BootCell] = {
    "ice40": BootCell({}, frozenset(), _ice40_boot, lambda m, clock: None, {}),
    "ecp5": BootCell(
        {"program_n": Out(1, init=1)},
        frozenset({"flash_sck"}),
        _ecp5_boot,
        _ecp5_clock,
        {"flash_hold_n": 1, "flash_wp_n": 1},
    ),
}
"""By family, those that can boot another image."""
