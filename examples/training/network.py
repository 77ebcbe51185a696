"""A stack of layers ending in a group sum, and how it becomes integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from examples.training.hardened import Hardened, Sum
from examples.training.layers import GroupSum


class LogicNetwork(nn.Module):
    """Encoder, layers, group sum. Input ``[batch, features]`` integers as float32, output ``[batch, classes]``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        h = x.t().contiguous()
        for layer in self.layers:
            h = layer(h)
        return h

    def set_hard(self, hard: bool) -> None:
        """Forward passes compute the Boolean network (True) or the interpolating one (False)."""
        for layer in self._with_modes():
            layer.hard = hard

    def _with_modes(self) -> list[Any]:
        return [layer for layer in self.layers if hasattr(layer, "hard")]

    @torch.no_grad()
    def hard_correct(self, x: np.ndarray, y: np.ndarray, chunk: int = 1024) -> int:
        """Number of samples classified correctly by the Boolean network."""
        modes = [(layer, layer.hard) for layer in self._with_modes()]
        was_training = self.training
        self.set_hard(True)
        self.eval()
        correct = 0
        for start in range(0, len(x), chunk):
            scores = self(torch.from_numpy(x[start : start + chunk].astype(np.float32)))
            correct += int((scores.numpy().argmax(1) == y[start : start + chunk]).sum())
        for layer, hard in modes:
            layer.hard = hard
        self.train(was_training)
        return correct

    def freeze(self) -> Hardened:
        """The network as integers."""
        layers: list[Any] = list(self.layers)
        *body, head = layers
        if not isinstance(head, GroupSum):
            raise TypeError(f"the last layer must be a GroupSum, not {type(head).__name__}")
        return Hardened((*(layer.freeze() for layer in body), Sum(head.groups, head.tau)))
