"""Logic tiles: look-up tables, carry chains, wide multiplexers, flip-flops, and the memory of 16 x 4 bits that four tables make.

Source: Gowin UG288 "CFU" and Project Apicula, "ALU". In a carry slice the table's output is inverted by the carry, and where it is
0 the carry comes from the table's lowest four entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from neuroloom.boards.readback.lut import expression
from neuroloom.boards.readback.module import ONE, ZERO

from .netlist import Netlist
from .slices import Slice, read_slice, unset_slice
from .tables import Tile

_ATOM = re.compile(r"\w+|\w+\[\d+\]|1'b[01]")
_INPUTS = "ABCD"
_FLOPS = 6
_MEMORY = 4
"""The first tables of a tile with memory hold it; the next two are its write port."""
_MULTIPLEXERS = {
    0: ("F1", "F0"),
    2: ("F3", "F2"),
    4: ("F5", "F4"),
    6: ("F7", "F6"),
    1: ("OF0", "OF2"),
    5: ("OF4", "OF6"),
    3: ("OF1", "OF5"),
}
"""Of each wide multiplexer OFn with select SELn: what it shows at 1 and at 0."""


@dataclass
class Logic:
    """One logic tile."""

    netlist: Netlist
    tile: Tile
    slices: tuple[Slice | None, ...]

    def __post_init__(self) -> None:
        self.place = f"{self.tile[0]}_{self.tile[1]}"
        self.memory = any(s is not None and s.mode == "SSRAM" for s in self.slices[3:])
        self.read: set[int] = set()
        """Flip-flops that something reads."""
        self.halves: dict[int, str] = {}

    def table(self, index: int) -> int:
        """The truth table of a look-up table: each fuse that is set is a 0."""
        flags = self.netlist.tables.data(self.tile).bels[f"LUT{index}"].flags
        fabric = self.netlist.fabric
        return sum(1 << entry for entry, fuses in flags.items() if not fabric.claim(self.tile, fuses))

    def mode(self, index: int) -> str:
        """The mode of the slice that a table or flip-flop is in."""
        settings = self.slices[index // 2]
        return settings.mode if settings else ""

    def pins(self, index: int) -> list[str]:
        return [f"{letter}{index}" for letter in _INPUTS]

    def lut(self, index: int) -> str:
        """What leaves as F: the table, the sum in a carry slice, or a memory's output."""
        netlist = self.netlist
        if self.memory and index < _MEMORY + 2:
            if index >= _MEMORY:
                raise netlist.fabric.refuse(
                    self.tile, f"F{index} is read, and its look-up table is a memory's write port"
                )
            name = f"m_{self.place}_{index}"
            netlist.waiting.append(partial(self._emit_read, index, name))
            return name
        if self.mode(index) == "ALU":
            name = f"s_{self.place}_{index}"
            netlist.waiting.append(partial(self._emit_sum, index, name))
            return name
        table = self.table(index)
        through = netlist.passes(self.tile, table, self.pins(index))
        if through is not None:
            return through if through in (ZERO, ONE) else netlist.value(self.tile, through)
        name = f"l_{self.place}_{index}"
        netlist.waiting.append(partial(self._emit_lut, index, name))
        return name

    def _emit_lut(self, index: int, name: str) -> None:
        self.netlist.cells["LUT4"] += 1
        self.netlist.wire(name, self.netlist.function(self.tile, self.table(index), self.pins(index)))

    def _emit_sum(self, index: int, name: str) -> None:
        self.netlist.cells["ALU"] += 1
        self.netlist.wire(name, expression(0b0110, [self._half(index), self.carry(index)]))

    def _half(self, index: int) -> str:
        """The table's own signal in a carry slice."""
        if index not in self.halves:
            text = self.netlist.function(self.tile, self.table(index), self.pins(index))
            self.halves[index] = self._named(f"l_{self.place}_{index}", text)
        return self.halves[index]

    def _named(self, name: str, text: str) -> str:
        """A signal that can stand in an expression."""
        return text if _ATOM.fullmatch(text) else self.netlist.wire(name, text)

    def carry(self, index: int) -> str:
        """The signal of the carry into a table of a carry slice; 0 at a tile's first one where the tile before has no chain."""
        row, col = self.tile
        before = (row, col, index - 1) if index else (row, col - 1, _FLOPS - 1)
        logic = self.netlist.logic.get(before[:2])
        if logic is None or logic.mode(before[2]) != "ALU":
            if index == 0:
                return ZERO
            raise self.netlist.fabric.refuse(self.tile, f"the carry of look-up table {index} comes from no carry slice")
        name = f"c_{before[0]}_{before[1]}_{before[2]}"
        if name not in self.netlist.carries:
            self.netlist.carries.add(name)
            self.netlist.waiting.append(partial(logic.emit_carry, before[2], name))
        return name

    def emit_carry(self, index: int, name: str) -> None:
        """The carry out of a table: the carry in where the table shows 1."""
        netlist, half = self.netlist, self._half(index)
        made = netlist.function(self.tile, self.table(index) & 0xF, self.pins(index)[:2]) if half != ONE else ZERO
        made = self._named(f"k_{self.place}_{index}", made)
        netlist.wire(name, expression(0b11001010, [made, self.carry(index) if half != ZERO else ZERO, half]))

    def multiplexer(self, index: int) -> str:
        """What leaves as OF: two tables of a slice, two of those, four, or this tile's and the next one's."""
        name = f"o_{self.place}_{index}"
        self.netlist.waiting.append(partial(self._emit_multiplexer, index, name))
        return name

    def _emit_multiplexer(self, index: int, name: str) -> None:
        netlist, (row, col) = self.netlist, self.tile
        netlist.cells["MUX2"] += 1
        if index in _MULTIPLEXERS:
            high, low = (netlist.value(self.tile, wire) for wire in _MULTIPLEXERS[index])
        else:
            high, low = netlist.value(self.tile, "OF3"), netlist.value((row, col + 1), "OF3")
        select = netlist.value(self.tile, f"SEL{index}")
        netlist.wire(name, expression(0b11001010, [low, high, select]))

    def flop(self, index: int) -> str:
        """What leaves as Q."""
        name = f"q_{self.place}_{index}"
        self.read.add(index)
        self.netlist.waiting.append(partial(self._emit_flop, index, name))
        return name

    def _emit_flop(self, index: int, name: str) -> None:
        netlist, number = self.netlist, index // 2
        settings = self.slices[number] or unset_slice(netlist.fabric, self.tile, number)
        if settings is None:
            raise netlist.fabric.refuse(self.tile, f"flip-flop {index} is read, and its slice is not configured")
        netlist.cells["DFF"] += 1
        high = settings.sets[index % 2]
        enable = netlist.value(self.tile, f"CE{number}")
        reset = netlist.value(self.tile, f"LSR{number}") if settings.resets else ZERO
        netlist.flop(
            name,
            clock=netlist.value(self.tile, f"CLK{number}"),
            falling=settings.falling,
            data=netlist.value(self.tile, f"F{index}"),
            enable=inverted(enable) if settings.enable_low else enable,
            reset=inverted(reset) if settings.reset_low else reset,
            acts="async" if settings.asynchronous else "always",
            preset=int(high),
            start=int(high),
        )

    def _emit_read(self, index: int, name: str) -> None:
        netlist = self.netlist
        ram = f"ram_{self.place}"
        if ram not in netlist.carries:
            netlist.carries.add(ram)
            netlist.waiting.append(partial(self._emit_memory, ram))
        address = ", ".join(netlist.value(self.tile, pin) for pin in reversed(self.pins(index)))
        netlist.wire(name, f"{ram}_{index}[{{{address}}}]")

    def _emit_memory(self, ram: str) -> None:
        netlist, settings = self.netlist, self.slices[2]
        if settings is None or not settings.resets or not settings.reset_low:
            raise netlist.fabric.refuse(self.tile, "the memory's write enable must be high, and is set otherwise")
        netlist.cells["RAM16"] += 1
        for index in range(_MEMORY):  # the fuses of these tables are the memory's first content
            netlist.declarations.append(f"  reg [15:0] {ram}_{index} = 16'h{self.table(index):04x};")
        address = ", ".join(netlist.value(self.tile, pin) for pin in reversed(self.pins(_MEMORY)))
        clock, write = netlist.value(self.tile, "CLK2"), netlist.value(self.tile, "LSR2")
        enable = netlist.value(self.tile, "CE2")
        netlist.clocks.add(clock)
        edge = "negedge" if settings.falling else "posedge"
        data = [netlist.value(self.tile, pin) for pin in self.pins(_MEMORY + 1)]
        writes = " ".join(f"{ram}_{n}[{{{address}}}] <= {bit};" for n, bit in enumerate(data))
        netlist.blocks.append(f"  always @({edge} {clock}) if ({write} & {enable}) begin {writes} end")


def inverted(text: str) -> str:
    """The negation of a signal."""
    return expression(0b01, [text])


def declare(netlist: Netlist) -> None:
    """Say what logic tiles drive."""
    for tile in netlist.fabric.set:
        bels = netlist.tables.data(tile).bels
        if "LUT0" not in bels:
            continue
        logic = Logic(netlist, tile, tuple(read_slice(netlist.fabric, tile, number) for number in range(4)))
        netlist.logic[tile] = logic
        for index in range(8):
            netlist.provide(tile, f"F{index}", partial(logic.lut, index))
            netlist.provide(tile, f"OF{index}", partial(logic.multiplexer, index))
        for index in range(_FLOPS):
            netlist.provide(tile, f"Q{index}", partial(logic.flop, index))


def finish(netlist: Netlist) -> None:
    """Claim what place and route puts at the ends of carry chains; refuse registers that are set up and that nothing reads."""
    for tile, logic in netlist.logic.items():
        for index in range(2 * 3):
            if logic.mode(index) == "ALU":
                logic.table(index)
                for pin in logic.pins(index):
                    netlist.fabric.trace(tile, pin)
        for number, settings in enumerate(logic.slices[:3]):
            used = logic.read & {2 * number, 2 * number + 1}
            if settings is None or logic.memory:
                continue
            idle = [index for index in (2 * number, 2 * number + 1) if index not in used]
            if any(settings.sets[index % 2] for index in idle) or not used and not settings.plain:
                raise netlist.fabric.refuse(tile, f"a flip-flop of slice {number} is set up, and nothing reads it")
