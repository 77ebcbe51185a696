"""Float models for the tests of the real importer, and the comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from neuroloom.compiler.frontends.onnx.load import _Reader
from neuroloom.compiler.frontends.onnx.real import load_program
from neuroloom.compiler.real import Program, evaluate
from onnx import TensorProto, helper, numpy_helper

ELEMENTS = {"f": TensorProto.FLOAT, "i": TensorProto.INT32, "l": TensorProto.INT64, "b": TensorProto.BOOL}


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 20,
    kinds: dict[str, str] | None = None,
    producer: str = "",
) -> onnx.ModelProto:
    """A model of float inputs (``kinds``: other element types) with the shapes given; "N" is the open batch axis."""
    kinds = kinds or {}
    graph = helper.make_graph(
        list(nodes),
        "model",
        [helper.make_tensor_value_info(n, ELEMENTS[kinds.get(n, "f")], list(s)) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, ELEMENTS[kinds.get(n, "f")], None) for n in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    model.producer_name = producer
    return model


def read_program(model: onnx.ModelProto, batch_axis: Any = None, rules: Any = None) -> Program:
    """The real program of a model."""
    return load_program(_Reader(model, None, "the model", batch_axis, dict(rules or {}), None, frozenset(), ""))


def reference_outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What onnxruntime gives."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


@pytest.fixture(scope="session")
def same_as_onnxruntime(require_tool: Callable[[str], None]) -> Callable[..., Program]:
    """Return ``check(model, feeds, axes)``: the program in float64 gives what onnxruntime gives, to float32's precision.

    ``feeds`` are the model's arrays, ``axes`` the batch axis of every input and output that is not 0; None: no batch axis.
    """
    require_tool("onnxruntime")

    def check(
        model: onnx.ModelProto,
        feeds: dict[str, np.ndarray],
        axes: dict[str, int] | None = None,
        *,
        single: bool = False,
        tolerance: float = 3e-6,
        rules: Any = None,
    ) -> Program:
        axes = axes or {}
        batch: Any = "none" if single else {n: axes.get(n, 0) for n in feeds}
        program = read_program(model, batch, rules)
        given = {n: a[None] if single else np.moveaxis(a, axes.get(n, 0), 0) for n, a in feeds.items()}
        got = evaluate(program, {v.name: given[v.name] for v in program.inputs})
        for output, want in zip(model.graph.output, reference_outputs(model, feeds), strict=True):
            mine = got[output.name][0] if single else np.moveaxis(got[output.name], 0, axes.get(output.name, 0))
            assert mine.shape == want.shape, output.name
            if want.dtype.kind == "f":
                np.testing.assert_allclose(mine, want, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(mine, want)
        return program

    return check
