"""From an importer to a clocked graph: import, quantise, lower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuroloom.compiler.ir import Graph
from neuroloom.compiler.spiking.lower import lower_network
from neuroloom.compiler.spiking.quantise import quantise

from .assemble import Imported

QUANTISE = ("scales", "shifts", "peaks")


def lower(importer: Callable[..., Imported], source: Any, options: dict[str, Any]) -> Graph:
    """The graph of ``importer(source, **options)``; ``shift`` (0..8, one for all) and ``scales``, ``shifts``, ``peaks`` go to
    :func:`neuroloom.compiler.spiking.quantise.quantise`, ``weight_bits`` and ``state_bits`` to both."""
    options = dict(options)
    given = {key: options.pop(key) for key in QUANTISE if key in options}
    shift = options.pop("shift", None)
    network = importer(source, **options).network
    if shift is not None and not network.exact:
        given["shifts"] = {name: shift for name, p in network.populations.items() if not p.model.exact}
    integers, _ = quantise(network, **given)
    return lower_network(integers)
