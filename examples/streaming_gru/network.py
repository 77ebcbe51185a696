"""A GRU that decodes a population's hidden state from its spikes, one time bin per call."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.lorenz_lfads.data import NEURONS

UNITS = 32


class Decoder(nn.Module):
    """``forward(counts [N, 70], state [N, 32])`` gives the three coordinates [N, 3] and the new state [N, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(NEURONS, UNITS)
        self.out = nn.Linear(UNITS, 3)

    def forward(self, counts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        new = self.cell(counts, state)
        return self.out(new), new

    def over_time(self, counts: Tensor) -> Tensor:
        """Coordinates [N, T, 3] of counts [N, T, 70], from a state of zeros."""
        state, found = counts.new_zeros(len(counts), UNITS), []
        for t in range(counts.shape[1]):
            now, state = self(counts[:, t], state)
            found.append(now)
        return torch.stack(found, dim=1)
