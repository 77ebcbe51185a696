"""One configured chip: the fuses of its tiles and the switches that they set, each set fuse accounted for.

A translator claims the fuses that it understands with :meth:`Fabric.claim`, and asks :meth:`Fabric.trace` for what drives a cell's
pin. What nobody claimed, and switches that lead nowhere, :meth:`Fabric.finish` refuses: a used fuse is translated, or an error.
"""

from __future__ import annotations

from collections.abc import Iterable

from neuroloom.compiler.errors import UnsupportedError

from .bitstream import Bitstream
from .tables import Fuse, Tables, Tile
from .wires import Wire, wires_of

CONSTANTS = {"VCC": "1'b1", "VSS": "1'b0"}
"""Wires of every tile that are constant."""


class Fabric:
    """Set fuses and active switches of a parsed bitstream.

    Raises :class:`UnsupportedError` for a switch whose fuses select nothing, and for a wire driven twice.
    """

    def __init__(self, stream: Bitstream, tables: Tables) -> None:
        self.stream, self.tables, self.wires = stream, tables, wires_of(tables.device)
        self.set: dict[Tile, set[Fuse]] = {}
        """The set fuses of every tile."""
        self.drivers: dict[Wire, tuple[Tile, str, str]] = {}
        """Of a wire's root, the switch that drives it: its tile, the wire's name there, and the source."""
        self._left: dict[Tile, set[Fuse]] = {}
        self._read: set[Wire] = set()
        row = 0
        for y in range(tables.rows):
            column = 0
            for x in range(tables.cols):
                data = tables.data((y, x))
                places = stream.fuses[row : row + data.height, column : column + data.width].nonzero()
                self.set[y, x] = set(zip(*(axis.tolist() for axis in places), strict=True))
                column += data.width
            row += data.height
        for tile, fuses in self.set.items():
            fixed = {tuple(fuse) for fuse in tables.db.const.get(tables.kind(tile), ())}
            if not fixed <= fuses:
                raise self.refuse(tile, f"fuse {min(fixed - fuses)} is set in every bitstream, and is not in this one")
            self._left[tile] = fuses - fixed
            if self._left[tile]:
                self._read_switches(tile)
        self._read_cuts()

    def refuse(self, tile: Tile, what: str) -> UnsupportedError:
        """The error for something that is used in ``tile`` and is not translated."""
        return UnsupportedError(f"Gowin tile R{tile[0] + 1}C{tile[1] + 1} (type {self.tables.kind(tile)}): {what}")

    def claim(self, tile: Tile, fuses: Iterable[Fuse]) -> set[Fuse]:
        """Those of ``fuses`` that are set; they count as translated from now on."""
        found = self.set[tile] & set(fuses)
        self._left[tile] -= found
        return found

    def _read_switches(self, tile: Tile) -> None:
        here, switches = self.set[tile], self.tables.switches(tile)
        for name, fuses in self.tables.switch_fuses(tile).items():
            used = frozenset(here & fuses)
            if not used:
                continue
            sources = switches[name].get(used)
            if sources is None:
                shown = ", ".join(map(str, sorted(used)))
                raise self.refuse(tile, f"the switch of {name} has the fuses {shown}, which select nothing")
            self.claim(tile, used)
            source = sources[0] if len(sources) == 1 else self._present(tile, name, sources)
            root = self.wires.root((*tile, name))
            if root in self.drivers:
                raise self.refuse(tile, f"{name} is driven by two switches")
            self.drivers[root] = (tile, name, source)

    def _present(self, tile: Tile, name: str, sources: list[str]) -> str:
        """Which of several sources of a switch runs through this tile: that differs between tiles of one type."""
        there = [source for source in sources if len(self.wires.names(self.wires.root((*tile, source)))) > 1]
        if len(there) != 1:
            raise self.refuse(tile, f"the switch of {name} could select {', '.join(there or sources)}")
        return there[0]

    def _read_cuts(self) -> None:
        """A long wire has a driver at each end: that of the end which is not used must be cut off, and no other."""
        for tile, fuses in self._left.items():
            for name, entries in self.tables.data(tile).alonenode_6.items():
                root, used = self.wires.root((*tile, name)), fuses & entries[0][1]
                driver = self.drivers.get(root)
                if driver is None or driver[:2] == (tile, name):
                    continue  # what is set here is refused in the end
                if used != entries[0][1]:
                    raise self.refuse(
                        tile, f"{name} must be cut off from the long wire that {driver[1]} drives, and is not"
                    )
                self.claim(tile, used)

    def _default(self, root: Wire) -> tuple[Tile, str] | None:
        """What a wire is connected to where no fuse of its switch is set: a tile and a name there."""
        for row, col, name in self.wires.names(root):
            sources = self.tables.switches((row, col)).get(name, {}).get(frozenset())
            if sources:
                return (row, col), sources[0]
        return None

    def trace(self, tile: Tile, name: str) -> Wire | str:
        """The wire at which a wire's route begins, or a constant; each switch on the way counts as read.

        A wire whose switch has no fuse set is connected to its default source.
        """
        seen = set()
        while name not in CONSTANTS:
            root = self.wires.root((*tile, name))
            if root in seen:
                raise self.refuse(tile, f"the routing of {name} is a loop without a driver")
            seen.add(root)
            self._read.add(root)
            if root in self.drivers:
                tile, _, name = self.drivers[root]
                continue
            default = self._default(root)
            if default is None:
                return root
            tile, name = default
        return CONSTANTS[name]

    def driven(self, tile: Tile, name: str) -> bool:
        """Whether a switch drives a wire."""
        return self.wires.root((*tile, name)) in self.drivers

    def finish(self) -> None:
        """Refuse the first set fuse that no translator claimed, or switch that leads nowhere."""
        for tile, fuses in sorted(self._left.items()):
            for fuse in sorted(fuses):
                raise self.refuse(tile, f"fuse {fuse} is set and is not translated")
        for root, (tile, name, source) in sorted(self.drivers.items()):
            if root not in self._read:
                raise self.refuse(tile, f"{name} is switched to {source} and leads nowhere")
