"""neuroloom: trained spiking, logic-gate and gated networks to small FPGAs, exactly.

The public API::

    import neuroloom as nl

    m = nl.compile("model.onnx")                 # ONNX -> optimised fixed-point graph
    y = m.simulate(x)                            # exact integers, samples first
    m.verify(x, to="rtl")                        # bit for bit, cycle for cycle
    build = m.build("icebreaker", boot="attended")   # bitstream, resources, Fmax
    with nl.connect("/dev/ttyUSB1") as device:
        nl.flash(device, build.bitstream)        # over the same port, where golden is on the board: docs/flash.md
        y2 = m.run(device, x)                    # the same integers, from the board
    nl.export(torch_module, sample, "model.onnx")

    net = nl.Network("demo", dt=1e-3)            # a spiking network without training; docs/network.md
    exc = net.population("exc", 90, nl.LIF(tau=20e-3, threshold=1.0, refractory=2), record=["spikes"])
    net.connect(net.input("in", 96), exc, weights=w, plasticity=nl.STDP())
    m = nl.compile(net)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroloom.compiler.frontends.export import export
    from neuroloom.compiler.spiking import device_encoders, encoders, events, topology
    from neuroloom.compiler.spiking.models import (
        ALIF,
        IF,
        LI,
        LIF,
        Alpha,
        Bernoulli,
        CubaLIF,
        Izhikevich,
        Leaky,
        Neuron,
        Synaptic,
    )
    from neuroloom.compiler.spiking.network import Network
    from neuroloom.compiler.spiking.plasticity import RSTDP, STDP, Learning, WindowSTDP
    from neuroloom.host.device import connect
    from neuroloom.host.flash_flow import flash
    from neuroloom.host.network_flow import flash_network
    from neuroloom.host.spiking.session import SpikingDevice

    from .model import Model, compile, load

__all__ = [
    "ALIF",
    "IF",
    "LI",
    "LIF",
    "RSTDP",
    "STDP",
    "Alpha",
    "Bernoulli",
    "CubaLIF",
    "Izhikevich",
    "Leaky",
    "Learning",
    "Model",
    "Network",
    "Neuron",
    "SpikingDevice",
    "Synaptic",
    "WindowSTDP",
    "compile",
    "connect",
    "device_encoders",
    "encoders",
    "events",
    "export",
    "flash",
    "flash_network",
    "load",
    "topology",
]

__version__ = "0.1.0"

_SPIKING = "neuroloom.compiler.spiking"
_MODELS = ("ALIF", "IF", "LI", "LIF", "Alpha", "Bernoulli", "CubaLIF", "Izhikevich", "Leaky", "Neuron", "Synaptic")
_RULES = ("RSTDP", "STDP", "Learning", "WindowSTDP")

_HOME = {
    "Model": "neuroloom.model",
    "compile": "neuroloom.model",
    "load": "neuroloom.model",
    "export": "neuroloom.compiler.frontends.export",
    "connect": "neuroloom.host.device",
    "flash": "neuroloom.host.flash_flow",
    "flash_network": "neuroloom.host.network_flow",
    "Network": f"{_SPIKING}.network",
    "SpikingDevice": "neuroloom.host.spiking.session",
    **dict.fromkeys(_MODELS, f"{_SPIKING}.models"),
    **dict.fromkeys(_RULES, f"{_SPIKING}.plasticity"),
}
"""Where each public name lives. They are imported at first use, so that ``neuroloom --help`` answers at once."""

_MODULES = {name: f"{_SPIKING}.{name}" for name in ("device_encoders", "encoders", "events", "topology")}
"""Public modules, imported at first use too."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module 'neuroloom' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
