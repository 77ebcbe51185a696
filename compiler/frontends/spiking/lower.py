"""From an importer to a clocked graph: import, quantise, lower."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from neuroloom.compiler.errors import InputError
from neuroloom.compiler.frontends.network import network_graph
from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.input_encoding import RECORD, Encoding

from .assemble import Imported


def lower(importer: Callable[..., Imported], source: Any, options: dict[str, Any]) -> Graph:
    """The graph of ``importer(source, ...)``.

    ``options`` are the importer's and those of :func:`neuroloom.compiler.frontends.network.network_graph` (``calibrate``,
    ``scales``, ``shifts``); ``shift`` (0..8) gives every membrane that many fraction bits beyond the weights'. ``steps`` is how
    many steps a sample of constant current lasts that is given as one set of values. Raises InputError for an unknown option.
    """
    own = inspect.signature(importer).parameters
    further = inspect.signature(network_graph).parameters
    unknown = [key for key in options if key not in own and key not in further and key not in ("shift", "steps")]
    if unknown:
        known = ", ".join([*list(own)[1:], "shift", "steps", *(k for k in list(further)[1:] if k not in own)])
        raise InputError(f"option must be one of {known}, not {unknown[0]!r}")
    imported = importer(source, **{k: v for k, v in options.items() if k in own})
    network, steps = imported.network, options.get("steps")
    if steps is not None and not imported.encoders:
        raise InputError("steps must go with inputs='current'; spikes have a step axis")
    constant = {} if steps is None else {"steps": steps}
    if imported.encoders:
        network.records[RECORD] = [
            Encoding(drive, e.source, e.shape, "constant", constant, e.matrix).to_record()
            for drive, e in imported.encoders.items()
        ]
    rest = {k: v for k, v in options.items() if k in further and k not in own}
    shift = options.get("shift")
    if shift is not None:
        rest["shifts"] = {n: shift for n, p in network.populations.items() if not p.model.exact} | rest.get(
            "shifts", {}
        )
    return network_graph(network, **rest)
