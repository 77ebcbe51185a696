"""Modules with the class names, attributes and eval-mode results of torchlogix 0.2 and difflogic 0.1, for tests without them.

Only what the exporter reads is here, and a ``forward`` for eval mode written from the definitions: gates are evaluated as
polynomials on 0.0 and 1.0, never through a table, so that a table read in the wrong order shows.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import nn

GATES = [
    lambda a, b: 0 * a,
    lambda a, b: a * b,
    lambda a, b: a - a * b,
    lambda a, b: a,
    lambda a, b: b - a * b,
    lambda a, b: b,
    lambda a, b: a + b - 2 * a * b,
    lambda a, b: a + b - a * b,
    lambda a, b: 1 - (a + b - a * b),
    lambda a, b: 1 - (a + b - 2 * a * b),
    lambda a, b: 1 - b,
    lambda a, b: 1 - b + a * b,
    lambda a, b: 1 - a,
    lambda a, b: 1 - a + a * b,
    lambda a, b: 1 - a * b,
    lambda a, b: 0 * a + 1,
]
"""The sixteen gates in the order of difflogic's paper."""


class _Parametrization(nn.Module):
    def __init__(self, rank, materialize_basis=False):
        super().__init__()
        self.rank, self.materialize_basis = rank, materialize_basis

    def weights(self, *shape):
        return torch.randn(*shape, self.entries)

    @property
    def entries(self):
        return 1 << self.rank


class RawLUTParametrization(_Parametrization):
    entries = 16

    def evaluate(self, inputs, weight):
        """``inputs``: K tensors that broadcast with ``weight[..., 0]``."""
        chosen = weight.argmax(-1)
        return sum(gate(*inputs) * (chosen == number) for number, gate in enumerate(GATES))


class WarpLUTParametrization(_Parametrization):
    def evaluate(self, inputs, weight):
        signs = [1 - 2 * x for x in inputs]
        total = 0
        for i, use in enumerate(product((0, 1), repeat=self.rank)):
            term = torch.ones(())
            for sign, used in zip(signs, use, strict=True):
                term = term * sign if used else term
            total = total + weight[..., i] * term
        return (total < 0).float()


class LightLUTParametrization(_Parametrization):
    def evaluate(self, inputs, weight):
        total = 0
        for i, address in enumerate(product((0, 1), repeat=self.rank)):
            term = torch.ones(())
            for x, bit in zip(inputs, address, strict=True):
                term = term * (x if bit else 1 - x)
            total = total + (weight[..., i] > 0).float() * term
        return total


PARAMETRIZATIONS = {"raw": RawLUTParametrization, "warp": WarpLUTParametrization, "light": LightLUTParametrization}


class FixedDenseConnections(nn.Module):
    def __init__(self, in_dim, out_dim, rank):
        super().__init__()
        self.register_buffer("indices", torch.randint(0, in_dim, (rank, out_dim)))

    def forward(self, x):
        return x[:, self.indices]


class LearnableDenseConnections(nn.Module):
    def __init__(self, in_dim, out_dim, rank, num_candidates=4):
        super().__init__()
        self.register_buffer("indices", torch.randint(0, in_dim, (num_candidates, rank, out_dim)))
        self.weights = nn.Parameter(torch.rand(num_candidates, rank, out_dim))

    def forward(self, x):
        best = self.weights.argmax(0, keepdim=True)
        return x[:, self.indices.gather(0, best)[0]]


class LogicDense(nn.Module):
    def __init__(
        self,
        in_dim,
        out_dim,
        lut_rank=2,
        parametrization="raw",
        connections="fixed",
        parametrization_kwargs=None,
        connections_kwargs=None,
    ):
        super().__init__()
        self.in_dim, self.out_dim, self.lut_rank = in_dim, out_dim, lut_rank
        options = {k: v for k, v in (parametrization_kwargs or {}).items() if k == "materialize_basis"}
        self.parametrization = PARAMETRIZATIONS[parametrization](lut_rank, **options)
        kinds = {"fixed": FixedDenseConnections, "learnable": LearnableDenseConnections}
        self.connections = kinds[connections](in_dim, out_dim, lut_rank, **(connections_kwargs or {}))
        self.weight = nn.Parameter(self.parametrization.weights(out_dim))

    def forward(self, x):
        chosen = self.connections(x.reshape(-1, self.in_dim))
        out = self.parametrization.evaluate(list(chosen.unbind(1)), self.weight)
        return out.view(*x.shape[:-1], self.out_dim)


class FixedConvConnections(nn.Module):
    def __init__(self, conv, channel_group_size=None):
        super().__init__()
        self.channel_group_size = channel_group_size
        rank, leaves = conv.lut_rank, conv.lut_rank ** (conv.tree_depth - 1)
        sizes = (*conv.receptive_field_size, conv.channels)
        pattern = torch.stack([torch.randint(0, s, (rank, conv.num_kernels, 1, leaves)) for s in sizes], dim=-1)
        starts = [torch.arange(count) * conv.stride for count in conv.kernel_positions]
        corners = torch.stack([g.flatten() for g in torch.meshgrid(*starts, indexing="ij")], dim=-1)
        corners = torch.cat([corners, torch.zeros(len(corners), 1, dtype=torch.int64)], dim=-1)
        self.depth = conv.tree_depth
        self.register_buffer("level_0", pattern + corners[None, None, :, None, :])
        for level in range(1, conv.tree_depth):
            size = rank ** (conv.tree_depth - level)
            self.register_buffer(f"level_{level}", torch.arange(size).view(-1, rank).T)

    @property
    def indices(self):
        return [getattr(self, f"level_{level}") for level in range(self.depth)]


class _LogicConv(nn.Module):
    axes = 2

    def __init__(
        self,
        in_dim,
        channels=1,
        num_kernels=16,
        tree_depth=1,
        receptive_field_size=2,
        stride=1,
        padding=0,
        lut_rank=2,
        parametrization="raw",
        parametrization_kwargs=None,
        connections_kwargs=None,
    ):
        super().__init__()
        spread = lambda v: tuple(v) if isinstance(v, tuple) else (v,) * self.axes  # noqa: E731
        self.in_dim, self.receptive_field_size = spread(in_dim), spread(receptive_field_size)
        self.channels, self.num_kernels, self.tree_depth, self.lut_rank = channels, num_kernels, tree_depth, lut_rank
        self.stride, self.padding = stride, padding
        self.kernel_positions = [
            (d + 2 * padding - k) // stride + 1 for d, k in zip(self.in_dim, self.receptive_field_size, strict=True)
        ]
        self.parametrization = PARAMETRIZATIONS[parametrization](lut_rank)
        self.tree_weights = nn.ParameterList(
            nn.Parameter(self.parametrization.weights(lut_rank**level, num_kernels))
            for level in reversed(range(tree_depth))
        )
        self.connections = FixedConvConnections(self, **(connections_kwargs or {}))

    def forward(self, x):
        x = nn.functional.pad(x, (self.padding, self.padding) * self.axes)
        *spatial, channel = self.connections.indices[0].unbind(-1)
        level = x[(slice(None), channel, *spatial)]  # [N, rank, kernels, positions, leaves]
        for weight in self.tree_weights:
            bits = self.parametrization.evaluate(list(level.unbind(1)), weight.transpose(0, 1)[:, None])
            if bits.shape[-1] > 1:
                level = torch.stack([bits[..., slot :: self.lut_rank] for slot in range(self.lut_rank)], dim=1)
        return bits.view(x.shape[0], self.num_kernels, *self.kernel_positions)


class LogicConv2d(_LogicConv):
    axes = 2


class LogicConv3d(_LogicConv):
    axes = 3


class OrPooling2d(nn.Module):
    pool = staticmethod(nn.functional.max_pool2d)

    def __init__(self, kernel_size, stride, padding=0):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x):
        return self.pool(x, self.kernel_size, self.stride, self.padding)


class OrPooling3d(OrPooling2d):
    pool = staticmethod(nn.functional.max_pool3d)


class ResidualLogicBlock(nn.Module):
    def __init__(self, in_dim, in_channels, out_channels, tree_depth=3, receptive_field_size=3, padding=1, **options):
        super().__init__()
        shape = dict(tree_depth=tree_depth, receptive_field_size=receptive_field_size, padding=padding, **options)
        self.main = nn.Sequential(
            LogicConv2d(in_dim, in_channels, out_channels, **shape),
            nn.Identity(),
            LogicConv2d(in_dim, out_channels, out_channels, **shape),
            nn.Identity(),
        )
        self.shortcut = nn.Identity()

    def forward(self, x):
        out, identity = self.main(x), self.shortcut(x)
        return out + identity - out * identity


class GroupSum(nn.Module):
    def __init__(self, k, tau=1.0, beta=0.0):
        super().__init__()
        self.k, self.tau, self.beta = k, tau, beta

    def forward(self, x):
        result = x.reshape(*x.shape[:-1], self.k, -1).sum(-1)
        result = result + self.beta if self.beta != 0 else result
        return result / self.tau if self.tau != 1 else result


class FixedBinarization(nn.Module):
    def __init__(self, thresholds, feature_dim=-2):
        super().__init__()
        self.register_buffer("thresholds", thresholds)
        self.feature_dim = feature_dim

    def levels(self):
        return self.thresholds

    def forward(self, x):
        levels = self.levels()
        if levels.dim() == 2 and x.dim() == 4:
            levels = levels[:, None, None]
        bits = (x[..., None] > levels).float()
        feature = self.feature_dim % bits.dim()
        return bits.movedim(-1, feature + 1).flatten(feature, feature + 1)


class SoftBinarization(FixedBinarization):
    pass


class LearnableBinarization(FixedBinarization):
    temperature_softplus = 0.1

    def __init__(self, thresholds, feature_dim=-2):
        super().__init__(thresholds, feature_dim)
        first = thresholds[..., :1]
        self.raw_diffs = nn.Parameter(torch.cat([first, thresholds.diff(dim=-1)], dim=-1))

    def levels(self):
        scale = self.temperature_softplus + 1e-6
        rest = scale * nn.functional.softplus(self.raw_diffs[..., 1:] / scale)
        return torch.cumsum(torch.cat([self.raw_diffs[..., :1], rest], dim=-1), dim=-1)


class DummyBinarization(nn.Module):
    def forward(self, x):
        return x.float()


class LogicLayer(nn.Module):
    """difflogic's: two inputs, sixteen gate scores, the wiring a pair of plain tensors."""

    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        self.weights = nn.Parameter(torch.randn(out_dim, 16))
        self.indices = (torch.randint(0, in_dim, (out_dim,)), torch.randint(0, in_dim, (out_dim,)))

    def forward(self, x):
        a, b = (x[..., index] for index in self.indices)
        chosen = nn.functional.one_hot(self.weights.argmax(-1), 16)
        return sum(chosen[:, number] * gate(a, b) for number, gate in enumerate(GATES))


class DiffLogicGroupSum(nn.Module):
    """difflogic's GroupSum, which has no beta."""

    def __init__(self, k, tau=1.0):
        super().__init__()
        self.k, self.tau = k, tau

    def forward(self, x):
        return x.reshape(*x.shape[:-1], self.k, -1).sum(-1) / self.tau


DiffLogicGroupSum.__name__ = "GroupSum"
