"""Apicula's tables of one device as this reader wants them: tiles, the switches of each kind of tile, and attributes as fuses."""

from __future__ import annotations

import importlib
import importlib.resources
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from neuroloom.compiler.errors import MissingToolError

Tile = tuple[int, int]
"""Row and column, from 0."""
Fuse = tuple[int, int]
"""Row and column inside a tile."""


def _apycula(module: str) -> Any:
    try:
        return importlib.import_module(f"apycula.{module}")
    except ModuleNotFoundError:
        raise MissingToolError(
            "Gowin bitstreams are read back with Apicula's tables, which are not here; run `pip install 'neuroloom[tools]'`"
        ) from None


class Tables:
    """One device. ``db`` is Apicula's own description."""

    def __init__(self, device: str) -> None:
        resource = importlib.resources.files(_apycula("chipdb").__package__) / f"{device}.msgpack.xz"
        with importlib.resources.as_file(resource) as path:
            self.db: Any = _apycula("chipdb").load_chipdb(str(path))
        self.device = device
        self.rows: int = self.db.rows
        self.cols: int = self.db.cols
        self.fuses = _apycula("chipdb").get_table_fuses
        """Of a set of attributes and a table: the fuses that the packer sets."""
        self._names: Any = _apycula("attrids")
        self._switches: dict[int, dict[str, dict[frozenset[Fuse], list[str]]]] = {}
        self._unions: dict[int, dict[str, frozenset[Fuse]]] = {}

    def kind(self, tile: Tile) -> int:
        """The number of a tile's type."""
        return int(self.db.grid[tile[0]][tile[1]])

    def data(self, tile: Tile) -> Any:
        """Apicula's description of a tile."""
        return self.db[tile[0], tile[1]]

    def switches(self, tile: Tile) -> dict[str, dict[frozenset[Fuse], list[str]]]:
        """Per driven wire: the sources that a set of fuses selects. More than one source: only one of them is there.

        A source's set has the fuses that cut the wire off from the default sources of which it is none.
        """
        kind = self.kind(tile)
        if kind not in self._switches:
            data = self.data(tile)
            result: dict[str, dict[frozenset[Fuse], list[str]]] = {}
            for wire, sources in [*data.pips.items(), *data.clock_pips.items()]:
                patterns = result.setdefault(wire, {})
                for source, fuses in sources.items():
                    full = set(fuses)
                    for near, cut in data.alonenode.get(wire, ()):
                        if source not in near:
                            full |= cut
                    patterns.setdefault(frozenset(full), []).append(source)
            self._switches[kind] = result
            self._unions[kind] = {wire: frozenset().union(*patterns) for wire, patterns in result.items()}
        return self._switches[kind]

    def switch_fuses(self, tile: Tile) -> dict[str, frozenset[Fuse]]:
        """Per driven wire: all fuses that have to do with it."""
        self.switches(tile)
        return self._unions[self.kind(tile)]

    def attributes(self, table: str, values: Mapping[str, str | int]) -> set[int]:
        """The numbers of attributes in one of Apicula's tables (``SLICE``, ``IOB``, ...), without those that it does not list."""
        stem = {"SLICE": "cls"}.get(table, table.lower())
        ids, names = getattr(self._names, f"{stem}_attrids"), getattr(self._names, f"{stem}_attrvals")
        numbers = self.db.logicinfo[table]
        found = (
            numbers.get((ids[name], names[value] if isinstance(value, str) else value))
            for name, value in values.items()
        )
        return {number for number in found if number}

    def short(self, tile: Tile, table: str) -> Mapping[Any, set[Fuse]]:
        """One of a tile's tables of fuses by one or two attributes; empty where it has none of that name."""
        return self.db.shortval.get(self.kind(tile), {}).get(table, {})

    def long(self, tile: Tile, table: str) -> Mapping[Any, set[Fuse]]:
        """One of a tile's tables of fuses by up to 16 attributes; empty where it has none of that name."""
        return self.db.longval.get(self.kind(tile), {}).get(table, {})


def union(table: Mapping[Any, Iterable[Fuse]]) -> frozenset[Fuse]:
    """All fuses of a table."""
    return frozenset(fuse for fuses in table.values() for fuse in fuses)


@lru_cache(maxsize=2)
def load(device: str) -> Tables:
    """The tables of a device; raises MissingToolError without Apicula."""
    return Tables(device)
