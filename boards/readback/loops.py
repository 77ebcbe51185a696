"""Combinational loops: hardware may have them, a cycle-based simulation cannot run them."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

from neuroloom.compiler.errors import UnsupportedError

from .module import Module

_NAME = re.compile(r"[A-Za-z_]\w*")


def sort_wires(module: Module) -> None:
    """Order the wires so that each follows what it reads; :class:`UnsupportedError` naming the cells of a loop.

    A wire's name carries its kind and place: ``l_x_y_i`` is the lookup table, ``c_x_y_i`` the carry of cell i in a tile.
    """
    drivers = dict(module.wires) | dict(module.outputs)
    graph = {name: [other for other in _NAME.findall(text) if other in drivers] for name, text in drivers.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        loop = " <- ".join(error.args[1][:8])
        raise UnsupportedError(f"{module.family} logic must have no combinational loop, and has {loop}") from error
    place = {name: index for index, name in enumerate(order)}
    module.wires.sort(key=lambda wire: place[wire[0]])
