"""Block RAM. By its fuses every one has two ports: whether it is a single-port or a read-only memory shows in its wires alone.

Source: Gowin UG285 "BSRAM & SSRAM", Apicula's tables, and how its packer uses them. A port has 1, 2, 4, 9 or 18 bits; with
``DBLWA`` port A writes 36, 18 of which come in at port B, with ``DBLWB`` port B reads 36, 18 of which leave at port A.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from neuroloom.boards.readback.lut import expression
from neuroloom.boards.readback.module import ONE, ZERO, bus

from .bitstream import CONTENT_ROWS
from .fabric import Fabric
from .netlist import Netlist
from .tables import Fuse, Tile, union

WORDS, BITS = 1024, 18
_WIDTHS = ("18", "9", "4", "2", "1")
_WRITES = {"": 0, "WT": 1, "RBW": 2}
"""What a write does to the output of its port, as the model counts: nothing, the new word, the old one."""
_TABLE = "BSRAM_DP"
"""The table of the two-port mode; the other modes' fuses are the same."""


@dataclass(frozen=True)
class Side:
    """Settings of one port, ``letter`` A or B."""

    letter: str
    width: int
    writes: int
    clock_inverted: bool
    enable_inverted: bool
    write_inverted: bool
    select: tuple[bool, ...]
    """Of each block select pin: whether it must be high."""
    bytes_on: bool
    """Whether all bytes are written, whatever the lowest address bits say."""


class Block:
    """One block RAM in use: ``tile`` is the first of its three."""

    def __init__(self, netlist: Netlist, tile: Tile) -> None:
        self.netlist, self.fabric, self.tile = netlist, netlist.fabric, tile
        self.name = f"b_{tile[0]}_{tile[1]}"
        self.wires = netlist.tables.data(tile).bels["BSRAM"].portmap
        self.emitted = False
        if not self._set("MODE", "ENABLE") or not self._set("GSR", "DISABLE"):
            raise self.fabric.refuse(tile, "the block RAM must be switched on and outside the global reset, and is not")
        self.asynchronous = self._set("OUTREG_ASYNC", "RESET")
        self.a, self.b = self._side("A"), self._side("B")
        for letter in "AB":
            for pin in range(18):
                netlist.provide(tile, self.wires[f"DO{letter}{pin}"], partial(self.output, letter, pin))

    def _set(self, attribute: str, value: str) -> bool:
        """Whether an attribute's fuses are all set, in whichever of the three tiles they are; claims them."""
        numbers = self.netlist.tables.attributes("BSRAM", {attribute: value})
        fuses = [(tile, fuse) for tile in self._tiles() for fuse in self._fuses(tile, numbers)]
        if not fuses or not all(fuse in self.fabric.set[tile] for tile, fuse in fuses):
            return False
        for tile, fuse in fuses:
            self.fabric.claim(tile, [fuse])
        return True

    def _tiles(self) -> list[Tile]:
        row, col = self.tile
        return [(row, col), (row, col + 1), (row, col + 2)]

    def _fuses(self, tile: Tile, numbers: set[int]) -> set[Fuse]:
        return self.netlist.tables.fuses(numbers, self.netlist.tables.short(tile, _TABLE))

    def _side(self, letter: str) -> Side:
        # a narrow width has the fuses of the next wider one too, so the narrowest that is whole is meant
        width = next((w for w in reversed(_WIDTHS) if w != "18" and self._set(f"DP{letter}_DATA_WIDTH", w)), "18")
        double = self._set(f"DBLW{letter}", "X36")
        if double and width != "18":
            raise self.fabric.refuse(self.tile, f"port {letter} of the block RAM has both 36 and {width} bits")
        return Side(
            letter,
            36 if double else int(width),
            next((number for name, number in _WRITES.items() if name and self._set(f"DP{letter}_MODE", name)), 0),
            self._set(f"CLKMUX_CLK{letter}", "INV"),
            self._set(f"CEMUX_CE{letter}", "INV"),
            self._set(f"WEMUX_WE{letter}", "INV"),
            tuple(not self._set(f"CS{letter}_{number}", "SET") for number in range(3)),
            self._set(f"DP{letter}_BEHB", "ENABLE") & self._set(f"DP{letter}_BELB", "ENABLE"),
        )

    def output(self, letter: str, pin: int) -> str:
        """The signal at an output of a port."""
        if not self.emitted:
            self.emitted = True
            self.netlist.declarations += [f"  wire [35:0] {self.name}_a, {self.name}_b;"]
            self.netlist.waiting.append(self._emit)
        if self.b.width == 36:  # both halves belong to port B
            return f"{self.name}_b[{pin + (18 if letter == 'B' else 0)}]"
        return f"{self.name}_{letter.lower()}[{pin}]"

    def _pin(self, name: str) -> str:
        return self.netlist.value(self.tile, self.wires[name])

    def _touch(self) -> None:
        for wire in {wire for pin, wire in self.wires.items() if not pin.startswith("DO")}:
            self.fabric.trace(self.tile, wire)

    def _emit(self) -> None:
        self._touch()
        self.netlist.uses_memory = True
        self.netlist.cells["BSRAM"] += 1
        content = content_of(self.fabric, self.tile)
        parameters = [".BYTE(9)", f".ASYNC({int(self.asynchronous)})"]
        if content is None:
            seed = 2654435769 * (self.netlist.cells["BSRAM"] + 1) % (1 << 32)
            parameters.append(f".FILL(SEED ^ 32'd{seed})")
        else:
            parameters.append(f".INIT(18432'h{content:x})")
        pins = []
        for side in (self.a, self.b):
            letter, low = side.letter, side.letter.lower()
            parameters += [f".WIDTH_{letter}({side.width})", f".MODE_{letter}({side.writes})"]
            parameters.append(f".INVERT_{letter}({int(side.clock_inverted)})")
            pins += [f".{name}_{low}({text})" for name, text in self._connections(side).items()]
            pins.append(f".do_{low}({self.name}_{low})")
        self.netlist.blocks.append(
            f"  neuroloom_block_ram #({', '.join(parameters)})\n    {self.name} ({', '.join(pins)});"
        )

    def _connections(self, side: Side) -> dict[str, str]:
        letter = side.letter
        clock = self._pin(f"CLK{letter}")
        if clock in (ZERO, ONE):  # nothing ever happens there
            return {"clk": ZERO, "en": ZERO, "we": ZERO, "rst": ZERO, "ad": "14'd0", "di": "36'd0"}
        self.netlist.clocks.add(clock)
        reads_only = letter == "B" and side.width == 36
        write = ZERO if reads_only else self._polar(f"WRE{letter}", side.write_inverted)
        if letter == "B" and self.a.width == 36 and write != ZERO:
            raise self.fabric.refuse(self.tile, "port B of the block RAM writes although its inputs belong to port A")
        address = [self._pin(f"AD{letter}{number}") for number in range(14)]
        if side.bytes_on and write != ZERO:
            enables = address[: max(1, side.width // 9)] if side.width > 9 else []
            if any(pin != ONE for pin in enables):
                raise self.fabric.refuse(
                    self.tile, f"port {letter} of the block RAM writes all bytes although address pins choose some"
                )
        return {
            "clk": clock,
            "en": self._enable(side),
            "we": write,
            "rst": self._pin(f"RESET{letter}"),
            "ad": bus(address),
            "di": self._data(side, write),
        }

    def _data(self, side: Side, write: str) -> str:
        if write == ZERO:
            return "36'd0"
        letters = "AB" if side.width == 36 else side.letter
        count = side.width // len(letters)
        values = [self._pin(f"DI{letter}{number}") for letter in letters for number in range(count)]
        return bus(values + [ZERO] * (36 - len(values)))

    def _polar(self, pin: str, inverted: bool) -> str:
        value = self._pin(pin)
        return expression(0b01, [value]) if inverted else value

    def _enable(self, side: Side) -> str:
        """Clock enable, while the block is selected."""
        terms = [self._polar(f"CE{side.letter}", side.enable_inverted)]
        terms += [self._polar(f"BLKSEL{side.letter}{number}", not high) for number, high in enumerate(side.select)]
        if ZERO in terms:
            return ZERO
        return " & ".join(term for term in terms if term != ONE) or ONE


def content_of(fabric: Fabric, tile: Tile) -> int | None:
    """The first content of a block RAM, 2,048 bytes of nine bits with the lowest byte first; None where the file has none."""
    places = content_places(fabric, tile)
    if fabric.stream.content is None:
        return None
    bits = fabric.stream.content[places[..., 0], places[..., 1]].reshape(-1)
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def content_places(fabric: Fabric, tile: Tile) -> np.ndarray:
    """Row and column in the file's content of each of a block RAM's words and bits, an array [1024, 18, 2]."""
    db = fabric.tables.db
    columns = db.rev_logicinfo("BSRAM_INIT")
    word, bit = np.mgrid[0:WORDS, 0:BITS]
    quarter = np.array([0, 2, 1, 3])[word & 3]
    row = CONTENT_ROWS * (sorted(db.simplio_rows).index(tile[0]) + 1) - 1 - (quarter * 64 + (word >> 2 & 63))
    line = np.array([columns[number][0] - 1 for number in range(4 * BITS)])
    column = sum(db[0, col].width for col in range(tile[1])) + line[bit * 4 + (word >> 8)]
    return np.stack([row, column], axis=-1)


def declare(netlist: Netlist) -> None:
    """Say what the block RAMs that are switched on drive."""
    fabric, tables = netlist.fabric, netlist.tables
    for tile in fabric.set:
        if "BSRAM" not in tables.data(tile).bels:
            continue
        tiles = [(tile[0], tile[1] + number) for number in range(3)]
        if any(fabric.set[part] & union(tables.short(part, _TABLE)) for part in tiles):
            netlist.memories[tile] = Block(netlist, tile)


def finish(netlist: Netlist) -> None:
    """Refuse block RAMs that nothing reads, and content of those that are not in use."""
    stream = netlist.fabric.stream
    for tile, block in netlist.memories.items():
        if not block.emitted:
            raise netlist.fabric.refuse(tile, "the block RAM is set up, and nothing reads it")
    if stream.content is None:
        return
    rest = stream.content.copy()
    for tile in netlist.memories:
        places = content_places(netlist.fabric, tile)
        rest[places[..., 0], places[..., 1]] = False
    for row, column in np.argwhere(rest)[:1]:
        raise netlist.fabric.refuse(
            (0, 0), f"block RAM content at ({row}, {column}) is set and belongs to no block RAM in use"
        )
