"""Multipliers."""
from .netlist import Netlist
def declare(netlist: Netlist) -> None:
    pass
