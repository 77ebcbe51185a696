"""How the fuses of a slice (two look-up tables and two flip-flops) set its carry, its memory and its registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from .fabric import Fabric
from .tables import Fuse, Tables, Tile, union


@dataclass(frozen=True)
class Slice:
    """What is set: ``mode`` "", ``ALU`` or ``SSRAM``; of the registers, their common control signals and what each is set to."""

    mode: str = ""
    resets: bool = False
    falling: bool = False
    asynchronous: bool = False
    enable_low: bool = False
    reset_low: bool = False
    sets: tuple[bool, bool] = (False, False)

    @property
    def plain(self) -> bool:
        """Whether its registers are as the packer leaves them where none is used."""
        return self == Slice(mode=self.mode, sets=(self.mode == "SSRAM",) * 2)


def _slices() -> Iterator[Slice]:
    both = (False, True)
    for mode, resets, falling, enable_low, first, second in product(("", "ALU", "SSRAM"), both, both, both, both, both):
        if mode == "SSRAM" and not (first and second):
            continue  # the packer sets the registers of such slices nowhere
        for asynchronous, reset_low in product(both if resets else (False,), repeat=2):
            yield Slice(mode, resets, falling, asynchronous, enable_low, reset_low, (first, second))


def _attributes(settings: Slice) -> dict[str, str | int]:
    """The attributes under which the packer's tables know these settings."""
    values: dict[str, str | int] = {"REGMODE": "FF", "CLKMUX_CLK": "INV" if settings.falling else "SIG"}
    values |= {"CEMUX_CE": "INV" if settings.enable_low else "SIG", "CEMUX_1": "UNKNOWN"}
    if settings.mode:
        values["MODE"] = settings.mode
    if settings.resets:
        values["LSRONMUX"] = "LSRMUX"
    if settings.asynchronous:
        values["SRMODE"] = "ASYNC"
    if settings.reset_low:
        values["LSR_MUX_LSR"] = "INV"
    for number, high in enumerate(settings.sets):
        if not high:
            values[f"REG{number}_REGSET"] = "RESET"
    return values


@cache
def _patterns(tables: Tables, tile: Tile, number: int) -> dict[frozenset[Fuse], Slice]:
    table = tables.short(tile, f"CLS{number}")
    result: dict[frozenset[Fuse], Slice] = {}
    for settings in _slices():
        fuses = frozenset(tables.fuses(tables.attributes("SLICE", _attributes(settings)), table))
        result.setdefault(fuses, settings)
    return result


_FIRST: dict[tuple[str, int], Tile] = {}


def read_slice(fabric: Fabric, tile: Tile, number: int) -> Slice | None:
    """The settings of a slice, None where nothing of it is set; raises UnsupportedError for fuses that are none."""
    tables = fabric.tables
    used = frozenset(fabric.set[tile] & union(tables.short(tile, f"CLS{number}")))
    if not used:
        return None
    alike = _FIRST.setdefault((tables.device, tables.kind(tile)), tile)  # tiles of one type share their patterns
    settings = _patterns(tables, alike, number).get(used)
    if settings is None:
        shown = ", ".join(map(str, sorted(used)))
        raise fabric.refuse(tile, f"slice {number} has the fuses {shown} set, which is no translated setting")
    fabric.claim(tile, used)
    return settings


def unset_slice(fabric: Fabric, tile: Tile, number: int) -> Slice | None:
    """What a slice is of which nothing is set, if its registers are read: two registers that a signal sets have no fuse."""
    return _patterns(fabric.tables, tile, number).get(frozenset())
