"""One configured chip: the option bits that are set and the routing that is switched on, each bit accounted for.

A translator asks :meth:`Fabric.option` for the options it understands, and :meth:`Fabric.trace` for what drives a cell
pin. Whatever nobody asked for is reported by :meth:`Fabric.finish`, so a used bit is translated or refused, never dropped.
"""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.errors import UnsupportedError

from .bitstream import Bitstream
from .layout import stray_bits, tile_bits
from .tables import Switch, Tables, Tile


class Fabric:
    """Set options and active switches of a parsed bitstream.

    Raises :class:`UnsupportedError` for a set bit that the database does not know, a multiplexer value that selects
    nothing, a wire driven twice, or a global net used in a column whose column buffer is off.
    """

    def __init__(self, stream: Bitstream, tables: Tables) -> None:
        self.stream, self.tables = stream, tables
        self.bits = tile_bits(stream, tables.kinds)
        self.driver: dict[int, int] = {}
        """Driven net to the net its active switch selects."""
        self.options: dict[Tile, set[str]] = {}
        """Options with at least one set bit, by tile."""
        self.padin: set[int] = set()
        """Global networks driven by their pad (or by what replaces it) instead of by the fabric."""
        self._switch_tile: dict[int, Tile] = {}
        self._asked: set[tuple[int, int, str]] = set()
        self._read: set[int] = set()
        for bank, x, y in stray_bits(stream, tables.kinds):
            label = tables.extra_bits.get((bank, x, y), "")
            if not label.startswith("padin_glb_netwk."):
                raise UnsupportedError(
                    f"iCE40 bit ({x}, {y}) of CRAM bank {bank} lies outside all tiles and is not translated"
                )
            self.padin.add(int(label.rpartition(".")[2]))
        for tile, bits in self.bits.items():
            if bits.any():
                self._read_tile(tile, bits)
        self._check_column_buffers()
        self.selected = set(self.driver.values())
        """Nets that an active switch takes its input from."""

    def claim_column_buffers(self) -> None:
        """Mark column buffers as translated: needed ones were checked, and one more drives nothing that is read."""
        for (x, y), names in self.options.items():
            for name in [name for name in names if name.startswith("ColBufCtrl.")]:
                self._asked.add((x, y, name))

    def refuse(self, tile: Tile, what: str) -> UnsupportedError:
        """The error for something that is used in ``tile`` and is not translated."""
        kind = self.tables.kinds.get(tile, "corner")
        return UnsupportedError(f"iCE40 {kind} tile ({tile[0]}, {tile[1]}): {what}")

    def _read_tile(self, tile: Tile, bits: np.ndarray) -> None:
        switches = self.tables.switches(tile)
        functions = self.tables.bit_functions(self.tables.kinds[tile])
        options = self.options.setdefault(tile, set())
        on: dict[Switch, None] = {}
        for place in zip(*(axis.tolist() for axis in bits.nonzero()), strict=True):
            if place in switches:
                on[switches[place]] = None
            elif place in functions:
                options.add(functions[place])
            else:
                raise self.refuse(tile, f"bit B{place[0]}[{place[1]}] is set and is not translated")
        for switch in on:
            value = 0
            for place in switch.bits:
                value = value << 1 | int(bits[place])
            source = switch.source(value)
            name = self.tables.net_name(switch.net)
            if source is None:
                shown = format(value, f"0{len(switch.bits)}b")
                raise self.refuse(tile, f"switch of {name} holds {shown}, which selects nothing")
            if switch.net in self.driver:
                raise self.refuse(tile, f"{name} is driven by two switches")
            self.driver[switch.net] = source
            self._switch_tile[switch.net] = tile

    def _check_column_buffers(self) -> None:
        for net, source in self.driver.items():
            number = self.tables.globals.get(source)
            tile = self._switch_tile[net]
            buffer = self.tables.colbuf.get(tile)
            if number is not None and buffer is not None:
                if f"ColBufCtrl.glb_netwk_{number}" not in self.options.get(buffer, ()):
                    raise self.refuse(
                        tile, f"global network {number} is used, and its column buffer in tile {buffer} is off"
                    )

    def option(self, x: int, y: int, name: str) -> bool:
        """Whether an option is set (any of its bits); marks it as translated."""
        self._asked.add((x, y, name))
        return name in self.options.get((x, y), ())

    def option_bits(self, x: int, y: int, name: str) -> list[int]:
        """All bits of an option in the database's order; marks it as translated."""
        self._asked.add((x, y, name))
        bits = self.bits[x, y]
        return [int(bits[place]) for place in self.tables.functions[self.tables.kinds[x, y]][name]]

    def driven(self, x: int, y: int, name: str) -> bool:
        """Whether an active switch drives a cell pin."""
        return self.tables.net(x, y, name) in self.driver

    def trace(self, net: int) -> tuple[int, bool]:
        """Follow active switches back from a net: (its source net, whether there was any switch)."""
        seen = {net}
        start = net
        while net in self.driver:
            self._read.add(net)
            net = self.driver[net]
            if net in seen:
                raise self.refuse(
                    self._switch_tile[net], f"routing of {self.tables.net_name(net)} is a loop without a driver"
                )
            seen.add(net)
        return net, net != start

    def unread(self) -> list[int]:
        """Nets that a switch drives although nothing reads them."""
        return sorted(net for net in self.driver if net not in self._read)

    def finish(self) -> None:
        """Refuse the first set option that no translator asked for, or switched-on wire that leads nowhere."""
        for (x, y), names in sorted(self.options.items()):
            for name in sorted(names):
                if (x, y, name) not in self._asked:
                    places = self.tables.functions[self.tables.kinds[x, y]][name]
                    bits = ", ".join(f"B{r}[{c}]" for r, c in places if self.bits[x, y][r, c])
                    raise self.refuse((x, y), f"option {name} (bit {bits}) is set and is not translated")
        for net in self.unread():
            tile = self._switch_tile[net]
            raise self.refuse(tile, f"{self.tables.net_name(net)} is driven and no translated cell reads it")
