"""Torch modules without gates or spikes: the file holds torch's own translation, equal bytes every time, batch axis open."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError, UnsupportedError
from neuroloom.compiler.frontends.export import export


@pytest.fixture
def network(torch):
    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = torch.nn.GRU(3, 4, batch_first=True)
            self.out = torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.cell(x)[0])

    torch.manual_seed(0)
    return Tagger()


def test_a_recurrent_module_runs_in_onnxruntime_as_in_torch(torch, network, run_ort, tmp_path):
    sample = torch.randn(1, 6, 3)
    network.train()
    model = export(network, sample, tmp_path / "a.onnx", input_names=("events",))
    assert network.training, "the module is left as it was"
    again = export(network, torch.randn(3, 6, 3), tmp_path / "b.onnx", input_names=("events",))
    assert (
        (tmp_path / "a.onnx").read_bytes()
        == (tmp_path / "b.onnx").read_bytes()
        == again.SerializeToString(deterministic=True)
    )
    assert str(tmp_path).encode() not in model.SerializeToString() and b"site-packages" not in model.SerializeToString()
    onnx.checker.check_model(model, full_check=True)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [0, 6, 3]
    x = torch.randn(5, 6, 3)
    (got,) = run_ort(model, {"events": x.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(got, network.eval()(x).numpy(), atol=1e-6)


def test_what_cannot_be_exported_says_why(torch, network):
    with pytest.raises(InputError, match="sample must be what Tagger takes, but it raised RuntimeError: "):
        export(network, torch.randn(2, 6, 5))
    with pytest.raises(InputError, match="sample must be a batch of inputs"):
        export(network)
    with pytest.raises(InputError, match="sample must hold at least one sample"):
        export(network, torch.zeros(0, 6, 3))

    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedError, match="module Branching cannot be translated by torch.onnx.export: "):
        export(Branching(), torch.randn(2, 3))
