"""Gated devices in this process: the engine's commands over the compiler's model of it, or over its RTL in a simulator."""

from __future__ import annotations

from neuroloom.compiler.gated.core import GatedConfig
from neuroloom.host.device import Device
from neuroloom.host.simulated import SimulatedLine
from neuroloom.host.spiking.simulated import ByteEngine, StreamDevice
from neuroloom.rtl.link.protocol import Identity


def simulated_device(
    config: GatedConfig,
    engine: ByteEngine,
    *,
    board: str = "simulated",
    frame_bytes: int = 1024,
    timeout: float = 600.0,
) -> Device:
    """A device with this engine behind its link."""
    identity = Identity("gated", board, config.hash(), 0, 0, 24_000_000)
    return Device(SimulatedLine(StreamDevice(identity, engine, frame_bytes=frame_bytes)), timeout=timeout)
