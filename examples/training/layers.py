"""Trainable layers of logic networks. Values lie as ``[wires, batch]``, float32 in [0, 1].

Every layer runs in one of two modes, set by ``hard``:

- soft: tables go through a sigmoid and nodes interpolate between their entries;
- hard: the forward pass is the Boolean network itself (tables rounded), while gradients are those of the soft
  tables at these Boolean inputs (straight-through), so that no accuracy is lost when the network is discretised.

``freeze`` gives a layer's integers; ``hardened.py`` says what they mean.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from examples.training.hardened import Encoder, Tables
from examples.training.kernels import lut_backward, lut_forward


class LookUp(torch.autograd.Function):
    """Nodes of k-input tables.

    ``indices`` [nodes, k] are the wires in use, ``table_of`` [nodes] the table of each node, ``candidates``
    [nodes, k, C] the wires that ``logits`` [.., k, C] weigh, or None for fixed wiring. Leading nodes may share logits
    as they share tables. The gradient of logits is that of a softmax over the candidates.
    """

    @staticmethod
    def forward(ctx, x, tables, forward_tables, logits, indices, table_of, candidates):
        k = indices.shape[1]
        out = torch.empty((indices.shape[0], x.shape[1]))
        lut_forward(k)(x.detach().numpy(), indices, table_of, forward_tables.numpy(), out.numpy())
        ctx.save_for_backward(x, tables, logits)
        ctx.wiring = (indices, table_of, candidates)
        return out

    @staticmethod
    def backward(ctx, gout):
        x, tables, logits = ctx.saved_tensors
        indices, table_of, candidates = ctx.wiring
        learned = logits is not None
        if not learned:
            candidates = np.zeros((indices.shape[0], indices.shape[1], 0), np.int32)
        gx, gtables = torch.zeros_like(x), torch.zeros_like(tables)
        scores = torch.zeros(candidates.shape)
        lut_backward(indices.shape[1])(
            x.numpy(),
            indices,
            table_of,
            tables.detach().numpy(),
            gout.contiguous().numpy(),
            candidates,
            gx.numpy(),
            gtables.numpy(),
            scores.numpy(),
        )
        glogits = None
        if learned:
            scores = scores.view(-1, *logits.shape).sum(0)
            share = torch.softmax(logits, -1)
            glogits = share * (scores - (share * scores).sum(-1, keepdim=True))
        return gx, gtables, None, glogits, None, None, None


def rounded(tables: Tensor, hard: bool) -> Tensor:
    """What the forward pass looks up: the tables, or in hard mode their Boolean values."""
    return (tables.detach() >= 0.5).float() if hard else tables.detach()


class Thermometer(nn.Module):
    """Integer features [F, B] to F*T wires, feature-major: wire f*T + t says whether feature f >= threshold[f, t].

    Thresholds are learned as reals and used rounded to integers. Their gradient is that of a sigmoid of width
    ``width`` (in units of the input) in place of the step.
    """

    def __init__(self, thresholds: np.ndarray, *, width: float = 1.0, learned: bool = True) -> None:
        super().__init__()
        self.thresholds = nn.Parameter(torch.tensor(np.asarray(thresholds), dtype=torch.float32), learned)
        self.width = width

    @property
    def outputs(self) -> int:
        return self.thresholds.numel()

    def integers(self) -> np.ndarray:
        """Thresholds in use, int64 [F, T]: at least 1, since ``x >= 0`` says nothing."""
        return np.maximum(np.rint(self.thresholds.detach().numpy()), 1).astype(np.int64)

    def forward(self, x: Tensor) -> Tensor:
        thresholds = torch.from_numpy(self.integers().astype(np.float32)).unsqueeze(-1)
        bits = (x.unsqueeze(1) >= thresholds).float()
        if self.training and self.thresholds.requires_grad:
            soft = torch.sigmoid((x.unsqueeze(1) - self.thresholds.unsqueeze(-1) + 0.5) / self.width)
            bits = bits + (soft - soft.detach())
        return bits.reshape(self.outputs, -1)

    def freeze(self) -> Encoder:
        return Encoder(self.integers())


class Lut(nn.Module):
    """``nodes`` tables of ``k`` inputs.

    Each input is one of ``candidates`` wires; the most likely is used and the choice is learned. With one candidate
    the wiring is fixed. Tables start near "copy input 0", which lets deep stacks train. ``wires`` [nodes, k, candidates]
    gives the candidates; without it they are drawn from all inputs.
    """

    def __init__(
        self,
        inputs: int,
        nodes: int,
        k: int,
        *,
        candidates: int = 1,
        generator: np.random.Generator,
        copy_strength: float = 2.0,
        noise: float = 0.5,
        wires: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.nodes, self.k, self.hard = inputs, nodes, k, False
        self.wires = draw_candidates(inputs, nodes, k, candidates, generator) if wires is None else wires
        self.logits = nn.Parameter(torch.zeros(self.wires.shape)) if self.wires.shape[-1] > 1 else None
        self.table = nn.Parameter(initial_tables(nodes, k, copy_strength, noise, generator))
        self._nodes = np.arange(nodes, dtype=np.int32)

    @property
    def outputs(self) -> int:
        return self.nodes

    def indices(self) -> np.ndarray:
        """Wires in use, int32 [nodes, k]."""
        if self.logits is None:
            return np.ascontiguousarray(self.wires[:, :, 0])
        choice = self.logits.detach().numpy().argmax(-1)[..., None]
        return np.ascontiguousarray(np.take_along_axis(self.wires, choice, -1)[..., 0])

    def forward(self, x: Tensor) -> Tensor:
        tables = torch.sigmoid(self.table)
        wires = None if self.logits is None else self.wires
        return LookUp.apply(x, tables, rounded(tables, self.hard), self.logits, self.indices(), self._nodes, wires)

    def freeze(self) -> Tables:
        return Tables(
            self.indices().astype(np.int64), rounded(torch.sigmoid(self.table), True).numpy().astype(np.uint8)
        )


class GroupSum(nn.Module):
    """Wires to class scores: class c sums the c-th run of wires; the loss sees the sums divided by ``tau``."""

    def __init__(self, inputs: int, groups: int, tau: float) -> None:
        super().__init__()
        if inputs % groups:
            raise ValueError(f"wires of a group sum must be a multiple of {groups}, not {inputs}")
        self.groups, self.tau = groups, tau

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.groups, -1, x.shape[1]).sum(1).t() / self.tau


def draw_candidates(inputs: int, nodes: int, k: int, candidates: int, generator: np.random.Generator) -> np.ndarray:
    """Random wires, int32 [nodes, k, candidates]; every wire is drawn about equally often."""
    need = nodes * k * candidates
    runs = [generator.permutation(inputs) for _ in range(-(-need // inputs))]
    return np.concatenate(runs)[:need].reshape(candidates, k, nodes).T.astype(np.int32).copy()


def initial_tables(
    rows: int, k: int, copy_strength: float, noise: float, generator: np.random.Generator
) -> torch.Tensor:
    """Logits of table entries, float32 [rows, 2^k]: "copy input 0" with some noise."""
    sign = np.where(np.arange(1 << k) & 1, 1.0, -1.0)
    values = copy_strength * sign + noise * generator.standard_normal((rows, 1 << k))
    return torch.tensor(values, dtype=torch.float32)
