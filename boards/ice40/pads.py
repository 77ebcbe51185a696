"""I/O blocks: simple, registered and double-data-rate pins, tristate outputs, and which package pin each block is.

Source: Lattice's SB_IO primitive (PIN_TYPE) and Project IceStorm, "IO Tile Documentation".
"""

from __future__ import annotations

import re

from neuroloom.boards.readback.module import ONE, ZERO, Port, identifier
from neuroloom.compiler.errors import InputError

from .netlist import Netlist

_ANALOG = re.compile(r"IoCtrl\.(REN_\d|cf_bit_\d+|padeb_test_\d)")
"""Options of the pad's electrical side (pull-up and its strength): no logic."""

Site = tuple[int, int, int]


def name_pads(netlist: Netlist, package: str, names: dict[str, str]) -> None:
    """Fill ``netlist.pads`` from the package's pins and ``names`` (name → package pin)."""
    pins = netlist.tables.pins.get(package)
    if pins is None:
        known = ", ".join(sorted(netlist.tables.pins))
        raise InputError(f"iCE40 package must be one of {known} for device {netlist.tables.device}, not {package}")
    by_pin = {}
    for name, pin in names.items():
        if pin not in pins:
            raise InputError(f"pin {pin} of constraint {name} must exist on package {package}, and does not")
        by_pin[pin] = name
    for pin, site in pins.items():
        netlist.pads[site] = by_pin.get(pin, f"pin_{pin}")
        netlist.pad_pins[site] = pin


def _type(netlist: Netlist, x: int, y: int, z: int) -> list[int]:
    return [int(netlist.fabric.option(x, y, f"IOB_{z}.PINTYPE_{i}")) for i in range(6)]


def _input_enabled(netlist: Netlist, site: Site) -> bool:
    entry = netlist.tables.ieren.get(site)
    if entry is None:
        return False
    x, y, z = entry
    enabled = netlist.fabric.option(x, y, f"IoCtrl.IE_{z}")
    return not enabled if netlist.tables.device == "1k" else enabled


def _pullup(netlist: Netlist, site: Site) -> bool:
    entry = netlist.tables.ieren.get(site)
    return entry is not None and not netlist.fabric.option(entry[0], entry[1], f"IoCtrl.REN_{entry[2]}")


class _Block:
    """One I/O block of a tile, first declared (names of what it drives), then connected."""

    def __init__(self, netlist: Netlist, site: Site) -> None:
        self.netlist, self.site = netlist, site
        x, y, z = site
        self.kind = _type(netlist, x, y, z)
        self.name = f"{x}_{y}_{z}"
        self.label = netlist.pads.get(site, f"io_{x}_{y}_{z}")
        self.port = identifier(self.label)
        self.drives = any(self.kind[4:6])
        self.releases = self.drives and self.kind[5] == 1
        self.own_input = site not in netlist.taken_inputs  # else the input path carries a PLL's output
        self.listens = _input_enabled(netlist, site)
        self.used = self.drives or self.listens or (any(self.kind) and self.own_input)
        self.uses_clock = False

    def declare(self) -> None:
        netlist, (x, y, z) = self.netlist, self.site
        if self.listens:
            pad = f"pad_{self.name}" if self.releases else self.port
            netlist.pad_inputs[self.site] = pad
            if self.own_input:
                netlist.sources[x, y, f"io_{z}/D_IN_0"] = pad if self.kind[0] else f"din0_{self.name}"
                netlist.sources[x, y, f"io_{z}/D_IN_1"] = f"din1_{self.name}"
        if not self.used:
            return
        driven = (self.port, None) if not self.releases else (f"{self.port}_o", f"{self.port}_oe")
        read = (f"{self.port}_i" if self.listens else None) if self.releases else self.port
        netlist.add_port(
            Port(
                name=self.label,
                pin=netlist.pad_pins.get(self.site),
                site=self.site,
                direction="inout" if self.releases else "output" if self.drives else "input",
                input=None if self.drives and not self.releases else read,
                output=driven[0] if self.drives else None,
                enable=driven[1] if self.drives else None,
                pullup=_pullup(netlist, self.site),
            )
        )

    def connect(self) -> None:
        if self.listens and self.own_input:
            self._connect_input()
        if self.drives:
            self._connect_output()
        if self.used:
            self.netlist.cells["IO"] += 1
            x, y, z = self.site
            for pin in (f"io_{z}/D_OUT_0", f"io_{z}/D_OUT_1", f"io_{z}/OUT_ENB", "io_global/cen"):
                self.netlist.value(x, y, pin)  # a route to a pin that PIN_TYPE ignores is legal
        if any(self.kind[2:4]) and not self.drives:
            raise self.netlist.fabric.refuse(
                self.site[:2], f"I/O block {self.site[2]} has output options and never drives"
            )

    def _read(self, pin: str) -> bool:
        """Whether any active switch takes its input from one of this block's outputs."""
        return self.netlist.tables.net(*self.site[:2], pin) in self.netlist.fabric.selected

    def _clock(self, pin: str) -> tuple[str, bool, str]:
        x, y, _ = self.site
        self.uses_clock = True
        value = self.netlist.value(x, y, pin)
        if value in (ZERO, ONE):
            raise self.netlist.fabric.refuse((x, y), f"registered I/O block {self.site[2]} must have a clock at {pin}")
        falling = bool(self.netlist.fabric.option(x, y, "NegClk"))
        return value, falling, self.netlist.value(x, y, "io_global/cen", ONE)

    def _connect_input(self) -> None:
        netlist, (x, y, z) = self.netlist, self.site
        pad = netlist.pad_inputs[self.site]
        if self.kind[1] and netlist.value(x, y, "io_global/latch") != ZERO:
            raise netlist.fabric.refuse((x, y), f"I/O block {z} latches its input, which is not translated")
        if not self.kind[0] and self._read(f"io_{z}/D_IN_0"):
            clock, falling, enable = self._clock("io_global/inclk")
            netlist.flop(f"din0_{self.name}", clock, falling, pad, enable)
        if self._read(f"io_{z}/D_IN_1"):
            clock, falling, enable = self._clock("io_global/inclk")
            if enable != ONE:
                enable = netlist.flop(f"dinen_{self.name}", clock, falling, enable)
            netlist.flop(f"din1_{self.name}", clock, not falling, pad, enable)

    def _connect_output(self) -> None:
        netlist, (x, y, z) = self.netlist, self.site
        data = netlist.value(x, y, f"io_{z}/D_OUT_0")
        if self.kind[2:4] != [0, 1]:  # anything but a plain output is registered
            clock, falling, enable = self._clock("io_global/outclk")
            first = netlist.flop(f"dout0_{self.name}", clock, falling, data, enable)
            if self.kind[2:4] == [0, 0]:
                gate = enable if enable == ONE else netlist.flop(f"douten_{self.name}", clock, falling, enable)
                other = netlist.value(x, y, f"io_{z}/D_OUT_1")
                second = netlist.flop(f"dout1_{self.name}", clock, not falling, other, gate)
                high, low = (second, first) if falling else (first, second)
                data = f"({clock} ? {high} : {low})"
            else:
                data = first if self.kind[3] == 0 else f"~{first}"
        if not self.releases:
            netlist.outputs.append((self.port, data))
            return
        drive = netlist.value(x, y, f"io_{z}/OUT_ENB", ONE)
        if self.kind[4]:
            clock, falling, enable = self._clock("io_global/outclk")
            drive = netlist.flop(f"oe_{self.name}", clock, falling, drive, enable)
        netlist.outputs.append((f"{self.port}_o", data))
        netlist.outputs.append((f"{self.port}_oe", drive))
        if self.listens:
            netlist.wire(f"pad_{self.name}", f"({self.port}_oe ? {self.port}_o : {self.port}_i)")


def declare(netlist: Netlist) -> None:
    """Add the ports of all used I/O blocks and name what they drive."""
    fabric = netlist.fabric
    for x, y in [tile for tile, kind in netlist.tables.kinds.items() if kind == "io"]:
        names = fabric.options.get((x, y), set())
        for name in names:
            if _ANALOG.fullmatch(name):
                fabric.option(x, y, name)
        for z in range(2):
            block = _Block(netlist, (x, y, z))
            block.declare()
            netlist.io_blocks.append(block)


def connect(netlist: Netlist) -> None:
    """Emit the registers and outputs of all I/O blocks."""
    clocked = set()
    for block in netlist.io_blocks:
        block.connect()
        if block.uses_clock:
            clocked.add(block.site[:2])
    for x, y in clocked:
        bits = netlist.fabric.option_bits(x, y, "NegClk")
        if len(set(bits)) > 1:
            raise netlist.fabric.refuse((x, y), "its two NegClk bits differ")
