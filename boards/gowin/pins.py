"""How the fuses of a pin set it: whether it reads, drives, and with what around it; and those of its bank.

Gowin's tables know single-ended I/O by attributes of level, strength and pull. The packer marks every pin of a bank, used or not,
with the bank's level, and the bank with the attributes of its pins. What is not listed here (differential pins, hysteresis,
delays, serialisers) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from .fabric import Fabric
from .tables import Fuse, Tables, Tile, union

VOLTS = {"LVCMOS33": "3.3", "LVCMOS25": "2.5", "LVCMOS18": "1.8", "LVCMOS15": "1.5", "LVCMOS12": "1.2"}
"""Supply of a bank for each standard of its pins."""
_PULLS, _DRIVES, _SLEWS, _SWITCH = (
    ("UP", "NONE", "DOWN", "KEEPER"),
    ("8", "4", "12", "16", "24"),
    ("FAST", "SLOW"),
    ("OFF", "ON"),
)


@dataclass(frozen=True)
class Pin:
    """What a pin does: ``reads``; ``drives`` "", ``always``, ``enabled`` (while its OEN is low) or ``never`` (OEN tied high)."""

    reads: bool
    drives: str
    open_drain: bool = False
    pullup: bool = False


_DRIVEN = {
    "always": {"ODMUX_1": "1"},
    "enabled": {"TRIMUX_PADDT": "SIG", "TO": "SIG"},
    "low": {"TRIMUX_PADDT": "SIG"},
    "never": {"ODMUX_1": "0"},
}
"""How a driver's enable is set: not there, a signal, tied low, tied high."""


def _settings(standard: str) -> Iterator[tuple[Pin, dict[str, str]]]:
    """Every use of a pin in a bank of a standard, with its attributes."""
    for level, pull in product(VOLTS, _PULLS):
        yield (
            Pin(True, "", pullup=pull == "UP"),
            {"PADDI": "PADDI", "HYSTERESIS": "NONE", "PULLMODE": pull, "SLEWRATE": "SLOW", "DRIVE": "0", "CLAMP": "OFF"}
            | {"OPENDRAIN": "OFF", "DIFFRESISTOR": "OFF", "VREF": "OFF", "LVDS_OUT": "OFF", "IO_TYPE": level},
        )
    for pull, drive, slew, open_drain in product(_PULLS, _DRIVES, _SLEWS, _SWITCH):
        common = {"PULLMODE": pull, "SLEWRATE": slew, "DRIVE": drive, "HYSTERESIS": "NONE", "CLAMP": "OFF", "TO": "INV"}
        common |= {
            "SINGLERESISTOR": "OFF",
            "LVDS_OUT": "OFF",
            "DDR_DYNTERM": "NA",
            "OPENDRAIN": open_drain,
            "IO_TYPE": standard,
        }
        released = {"ODMUX_1": "UNKNOWN", "PERSISTENT": "OFF", "ODMUX": "TRIMUX"}
        for reads, enable in product((False, True), _DRIVEN):
            if enable == "always" and reads:
                continue
            around = {} if enable == "always" else released
            input_path = {"PADDI": "PADDI", "DIFFRESISTOR": "OFF"} if reads else {}
            drives = "always" if enable == "low" else enable
            yield Pin(reads, drives, open_drain == "ON", pull == "UP"), common | around | input_path | _DRIVEN[enable]


@lru_cache(maxsize=256)
def _unused(tables: Tables, tile: Tile, side: str, standard: str) -> frozenset[Fuse]:
    """The fuses of a pin that nothing uses; those of one that is used have them as well."""
    values = {"IO_TYPE": standard, "BANK_VCCIO": VOLTS[standard]}
    return frozenset(tables.fuses(tables.attributes("IOB", values), tables.long(tile, f"IOB{side}")))


@lru_cache(maxsize=64)
def _patterns(tables: Tables, tile: Tile, side: str, standard: str) -> dict[frozenset[Fuse], Pin]:
    """What sets of fuses mean for a pin that is used, in one type of tile."""
    table, unused = tables.long(tile, f"IOB{side}"), _unused(tables, tile, side, standard)
    result: dict[frozenset[Fuse], Pin] = {}
    for pin, values in _settings(standard):
        fuses = tables.fuses(tables.attributes("IOB", {**values, "BANK_VCCIO": VOLTS[standard]}), table)
        result.setdefault(unused | fuses, pin)
    return result


_FIRST: dict[tuple[str, int], Tile] = {}


def read_pin(fabric: Fabric, tile: Tile, side: str, standard: str) -> Pin | None:
    """What pin ``side`` ("A" or "B") of a tile does in a bank of a standard, None where it is not used.

    Raises UnsupportedError for fuses that set nothing.
    """
    tables = fabric.tables
    used = frozenset(fabric.set[tile] & union(tables.long(tile, f"IOB{side}")))
    alike = _FIRST.setdefault((tables.device, tables.kind(tile)), tile)  # tiles of one type share their patterns
    if used == _unused(tables, alike, side, standard):
        fabric.claim(tile, used)
        return None
    pin = _patterns(tables, alike, side, standard).get(used)
    if pin is None:
        shown = ", ".join(map(str, sorted(used)))
        raise fabric.refuse(
            tile, f"pin {side} has the fuses {shown} set, which is no translated setting in a bank of {standard}"
        )
    fabric.claim(tile, used)
    return pin


def read_bank(fabric: Fabric, bank: int) -> str:
    """The standard of a bank's pins; raises UnsupportedError for fuses that set none."""
    tables, tile = fabric.tables, fabric.tables.db.bank_tiles[bank]
    table = {key[1:]: fuses for key, fuses in tables.long(tile, "BANK").items() if key[0] == bank}
    used = frozenset(fabric.set[tile] & union(table))
    levels: tuple[str | None, ...] = (None, *VOLTS)
    for standard, level, drive, drain, lvds in product(
        VOLTS, levels, (None, "0", *_DRIVES), (None, *_SWITCH), (None, "OFF")
    ):
        values = {"BANK_VCCIO": VOLTS[standard], "IO_TYPE": level, "DRIVE": drive, "OPENDRAIN": drain, "LVDS_OUT": lvds}
        known = {name: value for name, value in values.items() if value is not None}
        if tables.fuses(tables.attributes("IOB", known), table) == used:
            fabric.claim(tile, used)
            return standard
    shown = ", ".join(map(str, sorted(used)))
    raise fabric.refuse(tile, f"bank {bank} has the fuses {shown} set, which is no translated setting")
