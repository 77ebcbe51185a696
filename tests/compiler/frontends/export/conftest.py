"""Oracles and stand-in libraries for the tests of ONNX export."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.frontends.export import evaluate, export
from neuroloom.compiler.frontends.onnx import InputRule, load_onnx
from neuroloom.sim.reference import run as run_graph


@pytest.fixture(scope="session")
def run_ort(require_tool) -> Callable[[onnx.ModelProto, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Return ``run(model, inputs)``: the model checked in full and run by stock onnxruntime, outputs by name."""
    require_tool("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1

    def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))

    return run


@pytest.fixture(scope="session")
def torch(require_tool) -> Any:
    require_tool("torch")
    import torch

    return torch


@pytest.fixture
def agree(torch, run_ort) -> Callable[[Any, Any], onnx.ModelProto]:
    """Return ``agree(module, sample)``: export the module and compare every reading on the sample; return the model.

    torch in eval mode, stock onnxruntime, the plain numpy reading, and the graph that the importer makes of the file. Float
    samples hold multiples of 1/255.
    """

    def check(module: Any, sample: Any) -> onnx.ModelProto:
        module.eval()
        model = export(module, sample, check=False)
        with torch.no_grad():
            want = module(sample).numpy()
        is_bits = model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BOOL
        x = sample.numpy().astype(np.bool_) if is_bits else sample.numpy()
        got = run_ort(model, {"input": x})["output"]
        assert got.shape == want.shape
        np.testing.assert_array_equal(got.astype(want.dtype), want)
        np.testing.assert_array_equal(evaluate(model, {"input": x})["output"], got)
        _agree_with_graph(model, x, got)
        return model

    return check


def _agree_with_graph(model: onnx.ModelProto, x: np.ndarray, got: np.ndarray) -> None:
    is_float = x.dtype.kind == "f"
    graph = load_onnx(model, input_rules={"input": InputRule("u8", "1/255")} if is_float else None)
    integers = np.rint(x * 255).astype(np.int64) if is_float else x.astype(np.int64)
    out = run_graph(graph, {"input": integers})["output"]
    if got.dtype == np.bool_:
        np.testing.assert_array_equal(out, got)
        return
    # Scores: the graph counts, the file divides and adds in float32; each count must stand for one score.
    (output,) = graph.outputs
    np.testing.assert_allclose(output.affine.dequantize(out), got, rtol=1e-5)
    pairs = {(int(q), float(y)) for q, y in zip(out.flat, got.flat, strict=True)}
    assert len(pairs) == len({q for q, _ in pairs}) == len({y for _, y in pairs})
    np.testing.assert_array_equal(out.argmax(-1), got.argmax(-1))


def _stand_ins() -> SimpleNamespace:
    spec = importlib.util.spec_from_file_location("export_stand_ins", Path(__file__).with_name("stand_ins.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stand_ins(torch) -> Any:
    """Classes shaped like torchlogix's and difflogic's, with a forward written for these tests."""
    return _stand_ins()


HAS_TORCHLOGIX = importlib.util.find_spec("torchlogix") is not None


@pytest.fixture(scope="session", params=["stand-ins", *(["torchlogix"] if HAS_TORCHLOGIX else [])])
def torchlogix(request, torch) -> Any:
    """Stand-ins for the layers of torchlogix, and its own ones where it is installed (never a dependency)."""
    if request.param == "stand-ins":
        return _stand_ins()
    import torchlogix.layers
    import torchlogix.modules.resblock

    return SimpleNamespace(**vars(torchlogix.layers), ResidualLogicBlock=torchlogix.modules.resblock.ResidualLogicBlock)
