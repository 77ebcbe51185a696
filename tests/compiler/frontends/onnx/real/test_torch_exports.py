"""What torch's own exporter writes: read as a program that equals the module, and as fixed point that is near it.

Exports take seconds each, so the everyday test exports two modules that hold many patterns; the campaign exports each by itself.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import UnsupportedError
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.real import evaluate
from neuroloom.sim.dense import Engine

from .conftest import read_program

SAMPLES = 40


@pytest.fixture(scope="module")
def torch(require_tool: Callable[[str], None]) -> Any:
    require_tool("torch")
    import torch as module

    module.manual_seed(0)
    return module


def exported(torch: Any, module: Any, inputs: tuple[Any, ...], *, dynamic: bool) -> onnx.ModelProto:
    shapes = None
    if dynamic:
        batch = torch.export.Dim("batch", min=1, max=64)
        shapes = tuple({0: batch} for _ in inputs)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        done = torch.onnx.export(
            module.eval(), inputs, dynamo=True, dynamic_shapes=shapes, opset_version=20, verbose=False
        )
    proto: onnx.ModelProto = done.model_proto
    return proto


def check(
    torch: Any,
    module: Any,
    inputs: tuple[Any, ...],
    *,
    dynamic: bool = True,
    near: float = 4e-3,
    model: onnx.ModelProto | None = None,
) -> set[str]:
    """Export, compare on fresh samples, and return the operations of the graph."""
    model = model or exported(torch, module, inputs, dynamic=dynamic)
    axes = {i.name: 0 for i in model.graph.input}
    fresh = [torch.randn(SAMPLES, *x.shape[1:]) for x in inputs]
    with torch.no_grad():
        if dynamic:
            want = module(*fresh)
        else:
            want = torch.cat([module(*(x[i : i + 1] for x in fresh)) for i in range(SAMPLES)])
    wanted = want if isinstance(want, tuple) else (want,)
    program = read_program(model, axes)
    feeds = {v.name: x.numpy() for v, x in zip(program.inputs, fresh, strict=True)}
    real = evaluate(program, feeds)
    for output, array in zip(program.outputs, wanted, strict=True):
        np.testing.assert_allclose(real[output.name], array.numpy(), rtol=2e-5, atol=2e-5)
    data = {i.name: x.numpy() for i, x in zip(model.graph.input, fresh, strict=True)}
    graph = load_onnx(model, batch_axis=axes, calibrate=data, config={"weight_bits": 12, "table_bits": 12})
    integers = Engine(graph).run(feeds)
    for output in graph.outputs:
        got = output.affine.dequantize(integers[output.name])
        assert np.abs(got - real[output.name]).max() < near * max(1.0, np.abs(real[output.name]).max())
    return {node.op for node in graph.walk()}


def modules(torch: Any) -> dict[str, tuple[Any, tuple[Any, ...], bool]]:
    """Name → module, inputs, whether the batch is open."""
    nn, F = torch.nn, torch.nn.functional

    class Recurrent(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, kind: str, **options: Any) -> None:
            super().__init__()
            self.r = getattr(nn, kind)(3, 4, batch_first=True, **options)
            self.o = nn.Linear(8 if options.get("bidirectional") else 4, 2)

        def forward(self, x: Any) -> Any:
            y, _ = self.r(x)
            return self.o(y[:, -1])

    class Gates(nn.Module):  # type: ignore[name-defined, misc]
        """A GRU, then GLU, SwiGLU, highway, skip gate and top-1 experts with gathered weights."""

        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(3, 6, batch_first=True)
            self.glu, self.up, self.gate, self.down = (
                nn.Linear(6, 12),
                nn.Linear(6, 8),
                nn.Linear(6, 8),
                nn.Linear(8, 6),
            )
            self.t, self.h, self.s, self.route = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1), nn.Linear(6, 3)
            self.w, self.b = nn.Parameter(torch.randn(3, 5, 6) / 2), nn.Parameter(torch.randn(3, 5) / 2)

        def forward(self, x: Any) -> Any:
            y = self.gru(x)[0][:, -1]
            y = y + F.glu(self.glu(y), -1)
            y = y + self.down(F.silu(self.gate(y)) * self.up(y))
            t = torch.sigmoid(self.t(y))
            y = t * F.gelu(self.h(y)) + (1 - t) * y
            y = y + (self.s(y) >= 0).float() * F.hardswish(y)
            value, index = torch.softmax(self.route(y), -1).max(-1)
            return value[:, None] * (torch.einsum("noi,ni->no", self.w[index], y) + self.b[index])

    class Exit(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.e, self.b, self.f = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            h = torch.relu(self.a(x))
            e = self.e(h)
            sure = torch.softmax(e, -1).max() > 0.4
            return torch.cond(sure, lambda h, e: e.clone(), lambda h, e: self.f(torch.relu(self.b(h))), (h, e))

    class Cell(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.c = getattr(nn, kind)(3, 4)

        def forward(self, x: Any, h: Any, c: Any = None) -> Any:
            return self.c(x, h if c is None else (h, c))

    class Convolution(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.c, self.n = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.d, self.g, self.o = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 5)
            with torch.no_grad():
                self.n.running_mean.normal_()
                self.n.running_var.uniform_(0.5, 2)

        def forward(self, x: Any) -> Any:
            y = torch.relu(self.n(self.c(x)))
            y = y + torch.sigmoid(self.g(y)) * self.d(y)
            return self.o(F.avg_pool2d(F.max_pool2d(y, 2), 2).flatten(1))

    class LinearAttention(nn.Module):  # type: ignore[name-defined, misc]
        """One step of gated linear attention: S <- g S + k v', o = S' q, two heads."""

        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.g = (nn.Linear(6, 8) for _ in range(4))

        def forward(self, x: Any, s: Any) -> Any:
            q, k, v, g = (f(x).view(-1, 2, 4) for f in (self.q, self.k, self.v, self.g))
            s = torch.sigmoid(g)[..., None] * s + k[..., :, None] * v[..., None, :]
            return torch.einsum("nhkv,nhk->nhv", s, q), s

    class TopTwo(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.r, self.e = nn.Linear(6, 4), nn.ModuleList([nn.Linear(6, 5) for _ in range(4)])

        def forward(self, x: Any) -> Any:
            v, i = torch.topk(torch.softmax(self.r(x), -1), 2, -1)
            ys = torch.stack([e(x) for e in self.e], 1)
            return (torch.gather(ys, 1, i[..., None].expand(-1, -1, 5)) * v[..., None]).sum(1)

    class Dense(TopTwo):
        """The same experts, weighted by a vector that is 0 where an expert was not chosen."""

        def forward(self, x: Any) -> Any:
            v, i = torch.topk(self.r(x), 2, -1)
            gates = torch.zeros(x.shape[0], 4).scatter(1, i, torch.softmax(v, -1))
            return sum(gates[:, k : k + 1] * e(x) for k, e in enumerate(self.e))

    def draw(*shape: int) -> Any:
        return torch.randn(*shape)

    return {
        "gates": (Gates(), (draw(3, 5, 3),), True),
        "exit": (Exit(), (draw(1, 6),), False),
        "gru, one sample": (Recurrent("GRU"), (draw(1, 5, 3),), False),
        "lstm, two layers, both ways": (Recurrent("LSTM", num_layers=2, bidirectional=True), (draw(3, 5, 3),), True),
        "rnn": (Recurrent("RNN"), (draw(3, 5, 3),), True),
        "gru cell": (Cell("GRUCell"), (draw(3, 3), draw(3, 4)), True),
        "lstm cell": (Cell("LSTMCell"), (draw(3, 3), draw(3, 4), draw(3, 4)), True),
        "convolution": (Convolution(), (draw(3, 1, 8, 8),), True),
        "linear attention": (LinearAttention(), (draw(3, 6), draw(3, 2, 4, 4)), True),
        "top two experts": (TopTwo(), (draw(3, 6),), True),
        "experts weighted by a scattered vector": (Dense(), (draw(3, 6),), True),
    }


def test_gates_with_an_open_batch(torch: Any) -> None:
    module, inputs, dynamic = modules(torch)["gates"]
    assert {"scan", "table", "take", "contract"} <= check(torch, module, inputs, dynamic=dynamic)


def test_weights_scattered_to_experts(torch: Any) -> None:
    module, inputs, dynamic = modules(torch)["experts weighted by a scattered vector"]
    assert {"topk", "select"} <= check(torch, module, inputs, dynamic=dynamic)


def test_an_early_exit_is_decided_per_sample_and_only_for_one_sample(torch: Any) -> None:
    module, inputs, dynamic = modules(torch)["exit"]
    model = exported(torch, module, inputs, dynamic=dynamic)
    assert "when" in check(torch, module, inputs, dynamic=dynamic, model=model)
    with pytest.raises(UnsupportedError, match="batch"):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
        read_program(model, 0)


@pytest.mark.campaign
def test_every_pattern_by_itself(torch: Any) -> None:
    for name, (module, inputs, dynamic) in modules(torch).items():
        print(name)
        check(torch, module, inputs, dynamic=dynamic)
