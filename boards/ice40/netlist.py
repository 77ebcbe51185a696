"""The Verilog under construction, as far as it is iCE40's own: what drives the fabric's nets, and the pads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from neuroloom.boards.readback.module import ZERO, Module, bus

from .fabric import Fabric
from .tables import Pin, Tables


@dataclass
class Netlist(Module):
    """Collects what translators emit. ``sources`` maps output pins of cells to expressions of one bit."""

    family: str = "iCE40"
    fabric: Fabric = field(kw_only=True)
    sources: dict[Pin, str] = field(default_factory=dict)
    pads: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """Sites to port names, for the sites of the chosen package."""
    pad_pins: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """Sites to package pins."""
    pad_inputs: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """Sites to the expression that their input path sees."""
    taken_inputs: set[tuple[int, int, int]] = field(default_factory=set)
    """Sites whose input path belongs to a PLL."""
    global_sources: dict[int, str] = field(default_factory=dict)
    """Global networks whose pad entry belongs to a PLL or an oscillator."""
    pass_clocks: bool = True
    io_blocks: list = field(default_factory=list)
    """I/O blocks between their declaration and their connection."""

    @property
    def tables(self) -> Tables:
        return self.fabric.tables

    def value(self, x: int, y: int, pin: str, default: str = ZERO) -> str:
        """Expression of the signal at a cell's input pin; ``default`` when no switch connects it.

        Raises :class:`UnsupportedError` for a route that starts at nothing that drives.
        """
        net = self.tables.net(x, y, pin)
        if net is None:
            return default
        root, routed = self.fabric.trace(net)
        source = self.source(root)
        if source is not None:
            return source
        if routed:
            raise self.fabric.refuse(
                (x, y), f"{pin} is routed from {self.tables.net_name(root)}, which no translated cell drives"
            )
        return default

    def source(self, net: int) -> str | None:
        """What drives a net that no switch drives, or None."""
        number = self.tables.globals.get(net)
        if number is not None:
            return self._global(number)
        for pin in self.tables.cell_pins(net):
            if pin in self.sources:
                return self.sources[pin]
            # A logic cell whose bits are all zero is a lookup table of zeros.
            if self.tables.kinds.get(pin[:2]) == "logic" and re.fullmatch(r"lutff_\d/l?out", pin[2]):
                return ZERO
        return None

    def _global(self, number: int) -> str | None:
        entry = next(tile for tile, glb in self.tables.gbufin.items() if glb == number)
        from_fabric = self.fabric.driven(*entry, "fabout")
        if number not in self.fabric.padin:
            return self.value(*entry, "fabout") if from_fabric else None
        if from_fabric:
            raise self.fabric.refuse(entry, f"global network {number} is driven by its pad and by the fabric")
        if number in self.global_sources:
            return self.global_sources[number]
        site = next(site for site, glb in self.tables.gbufpin.items() if glb == number)
        if site not in self.pad_inputs:
            raise self.fabric.refuse(site[:2], f"global network {number} comes from pad {site[2]}, which is no input")
        return self.pad_inputs[site]

    def bus(self, pins: list[tuple[int, int, str]], default: str = ZERO) -> str:
        """Concatenation of several pins, the first being the least significant."""
        return bus([self.value(*pin, default) for pin in pins])
