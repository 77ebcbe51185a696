"""A branchy network: a small classifier answers when it is sure, a larger one goes on from its hidden layer otherwise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FIRST, SECOND = 24, 96


class Branchy(nn.Module):
    """64 pixels (0..16) → 24 → 10, and 24 → 96 → 96 → 10 behind; ``heads`` gives both, ``forward`` the one that is taken.

    The exit is taken when the larger softmax probability of the first head is above ``threshold``: one decision for the batch, as
    ``torch.cond`` takes scalars, so ``forward`` is for one image at a time.
    """

    def __init__(self, threshold: float = 0.9) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(64, FIRST), nn.ReLU())
        self.exit = nn.Linear(FIRST, 10)
        self.rest = nn.Sequential(
            nn.Linear(FIRST, SECOND), nn.ReLU(), nn.Linear(SECOND, SECOND), nn.ReLU(), nn.Linear(SECOND, 10)
        )
        self.register_buffer("threshold", torch.tensor(threshold))

    def heads(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both heads, [N, 10] each."""
        hidden = self.stem(pixels / 16)
        return self.exit(hidden), self.rest(hidden)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.stem(pixels / 16)
        early = self.exit(hidden)
        sure = torch.softmax(early, dim=-1).amax((0, 1)) > self.threshold
        return torch.cond(sure, lambda a, b: a.clone(), lambda a, b: self.rest(b), (early, hidden))
