"""From a real program and samples to a graph of exact integers: formats by calibration, weights, tables, a record of it all."""

from __future__ import annotations

from .config import Config
from .formats import Grid
from .quantise import quantise

__all__ = ["Config", "Grid", "quantise"]
