"""The spiking digits network in snnTorch: 64 inputs, 128 and 10 Leaky neurons; how images become spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from neuroloom.compiler.spiking import encoders
from snntorch import surrogate
from torch import Tensor, nn

STEPS = 20
HIDDEN = 128
BETA = 0.875
"""7/8, so that 16 bits of a fraction hold it exactly."""


def encode(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, 64] with values 0..16 to spikes uint8 [N, 20, 64], evenly spaced at a rate of value / 16."""
    return encoders.rate(images / 16, STEPS)


class SpikingDigits(nn.Module):
    """Two fully connected layers of Leaky neurons: spikes [N, T, 64] to output spikes and membranes [N, T, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, HIDDEN, bias=False)
        self.first = snn.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=10))
        self.out = nn.Linear(HIDDEN, 10, bias=False)
        self.last = snn.Leaky(beta=BETA, spike_grad=surrogate.fast_sigmoid(slope=10))

    def forward(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        one, two = self.first.reset_mem(), self.last.reset_mem()
        fired, membranes = [], []
        for now in spikes.unbind(1):
            inside, one = self.first(self.hidden(now), one)
            spike, two = self.last(self.out(inside), two)
            fired.append(spike)
            membranes.append(two)
        return torch.stack(fired, 1), torch.stack(membranes, 1)

    def save(self, path: Path) -> None:
        """Write the weights, float32, as npz."""
        np.savez_compressed(path, **{name: value.numpy() for name, value in self.state_dict().items()})

    @classmethod
    def load(cls, path: Path) -> SpikingDigits:
        """The network with the weights of an npz file, in eval mode."""
        network = cls()
        with np.load(path) as data:
            network.load_state_dict({name: torch.from_numpy(data[name]) for name in data.files})
        return network.eval()
