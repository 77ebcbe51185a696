"""The definition of every operation in plain numpy, one function each; importing this package fills the table."""

from __future__ import annotations

from . import arith, choose, contract, logic, neurons, plasticity, shape, spiking, tables
from .table import FUNCTIONS

__all__ = ["FUNCTIONS", "arith", "choose", "contract", "logic", "neurons", "plasticity", "shape", "spiking", "tables"]
