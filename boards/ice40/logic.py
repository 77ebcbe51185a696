"""Logic cells: lookup table, carry, flip-flop, and the carry entry of each tile.

Source: Project IceStorm, "LOGIC Tile Documentation". A synchronous set or reset acts only while the clock enable is high,
an asynchronous one always (as Lattice's SB_DFFE.. primitives). Unconnected inputs read 0, the clock enable 1.
"""

from __future__ import annotations

import re

from neuroloom.boards.readback.lut import expression
from neuroloom.boards.readback.module import ONE, ZERO

from .netlist import Netlist

_TABLE = (4, 14, 15, 5, 6, 16, 17, 7, 3, 13, 12, 2, 1, 11, 10, 0)
"""Position in the LC bits of each truth table entry (input 0 is address bit 0)."""
_CARRY, _FLOP, _SET, _ASYNC = 8, 9, 18, 19


def _cells(netlist: Netlist):
    """(x, y, index, its 20 bits) of every logic cell with a set bit."""
    fabric = netlist.fabric
    for (x, y), names in fabric.options.items():
        if fabric.tables.kinds[x, y] != "logic":
            continue
        for index in range(8):
            if f"LC_{index}" in names:
                yield x, y, index, fabric.option_bits(x, y, f"LC_{index}")


def _truth(bits: list[int]) -> int:
    return sum(bits[place] << index for index, place in enumerate(_TABLE))


def declare(netlist: Netlist) -> None:
    """Name the outputs of all logic cells."""
    for x, y, index, bits in _cells(netlist):
        table, pin, name = _truth(bits), f"lutff_{index}", f"{x}_{y}_{index}"
        lut = {0: ZERO, 0xFFFF: ONE}.get(table, f"l_{name}")
        netlist.sources[x, y, f"{pin}/lout"] = lut
        netlist.sources[x, y, f"{pin}/out"] = f"q_{name}" if bits[_FLOP] else lut
        if bits[_CARRY]:
            netlist.sources[x, y, f"{pin}/cout"] = f"c_{name}"
    for (x, y), kind in netlist.tables.kinds.items():
        if kind == "logic":
            _declare_carry_in(netlist, x, y)


def _declare_carry_in(netlist: Netlist, x: int, y: int) -> None:
    """The carry into cell 0: constant, or the tile below (then routing alone decides)."""
    fabric = netlist.fabric
    chained = fabric.driven(x, y, "carry_in_mux")
    high = fabric.option(x, y, "CarryInSet")
    if chained and high:
        raise fabric.refuse((x, y), "CarryInSet is set although the carry comes from the tile below")
    if not chained:
        netlist.sources[x, y, "carry_in_mux"] = ONE if high else ZERO
        if high and not _reads_carry_in(netlist, x, y):
            raise fabric.refuse((x, y), "CarryInSet is set and logic cell 0 does not use it")


def _reads_carry_in(netlist: Netlist, x: int, y: int) -> bool:
    tables, fabric = netlist.tables, netlist.fabric
    entry, third = tables.net(x, y, "carry_in_mux"), tables.net(x, y, "lutff_0/in_3")
    carry = "LC_0" in fabric.options.get((x, y), ()) and fabric.option_bits(x, y, "LC_0")[_CARRY]
    return bool(carry) or (third is not None and fabric.driver.get(third) == entry)


def simplify(netlist: Netlist) -> None:
    """Look through lookup tables that only pass a signal or a constant on (place and route uses them as wires).

    To be called when everything is declared and nothing connected. Repeats until nothing changes.
    """
    passing = []
    for x, y, index, bits in _cells(netlist):
        if netlist.sources[x, y, f"lutff_{index}/lout"] not in (ZERO, ONE):
            passing.append((x, y, index, _truth(bits), bool(bits[_FLOP])))
    changed = True
    while changed:
        changed, rest = False, []
        for x, y, index, table, flop in passing:
            pin = f"lutff_{index}"
            text = expression(table, [netlist.value(x, y, f"{pin}/in_{k}") for k in range(4)])
            if re.fullmatch(r"\w+|1'b[01]|\w+\[\d+\]", text) and text != f"l_{x}_{y}_{index}":
                netlist.sources[x, y, f"{pin}/lout"] = text
                if not flop:
                    netlist.sources[x, y, f"{pin}/out"] = text
                changed = True
            else:
                rest.append((x, y, index, table, flop))
        passing = rest


def connect(netlist: Netlist) -> None:
    """Emit lookup tables, carries and flip-flops."""
    fabric = netlist.fabric
    clocked = set()
    for x, y, index, bits in _cells(netlist):
        pin, name, table = f"lutff_{index}", f"{x}_{y}_{index}", _truth(bits)
        inputs = [netlist.value(x, y, f"{pin}/in_{k}") for k in range(4)]
        netlist.cells["LUT4"] += 1
        if table not in (0, 0xFFFF):  # even when simplified away: what was resolved before may still name it
            netlist.wire(f"l_{name}", expression(table, inputs))
        if bits[_CARRY]:
            netlist.cells["CARRY"] += 1
            carry = _carry_in(netlist, x, y, index)
            netlist.wire(f"c_{name}", expression(0xE8, [inputs[1], inputs[2], carry]))
        if bits[_FLOP]:
            clocked.add((x, y))
            netlist.cells["DFF"] += 1
            netlist.flop(
                f"q_{name}",
                clock=netlist.value(x, y, "lutff_global/clk"),
                falling=fabric.option(x, y, "NegClk"),
                data=netlist.sources[x, y, f"{pin}/lout"],
                enable=netlist.value(x, y, "lutff_global/cen", ONE),
                reset=netlist.value(x, y, "lutff_global/s_r"),
                acts="async" if bits[_ASYNC] else "enabled",
                preset=bits[_SET],
            )
        elif bits[_SET] or bits[_ASYNC]:
            raise fabric.refuse((x, y), f"logic cell {index} has set or reset options and no flip-flop")


def _carry_in(netlist: Netlist, x: int, y: int, index: int) -> str:
    if index == 0:
        return netlist.value(x, y, "carry_in_mux")
    below = netlist.sources.get((x, y, f"lutff_{index - 1}/cout"))
    if below is None:
        raise netlist.fabric.refuse(
            (x, y), f"the carry of logic cell {index} must come from cell {index - 1}, whose carry is off"
        )
    return below
