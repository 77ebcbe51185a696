"""The agent's network on a board, in the same closed loop: spikes and reward go over the link, spikes come back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from neuroloom.compiler.spiking.image import input_spikes
from neuroloom.host.spiking.protocol import (
    STATUS_BYTES,
    Control,
    Go,
    Space,
    Status,
    control,
    drain,
    events_of,
    go,
    inject,
    read,
    status,
    zero,
)
from neuroloom.host.spiking.session import SpikingDevice

from neuroloom.model import Model


class BoardLoop:
    """Runs one sample on a device piece by piece, as :class:`neuroloom.sim.spiking.Session` does in the simulator.

    The events of a piece (at most 4 per step) must fit the core's FIFO, which holds 128 or more.
    """

    def __init__(self, device: SpikingDevice, model: Model) -> None:
        self.device, self.program = device, device.load(model.graph)
        device.call([zero()])
        self.step = 0

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Spikes of the action neurons, int64 [T, 4], to ``cue``, ``noise`` and ``reward`` of the next T steps."""
        count, calls = len(inputs["reward"]), []
        for t in range(count):
            fired = np.flatnonzero(input_spikes(self.program, inputs, t)) + self.program.config.neurons
            calls += [control(Control.REWARD, int(inputs["reward"][t])), *inject(fired), go(1, Go.CONTINUE)]
        calls += [*read(Space.CONTROL, 0, 4, self.device.limit), status()]  # a read waits until the core is idle
        waiting = Status.from_bytes(self.device.call(calls)[-STATUS_BYTES:]).events
        out = np.zeros((count, 4), np.int64)
        if waiting:
            events = events_of(self.device.call(drain(waiting, self.device.limit))).astype(np.int64)
            maps: Mapping = self.program.maps
            first = maps["populations"]["action"]["first"]
            out[(events[:, 0] - self.step) & 0xFFFF, events[:, 1] - first] = 1
        self.step += count
        return {"action.spikes": out}

    def state(self, name: str) -> np.ndarray:
        """Learnt weights, read from the board."""
        return self.device.weights(name.removesuffix(".weights"))
