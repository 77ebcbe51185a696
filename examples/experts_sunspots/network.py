"""Two experts of different kinds under top-1 routing: a GRU for one regime, an MLP for the other; only one of them runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.experts_sunspots.data import LAGS

UNITS, HIDDEN = 12, 16


class Experts(nn.Module):
    """``forward`` predicts the next value [1, 1] from one window [1, 12]; ``both`` gives what every expert says, for training.

    The router is linear with a softmax; the expert of the larger probability answers, scaled by nothing, so that hardware needs the
    router's sign alone (Switch routing with hard output).
    """

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(LAGS, 2)
        self.gru = nn.GRU(1, UNITS, batch_first=True)
        self.out = nn.Linear(UNITS, 1)
        self.mlp = nn.Sequential(nn.Linear(LAGS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def recurrent(self, window: Tensor) -> Tensor:
        """The GRU expert, [N, 1]."""
        states, _ = self.gru(window.unsqueeze(-1))
        return window[:, -1:] + self.out(states[:, -1])

    def feed_forward(self, window: Tensor) -> Tensor:
        """The MLP expert, [N, 1]."""
        return window[:, -1:] + self.mlp(window)

    def both(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions [N, 2] of both experts, and the router's probabilities [N, 2]."""
        found = torch.cat([self.recurrent(window), self.feed_forward(window)], dim=1)
        return found, torch.softmax(self.router(window), dim=1)

    def forward(self, window: Tensor) -> Tensor:
        chosen = torch.argmax(torch.softmax(self.router(window), dim=1), dim=1)
        return torch.cond(chosen[0] == 0, self.recurrent, self.feed_forward, (window,))
