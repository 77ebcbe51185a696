"""The Verilog under construction: sources of nets, wires, flip-flops grouped by control signals, and ports."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from neuroloom.compiler.errors import UnsupportedError

from .fabric import Fabric
from .tables import Pin, Tables

ZERO, ONE = "1'b0", "1'b1"


@dataclass(frozen=True)
class Port:
    """One pin of the board, or a clock that the simulation supplies.

    ``name`` is the constraint file's name, else ``pin_<package pin>``, else ``io_<x>_<y>_<block>``. ``input``, ``output`` and
    ``enable`` are the module's port names, or None: a pin that the design may release has all of ``output`` and
    ``enable`` (1: the chip drives), and ``input`` when the design also reads it.
    """

    name: str
    pin: str | None
    site: tuple[int, int, int] | None
    direction: str
    """``input``, ``output``, ``inout``, ``clock`` (an input for a PLL output or oscillator) or ``signal`` (an output of
    an internal cell such as warm boot)."""
    input: str | None = None
    output: str | None = None
    enable: str | None = None
    pullup: bool = False


@dataclass(frozen=True)
class Pll:
    """Settings of one PLL as configured. ``ratio`` maps each output, "A" or "B", to its exact frequency over the reference's."""

    site: tuple[int, int]
    kind: str
    parameters: dict[str, int]
    ratio: dict[str, Fraction]
    reference: str
    """Module-level name of the reference clock."""
    clocks: dict[str, str]
    """Signal that stands for each used output: the reference itself, or the input port that the simulation drives."""


@dataclass
class Netlist:
    """Collects what translators emit. ``sources`` maps output pins of cells to expressions of one bit."""

    fabric: Fabric
    sources: dict[Pin, str] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    cells: Counter = field(default_factory=Counter)
    plls: list[Pll] = field(default_factory=list)
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
    wires: list[tuple[str, str]] = field(default_factory=list)
    flops: dict[tuple[str, str, str, str, bool], list[tuple[str, str, int]]] = field(default_factory=dict)
    declarations: list[str] = field(default_factory=list)
    """Registers and buses that other blocks may read."""
    clocks: set[str] = field(default_factory=set)
    """Every expression that clocks something."""
    blocks: list[str] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    io_blocks: list = field(default_factory=list)
    """I/O blocks between their declaration and their connection."""
    names: set[str] = field(default_factory=set)

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
        values = [self.value(*pin, default) for pin in pins]
        if all(value in (ZERO, ONE) for value in values):
            number = sum(1 << i for i, value in enumerate(values) if value == ONE)
            return f"{len(values)}'h{number:x}"
        return "{" + ", ".join(reversed(values)) + "}"

    def wire(self, name: str, expression: str) -> str:
        """Declare a one-bit wire and return its name."""
        self.wires.append((name, expression))
        return name

    def flop(
        self,
        name: str,
        clock: str,
        falling: bool,
        data: str,
        enable: str = ONE,
        reset: str = ZERO,
        asynchronous: bool = False,
        preset: int = 0,
    ) -> str:
        """Declare a flip-flop, 0 at start; a synchronous reset acts only while enabled, an asynchronous one always."""
        if clock in (ZERO, ONE):
            raise UnsupportedError(f"iCE40 flip-flop {name} must have a running clock, not a constant")
        self.clocks.add(clock)
        asynchronous = asynchronous and reset != ZERO
        if asynchronous and reset == ONE:
            raise UnsupportedError(f"iCE40 flip-flop {name} must not be held in asynchronous reset by a constant")
        edge = "negedge" if falling else "posedge"
        self.flops.setdefault((edge, clock, enable, reset, asynchronous), []).append((name, data, preset))
        return name

    def add_port(self, port: Port) -> None:
        """Add a port; two ports of one name are refused."""
        new = [name for name in (port.input, port.output, port.enable) if name]
        if port.name in self.ports or self.names & set(new):
            raise UnsupportedError(f"iCE40 pin name {port.name} must be unique; rename one in the constraint file")
        self.names.update(new)
        self.ports[port.name] = port

    def clock_port(self, name: str) -> str:
        """An input port that the simulation drives as a clock."""
        self.add_port(Port(name, None, None, "clock", input=name))
        return name
