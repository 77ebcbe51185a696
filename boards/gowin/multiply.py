"""Multipliers of 18 x 18 bits without registers; everything else that the chip's DSP blocks can do is refused.

Source: Gowin UG287 "DSP", Apicula's tables, and how its packer uses them. A block is nine tiles with two macros of two multipliers.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import chain, combinations

from neuroloom.boards.readback.module import bus

from .netlist import Netlist
from .tables import Fuse, Tables, Tile, union

_TILES = 9
Place = tuple[Tile, Fuse]


def _attributes(index: int) -> list[dict[str, str]]:
    """Of a macro's multiplier, the attributes of its lower and upper half: no register anywhere, no shift chain."""
    result = []
    for half, letter in enumerate("LH"):
        number = 2 * index + half
        values = {f"IR{shift}SHFEN_{index}": "1" for shift in "AB"}
        if index:
            values["MATCH_SHFEN"] = "ENABLE"
        names = [f"OR2CIB_EN{index}{letter}_{number}"]
        for kind in ("BY", "NS"):
            inputs = ((4 * index + half, "A"), (4 * index + 2 + half, "B"))
            names += [f"IR{kind}_IREG{index}{side}{letter}_{place}" for place, side in inputs]
            names += [f"{stage}{kind}_{3 * index + sign}" for stage in ("CIN", "CPR") for sign in range(2)]
            if index:
                names.append(f"IR{kind}_IRMATCH{letter}_{8 + half}")
        for kind in (f"NS{letter}", f"BYP{letter}"):
            names += [f"PPREG{index}_{kind}_{number}", f"OREG{index}_{kind}_{number}"]
        result.append(values | dict.fromkeys(names, "ENABLE"))
    return result


@lru_cache(maxsize=64)
def _fuses(tables: Tables, tile: Tile, macro: int, index: int) -> frozenset[Place]:
    """What is set for one multiplier of the block that begins at a tile."""
    result: set[Place] = set()
    for part in _parts(tile):
        table = tables.short(part, f"DSP{macro}")
        numbers: set[int] = set()
        for values in _attributes(index):
            numbers |= tables.attributes("DSP", values)
        result |= {(part, fuse) for fuse in tables.fuses(numbers, table)}
    return frozenset(result)


def _parts(tile: Tile) -> list[Tile]:
    return [(tile[0], tile[1] + number) for number in range(_TILES)]


def declare(netlist: Netlist) -> None:
    """Find the multipliers, and say what they drive; raises UnsupportedError for other uses of a DSP block."""
    fabric, tables = netlist.fabric, netlist.tables
    for tile in fabric.set:
        if "DSP" not in tables.data(tile).bels:
            continue
        used = {
            (part, fuse)
            for part in _parts(tile)
            for macro in range(2)
            for fuse in fabric.set[part] & union(tables.short(part, f"DSP{macro}"))
        }
        if not used:
            continue
        places = [(macro, index) for macro in range(2) for index in range(2)]
        for chosen in chain.from_iterable(combinations(places, count) for count in range(1, 5)):
            if used == frozenset().union(*(_fuses(tables, tile, *place) for place in chosen)):
                break
        else:
            raise fabric.refuse(
                tile, "the DSP block is set to something else than multipliers of 18 x 18 bits without registers"
            )
        for part, fuse in used:
            fabric.claim(part, [fuse])
        for macro, index in chosen:
            Multiplier(netlist, tile, f"{macro}{index}")


class Multiplier:
    """One multiplier in use."""

    def __init__(self, netlist: Netlist, tile: Tile, number: str) -> None:
        self.netlist, self.tile = netlist, tile
        self.wires = netlist.tables.data(tile).bels[f"MULT18X18{number}"].portmap
        self.name = f"p_{tile[0]}_{tile[1]}_{number}"
        self.emitted = False
        for bit in range(36):
            netlist.provide(tile, self.wires[f"DOUT{bit}"], partial(self.output, bit))

    def output(self, bit: int) -> str:
        """The signal at an output."""
        if not self.emitted:
            self.emitted = True
            self.netlist.declarations.append(f"  wire [35:0] {self.name};")
            self.netlist.waiting.append(self._emit)
        return f"{self.name}[{bit}]"

    def _factor(self, letter: str) -> str:
        values = [self.netlist.value(self.tile, self.wires[f"{letter}{bit}"]) for bit in range(18)]
        sign = self.netlist.value(self.tile, self.wires[f"{letter}SIGN"])
        return f"$signed({{{sign} & {values[17]}, {bus(values)}}})"

    def _emit(self) -> None:
        for pin, wire in self.wires.items():
            if not pin.startswith("DOUT"):
                self.netlist.fabric.trace(self.tile, wire)
        self.netlist.cells["MULT18X18"] += 1
        for letter in "ab":
            self.netlist.blocks.append(f"  wire signed [18:0] {self.name}_{letter} = {self._factor(letter.upper())};")
        self.netlist.blocks.append(f"  wire signed [37:0] {self.name}_p = {self.name}_a * {self.name}_b;")
        self.netlist.blocks.append(f"  assign {self.name} = {self.name}_p[35:0];")
