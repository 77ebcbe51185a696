"""difflogic modules against their own eval-mode output, bit for bit."""

from __future__ import annotations

import numpy as np
from neuroloom.compiler.frontends.export import export


def test_network(torch, stand_ins, agree):
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Flatten(),
        stand_ins.LogicLayer(24, 60),
        stand_ins.LogicLayer(60, 100),
        stand_ins.DiffLogicGroupSum(10, tau=3.3),
    ).eval()
    sample = torch.randint(0, 2, (200, 2, 12)).float()
    model = agree(module, sample)
    assert [n.op_type for n in model.graph.node] == ["Flatten", "LookupTable", "LookupTable", "GroupSum"]


def test_every_gate(torch, stand_ins, run_ort):
    """Sixteen neurons, one per gate, on all four inputs."""
    layer = stand_ins.LogicLayer(2, 16).eval()
    layer.weights.data = torch.eye(16)
    layer.indices = (torch.zeros(16, dtype=torch.int64), torch.ones(16, dtype=torch.int64))
    every = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    got = run_ort(export(layer, every), {"input": every.numpy().astype(bool)})["output"]
    numbers = (got.T.astype(int) * [8, 4, 2, 1]).sum(-1)
    np.testing.assert_array_equal(numbers, np.arange(16))
