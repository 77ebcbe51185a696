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
