"""Residual blocks with learned skip gates, as in SkipNet (arXiv 1711.09485): a closed gate leaves its block out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH, HIDDEN, BLOCKS = 32, 64, 4


class SkipBlock(nn.Module):
    """x + g·F(x), where g is 1 when the gate's linear score of x is at least 0, else 0.

    In training g is a hard step whose gradient is that of a sigmoid (straight through).
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 1)
        self.block = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
        nn.init.constant_(self.gate.bias, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(x)[0]

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output and its gate, [N, 32] and [N, 1]."""
        score = self.gate(x)
        opened = (score >= 0).to(x.dtype)
        if self.training:
            soft = torch.sigmoid(score)
            opened = opened + soft - soft.detach()
        return torch.relu(x + opened * self.block(x)), opened


class SkipNet(nn.Module):
    """64 pixels (0..16) → 32 → four blocks with gates → 10 scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU())
        self.blocks = nn.ModuleList(SkipBlock() for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.gated(pixels)[0]

    def gated(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N, 10] and gates [N, 4]."""
        x, gates = self.stem(pixels / 16), []
        for block in self.blocks:
            x, opened = block.gated(x)
            gates.append(opened)
        return self.head(x), torch.cat(gates, dim=1)
