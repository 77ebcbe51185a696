"""What a bitstream read back is, whatever its family."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .module import Pll, Port


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A bitstream as logic.

    ``ports`` is keyed by pin name; ``cells`` counts kinds; ``plls`` holds settings to check; ``models`` are Verilog modules that
    ``verilog`` needs.
    """

    verilog: str
    module: str
    ports: dict[str, Port]
    cells: Counter
    plls: list[Pll]
    device: str
    size: int
    """Bytes of the image up to its wake-up command."""
    models: str = ""
