"""The chip's pins as ports of the module, and the signals of the fabric behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from neuroloom.boards.readback.lut import expression
from neuroloom.boards.readback.module import ONE, ZERO, Port, identifier
from neuroloom.compiler.errors import InputError

from .netlist import Netlist
from .pins import Pin, read_bank, read_pin
from .tables import Tables, Tile

_SITE = re.compile(r"IO([TBLR])(\d+)([AB])")


def site_of(tables: Tables, location: str) -> tuple[Tile, str]:
    """Tile and side of a pin by the chip's own name for it, such as ``IOB8A``."""
    found = _SITE.fullmatch(location)
    assert found is not None
    edge, number = found[1], int(found[2]) - 1
    tile = {
        "T": (0, number),
        "B": (tables.rows - 1, number),
        "L": (number, 0),
        "R": (number, tables.cols - 1),
    }[edge]
    return tile, found[3]


def package_pins(tables: Tables, part: str) -> dict[str, str]:
    """Of each pin of a part's package, the chip's name for it; raises InputError for a part that there is not."""
    known = tables.db.packages.get(part)
    if known is None:
        raise InputError(f"Gowin part must be one of {tables.device}'s, not {part!r}")
    package, variant = known[:2]
    return {str(pin): location for pin, (location, _) in tables.db.pinout[variant][package].items()}


def declare(netlist: Netlist, part: str, names: Mapping[str, str]) -> None:
    """Read every bank and pin, add the ports, and say what pins drive. ``names`` maps names of the design to package pins."""
    fabric, tables = netlist.fabric, netlist.tables
    package = package_pins(tables, part)
    labels = {}
    for name, number in names.items():
        if number not in package:
            raise InputError(f"pin of {name} must be one of {part}, not {number}")
        labels[package[number]] = (name, number)
    numbers = {location: pin for pin, location in package.items()}
    standards = {bank: read_bank(fabric, bank) for bank in sorted(tables.db.bank_tiles)}
    for location, bank in sorted(tables.db.pin_bank.items()):
        tile, side = site_of(tables, location)
        if f"IOB{side}" not in tables.data(tile).bels:
            continue
        pin = read_pin(fabric, tile, side, standards[bank])
        label, place = labels.pop(location, (f"pin_{location}", numbers.get(location)))
        if pin is not None:
            _add(netlist, tile, side, pin, label, place)
        elif place is not None and place in names.values():  # constrained, and not used by the design
            netlist.add_port(Port(label, place, (*tile, ord(side)), "input", input=identifier(label)))


def _add(netlist: Netlist, tile: Tile, side: str, pin: Pin, name: str, number: str | None) -> None:
    site, word = (*tile, ord(side)), identifier(name)
    wires = netlist.tables.data(tile).bels[f"IOB{side}"].portmap
    netlist.cells["IOB"] += 1
    if pin.drives and side == "A":
        _bottom(netlist, tile, wires)
    if not pin.drives or pin.drives == "never":
        netlist.add_port(Port(name, number, site, "input", input=word, pullup=pin.pullup))
        netlist.provide(tile, wires["O"], lambda: word)
        if pin.drives:
            netlist.waiting.append(partial(_unused_driver, netlist, tile, wires))
        return
    released = pin.drives == "enabled" or pin.open_drain
    if not released:
        netlist.add_port(Port(name, number, site, "output", output=word))
        netlist.provide(tile, wires["O"], partial(netlist.value, tile, wires["I"]))
        netlist.waiting.append(partial(_drive, netlist, tile, wires, pin, word, ""))
        return
    port = Port(
        name,
        number,
        site,
        "inout",
        input=f"{word}_i" if pin.reads else None,
        output=f"{word}_o",
        enable=f"{word}_oe",
        pullup=pin.pullup,
    )
    netlist.add_port(port)
    if pin.reads:
        netlist.provide(tile, wires["O"], lambda: f"{word}_i")
    netlist.waiting.append(partial(_drive, netlist, tile, wires, pin, f"{word}_o", f"{word}_oe"))


def _unused_driver(netlist: Netlist, tile: Tile, wires: Mapping[str, str]) -> None:
    netlist.fabric.trace(tile, wires["I"])
    netlist.fabric.trace(tile, wires["OE"])


def _drive(netlist: Netlist, tile: Tile, wires: Mapping[str, str], pin: Pin, output: str, enable: str) -> None:
    value = netlist.value(tile, wires["I"])
    off = netlist.value(tile, wires["OE"]) if pin.drives == "enabled" else ZERO
    if pin.drives == "always" and netlist.fabric.driven(tile, wires["OE"]):
        netlist.fabric.trace(tile, wires["OE"])
    netlist.outputs.append((output, value))
    if enable:
        drain = value if pin.open_drain else ZERO
        netlist.outputs.append((enable, expression(0b0001, [off, drain])))


def _bottom(netlist: Netlist, tile: Tile, wires: Mapping[str, str]) -> None:
    """Outputs of the bottom edge are ordinary ones only while two wires of the first pin have constant levels."""
    if "BOTTOM_IO_PORT_A" not in wires:
        return
    wanted = tuple({"VSS": ZERO, "VCC": ONE}[level] for level in netlist.tables.db.bottom_io[2][0])
    found = tuple(netlist.value(tile, wires[f"BOTTOM_IO_PORT_{letter}"]) for letter in "AB")
    if found != wanted:
        raise netlist.fabric.refuse(
            tile, f"the mode of the pins is {', '.join(found)}, and only {', '.join(wanted)} is translated"
        )
