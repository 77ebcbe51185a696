"""iCE40 bitstreams back to Verilog that simulates: the proof that the very bytes in flash do what the graph says."""

from __future__ import annotations

from neuroloom.boards.readback.module import Pll, Port

from .boot import image_address
from .unpack import Unpacked, read_pcf, unpack

__all__ = ["Pll", "Port", "Unpacked", "image_address", "read_pcf", "unpack"]
