"""The agent's network on a board, in the same closed loop: spikes and reward go over the link, spikes come back."""

from __future__ import annotations

from neuroloom.host.spiking.loop import Loop
from neuroloom.host.spiking.session import SpikingDevice

from neuroloom.model import Model


def board_loop(device: SpikingDevice, model: Model) -> Loop:
    """Load the network and begin a sample that runs piece by piece, as :class:`neuroloom.sim.spiking.Session` does."""
    device.load(model.graph)
    return device.loop()
