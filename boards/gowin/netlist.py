"""The Verilog under construction, as far as it is Gowin's own: from what leaves the chip back to what that needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from neuroloom.boards.readback.lut import expression
from neuroloom.boards.readback.module import Module

from .fabric import Fabric
from .tables import Tables, Tile
from .wires import Wire

if TYPE_CHECKING:
    from .logic import Logic
    from .memory import Block


@dataclass
class Netlist(Module):
    """Collects what translators emit. A cell is emitted when something reads it."""

    family: str = "Gowin"
    fabric: Fabric = field(kw_only=True)
    makers: dict[Wire, Callable[[], str]] = field(default_factory=dict)
    """By root, what gives the expression of a wire that a cell drives; called once."""
    made: dict[Wire, str] = field(default_factory=dict)
    waiting: list[Callable[[], None]] = field(default_factory=list)
    """What remains to be emitted."""
    logic: dict[Tile, Logic] = field(default_factory=dict)
    memories: dict[Tile, Block] = field(default_factory=dict)
    carries: set[str] = field(default_factory=set)
    """Carries and memories of look-up tables that are emitted, or will be."""
    uses_memory: bool = False
    """Whether the module has instances of ``neuroloom_block_ram``."""
    _making: set[Wire] = field(default_factory=set)

    @property
    def tables(self) -> Tables:
        return self.fabric.tables

    def provide(self, tile: Tile, name: str, maker: Callable[[], str]) -> None:
        """Say that a cell drives a wire; ``maker`` emits the cell, or puts that off with :attr:`waiting`, and names the signal."""
        self.makers[self.fabric.wires.root((*tile, name))] = maker

    def value(self, tile: Tile, name: str) -> str:
        """Expression of the signal at a cell's input pin, a wire of its tile."""
        return self.source(self.fabric.trace(tile, name), tile, name)

    def source(self, root: Wire | str, tile: Tile, name: str) -> str:
        """What drives a wire that no switch drives: a constant, or a cell.

        ``tile`` and ``name`` are the pin whose route begins there, for a message.
        """
        if isinstance(root, str):
            return root
        if root in self.made:
            return self.made[root]
        if root in self._making:
            raise self.fabric.refuse(tile, f"the logic that drives {name} is a combinational loop")
        if root not in self.makers:
            shown = f"R{root[0] + 1}C{root[1] + 1}_{root[2]}"
            raise self.fabric.refuse(tile, f"{name} is routed from {shown}, which no translated cell drives")
        self._making.add(root)
        self.made[root] = self.makers[root]()
        self._making.remove(root)
        return self.made[root]

    def function(self, tile: Tile, table: int, pins: list[str]) -> str:
        """Expression of a truth table over input pins; those that it does not depend on are not read any further."""
        roots = [self.fabric.trace(tile, pin) for pin in pins]
        marks = [root if isinstance(root, str) else f"\x01{n}\x01" for n, root in enumerate(roots)]
        same = {root: mark for root, mark in reversed(list(zip(roots, marks, strict=True)))}
        text = expression(table, [same[root] for root in roots])
        for root, mark, pin in zip(roots, marks, pins, strict=True):
            if not isinstance(root, str) and mark in text:
                text = text.replace(mark, self.source(root, tile, pin))
        return text

    def passes(self, tile: Tile, table: int, pins: list[str]) -> str | None:
        """The input pin that a truth table only passes on, a constant that it gives, or None."""
        roots = [self.fabric.trace(tile, pin) for pin in pins]
        inputs = [root if isinstance(root, str) else pin for root, pin in zip(roots, pins, strict=True)]
        text = expression(table, inputs)
        return text if text in inputs or text.startswith("1'b") else None

    def run(self) -> None:
        """Emit everything that is waited for, and what that needs in turn."""
        while self.waiting:
            self.waiting.pop()()
