"""The sequential auto-encoder of LFADS in the size of the published FPGA build: 70 → 2×64 → 64 → 4 → 70 over 73 bins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.lorenz_lfads.data import NEURONS

UNITS, FACTORS = 64, 4


class Lfads(nn.Module):
    """A bidirectional GRU reads the trial; its last states give the initial state of a generator GRU, which has no other input.

    ``forward`` gives the firing rates [N, T, 70] in spikes per bin of counts [N, T, 70], from the posterior's mean. ``sampled``
    draws from the posterior (for training) and gives its divergence from the prior as well.
    """

    def __init__(self, keep: float = 0.9) -> None:
        super().__init__()
        self.encoder = nn.GRU(NEURONS, UNITS, batch_first=True, bidirectional=True)
        self.mean = nn.Linear(2 * UNITS, UNITS)
        self.log_variance = nn.Linear(2 * UNITS, UNITS)
        self.generator = nn.GRU(1, UNITS, batch_first=True)
        self.factors = nn.Linear(UNITS, FACTORS, bias=False)
        self.log_rates = nn.Linear(FACTORS, NEURONS)
        self.dropout = nn.Dropout(1 - keep)

    def encode(self, counts: Tensor) -> Tensor:
        """Last states of both directions, [N, 128]."""
        _, last = self.encoder(counts)
        return torch.cat([last[0], last[1]], dim=1)

    def decode(self, initial: Tensor, counts: Tensor) -> Tensor:
        """Log rates [N, T, 70] from the generator's initial state [N, 64]."""
        states, _ = self.generator(torch.zeros_like(counts[:, :, :1]), initial.unsqueeze(0))
        return self.log_rates(self.factors(self.dropout(states)))

    def forward(self, counts: Tensor) -> Tensor:
        return torch.exp(self.decode(self.mean(self.encode(counts)), counts))

    def sampled(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Log rates from a draw of the posterior, and its divergence from a standard normal, per trial."""
        code = self.dropout(self.encode(self.dropout(counts)))
        mean, log_variance = self.mean(code), self.log_variance(code).clamp(-8, 2)
        initial = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        divergence = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
        return self.decode(initial, counts), divergence
