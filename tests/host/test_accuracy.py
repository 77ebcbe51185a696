"""Running the source: a model for a fixed number of samples serves any number."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from neuroloom.compiler.errors import InputError
from neuroloom.host.accuracy import run_source
from onnx import TensorProto, helper


@pytest.mark.parametrize("size", [1, 4, "N"])
def test_every_sample_is_answered(size, require_tool, tmp_path):
    require_tool("onnxruntime")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [size, 2]) for n in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    for count in (1, 3, 4, 10, 300):
        x = np.arange(2.0 * count).reshape(count, 2)
        assert (run_source(tmp_path / "m.onnx", {"x": x})["y"] == -x).all()
    with pytest.raises(InputError, match="onnxruntime cannot run"):
        run_source(tmp_path / "m.onnx", {"x": np.zeros((4, 3))})
