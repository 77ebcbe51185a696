"""What is set once per chip: that nothing resets it, and which pins of the configuration are ordinary ones afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from neuroloom.boards.readback.module import ONE

from .netlist import Netlist
from .tables import Tables, Tile, union

_PINS = ("JTAG", "SSPI", "MSPI", "DONE", "RECONFIG", "READY")


def _global(tables: Tables) -> set[int]:
    """Attributes of start-up and of the global reset in the table CFG."""
    values = tables.attributes("CFG", {"GSR": "USED", "GOE": "F0"})
    return values | tables.attributes("CFG", {"GSR": "F0", "DONE": "F0", "GWD": "F0"})


def _configurations(tables: Tables, tile: Tile) -> Iterator[set[tuple[int, int]]]:
    """Every set of fuses that the packer gives the table CFG."""
    table = tables.short(tile, "CFG")
    base = tables.fuses(_global(tables), table)
    for chosen in product((False, True), repeat=len(_PINS)):
        names = [f"{name}_AS_GPIO" for name in _PINS]
        every = tables.fuses(tables.attributes("CFG", dict.fromkeys(names, "YES")), table)
        values = {name: "YES" if on else "UNKNOWN" for name, on in zip(names, chosen, strict=True)}
        yield base - every | tables.fuses(tables.attributes("CFG", values), table)


def read(netlist: Netlist) -> None:
    """Claim these fuses; raises UnsupportedError where they are set otherwise than the packer does, or the reset is a signal."""
    fabric, tables = netlist.fabric, netlist.tables
    for tile in fabric.set:
        reset, start = tables.short(tile, "GSR"), tables.short(tile, "CFG")
        if reset and fabric.set[tile] & union(reset):
            values = tables.attributes("GSR", {"GSRMODE": "ACTIVE_LOW"})
            if fabric.set[tile] & union(reset) != tables.fuses(values, reset):
                raise fabric.refuse(tile, "the global reset is set otherwise than low, which is not translated")
            fabric.claim(tile, union(reset))
        if start:
            used = fabric.set[tile] & union(start)
            if used not in list(_configurations(tables, tile)):
                shown = ", ".join(map(str, sorted(used)))
                raise fabric.refuse(tile, f"start-up has the fuses {shown} set, which is no translated setting")
            fabric.claim(tile, used)
    for tile, functions in tables.db.extra_func.items():
        if "gsr" in functions:
            if netlist.value(tile, functions["gsr"]["wire"]) != ONE:
                raise fabric.refuse(tile, "the global reset is a signal, which is not translated")
