#!/usr/bin/env python3
"""The longest paths of a netlist that Yosys synthesised for ECP5, before it is placed.

    python bench/paths.py build/netlist.json --most 20 --show 3

Place and route of a large core takes an hour and then names one path. This takes seconds and names all long ones, a row for each
pair of registers (bits of a word count as one), in nanoseconds: cells as nextpnr times them for speed grade 6, wires by a guess
from their fan-out alone. So the figures rank paths; they promise no clock.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LUT_NS, MUX_NS, REGISTER_NS, BLOCK_RAM_NS, MULTIPLIER_NS = 0.24, 0.2, 0.52, 5.83, 3.9
CARRY_IN_NS, CARRY_NS, CARRY_SUM_NS, CARRY_LATE_SUM_NS = 0.45, 0.07, 0.44, 0.9
WIRE_NS, FAN_OUT_NS = 0.55, 0.19
"""A wire to one cell, less once :data:`FAN_OUT_NS`; and what twice the fan-out adds."""

BLOCK_RAMS = ("DP16KD", "PDPW16KD")


@dataclass(frozen=True)
class Arc:
    """A way through a cell: from a bit, so many nanoseconds, over a wire of its own or (in a chain, in a slice) over none."""

    source: int
    delay: float
    wired: bool = True


@dataclass(frozen=True)
class End:
    """A bit that a register or memory takes, and its pin."""

    bit: int
    cell: str
    pin: str


@dataclass(frozen=True)
class PathTo:
    """A path: its nanoseconds, its end, and its bits from register to end."""

    delay: float
    end: End
    bits: tuple[int, ...]


class Netlist:
    """The cells of one module as arcs between bits. ``arrival`` has the nanoseconds of every bit."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        self.cells: Mapping[str, Any] = module["cells"]
        self.names = _names(module)
        self.fan_out: dict[int, int] = defaultdict(int)
        self.starts: dict[int, float] = {}
        self.ends: list[End] = []
        self.arcs: dict[int, list[Arc]] = defaultdict(list)
        for name, cell in self.cells.items():
            for port, bits in _bits(cell, "input"):
                for bit in bits:
                    self.fan_out[bit] += 1
                    if not _through(cell["type"], port) and "CLK" not in port:
                        self.ends.append(End(bit, name, port))
            for port, bits in _bits(cell, "output"):
                for bit in bits:
                    arcs = list(_arcs(cell, port))
                    self.arcs[bit] += arcs
                    if not arcs or cell["type"] == "TRELLIS_DPR16X4":
                        self.starts[bit] = BLOCK_RAM_NS if cell["type"] in BLOCK_RAMS else REGISTER_NS
        self.arrival: dict[int, float] = {}
        self._before: dict[int, int | None] = {}
        for end in self.ends:
            self._arrive(end.bit)

    def wire(self, bit: int) -> float:
        """Nanoseconds guessed for the wire of a bit."""
        return WIRE_NS + FAN_OUT_NS * math.log2(1 + self.fan_out[bit])

    def _arrive(self, last: int) -> None:
        waiting = [(last, False)]
        while waiting:
            bit, ready = waiting.pop()
            if bit in self.arrival:
                continue
            if not ready:
                waiting.append((bit, True))
                waiting += [(arc.source, False) for arc in self.arcs[bit]]
                continue
            best, before = self.starts.get(bit, 0.0), None
            for arc in self.arcs[bit]:
                # a combinational loop, which ECP5's memories do not make, would begin here at 0
                when = self.arrival.get(arc.source, 0.0) + arc.delay + (self.wire(arc.source) if arc.wired else 0.0)
                if when > best:
                    best, before = when, arc.source
            self.arrival[bit], self._before[bit] = best, before

    def longest(self) -> list[PathTo]:
        """The longest path from each register to each other one, longest first."""
        found: dict[tuple[str, str, str], PathTo] = {}
        for end in sorted(self.ends, key=lambda e: -self.arrival[e.bit] - self.wire(e.bit)):
            bits = [end.bit]
            while (before := self._before[bits[-1]]) is not None:
                bits.append(before)
            key = (_word(self.name(bits[-1])), _word(self.register(end.cell)), _word(end.pin))
            if key not in found:
                found[key] = PathTo(self.arrival[end.bit] + self.wire(end.bit), end, tuple(reversed(bits)))
        return list(found.values())

    def name(self, bit: int) -> str:
        """What the design calls a bit."""
        return self.names.get(bit, str(bit))

    def register(self, cell: str) -> str:
        """What the design calls a register, or the name of another cell."""
        output = [bits for port, bits in _bits(self.cells[cell], "output") if port == "Q"]
        return self.name(output[0][0]) if output and output[0] else cell


def _names(module: Mapping[str, Any]) -> dict[int, str]:
    """Names of bits: public ones before those that synthesis made up, and short ones first."""
    best: dict[int, tuple[int, int, str]] = {}
    for name, net in module["netnames"].items():
        for number, bit in enumerate(net["bits"]):
            label = f"{name}[{number}]" if len(net["bits"]) > 1 else name
            rank = (net.get("hide_name", 0), len(label), label)
            if isinstance(bit, int) and (bit not in best or rank < best[bit]):
                best[bit] = rank
    return {bit: label for bit, (_, _, label) in best.items()}


def _word(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _bits(cell: Mapping[str, Any], direction: str) -> Iterator[tuple[str, list[int]]]:
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield port, [bit for bit in bits if isinstance(bit, int)]


def _through(kind: str, port: str) -> bool:
    """Whether an input leads through its cell to an output; others end a path."""
    if kind == "TRELLIS_DPR16X4":
        return port == "RAD"
    if kind == "MULT18X18D":
        return re.fullmatch(r"[AB]\d+", port) is not None
    return kind in ("LUT4", "PFUMX", "L6MUX21", "CCU2C")


def _arcs(cell: Mapping[str, Any], output: str) -> Iterator[Arc]:
    """The arcs to an output of a cell."""
    kind = cell["type"]
    for port, bits in _bits(cell, "input"):
        if not _through(kind, port):
            continue
        delay, wired = LUT_NS, True
        if kind == "MULT18X18D":
            if not re.fullmatch(r"P\d+", output):
                continue
            delay = MULTIPLIER_NS
        elif kind in ("PFUMX", "L6MUX21"):
            delay, wired = MUX_NS, port in ("C0", "SD")
        elif kind == "CCU2C":
            if port == "CIN":
                delay, wired = (CARRY_NS if output == "COUT" else CARRY_SUM_NS), False
            elif output == "COUT":
                delay = CARRY_IN_NS
            elif port.endswith("1") and output == "S0":
                continue
            elif port.endswith("0") and output == "S1":
                delay = CARRY_LATE_SUM_NS
            else:
                delay = CARRY_SUM_NS
        yield from (Arc(bit, delay, wired) for bit in bits)


def main() -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("netlist", type=Path, help="Yosys' JSON, netlist.json of a build")
    parser.add_argument("--top", default="top", help="module (default: top)")
    parser.add_argument("--most", type=int, default=30, help="rows (default: 30)")
    parser.add_argument("--show", type=int, default=0, help="so many of them cell by cell (default: 0)")
    options = parser.parse_args()
    modules = json.loads(options.netlist.read_text(encoding="utf-8"))["modules"]
    if options.top not in modules:
        print(f"{options.netlist} must have a module {options.top!r}, not only {', '.join(modules)}", file=sys.stderr)
        return 2
    netlist = Netlist(modules[options.top])
    for number, path in enumerate(netlist.longest()[: options.most]):
        print(f"{path.delay:6.2f}  {netlist.name(path.bits[0])} -> {netlist.register(path.end.cell)}.{path.end.pin}")
        for bit in path.bits if number < options.show else ():
            print(f"        {netlist.arrival[bit]:6.2f}  to {netlist.fan_out[bit]}: {netlist.name(bit)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
