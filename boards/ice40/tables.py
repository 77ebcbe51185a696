"""Project IceStorm's chip database, read in place: what each configuration bit does and which wires are one net.

The database (``chipdb-*.txt``, Debian package ``fpga-icestorm-chipdb``) is documented in its own header. Nothing of it is kept
here; it is looked for near the path in ``ICEBOX`` and in the usual install folders.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from neuroloom.compiler.errors import MissingToolError

FOLDERS = (
    "/usr/share/fpga-icestorm/chipdb",
    "/usr/local/share/fpga-icestorm/chipdb",
    "/usr/share/icebox",
    "/usr/local/share/icebox",
)
"""Where distributions and a source install put the chip database."""

Tile = tuple[int, int]
Pin = tuple[int, int, str]
Bit = tuple[int, int]

_BIT = re.compile(r"B(\d+)\[(\d+)\]")
_CELL_PINS = (b"lutff_", b"io_", b"ram/", b"fabout", b"carry_in_mux", b"mult/", b"slf_op_", b"padin_", b"clk")


@dataclass(frozen=True, eq=False)
class Switch:
    """One routing multiplexer: the value of its bits, first bit most significant, selects the net that drives ``net``."""

    net: int
    bits: tuple[Bit, ...]
    table: str
    """Lines of value and net number; parsed when asked, for few switches of a chip are on."""

    def source(self, value: int) -> int | None:
        """The net that ``value`` selects, or None when it selects nothing."""
        wanted = format(value, f"0{len(self.bits)}b")
        return next((int(net) for pattern, net in map(str.split, self.table.splitlines()) if pattern == wanted), None)


@dataclass(frozen=True)
class ExtraCell:
    """A cell outside the fabric's arrays. ``pins`` maps a port to its wire, ``config`` a parameter bit to (x, y, name)."""

    kind: str
    x: int
    y: int
    z: int
    pins: dict[str, Pin]
    config: dict[str, Pin]
    pads: dict[str, tuple[int, int, int]]


@dataclass
class Tables:
    """One device's database. Coordinates are tile columns and rows from the lower left corner, as IceStorm's."""

    device: str
    kinds: dict[Tile, str] = field(default_factory=dict)
    functions: dict[str, dict[str, tuple[Bit, ...]]] = field(default_factory=dict)
    pins: dict[str, dict[str, tuple[int, int, int]]] = field(default_factory=dict)
    gbufin: dict[Tile, int] = field(default_factory=dict)
    gbufpin: dict[tuple[int, int, int], int] = field(default_factory=dict)
    iolatch: set[Tile] = field(default_factory=set)
    ieren: dict[tuple[int, int, int], tuple[int, int, int]] = field(default_factory=dict)
    colbuf: dict[Tile, Tile] = field(default_factory=dict)
    extra_cells: list[ExtraCell] = field(default_factory=list)
    extra_bits: dict[tuple[int, int, int], str] = field(default_factory=dict)
    nets: dict[Pin, int] = field(default_factory=dict)
    globals: dict[int, int] = field(default_factory=dict)
    """Net number to global network number (0 to 7)."""
    _net_text: list[bytes] = field(default_factory=list)
    _switch_text: dict[Tile, list[bytes]] = field(default_factory=dict)
    _switches: dict[Tile, dict[Bit, Switch]] = field(default_factory=dict)
    _bit_functions: dict[str, dict[Bit, str]] = field(default_factory=dict)
    _pin_of: dict[int, list[Pin]] = field(default_factory=dict)

    def net(self, x: int, y: int, name: str) -> int | None:
        """The net of a cell pin, or None when the tile has no such wire."""
        return self.nets.get((x, y, name))

    def cell_pins(self, net: int) -> list[Pin]:
        """The cell pins that are part of a net."""
        return self._pin_of.get(net, [])

    def net_name(self, net: int) -> str:
        """A readable name of a net: its first wire, as "wire in tile (x, y)"."""
        x, y, name = self._net_text[net].split(b"\n")[1].decode().split()
        return f"{name} in tile ({x}, {y})"

    def bit_functions(self, kind: str) -> dict[Bit, str]:
        """The option that each bit of a kind of tile belongs to."""
        if kind not in self._bit_functions:
            pairs = self.functions[kind].items()
            self._bit_functions[kind] = {place: name for name, places in pairs for place in places}
        return self._bit_functions[kind]

    def switches(self, tile: Tile) -> dict[Bit, Switch]:
        """Every routing switch whose bits lie in a tile, by each of its bits."""
        if tile not in self._switches:
            owner = self._switches[tile] = {}
            for text in self._switch_text.get(tile, ()):
                head, _, body = text.decode().partition("\n")
                net, _, names = head.partition(" ")
                switch = Switch(int(net), _parse_bits(names), body)
                owner.update(dict.fromkeys(switch.bits, switch))
        return self._switches[tile]


@cache
def _parse_bits(names: str) -> tuple[Bit, ...]:
    return tuple(parse_bit(name) for name in names.split())


def parse_bit(name: str) -> Bit:
    """``B1[50]`` → (row 1, column 50)."""
    match = _BIT.fullmatch(name.lstrip("!"))
    if match is None:
        raise MissingToolError(
            f"IceStorm's chip database must name bits as B1[50], not {name}; reinstall fpga-icestorm-chipdb"
        )
    return int(match[1]), int(match[2])


def find_chipdb(device: str) -> Path:
    """Path of ``chipdb-<device>.txt``; :class:`MissingToolError` when it is nowhere."""
    own = os.environ.get("ICEBOX")
    near = [folder for base in (Path(own), *Path(own).parents[:2]) for folder in (base, base / "chipdb")] if own else []
    for folder in [*near, *map(Path, FOLDERS)]:
        path = folder / f"chipdb-{device}.txt"
        if path.is_file():
            return path
    raise MissingToolError(
        f"IceStorm's chip database chipdb-{device}.txt is not installed; run: apt-get install fpga-icestorm fpga-icestorm-chipdb "
        "(or set ICEBOX to the folder that holds it)"
    )


@lru_cache(maxsize=4)
def load(device: str) -> Tables:
    """Read the database of ``1k``, ``5k`` or ``8k``; about half a second, once per process."""
    tables = Tables(device)
    sections = find_chipdb(device).read_bytes().split(b"\n\n")
    for section in sections:
        section = section.lstrip(b"\n")
        if section.startswith((b".buffer ", b".routing ")):
            _, x, y, rest = section.split(b" ", 3)
            tables._switch_text.setdefault((int(x), int(y)), []).append(rest)
        elif section.startswith(b".net "):
            tables._net_text.append(section)
        elif section.startswith(b"."):
            for part in re.split(r"\n(?=\.)", section.decode()):  # tile lists have no blank lines between them
                _small_section(tables, part.splitlines())
    _index_nets(tables)
    return tables


def _index_nets(tables: Tables) -> None:
    odd = {f"{x} {y} {name}".encode() for cell in tables.extra_cells for x, y, name in cell.pins.values()}
    for net, text in enumerate(tables._net_text):
        for line in text.split(b"\n")[1:]:
            name = line[line.rfind(b" ") + 1 :]
            if name.startswith(_CELL_PINS) or line in odd:
                x, y, label = line.decode().split()
                pin = (int(x), int(y), label)
                tables.nets[pin] = net
                tables._pin_of.setdefault(net, []).append(pin)
            elif name.startswith(b"glb_netwk_"):
                tables.globals[net] = int(name[10:])


def _small_section(tables: Tables, lines: list[str]) -> None:
    head, body = lines[0].split(), [line.split() for line in lines[1:] if line]
    name = head[0][1:]
    if name.endswith("_tile"):
        tables.kinds[int(head[1]), int(head[2])] = name[:-5]
    elif name.endswith("_tile_bits"):
        kind = name[:-10]
        tables.functions[kind] = {row[0]: tuple(parse_bit(bit) for bit in row[1:]) for row in body}
    elif name == "pins":
        tables.pins[head[1]] = {pin: (int(x), int(y), int(z)) for pin, x, y, z in body}
    elif name == "gbufin":
        tables.gbufin = {(int(x), int(y)): int(g) for x, y, g in body}
    elif name == "gbufpin":
        tables.gbufpin = {(int(x), int(y), int(z)): int(g) for x, y, z, g in body}
    elif name == "iolatch":
        tables.iolatch = {(int(x), int(y)) for x, y in body}
    elif name == "ieren":
        for x, y, z, ix, iy, iz in ([int(v) for v in row] for row in body):
            tables.ieren[x, y, z] = (ix, iy, iz)
    elif name == "colbuf":
        tables.colbuf = {(int(dx), int(dy)): (int(sx), int(sy)) for sx, sy, dx, dy in body}
    elif name == "extra_bits":
        tables.extra_bits = {(int(b), int(x), int(y)): label for label, b, x, y in body}
    elif name == "extra_cell":
        tables.extra_cells.append(_extra_cell(head, body))


def _extra_cell(head: list[str], body: list[list[str]]) -> ExtraCell:
    place = [int(v) for v in head[1:-1]]
    cell = ExtraCell(head[-1], place[0], place[1], place[2] if len(place) > 2 else 0, {}, {}, {})
    for row in body:
        if row[0] == "LOCKED":  # the packages where the cell cannot be used
            continue
        port, x, y, what = row[0], int(row[1]), int(row[2]), row[3]
        if what.isdigit():
            cell.pads[port] = (x, y, int(what))
        elif "CBIT_" in what or "PLLCONFIG" in what or "cbit2usealt" in what or "_delay" in what:
            cell.config[port] = (x, y, what)
        else:
            cell.pins[port] = (x, y, what)
    return cell
