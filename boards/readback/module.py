"""The Verilog module under construction: wires, flip-flops grouped by control signals, blocks and ports."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

from neuroloom.compiler.errors import UnsupportedError

ZERO, ONE = "1'b0", "1'b1"

Control = tuple[str, str, str, str, str]
"""Edge, clock, enable, reset, and when the reset acts: ``enabled``, ``always`` (first of all) or ``async``."""


@dataclass(frozen=True)
class Port:
    """One pin of the board, or a clock that the simulation supplies.

    ``name`` is the constraint file's name, else ``pin_<package pin>``, else one that tells its site. ``input``, ``output`` and
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


@dataclass(frozen=True)
class Flop:
    """One flip-flop: what it loads, what its reset sets it to, and what it starts with."""

    name: str
    data: str
    preset: int
    start: int = 0


@dataclass
class Module:
    """Collects what translators emit; ``family`` is how messages call the chip."""

    family: str
    ports: dict[str, Port] = field(default_factory=dict)
    cells: Counter = field(default_factory=Counter)
    plls: list[Pll] = field(default_factory=list)
    wires: list[tuple[str, str]] = field(default_factory=list)
    flops: dict[Control, list[Flop]] = field(default_factory=dict)
    declarations: list[str] = field(default_factory=list)
    """Registers and buses that other blocks may read."""
    clocks: set[str] = field(default_factory=set)
    """Every expression that clocks something."""
    blocks: list[str] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

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
        acts: str = "enabled",
        preset: int = 0,
        start: int = 0,
    ) -> str:
        """Declare a flip-flop and return its name; ``acts`` tells when its reset does (see :data:`Control`)."""
        if clock in (ZERO, ONE):
            raise UnsupportedError(f"{self.family} flip-flop {name} must have a running clock, not a constant")
        self.clocks.add(clock)
        if acts == "async" and reset == ONE:
            raise UnsupportedError(
                f"{self.family} flip-flop {name} must not be held in asynchronous reset by a constant"
            )
        if reset == ZERO or enable == ONE and acts == "always":
            acts = "enabled"
        edge = "negedge" if falling else "posedge"
        self.flops.setdefault((edge, clock, enable, reset, acts), []).append(Flop(name, data, preset, start))
        return name

    def add_port(self, port: Port) -> None:
        """Add a port; two ports of one name are refused."""
        new = [name for name in (port.input, port.output, port.enable) if name]
        if port.name in self.ports or self.names & set(new):
            raise UnsupportedError(
                f"{self.family} pin name {port.name} must be unique; rename one in the constraint file"
            )
        self.names.update(new)
        self.ports[port.name] = port

    def clock_port(self, name: str) -> str:
        """An input port that the simulation drives as a clock."""
        self.add_port(Port(name, None, None, "clock", input=name))
        return name


def bus(values: list[str]) -> str:
    """Concatenation of expressions of one bit, the first being the least significant."""
    if all(value in (ZERO, ONE) for value in values):
        number = sum(1 << i for i, value in enumerate(values) if value == ONE)
        return f"{len(values)}'h{number:x}"
    return "{" + ", ".join(reversed(values)) + "}"


def identifier(name: str) -> str:
    """A legal Verilog identifier: ``led[3]`` becomes ``led_3``, other odd characters become ``_``."""
    name = re.sub(r"\[(\d+)\]$", r"_\1", name)
    name = re.sub(r"\W", "_", name)
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"
