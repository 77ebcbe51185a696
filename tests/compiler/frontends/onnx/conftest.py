"""Fixtures of the ONNX frontend's tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.frontends.onnx import load_onnx
from neuroloom.compiler.ir import Graph
from neuroloom.sim.reference import run


@pytest.fixture(scope="session")
def update_golden() -> Callable[[Path, str], None]:
    """Return ``update(path, text)``, which writes a golden file when NEUROLOOM_UPDATE_GOLDEN=1 and does nothing otherwise."""

    def update(path: Path, text: str) -> None:
        if os.environ.get("NEUROLOOM_UPDATE_GOLDEN") == "1":
            path.write_text(text)

    return update


@pytest.fixture(scope="session")
def agree(require_tool: Callable[[str], None]) -> Callable[..., Graph]:
    """Return ``agree(model, feeds, **options)``: import, run, and compare every output with onnxruntime; give the graph.

    Integer and bool outputs must be equal; float outputs must be the rounded value of the graph's exact rule.
    """
    require_tool("onnxruntime")
    import onnxruntime

    def compare(model: onnx.ModelProto, feeds: dict[str, np.ndarray], **options: Any) -> Graph:
        graph = load_onnx(model, **options)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        expected = session.run(None, feeds)
        axes = graph.records.get("batch_axes", {})
        single = graph.records.get("batch") == "none"
        given = {n: a[None] if single else np.moveaxis(a, axes.get(n, 0), 0) for n, a in feeds.items()}
        result = run(graph, {i.name: given[i.source] for i in graph.inputs})
        for output, want in zip(graph.outputs, expected, strict=True):
            got = result[output.name][0] if single else np.moveaxis(result[output.name], 0, axes.get(output.name, 0))
            assert got.shape == want.shape, output.name
            if want.dtype.kind == "f":
                real = output.affine.dequantize(result[output.name])
                real = real[0] if single else np.moveaxis(real, 0, axes.get(output.name, 0))
                assert np.allclose(real, want, rtol=4e-7, atol=1e-6), output.name
            else:
                assert (got == want).all(), output.name
        return graph

    return compare
