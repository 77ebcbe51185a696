"""neuroloom: trained spiking, logic-gate and gated networks to small FPGAs, exactly.

The public API::

    import neuroloom as nl

    m = nl.compile("model.onnx")                 # ONNX -> optimised fixed-point graph
    y = m.simulate(x)                            # exact integers, samples first
    m.verify(x, to="rtl")                        # bit for bit, cycle for cycle
    build = m.build("icebreaker")                # bitstream, resources, Fmax
    with nl.connect("/dev/ttyUSB1") as device:
        y2 = m.run(device, x)                    # the same integers, from the board
    nl.export(torch_module, sample, "model.onnx")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.compiler.frontends.export import export
    from neuroloom.host.device import connect

    from .model import Model, compile, load

__all__ = ["Model", "compile", "connect", "export", "load"]

__version__ = "0.1.0"

_HOME = {
    "Model": "neuroloom.model",
    "compile": "neuroloom.model",
    "load": "neuroloom.model",
    "export": "neuroloom.compiler.frontends.export",
    "connect": "neuroloom.host.device",
}
"""Where each public name lives. They are imported at first use, so that ``neuroloom --help`` answers at once."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neuroloom' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
