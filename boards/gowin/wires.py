"""Which names of wires are one wire: every tile has names of its own for those that run through it."""

from __future__ import annotations

from functools import lru_cache

from .tables import Tables, load

Wire = tuple[int, int, str]
"""Row, column, and the name in that tile."""

_STEPS = {"N": (-1, 0), "S": (1, 0), "W": (0, -1), "E": (0, 1)}
_BACK = {"N": "S", "S": "N", "E": "W", "W": "E"}
_CARRIES = 6


class Wires:
    """The wires of a device: :meth:`root` gives all names of a wire the same one, :meth:`names` all names of a root."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._root: dict[Wire, Wire] = {}
        self._names: dict[Wire, list[Wire]] = {}
        for row in range(tables.rows):
            for col in range(tables.cols):
                self._tile(row, col)
        for _, names in tables.db.nodes.values():
            first = min(names, key=lambda wire: (len(wire[2]), wire))
            for wire in sorted(names):
                self._same(first, wire)
        self._segments()

    def root(self, wire: Wire) -> Wire:
        """The name that stands for a wire."""
        while wire in self._root:
            wire = self._root[wire]
        return wire

    def names(self, root: Wire) -> list[Wire]:
        """All names of a wire."""
        return self._names.get(root, [root])

    def _same(self, first: Wire, second: Wire) -> None:
        one, two = self.root(first), self.root(second)
        if one != two:
            self._root[two] = one
            self._names[one] = self.names(one) + self.names(two)
            self._names.pop(two, None)

    def _tile(self, row: int, col: int) -> None:
        for number in (1, 2):  # short wires both ways
            for name, ways in ((f"SN{number}0", "NS"), (f"EW{number}0", "WE")):
                for way in ways:
                    self._same((row, col, name), self._seen(row, col, way, f"1{number}", 1))
        for way in "NSWE":
            for number in (0, 3):
                self._same((row, col, f"{way}1{number}0"), self._seen(row, col, way, f"1{number}", 1))
            for number in range(8):
                for hops in (1, 2):
                    self._same((row, col, f"{way}2{number}0"), self._seen(row, col, way, f"2{number}", hops))
            for number in range(4):
                for hops in (4, 8):
                    self._same((row, col, f"{way}8{number}0"), self._seen(row, col, way, f"8{number}", hops))

    def _seen(self, row: int, col: int, way: str, number: str, hops: int) -> Wire:
        """The name under which a wire that starts here is known ``hops`` tiles on; at the chip's edge it turns back."""
        row, col = row + _STEPS[way][0] * hops, col + _STEPS[way][1] * hops
        rows, cols = self.tables.rows, self.tables.cols
        if row < 0 or col < 0:
            row, col, way = (-1 - row, col, _BACK[way]) if row < 0 else (row, -1 - col, _BACK[way])
        if row >= rows or col >= cols:
            row, col, way = (
                (2 * rows - 1 - row, col, _BACK[way]) if row >= rows else (row, 2 * cols - 1 - col, _BACK[way])
            )
        return row, col, f"{way}{number}{hops}"

    def _segments(self) -> None:
        """Vertical long wires: a column of each has a driver at its top and at its bottom, and outlets to the columns beside."""
        for (_, column, index), segment in self.tables.db.segments.items():
            outlet, tap = ("LBO0", "LT01") if index < 4 else ("LBO1", "LT04")
            first = (segment["min_y"], column, tap)
            for row in range(segment["min_y"], segment["max_y"] + 1):
                self._same(first, (row, column, tap))
                for beside in range(segment["min_x"], segment["max_x"] + 1):
                    self._same((row, column, outlet), (row, beside, f"LB{index}1"))
            self._same(first, (segment["top_row"], column, segment["top_wire"]))
            self._same(first, (segment["bottom_row"], column, segment["bottom_wire"]))


@lru_cache(maxsize=2)
def wires_of(device: str) -> Wires:
    """The wires of a device, made once."""
    return Wires(load(device))
