"""From an importer to a clocked graph: import, quantise, lower."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.network import network_graph
from neuroloom.compiler.ir import Graph

from .assemble import Imported


def lower(importer: Callable[..., Imported], source: Any, options: dict[str, Any]) -> Graph:
    """The graph of ``importer(source, ...)``.

    ``options`` are the importer's and those of :func:`neuroloom.compiler.frontends.network.network_graph` (``calibrate``,
    ``scales``, ``shifts``); ``shift`` (0..8) gives every membrane that many fraction bits beyond the weights'. Raises InputError
    for an unknown option.
    """
    own = inspect.signature(importer).parameters
    further = inspect.signature(network_graph).parameters
    unknown = [key for key in options if key not in own and key not in further and key != "shift"]
    if unknown:
        known = ", ".join([*list(own)[1:], "shift", *(k for k in list(further)[1:] if k not in own)])
        raise InputError(f"option must be one of {known}, not {unknown[0]!r}")
    network = importer(source, **{k: v for k, v in options.items() if k in own}).network
    rest = {k: v for k, v in options.items() if k in further and k not in own}
    shift = options.get("shift")
    if shift is not None:
        rest["shifts"] = {n: shift for n, p in network.populations.items() if not p.model.exact} | rest.get(
            "shifts", {}
        )
    return network_graph(network, **rest)
